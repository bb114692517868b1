"""What a command line gives away about its own variables, and how far that is followed."""

import pytest

from ringfence.policy.permissions.known_values import Known, here
from ringfence.policy.permissions.shell_parse import parse


def known(values: int) -> Known:
    """What is known where `x` has had so many values."""
    found = Known()
    for value in range(values):
        found.let("x", str(value))
    return found


@pytest.mark.parametrize("written", ["$x", "${x}"])
@pytest.mark.parametrize(("values", "tried", "complete"), [(3, 3, True), (64, 64, True), (65, 64, False)])
def test_so_many_values_are_tried(written: str, values: int, tried: int, complete: bool) -> None:
    found = known(values)
    assert (found.widest((written, "a")), found.complete) == (tried, complete)
    assert found.most((written,)) == values


def test_what_is_only_an_argument_may_be_left_out() -> None:
    found = known(65)
    assert (found.widest(("a", "$x")), found.complete) == (64, True)


@pytest.mark.parametrize(("values", "complete"), [(64, True), (65, False)])
def test_text_that_is_run_has_every_value(values: int, complete: bool) -> None:
    found = known(values)
    assert len(found.substituted("$x")) == values
    assert found.complete is complete
    found.substituted("a")
    assert found.complete is complete


def test_what_has_no_variable_is_one_text() -> None:
    assert (Known().most(("a",)), Known().texts("a")) == (1, ["a"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a "$x" b', [("a", "$x", "b"), ("a", "", "b")]),
        ("a '' $y b", [("a", "", "$y", "b"), ("a", "", "b")]),
        ("a $x b", [("a", "$x", "b"), ("a", "b")]),
        ("a `c` b", [("a", "`c`", "b"), ("a", "b")]),
    ],
)
def test_what_is_empty_is_a_word_only_in_quotes(text: str, expected: list[tuple[str, ...]]) -> None:
    command = parse(text).commands[-1]
    assert list(dict.fromkeys(Known().readings(command, guess=True))) == expected


@pytest.mark.parametrize(("text", "given"), [("x < y", []), ("x <<< y", ["y"]), ("x <<'E'\ny\nE", ["y\n"])])
def test_what_a_command_is_given_to_read(text: str, given: list[str]) -> None:
    assert list(here(parse(text).commands[0].redirects)) == given
