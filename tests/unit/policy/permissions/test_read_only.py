"""Which commands only read: what their operators and options are evaluated to."""

import pytest

from ringfence.policy.permissions.command import Command
from ringfence.policy.permissions.read_only import reason
from ringfence.policy.permissions.shell_parse import parse
from ringfence.policy.permissions.words import plain_word


@pytest.mark.parametrize(
    ("command", "reads"),
    [
        ("git log --format=", True),
        ("git log --format=oneline", True),
        ("git log --format=x", False),
        ("git log --format", False),
        ("git log --pretty", False),
        ('[[ -v "x" ]]', True),
        ("[[ -v 'x' ]]", True),
        ("[ ! a -a b ]", False),
        ("[ a -a b ]", True),
        ("[[ -a x || -a y ]]", True),
        ("[ -n -5 ]", True),
        ("docker ps", True),
        ("fd x", True),
        ("fdfind x", True),
        ("fd x -x rm", False),
    ],
)
def test_what_only_reads(command: str, reads: bool) -> None:
    why = reason(parse(command).commands[0])
    assert bool(why) is reads
    assert why == str(why)


@pytest.mark.parametrize(("words", "reads"), [("[[ -- == a ]]", True), ("[ a = -- ]", True), ("[ -- ]", False)])
def test_where_options_of_a_test_may_end(words: str, reads: bool) -> None:
    command = Command(raw=words, words=tuple(plain_word(word) for word in words.split()))
    assert bool(reason(command)) is reads
