"""Which paths of URLs a rule's `paths` match.

`*` is any run of characters within a segment, `**` as a whole segment any number of segments, at the end at least one
(which may be empty: `/a/**` matches `/a/` and all below, not `/a`). Everything else is itself, in its letter case.

Theory of operation: `**` cuts a pattern into blocks of segments. The first block stands at the start of the path, the
last at its end, each between at its leftmost place behind the one before; a block has a fixed number of segments, so
leftmost is as good as any. Within a segment `*` cuts the same way. Nothing backtracks.

SECURITY: a server may read a path otherwise than it is written (`%2f` as `/`, `..;` as `..`, `//` as `/`). So a path
has two readings: as it is, and resolved as the most generous server would. An allowance needs both, a denial one, and
denials ignore letter case.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

_ENCODED = (("%2f", "/"), ("%2F", "/"), ("%5c", "/"), ("%5C", "/"), ("%2e", "."), ("%2E", "."), ("\\", "/"))

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_VISIBLE = re.compile(r"[!-~]*")
_UNRESERVED = re.compile(r"[A-Za-z0-9_~-]")

_Blocks = tuple[tuple[str, ...], ...]


def canonical(text: str) -> str:
    """Write percent-encodings in one way, in a path or pattern: in capitals, and none where none is needed.

    A dot stays encoded, as a sign that somebody had a purpose (RFC 3986, section 2.3; network/authority.py).
    """
    return _ESCAPE.sub(lambda found: _escaped(chr(int(found[1], 16)), found[0]), text)


def _escaped(character: str, written: str) -> str:
    return character if _UNRESERVED.fullmatch(character) else written.upper()


def check_pattern(pattern: str) -> str:
    """Return what is wrong with a canonical pattern of `paths`, or nothing."""
    if not pattern.startswith("/"):
        return "it does not begin with `/`"
    if not _VISIBLE.fullmatch(pattern):
        return "it holds what no path of a request holds; write other characters percent-encoded"
    if "?" in pattern or "#" in pattern:
        return "queries and fragments are not looked at"
    if any("**" in segment and segment != "**" for segment in pattern.split("/")):
        return "`**` is no segment of its own"
    plain = pattern.replace("%2F", "")
    if resolved(plain) != plain:
        return "it can never match: `.`, `..`, `//`, `;`, backslashes and `%25` are resolved before"
    return ""


def allows(patterns: Sequence[str], path: str) -> bool:
    """Tell whether each reading of `path` is matched by one of `patterns`."""
    return all(any(_matches(pattern, form) for pattern in patterns) for form in {path, resolved(path)})


def denies(patterns: Sequence[str], path: str) -> bool:
    """Tell whether some reading of `path` is matched by one of `patterns`, in any letter case."""
    folded = path.lower()
    return any(_matches(pattern.lower(), form) for pattern in patterns for form in (folded, resolved(folded)))


def resolved(path: str) -> str:
    """Resolve what some servers resolve: encoded slashes and dots, backslashes, parameters, `.`, `..` and `//`."""
    if not any(mark in path for mark in ("%", "\\", ";", "//", "/.")):
        return path
    while "%25" in path:
        path = path.replace("%25", "%")
    for encoded, mark in _ENCODED:
        path = path.replace(encoded, mark)
    segments: list[str] = []
    for segment in path.split("/")[1:-1]:
        _enter(segments, segment.partition(";")[0])
    last = path.rpartition("/")[2].partition(";")[0]
    _enter(segments, last)
    is_directory = last in ("", ".", "..")
    return "/" + "/".join(segments) + ("/" if is_directory and segments else "")


def _enter(segments: list[str], name: str) -> None:
    if name == "..":
        del segments[-1:]
    elif name not in ("", "."):
        segments.append(name)


@lru_cache(maxsize=4096)
def _blocks(pattern: str) -> _Blocks:
    """Cut a pattern at its `**`."""
    blocks: list[tuple[str, ...]] = [()]
    for segment in pattern.split("/")[1:]:
        if segment == "**":
            blocks.append(())
        else:
            blocks[-1] = (*blocks[-1], segment)
    return tuple(blocks)


def _matches(pattern: str, path: str) -> bool:
    if "*" not in pattern:
        return pattern == path
    names = path.split("/")[1:]
    first, *others = _blocks(pattern)
    if not others:
        return len(first) == len(names) and _stands(first, names, 0)
    *between, last = others
    end = len(names) - max(len(last), 1)
    at = len(first)
    if at > end or not _stands(first, names, 0) or not _stands(last, names, end):
        return False
    for block in between:
        while not _stands(block, names, at):
            at += 1
            if at + len(block) > end:
                return False
        at += len(block)
    return at <= end


def _stands(block: Sequence[str], names: Sequence[str], at: int) -> bool:
    return len(names) - at >= len(block) and all(
        _segment(pattern, names[at + index]) for index, pattern in enumerate(block)
    )


def _segment(pattern: str, name: str) -> bool:
    """Match one segment: its parts between `*`, in order, the outer ones at the ends."""
    if "*" not in pattern:
        return pattern == name
    first, *between, last = pattern.split("*")
    if len(name) < len(first) + len(last) or not name.startswith(first) or not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in between:
        at = name.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
