"""Commands inside commands: what a command line would run besides what it names, for denials.

`bash -c 'x'`, `eval x`, `find -exec x`, `awk '{system("x")}'`, `trap x EXIT`: the text of `x` is in the command line,
so a denial of `x` can be seen to be meant. What is only known when it runs (a script file, decoded text, what a server
answers, another program's language) is left to the boundary. Everything here can only tighten, so it guesses rather
too often.
"""

from collections.abc import Iterator

import msgspec

from .argument_code import SHELLS, texts_in
from .command import Command, Context, Script
from .known_values import Known, here, printed
from .shell_parse import parse
from .wrappers import ALTERNATIVES, launched

MAX_DEPTH = 6
_STANDARD_INPUT = ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", "-")


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One command that may run: its words, and the command of the line that it is in."""

    argv: tuple[str, ...]
    command: Command


def runs(script: Script, depth: int = 0, *, guess: bool = True, known: Known | None = None) -> Iterator[Run]:
    """Yield every command of `script`, what wrappers run, and what is written inside arguments.

    With `guess`, a variable that nobody set counts as empty; without, it stays as it is written. `known.complete` says
    afterwards whether that was all.
    """
    known = known or Known()
    for assignment in script.looped:
        known.let(assignment.name, assignment.value.text)
    for command in script.commands:
        known.learn(command)
        ways: list[tuple[str, ...]] = []
        for argv in filter(None, dict.fromkeys(known.readings(command, guess=guess))):
            inner = launched(argv)
            known.room -= 1 + len(inner)
            known.complete = known.complete and len(inner) < ALTERNATIVES
            ways += [argv, *inner]
        yield from (Run(argv=words, command=command) for words in ways)
        texts = dict.fromkeys(_texts(ways, command, script, known))
        if texts and (depth >= MAX_DEPTH or known.room < 0):
            known.complete = False
            continue
        for text in texts:
            yield from runs(parse(text), depth + 1, guess=guess, known=known)


def _texts(ways: list[tuple[str, ...]], command: Command, script: Script, known: Known) -> Iterator[str]:
    """The shell text that stands in the arguments of a command, in each way that it may read, or in what it reads."""
    for words in ways:
        for text in texts_in(words):
            yield from known.substituted(text)
        name, rest = words[0].rpartition("/")[2], words[1:]
        if name in SHELLS or name in ("at", "batch") or (name in ("source", ".") and _reads_input(rest)):
            yield from _standard_input(command, script)


def _reads_input(words: tuple[str, ...]) -> bool:
    return any(word in _STANDARD_INPUT or word.startswith("<(") for word in words[:1])


def _standard_input(command: Command, script: Script) -> Iterator[str]:
    """Here-documents and here-strings of the command, and what another prints into its pipe or substitution."""
    yield from here(command.redirects)
    for other in script.commands:
        if "|" in script.text or other.context is Context.SUBSTITUTION:
            yield from printed(other)
