"""Whose words are whose on the command line of an agent."""

import pytest

from ringfence.cli.agent import split


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("-p hello", "-p hello"),
        ("--verbose --timeout 5", "--verbose --timeout 5"),
        ("-- -p hello", "-p hello"),
        ("--timeout 5m -- -p hello", "-p hello"),
        ("--timeout=5m --state shared -- --timeout 3", "--timeout 3"),
        ("-p hello -- x", "-p hello -- x"),
        ("--state -- x", "--state -- x"),
        ("--unknown -- x", "--unknown -- x"),
        ("", ""),
    ],
)
def test_ours_is_only_what_stands_before_the_dashes(words: str, arguments: str) -> None:
    assert split(words.split())[2] == arguments.split()


def test_our_options_are_taken() -> None:
    options, state, _ = split("--timeout 5m --state=fresh --allow example.com -- -p x".split())
    assert (options.timeout, options.allow, state) == ("5m", ["example.com"], "fresh")
    assert split(["-p", "x"])[1] == "private"
