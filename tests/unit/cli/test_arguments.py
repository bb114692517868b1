"""Splitting words by the catalogue."""

import pytest

from ringfence.cli import arguments
from ringfence.cli.catalogue import find
from ringfence.model.errors import UsageError


def parse(name: str, *words: str) -> arguments.Arguments:
    found = arguments.parse(find(name), words)
    assert found is not None
    return found


def test_options_may_stand_behind_words() -> None:
    found = parse("apply", "2025", "--held", "a", "b", "--held=c", "--json")
    assert found.words == ["2025", "b"]
    assert found.texts("held") == ["a", "c"]
    assert found.has("json")
    assert found.text("directory") == ""


def test_two_dashes_end_the_options() -> None:
    assert parse("apply", "--", "--held").words == ["--held"]


def test_a_short_and_a_long_name_are_one_option() -> None:
    assert parse("log", "-n", "3").text("lines") == parse("log", "--lines=3").text("lines") == "3"


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_is_not_an_error(word: str) -> None:
    assert arguments.parse(find("log"), ["--run", "x", word]) is None


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["log", "--kidn", "denial"], "unknown option `--kidn`", "did you mean `--kind`?"),
        (["log", "--run"], "option `--run` needs a value", "see `ringfence log --help`"),
        (["log", "--json=1"], "option `--json` takes no value", "see `ringfence log --help`"),
        (["doctor", "x"], "unexpected word `x`", "ringfence doctor [--json]"),
        (["discard"], "`ringfence discard` needs the name of a run", "`ringfence runs` lists them; ringfence discard "),
        (["rollback"], "`ringfence rollback` needs the name of a run", "`ringfence runs` lists them"),
        (["allow"], "`ringfence allow` needs more words", "ringfence allow"),
        (["policy"], "`ringfence policy` needs more words", "it is one of `check`, `show`"),
        (["policy", "check", "--scope", "me"], "`me` is not a value of `--scope`", "choose one of `managed`"),
    ],
)
def test_what_is_not_understood(words: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        arguments.parse(find(words[0]), words[1:])
    assert str(caught.value) == message
    assert hint in caught.value.hint
