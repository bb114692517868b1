"""Packs made by hand: each entry a whole object, or a delta on an earlier entry or on a named object."""

import hashlib
import zlib
from collections.abc import Iterable, Sequence

from ringfence.network.git_objects import BLOB, COMMIT, TAG, TREE, identifier
from ringfence.network.git_pack import Pack

WHO = b"A <a@example.com> 1700000000 +0000"
__all__ = [
    "BLOB",
    "COMMIT",
    "TAG",
    "TREE",
    "Whole",
    "commit",
    "content_of",
    "delta",
    "identifier",
    "pack",
    "taken",
    "tree",
]

Whole = tuple[int, bytes]
"""A kind and its content."""
Delta = tuple[str, int | bytes, bytes]
"""`ofs` and the number of an entry, or `ref` and a name; then the difference."""


def number(value: int) -> bytes:
    """Write a size as deltas do."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def delta(base: bytes, added: bytes, keep: int | None = None) -> bytes:
    """Make a difference: the beginning of the base, and then something of its own."""
    kept = len(base) if keep is None else keep
    out = number(len(base)) + number(kept + len(added))
    if kept:
        out += bytes([0b10110000]) + kept.to_bytes(2, "little")
    for at in range(0, len(added), 127):
        out += bytes([len(added[at : at + 127])]) + added[at : at + 127]
    return out


def head(kind: int, size: int) -> bytes:
    """Write how an entry begins."""
    out = bytearray([kind << 4 | size & 15])
    size >>= 4
    while size:
        out[-1] |= 0x80
        out.append(size & 0x7F)
        size >>= 7
    return bytes(out)


def distance(value: int) -> bytes:
    """Write how far before its base begins."""
    out = [value & 0x7F]
    while value := value >> 7:
        value -= 1
        out.insert(0, value & 0x7F | 0x80)
    return bytes(out)


def pack(entries: Sequence[Whole | Delta], *, count: int | None = None) -> bytes:
    """Make a pack."""
    out = bytearray(b"PACK\0\0\0\2" + (len(entries) if count is None else count).to_bytes(4, "big"))
    begins: list[int] = []
    for entry in entries:
        begins.append(len(out))
        if len(entry) == 2:
            out += head(entry[0], len(entry[1])) + zlib.compress(entry[1])
            continue
        _, base, difference = entry
        if isinstance(base, bytes):
            out += head(7, len(difference)) + base
        else:
            out += head(6, len(difference)) + distance(begins[-1] - begins[base])
        out += zlib.compress(difference)
    return bytes(out) + hashlib.sha1(out).digest()


def taken(data: bytes, *, trees: bool = True, pieces: Iterable[int] = ()) -> Pack:
    """Read a pack, cut at `pieces`, to its end."""
    found, at = Pack(trees=trees), 0
    for end in [*sorted(pieces), len(data)]:
        found.feed(data[at:end])
        at = end
    found.finish()
    for _ in found.resolve(lambda offset, size: data[offset : offset + size]):
        pass
    return found


def content_of(found: Pack, data: bytes, name: bytes) -> bytes:
    """Give an object of a pack that has been read."""
    return found.content(lambda offset, size: data[offset : offset + size], name)


def tree(entries: dict[bytes, tuple[bytes, bytes]]) -> bytes:
    """Write a tree: mode and name of the object for each name."""
    return b"".join(b"%b %b\0%b" % (mode, name, found) for name, (mode, found) in sorted(entries.items()))


def commit(tree_name: bytes, *parents: bytes, author: bytes = WHO, more: bytes = b"", text: bytes = b"m\n") -> bytes:
    """Write a commit."""
    lines = [b"tree " + tree_name.hex().encode(), *(b"parent " + parent.hex().encode() for parent in parents)]
    return b"\n".join([*lines, b"author " + author, b"committer " + WHO]) + b"\n" + more + b"\n" + text
