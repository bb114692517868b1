"""What is known, from a command line itself, of its variables, aliases and copies: for denials.

A variable may have any of the values that it was ever given: which of them it has when a command runs depends on
branches and loops that nobody follows here.
"""

import re
from collections.abc import Iterator, Sequence

from .command import Command, Redirect

DECLARING = frozenset("declare typeset export readonly local".split())
_VARIABLE = re.compile(r"\$(?:(\w+|[@*!])|\{(\w+|[@*!])(?::?([-=+])([^}]*))?[^}]*\})")
_SUBSTITUTION = re.compile(r"`[^`]*`|\$\([^()]*\)")
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")
_SETTING = re.compile(r"(\w+)=(.*)", re.S)
_ENVIRONMENT = frozenset(("HOME", "PWD"))
_VALUES = 64
RUNS_AT_MOST = 20_000


class Known:
    """What the commands up to now have set. `complete` until commands are left out, because there are too many."""

    def __init__(self) -> None:
        self.complete = True
        self.room = RUNS_AT_MOST
        self.variables: dict[str, list[str]] = {"IFS": [" "]}
        self.programs: dict[str, tuple[str, ...]] = {}  # by name: what an alias, a copy or a link really is

    def learn(self, command: Command) -> None:
        """Take in what `command` sets for those after it."""
        argv = command.argv
        if not argv or argv[0] in ("eval", "command"):
            for assignment in command.assignments:
                self.let(assignment.name, assignment.value.text, joined=not assignment.plain)
        elif argv[0] in DECLARING:
            for match in filter(None, map(_SETTING.fullmatch, argv)):
                self.let(match[1], match[2].strip("\"'"))
        elif argv[0] in ("alias", "hash"):
            self.rename(argv)
        elif argv[0] == "set":
            self.positional([text for text in argv[1:] if not text.startswith(("-", "+"))])
        elif argv[0] == "printf" and argv[1:2] == ("-v",) and len(argv) > 2:
            for text in (" ".join(argv[3:]), *argv[4:]):
                self.let(argv[2], text)
        elif argv[0] == "read":
            self.read(command)
        self.copy([text for text in argv if not text.startswith("-")])

    def let(self, name: str, text: str, *, joined: bool = False) -> None:
        """Give a variable one more value; `joined` to each that it has."""
        values = self.variables.setdefault(name, [])
        new = [value + text for value in values] if joined else self.texts(text)
        # One more than are tried, so that `widest` notices that there are too many.
        values += [value for value in new if value not in values][: _VALUES + 1 - len(values)]

    def rename(self, argv: tuple[str, ...]) -> None:
        """An alias, or `hash -p PATH NAME`."""
        if argv[:2] == ("hash", "-p") and len(argv) > 3:
            self.programs[argv[3]] = (argv[2],)
        for match in filter(None, map(_SETTING.fullmatch, argv[1:])):
            self.programs[match[1]] = tuple(match[2].split())

    def positional(self, words: list[str]) -> None:
        """`set -- a b`: `$1`, `$2`, `$@`."""
        for at, word in enumerate(words, 1):
            self.let(str(at), word)
        for name in "@*":
            self.let(name, " ".join(words))

    def read(self, command: Command) -> None:
        """`read NAME <<< text`."""
        for name in command.argv[1:]:
            for text in here(command.redirects):
                self.let(name, text.strip())

    def copy(self, argv: list[str]) -> None:
        """A program that is copied or linked is the same program under its new name."""
        if len(argv) == 3 and argv[0] in ("cp", "ln", "mv", "install"):
            self.programs[_plain(argv[2])] = (argv[1],)

    def readings(self, command: Command, *, guess: bool) -> Iterator[tuple[str, ...]]:
        """The words as they are written, and as they will be with what is known."""
        argv = command.argv
        if not argv:
            return
        yield argv
        if not all(word.fixed for word in command.words):
            for at in range(self.widest(argv)):
                texts = [(word, self.substitute(word.text, at, guess=guess)) for word in command.words]
                known = [text for word, text in texts if text.strip() or word.raw.startswith(("'", '"'))]
                while known and not known[0].strip():
                    known = known[1:]
                if known:
                    yield (*known[0].split(), *known[1:])
        if match := _BRACES.search(argv[0]):
            start, end = argv[0][: match.start()], argv[0][match.end() :]
            words = [start + choice + end for choice in match[1].split(",")]
            yield (*filter(None, words), *argv[1:])
        if program := self.programs.get(_plain(argv[0])):
            yield (*program, *argv[1:])

    def widest(self, argv: tuple[str, ...]) -> int:
        """Return how many values the variables in `argv` have at most; where that is too many, not all are tried."""
        widest = self.most(argv)
        if widest > _VALUES and "$" in argv[0]:
            self.complete = False
        return max(1, min(widest, _VALUES))

    def most(self, texts: Sequence[str]) -> int:
        """Return how many values one of the variables in `texts` has at most."""
        names = [match[1] or match[2] for text in texts for match in _VARIABLE.finditer(text)]
        return max((len(self.variables.get(name, ())) for name in names), default=1)

    def substituted(self, text: str) -> list[str]:
        """Return every text that `text`, which is run, may become."""
        self.complete = self.complete and self.most((text,)) <= _VALUES
        return self.texts(text)

    def texts(self, text: str) -> list[str]:
        """Return what `text` may become."""
        return list(dict.fromkeys(self.substitute(text, at, guess=False) for at in range(max(1, self.most((text,))))))

    def substitute(self, text: str, at: int, *, guess: bool) -> str:
        """Put in the values in place `at`, or the last; what the client's own environment sets is known elsewhere."""

        def value(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            values = self.variables.get(name)
            if values and match[3] != "+":
                return values[min(at, len(values) - 1)]
            if match[3]:
                return match[4]  # `${X:-word}`
            return "" if guess and name not in _ENVIRONMENT else match[0]

        while guess and (less := _SUBSTITUTION.sub("", text)) != text:  # it may print nothing
            text = less
        return _VARIABLE.sub(value, text)


def printed(command: Command) -> Iterator[str]:
    """What a command prints or passes on, as far as it stands in the command line."""
    if command.name in ("echo", "printf"):
        yield " ".join(command.argv[1:])
    yield from here(command.redirects)


def here(redirects: tuple[Redirect, ...]) -> Iterator[str]:
    """The text of here-documents and here-strings."""
    for redirect in redirects:
        if redirect.operator == "<<":
            yield redirect.text
        elif redirect.operator == "<<<" and redirect.target is not None:
            yield redirect.target.text


def _plain(name: str) -> str:
    return name.removeprefix("./")
