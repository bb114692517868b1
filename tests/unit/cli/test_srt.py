"""The command line of `ringfence srt`."""

import pytest

from ringfence.cli.srt import parse
from ringfence.model.errors import UsageError


def test_a_text_for_the_shell() -> None:
    asked = parse(["-s", "s.json", "-v", "-c", "echo -s"])
    assert (asked.settings, asked.command, asked.argv, asked.verbose) == ("s.json", "echo -s", [], True)


@pytest.mark.parametrize("words", [["git", "--version"], ["--", "git", "--version"]])
def test_words_are_the_programs_own(words: list[str]) -> None:
    asked = parse(["--settings=s.json", *words])
    assert (asked.settings, asked.command, asked.argv) == ("s.json", None, ["git", "--version"])


def test_an_empty_text_is_a_command() -> None:
    assert parse(["-c", ""]).command == ""


@pytest.mark.parametrize("words", [[], ["-s"], ["-s", "x"], ["-c"], ["-c", "a", "b"], ["--control-fd", "3", "a"]])
def test_what_makes_no_sense_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse(words)
