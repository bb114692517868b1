"""Commands inside commands: what a command line would run besides what it names, for denials.

`bash -c 'x'`, `eval x`, `find -exec x`, `awk '{system("x")}'`, `trap x EXIT`: the text of `x` is in the command line,
so a denial of `x` can be seen to be meant. What is only known when it runs (a script file, decoded text, what a server
answers) is left to the boundary. Everything here can only tighten, so it guesses rather too often.
"""

import re
from collections.abc import Iterator, Sequence

import msgspec

from .command import Command, Script
from .shell_parse import parse
from .wrappers import launched

SHELLS = frozenset("sh bash dash zsh ksh ash rbash".split())
INTERPRETERS = frozenset("awk gawk mawk python python2 python3 perl ruby node nodejs php lua".split())
_SHELL_CODE = re.compile(r"-[a-zA-Z]*c")
_STRING = re.compile(r""""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'""", re.S)
_FIND_RUNS = ("-exec", "-execdir", "-ok", "-okdir")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_ENVIRONMENT = frozenset(("HOME", "PWD"))
MAX_DEPTH = 4


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One command that may run: its words, and the command of the line that it is in."""

    argv: tuple[str, ...]
    command: Command


def runs(script: Script, depth: int = 0, *, guess: bool = True) -> Iterator[Run]:
    """Yield every command of `script`, what wrappers run, and what is written inside arguments.

    With `guess`, a variable that nobody set counts as empty; without, it stays as it is written.
    """
    variables: dict[str, str] = {}
    copies: dict[str, str] = {}
    for command in script.commands:
        for assignment in command.assignments:
            if not command.words and assignment.value.fixed:
                variables[assignment.name] = assignment.value.text
        for argv in _readings(command, variables, copies, guess=guess):
            yield Run(argv=argv, command=command)
            for inner in launched(argv):
                yield Run(argv=inner, command=command)
        if depth < MAX_DEPTH:
            for text in _texts(command, script):
                yield from runs(parse(text), depth + 1, guess=guess)
        _remember_copy(command, copies)


def _readings(
    command: Command, variables: dict[str, str], copies: dict[str, str], *, guess: bool
) -> Iterator[tuple[str, ...]]:
    """The words as they are written, and as they will be with what is known of variables and copies."""
    argv = command.argv
    if not argv:
        return
    yield argv
    if not all(word.fixed for word in command.words):
        known = tuple(_substituted(text, variables, guess=guess) for text in argv)
        while known and not known[0]:
            known = known[1:]
        if known:
            yield tuple(known[0].split()) + known[1:]
    source = copies.get(argv[0].removeprefix("./"))
    if source:
        yield (source, *argv[1:])


def _substituted(text: str, variables: dict[str, str], *, guess: bool) -> str:
    """Put in what is known; what the client's own environment sets is known elsewhere."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        return variables.get(name, "" if guess and name not in _ENVIRONMENT else match[0])

    return _VARIABLE.sub(value, text)


def _remember_copy(command: Command, copies: dict[str, str]) -> None:
    """A program that is copied or linked is the same program under its new name."""
    argv = [text for text in command.argv if not text.startswith("-")]
    if len(argv) == 3 and argv[0] in ("cp", "ln", "mv", "install"):
        copies[argv[2].removeprefix("./")] = argv[1]


def _texts(command: Command, script: Script) -> Iterator[str]:
    """The shell text that stands in the arguments of a command, or in what it reads."""
    argv = command.argv
    for words in [argv, *launched(argv)]:
        if not words:
            continue
        name, rest = words[0].rpartition("/")[2], words[1:]
        if name in SHELLS:
            yield from _after(rest, _SHELL_CODE)
            yield from _standard_input(command, script)
        elif name in ("eval", "trap"):
            yield " ".join(rest) if name == "eval" else next(iter(rest), "")
        elif name in ("source", ".") and rest[:1] in (("/dev/stdin",), ("/dev/fd/0",)):
            yield from _standard_input(command, script)
        elif name == "find":
            yield from _found(rest)
        elif name in INTERPRETERS:
            yield from _strings(rest)
        elif name in ("env", "script", "flock", "watch", "su", "runuser"):
            yield from _quoted(rest)


def _after(words: Sequence[str], option: re.Pattern[str]) -> Iterator[str]:
    yield from (words[at + 1] for at, word in enumerate(words[:-1]) if option.fullmatch(word))


def _standard_input(command: Command, script: Script) -> Iterator[str]:
    """Here-documents and here-strings of the command, and what `echo` prints into its pipe."""
    for redirect in command.redirects:
        if redirect.operator == "<<":
            yield redirect.text
        elif redirect.operator == "<<<" and redirect.target is not None:
            yield redirect.target.text
    if "|" in script.text:
        yield from (" ".join(other.argv[1:]) for other in script.commands if other.name in ("echo", "printf"))


def _found(words: Sequence[str]) -> Iterator[str]:
    """What `find` runs for each file."""
    for at, word in enumerate(words):
        if word in _FIND_RUNS:
            rest = list(words[at + 1 :])
            ends = [place for place, text in enumerate(rest) if text in (";", "+")]
            yield " ".join(_requoted(text) for text in rest[: ends[0] if ends else len(rest)])


def _strings(words: Sequence[str]) -> Iterator[str]:
    """The string literals in a program given as an argument: any of them may be a command."""
    for word in words:
        for match in _STRING.finditer(word):
            text = match[1] or match[2] or ""
            if " " in text or len(words) < 3:
                yield text


def _quoted(words: Sequence[str]) -> Iterator[str]:
    yield from (word for word in words if " " in word)


def _requoted(text: str) -> str:
    return text if re.fullmatch(r"[\w./:@%+,=-]+", text) else "'" + text.replace("'", "'\\''") + "'"
