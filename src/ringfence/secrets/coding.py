"""Bodies out of their content coding: gzip and deflate (RFC 9110 section 8.4.1), so that they can be looked into.

Bounds: a piece may expand to `MOST_BYTES` (zlib makes at most 1032 of one byte).
"""

import zlib

from ringfence.model.passage import Headers

MOST_BYTES = 32 << 20
_GZIP = 16 + zlib.MAX_WBITS  # zlib.h, inflateInit2()


class UnreadableError(ValueError):
    """A body that cannot be looked into; says why in a few words."""


def coding(headers: Headers) -> str:
    """Return the content coding that a message states, in lower case, empty for none."""
    stated = b",".join(value for name, value in headers if name == b"content-encoding").decode("ascii", "replace")
    listed = [name.strip().lower() for name in stated.split(",")]
    return ",".join(name for name in listed if name not in ("", "identity"))


class Decoder:
    """One body in `gzip` or `deflate`."""

    def __init__(self, name: str) -> None:
        """Begin; raise UnreadableError for another coding."""
        if name not in ("gzip", "x-gzip", "deflate"):
            raise UnreadableError(f"its coding `{name[:40]}` cannot be read")
        self._gzip = name != "deflate"
        self._inflater = zlib.decompressobj(_GZIP) if self._gzip else None
        self._start = b""
        self._whole = True  # between two members, or before the first

    def feed(self, data: bytes, *, last: bool) -> bytes:
        """Return what is in the next piece. Raise UnreadableError for what is no such body, or too much."""
        pieces: list[bytes] = []
        room = MOST_BYTES
        data, self._start = self._start + data, b""
        if self._inflater is None:
            if len(data) < 2 and not last:
                self._start = data
                return b""
            self._inflater = zlib.decompressobj(zlib.MAX_WBITS if _has_header(data) else -zlib.MAX_WBITS)
        while data:
            pieces.append(self._inflate(self._inflater, data, room))
            room -= len(pieces[-1])
            self._whole = self._inflater.eof
            data = self._inflater.unused_data
            if self._whole and self._gzip:
                self._inflater = zlib.decompressobj(_GZIP)  # RFC 1952 section 2.2: members follow each other
            elif self._whole:
                break
        if last and not self._whole:
            raise UnreadableError("it is cut short")
        return b"".join(pieces)

    def _inflate(self, inflater: "zlib._Decompress", data: bytes, room: int) -> bytes:
        if not room:
            raise UnreadableError("it expands to too much")
        try:
            made = inflater.decompress(data, room)
        except zlib.error:
            raise UnreadableError("it is not in the coding that it states") from None
        if inflater.unconsumed_tail:
            raise UnreadableError("it expands to too much")
        return made


def _has_header(data: bytes) -> bool:
    """Tell whether deflate comes in zlib's frame (RFC 1950 section 2.2), as it should, or raw, as it does at times."""
    return len(data) >= 2 and data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
