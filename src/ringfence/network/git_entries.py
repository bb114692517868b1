"""The entries of a pack, one by one: how each begins, and its content as it is inflated (gitformat-pack(5)).

Sizes and distances are numbers of seven bits a byte, the highest bit set while more follow: that of a size has the kind
in its first byte and grows from the low end, that of a distance grows from the high end, one added at each byte.
"""

import zlib

import msgspec

from .malformed import Malformed

OFFSET_DELTA, NAME_DELTA = 6, 7
PIECE = 16 << 10
"""Of deflated bytes, inflated at a time; they become at most a thousand times as many."""

_PLAIN = (1, 2, 3, 4)
_LONGEST = 20  # bytes of a header without a name


class Header(msgspec.Struct, frozen=True):
    """How an object begins: `size` when inflated, `base` an offset or a name, `length` of the header itself."""

    kind: int
    size: int
    base: int | bytes
    length: int


class Inflating:
    """An object that is being inflated; `content` is there where it is kept, once it is `complete`."""

    def __init__(self, offset: int, kind: int, size: int, *, keep: bool) -> None:
        """Begin with an object of `size` bytes at `offset`."""
        self.offset, self.kind, self.size, self.got = offset, kind, size, 0
        self.complete = False
        self._stream = zlib.decompressobj()
        self._parts: list[bytes] | None = [] if keep else None

    @property
    def content(self) -> bytes | None:
        """The whole object; None where it is not kept."""
        return None if self._parts is None else b"".join(self._parts)

    def take(self, data: bytes, position: int) -> int:
        """Inflate some of `data` from `position` on; give how many bytes that took. Raises `Malformed`."""
        piece = data[position : position + min(PIECE, self.size - self.got + 64)]
        try:
            made = self._stream.decompress(piece)
        except zlib.error as error:
            raise Malformed("an object of a pack that cannot be inflated") from error
        self.got += len(made)
        if self.got > self.size:
            raise Malformed("an object of a pack that is longer than it says")
        if self._parts is not None:
            self._parts.append(made)
        if not self._stream.eof:
            return len(piece)
        if self.got != self.size:
            raise Malformed("an object of a pack that is shorter than it says")
        self.complete = True
        return len(piece) - len(self._stream.unused_data)


def read_header(data: bytes, offset: int) -> Header | None:
    """Read how the object at `offset` begins; None where `data` ends before. Raises `Malformed`."""
    if not data:
        return None
    kind, size, shift, at = data[0] >> 4 & 7, data[0] & 15, 4, 1
    while data[at - 1] & 0x80:
        if at >= len(data) or shift > 57:
            return None
        size |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
    if kind == NAME_DELTA:
        return Header(kind, size, data[at : at + 20], at + 20) if len(data) >= at + 20 else None
    if kind != OFFSET_DELTA:
        if kind not in _PLAIN:
            raise Malformed("an object of a pack of a kind that is not known")
        return Header(kind, size, 0, at)
    distance = -1
    while at < min(len(data), _LONGEST):
        byte = data[at]
        at += 1
        distance = (distance + 1) << 7 | byte & 0x7F
        if not byte & 0x80:
            if not 0 < distance < offset:
                raise Malformed("a delta whose base is no object")
            return Header(kind, size, offset - distance, at)
    return None
