"""Shell text in the arguments of programs, by program: `bash -c`, `find -exec`, an alias of git.

For denials only, so it guesses rather too often. Not seen here: what stands in a file, what another command prints, and
what programs with a language of their own (vim, sed, tar) can be told to run.
"""

import re
from collections.abc import Iterator, Sequence

SHELLS = frozenset("sh bash dash zsh ksh ash rbash fish".split())
_INTERPRETERS = frozenset("awk gawk mawk python python2 python3 perl ruby node nodejs php lua".split())
# Programs that take a whole command line as one word.
_QUOTING = frozenset("env script flock watch su runuser ssh tmux screen capsh".split())
_ATTACHED = re.compile(r"-\w*?[Sc]|--[a-z-]+=")
_SHELL_CODE = re.compile(r"-[a-zA-Z]*c")
_STRING = re.compile(
    r""""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|`([^`]*)`|(?:\b(?:qw|qx)|%[xw])\s*[({\[/|]([^)}\]/|]*)""", re.S
)
_FIND_RUNS = ("-exec", "-execdir", "-ok", "-okdir")
_GIT_RUNS = re.compile(r"-x|--exe?c?|--ext(?:c(?:md?)?)?|--upl[a-z-]*|--rece[a-z-]*|--\w+-filter")
_GIT_REST = ("run", "foreach")


def texts_in(words: Sequence[str]) -> Iterator[str]:
    """Yield the shell text that `words`, one command, is given to run."""
    name, rest = words[0].rpartition("/")[2], words[1:]
    if name in SHELLS:
        yield from _behind_option(rest)
    elif name in ("eval", "trap"):
        given = rest[1:] if rest[:1] == ("--",) else rest
        yield " ".join(given if name == "eval" else given[:1])
    elif name == "find":
        yield from _found(rest)
    elif name == "git":
        yield from _git(rest)
    elif name in _INTERPRETERS:
        yield from _strings(rest)
    elif name in _QUOTING:
        yield from _behind_option(rest)
        for word in rest:
            if " " in word:
                attached = _ATTACHED.match(word)
                yield word[attached.end() :] if attached else word


def _behind_option(words: Sequence[str]) -> Iterator[str]:
    """The first word behind `-c` that is no option."""
    for at, word in enumerate(words):
        if _SHELL_CODE.fullmatch(word):
            yield from [text for text in words[at + 1 :] if not text.startswith(("-", "+"))][:1]


def _found(words: Sequence[str]) -> Iterator[str]:
    """What `find` runs for each file."""
    for at, word in enumerate(words):
        if word in _FIND_RUNS:
            rest = list(words[at + 1 :])
            ends = [place for place, text in enumerate(rest) if text in (";", "+")]
            yield " ".join(_requoted(text) for text in rest[: ends[0] if ends else len(rest)])


def _git(words: Sequence[str]) -> Iterator[str]:
    """Configuration and options that name programs, and what `bisect run` and `submodule foreach` run."""
    for at, word in enumerate(words):
        option, equals, value = word.partition("=")
        if word == "-c" and at + 1 < len(words):
            yield words[at + 1].partition("=")[2].lstrip("!")
        elif word.startswith("!"):
            yield word[1:]
        elif _GIT_RUNS.fullmatch(option):
            yield value if equals else " ".join(words[at + 1 : at + 2])
        elif word in _GIT_REST and at == 1:
            yield " ".join(words[at + 1 :])


def _strings(words: Sequence[str]) -> Iterator[str]:
    """The string literals in a program given as an argument: any of them may be a command."""
    for word in words:
        for match in _STRING.finditer(word):
            text = next((group for group in match.groups() if group), "").strip("\"' ")
            if " " in text or len(words) < 3:
                yield text


def _requoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
