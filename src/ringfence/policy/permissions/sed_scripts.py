"""What a `sed` program does, as far as it can be told: print lines, replace text, or something that is asked about.

sed programs can write files (`w`), run commands (`e`) and read programs from files; only two shapes are accepted:
addresses of lines to print, and one `s/from/to/flags`.
"""

import re
from collections.abc import Sequence

_PRINT = re.compile(r"\d+(?:,\d+)?p(?:\s*;\s*\d+(?:,\d+)?p)*")
_REPLACE = re.compile(
    r"s/((?:[^/\\\n;{}]|\\.)*)/((?:[^/\\\n;{}]|\\[^\n0-9eEwW])*)/([gpimIM]{0,5}|[1-9][gpimIM]{0,3})", re.S
)

_PRINTING = frozenset(("-n", "-E", "-r", "-z", "-nE", "-nr", "-En", "-rn", "--quiet", "--silent", "--posix"))
_REPLACING = frozenset(("-E", "-r", "--regexp-extended", "--posix"))
_IN_PLACE = frozenset(("-i", "--in-place", "-Ei", "-ri"))
_QUIET = frozenset(("-n", "-nE", "-nr", "-En", "-rn", "--quiet", "--silent"))


def prints_lines(words: Sequence[str]) -> bool:
    """Tell whether `sed` with these arguments only prints lines chosen by number."""
    options, rest = _split(words)
    return (
        bool(rest)
        and "-" not in rest
        and all(option in _PRINTING for option in options)
        and bool(_QUIET.intersection(options))
        and _PRINT.fullmatch(rest[0]) is not None
    )


def filters_input(words: Sequence[str]) -> bool:
    """Tell whether `sed` with these arguments replaces text on its way through, naming no file."""
    options, rest = _split(words)
    return len(rest) == 1 and all(option in _REPLACING for option in options) and replaces(rest[0])


def edits_files(words: Sequence[str]) -> bool:
    """Tell whether `sed` with these arguments replaces text, in its files or on the way through."""
    options, rest = _split(words)
    known = all(option in _REPLACING or option in _IN_PLACE for option in options)
    return known and bool(rest) and replaces(rest[0])


def is_quiet(words: Sequence[str]) -> bool:
    """Tell whether `sed` prints only what it is told to, and has no option that is not known."""
    options, _ = _split(words)
    return bool(_QUIET.intersection(options)) and all(option in _PRINTING or option == "-e" for option in options)


def replaces(program: str) -> bool:
    """Tell whether `program` is one replacement that neither writes nor runs anything."""
    return _REPLACE.fullmatch(program) is not None


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate the options from the rest; sed takes them anywhere."""
    options = [word for word in words if word.startswith("-") and word != "-"]
    return options, [word for word in words if word not in options]
