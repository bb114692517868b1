"""Show changes as text: a status line each, the lines added and removed, and a unified difference.

SECURITY: names and contents come from the contained side, so every character that could steer a terminal is escaped
(threat: the user's attention), and the sizes compared are bounded, because finding the shortest difference of hostile
text takes time.
"""

import difflib
import os
from collections.abc import Iterable, Iterator

import msgspec

from ringfence.model.names import shown
from ringfence.model.paths import HostPath

from .beneath import Tree
from .change import Change, ChangeKind, FileType
from .content import open_regular

_LIMIT_BYTES = 256 << 10
_LIMIT_LINES = 4000
_BINARY_PREFIX = 8000  # how far git looks for a NUL byte: xdiff-interface.c, buffer_is_binary
_LETTERS = {
    ChangeKind.CREATE: "A",
    ChangeKind.MODIFY: "M",
    ChangeKind.REPLACE: "T",
    ChangeKind.MODE: "M",
    ChangeKind.DELETE: "D",
    ChangeKind.UNREADABLE: "!",
}


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One change as text. `status` is git's letter; `lines` the unified difference, ready to print, without line ends.

    `added` and `removed` count lines; both are None where the content is binary or too large to compare.
    """

    path: str
    status: str
    added: int | None = 0
    removed: int | None = 0
    lines: tuple[str, ...] = ()


def differences(changes: Iterable[Change], *, upper: HostPath, lower: HostPath) -> Iterator[Difference]:
    """Compare each change with what the host has now; a file that cannot be read is shown as such."""
    with Tree(upper) as layer, Tree(lower) as host:
        for change in changes:
            yield _difference(change, layer, host)


def stat_lines(found: Iterable[Difference]) -> list[str]:
    """Give one line per difference, in the manner of `git diff --stat`."""
    lines = []
    for item in found:
        count = "binary" if item.added is None or item.removed is None else f"+{item.added} -{item.removed}"
        lines.append(f"{item.status} {shown(item.path)} | {count}")
    return lines


def _difference(change: Change, layer: Tree, host: Tree) -> Difference:
    status = _LETTERS[change.kind]
    lines = list(_header(change))
    new_side = change.kind not in (ChangeKind.DELETE, ChangeKind.UNREADABLE) and change.type is FileType.FILE
    old_side = change.old_type is FileType.FILE
    if change.kind in (ChangeKind.MODE, ChangeKind.UNREADABLE) or not (new_side or old_side):
        return Difference(path=change.path, status=status, lines=tuple(lines))
    old = _text(host, change.path) if old_side else []
    new = _text(layer, change.path) if new_side else []
    if old is None or new is None:
        lines.append(f"Binary or large file {shown(change.path)} differs, now {change.size} bytes")
        return Difference(path=change.path, status=status, added=None, removed=None, lines=tuple(lines))
    body = list(_unified(change.path, old, new, sides=(old_side, new_side)))
    added = sum(line.startswith("+") for line in body[2:])
    removed = sum(line.startswith("-") for line in body[2:])
    return Difference(path=change.path, status=status, added=added, removed=removed, lines=(*lines, *body))


def _header(change: Change) -> Iterator[str]:
    yield f"diff {shown(change.path)}"
    if change.kind is ChangeKind.UNREADABLE:
        yield f"cannot be read: {change.detail}"
    elif change.kind is ChangeKind.DELETE:
        yield f"deleted {change.type.value} mode {change.old_mode:o}"
    elif change.kind is ChangeKind.CREATE:
        yield f"new {change.type.value} mode {change.mode:o}"
    elif change.old_type is not change.type and change.old_type is not None:
        yield f"{change.old_type.value} becomes {change.type.value}"
    elif change.mode != change.old_mode and change.type is not FileType.SYMLINK:
        yield f"old mode {change.old_mode:o}, new mode {change.mode:o}"
    if change.link:
        yield f"link to {shown(change.link)}"


def _unified(path: str, old: list[str], new: list[str], *, sides: tuple[bool, bool]) -> Iterator[str]:
    before = f"a/{shown(path)}" if sides[0] else "/dev/null"
    after = f"b/{shown(path)}" if sides[1] else "/dev/null"
    for line in difflib.unified_diff(old, new, before, after, lineterm=""):
        text = line.removesuffix("\n")
        yield text
        if text == line and line[:1] in "+- " and line not in (f"--- {before}", f"+++ {after}"):
            yield "\\ No newline at end of file"


def _text(tree: Tree, path: str) -> list[str] | None:
    """Read a file's lines, escaped but for their ends; None where it is binary, too large or cannot be read."""
    try:
        data = _read(tree, path)
    except OSError:
        return None
    if data is None or b"\0" in data[:_BINARY_PREFIX]:
        return None
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    if len(lines) > _LIMIT_LINES:
        return None
    last = lines.pop()
    return [_line(line) + "\n" for line in lines] + ([_line(last)] if last else [])


def _line(text: str) -> str:
    return "\t".join(shown(part) for part in text.split("\t"))


def _read(tree: Tree, path: str) -> bytes | None:
    directory, name = tree.open_parent(path)
    try:
        fd = open_regular(directory, name)
    finally:
        os.close(directory)
    try:
        data = os.read(fd, _LIMIT_BYTES + 1)
        return data if len(data) <= _LIMIT_BYTES else None
    finally:
        os.close(fd)
