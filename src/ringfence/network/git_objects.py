"""git's objects as bytes: commits, tags, trees and deltas (gitformat-pack(5), git's commit.c and tree-walk.c).

    commit = "tree " id LF *( "parent " id LF ) "author " ident LF "committer " ident LF *header LF text
    tag    = "object " id LF "type " type LF "tag " name LF [ "tagger " ident LF ] *header LF text
    ident  = name " <" address "> " time          tree = *( mode SP name NUL 20OCTET )
    delta  = size-of-base size-of-result *( copy / insert )

Headers are read in this order only, so that no second author hides behind a first: servers take such commits unless
they are told to check. What is not of this form is `Malformed`, and a push that holds it cannot be judged.
"""

import hashlib
import re
from collections.abc import Generator
from typing import TypeVar

import msgspec

from .malformed import Malformed

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
MAX_OBJECT_BYTES = 16 << 20
"""Of a commit, tree or tag that is looked into."""
MAX_PARENTS = 64
MAX_ADDRESS_BYTES = 1024  # kept for each of many commits
MAX_HEADERS_BYTES = 1 << 20
INSTRUCTIONS_A_STEP = 1024  # of a delta: half a millisecond

T = TypeVar("T")

_IDENT = rb"[^<>\n\0]*<([^<>\n\0]*)> [0-9]+ [+-][0-9]+"
_COMMIT = re.compile(
    rb"tree ([0-9a-f]{40})\n((?:parent [0-9a-f]{40}\n)*)author " + _IDENT + rb"\ncommitter " + _IDENT + rb"\n"
)
_TAG = re.compile(
    rb"object ([0-9a-f]{40})\ntype (commit|tree|blob|tag)\ntag [^\n\0]+\n(?:tagger " + _IDENT + rb"\n)?(?=\n|$|[a-z])"
)
_DIRECTORY = (b"40000", b"040000")
_LINKS = (b"120000", b"160000")
# SECURITY: git reads a mode as an octal number of any length, cut to 16 bits, so that `0040000` and `1040000` are
# directories as well. What git itself writes, or did long ago (`100664`), is all that there may be.
_MODES = frozenset({*_DIRECTORY, *_LINKS, b"100644", b"100664", b"100755"})
_GIT_HEADERS = (b"tree", b"parent", b"author", b"committer")


class Commit(msgspec.Struct, frozen=True):
    """What rules ask of a commit; object names are binary, addresses text."""

    tree: bytes
    parents: tuple[bytes, ...]
    author: str
    committer: str


class Tag(msgspec.Struct, frozen=True):
    """An annotated tag; `tagger` is an address, empty for ancient ones."""

    target: bytes
    tagger: str


class Entry(msgspec.Struct, frozen=True):
    """One name in a tree."""

    mode: bytes
    identifier: bytes

    @property
    def is_directory(self) -> bool:
        """Tell whether it is a tree itself."""
        return self.mode in _DIRECTORY

    @property
    def is_link(self) -> bool:
        """Tell whether it is a symbolic link, or a submodule: something that has files elsewhere."""
        return self.mode in _LINKS


def identifier(kind: int, content: bytes) -> bytes:
    """Give an object's name."""
    return hashlib.sha1(b"%b %d\0" % (NAMES[kind], len(content)) + content, usedforsecurity=False).digest()


def read_commit(content: bytes) -> Commit:
    """Read a commit; raise `Malformed`."""
    found = _COMMIT.match(content)
    if found is None:
        raise Malformed("a commit that is not well formed")
    parents = tuple(bytes.fromhex(line[7:].decode()) for line in found[2].splitlines())
    if len(parents) > MAX_PARENTS:
        raise Malformed("a commit with too many parents")
    more = b"" if content.startswith(b"\n", found.end()) else content[found.end() :].partition(b"\n\n")[0]
    if len(more) > MAX_HEADERS_BYTES:
        raise Malformed("a commit with too long a head")
    names = {line.partition(b" ")[0] for line in more.split(b"\n")}
    if not names.isdisjoint(_GIT_HEADERS):
        raise Malformed("a commit that says a thing twice")
    return Commit(bytes.fromhex(found[1].decode()), parents, _address(found[3]), _address(found[4]))


def read_tag(content: bytes) -> Tag:
    """Read an annotated tag; raise `Malformed`."""
    found = _TAG.match(content)
    if found is None:
        raise Malformed("a tag that is not well formed")
    return Tag(bytes.fromhex(found[1].decode()), _address(found[3] or b""))


def read_tree(content: bytes) -> dict[bytes, Entry]:
    """Read a tree: its entries by name; raise `Malformed`, also for names that no tree may have."""
    entries: dict[bytes, Entry] = {}
    at = 0
    while at < len(content):
        end = content.find(b"\0", at)
        mode, space, name = content[at:end].partition(b" ")
        if end < 0 or not space or len(content) < end + 21 or mode not in _MODES:
            raise Malformed("a tree that is not well formed")
        if not name or b"/" in name or name in (b".", b"..") or name.lower() == b".git" or name in entries:
            raise Malformed("a tree with a name that no tree may have")
        entries[name] = Entry(mode, content[end + 1 : end + 21])
        at = end + 21
    return entries


def finished(steps: Generator[None, None, T]) -> T:
    """Carry out what gives way, without giving way."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: T = end.value
            return made


def apply_delta(base: bytes, delta: bytes) -> Generator[None, None, bytes]:
    """Make an object out of its base and the difference, giving way now and then; raise `Malformed`."""
    size, at = _size(delta, 0)
    result, at = _size(delta, at)
    if size != len(base) or result > MAX_OBJECT_BYTES:
        raise Malformed("a delta for another base, or of too large an object")
    parts: list[bytes] = []
    made = 0
    while at < len(delta):
        code = delta[at]
        at += 1
        if code & 0x80:
            offset, count, at = _copy(delta, code, at)
            part = base[offset : offset + count]
        else:
            count = code
            part = delta[at : at + count]
            at += count
        made += count
        if not count or len(part) != count or made > result:
            raise Malformed("a delta that is not well formed")
        parts.append(part)
        if len(parts) % INSTRUCTIONS_A_STEP == 0:
            yield
    if made != result:
        raise Malformed("a delta that is not well formed")
    return b"".join(parts)


def _copy(delta: bytes, code: int, at: int) -> tuple[int, int, int]:
    """Read where a copy begins and how long it is: a byte for each bit that is set."""
    values = [0] * 7
    for bit in range(7):
        if code & (1 << bit):
            if at >= len(delta):
                raise Malformed("a delta that ends early")
            values[bit] = delta[at]
            at += 1
    offset = int.from_bytes(bytes(values[:4]), "little")
    return offset, int.from_bytes(bytes(values[4:]), "little") or 0x10000, at


def _size(delta: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(delta) and shift < 63:
        byte = delta[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at
    raise Malformed("a delta without its sizes")


def _address(raw: bytes) -> str:
    if len(raw) > MAX_ADDRESS_BYTES:
        raise Malformed("an address that is too long")
    return raw.decode("utf-8", "backslashreplace").strip()
