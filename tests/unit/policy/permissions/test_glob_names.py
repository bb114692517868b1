"""Programs that are named by a pattern, and may be the one that a rule is about."""

import pytest

from ringfence.policy.permissions.glob_names import may_be


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["dn*", "install", "x"], True),
        (["dn?", "install", "x"], True),
        (["[d]nf", "install", "x"], True),
        (["d[n]?*", "install", "x"], True),
        (["d[[:alpha:]]f", "install", "x"], True),
        (["d[_[:lower:]0]f", "install", "x"], True),
        (["d[[=n=]]f", "install", "x"], True),
        (["d[[:alpha:]]g", "install", "x"], False),
        (["/usr/bin/d*", "install", "x"], True),
        (["DN*", "install", "x"], False),
        (["dn*", "list"], False),
        (["a*", "install", "x"], False),
        (["[", "install", "x"], False),
        (["d[", "install", "x"], False),
    ],
)
def test_what_may_be_a_denied_program(argv: list[str], expected: bool) -> None:
    assert may_be(argv, "dnf install *") is expected


@pytest.mark.parametrize("name", ["*", "???", "*?"])
def test_a_pattern_that_names_everything_is_left_to_what_asks_about_it(name: str) -> None:
    assert not may_be([name, "install", "x"], "dnf install *")
