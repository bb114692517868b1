"""Which programs of sed only print or replace."""

import pytest

from ringfence.policy.permissions.sed_scripts import filters_input, is_quiet, prints_lines


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("-n 1p", True),
        ("-n 1,3p f", True),
        ("-n", False),
        ("-n 1p -", False),
        ("-n -i 1p", False),
        ("1p", False),
        ("-n 1d", False),
    ],
)
def test_what_only_prints_lines(words: str, expected: bool) -> None:
    assert prints_lines(words.split()) is expected


@pytest.mark.parametrize(
    ("words", "expected"), [("s/a/b/", True), ("s/a/b/ f", False), ("-i s/a/b/", False), ("d", False), ("", False)]
)
def test_what_only_replaces_on_the_way(words: str, expected: bool) -> None:
    assert filters_input(words.split()) is expected


@pytest.mark.parametrize(("words", "expected"), [("-n -e 1p", True), ("-n -x", False), ("1p", False)])
def test_what_is_quiet(words: str, expected: bool) -> None:
    assert is_quiet(words.split()) is expected
