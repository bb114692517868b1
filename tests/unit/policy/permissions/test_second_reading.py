"""Two readings of one text: what they must agree on, and what neither can know."""

import pytest

from ringfence.policy.permissions.command import Command, Context, Script, Word
from ringfence.policy.permissions.second_reading import disagreement
from ringfence.policy.permissions.shell_parse import parse
from ringfence.policy.permissions.words import plain_word

DIFFERENTLY = "two parsers read it differently"


def computed(text: str) -> Word:
    return Word(raw=text, text=text, fixed=False)


def script(text: str, *words: Word, obstacles: tuple[str, ...] = ()) -> Script:
    """What the first reading says of `text`: one command of these words."""
    return Script(text=text, commands=(Command(raw=text, words=words),), obstacles=obstacles)


@pytest.mark.parametrize(
    ("read", "doubt"),
    [
        (script("a b", plain_word("a"), plain_word("b")), ""),
        (script("a b", plain_word("a"), plain_word("c")), DIFFERENTLY),
        (script("a b", plain_word("a")), DIFFERENTLY),
        (script("a b", plain_word("a"), computed("$X")), ""),
        (script("a $X", plain_word("a"), plain_word("b")), ""),
        (script("a $X", plain_word("a"), computed("$X")), ""),
        (script("$X"), DIFFERENTLY),
        (script("$X", obstacles=("the variable `$X`",)), ""),
    ],
)
def test_what_is_not_known_agrees_with_anything(read: Script, doubt: str) -> None:
    assert disagreement(read)[1] == doubt


def test_what_only_the_second_sees_is_handed_back() -> None:
    (extra,) = disagreement(script("a $(b c)", plain_word("a"), computed("$(b c)")))[0]
    assert (extra.argv, extra.context) == (("b", "c"), Context.SUBSTITUTION)
    (extra,) = disagreement(Script(text="f() { b; }"))[0]
    assert (extra.argv, extra.context) == (("b",), Context.FUNCTION)


def test_more_commands_than_are_read_are_a_doubt() -> None:
    assert parse("'a'\n" * 2000).doubts == ()
    assert parse("a\n" * 4097).doubts == ("one parser read only a part of it",)
