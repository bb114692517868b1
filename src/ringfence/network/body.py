"""Bodies of HTTP/1 messages, passed on as they arrive and framed anew.

Theory of operation. h11 has read the head of a message. A body of known length is counted here, since nothing in it
can be misread: bytes go from one socket to the other without further copies. A chunked one, or one that lasts until
the end of its connection, goes through h11; what one read gives becomes one chunk, so chunk extensions and sizes, in
which requests have been hidden, do not survive. Nothing waits for more: what has arrived is sent on at once.

INVARIANT: the end of a message is only sent where the end of it was received
(tests/unit/network/test_relay.py, `test_a_cut_*`).
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import h11

from .http1 import trailers
from .stream import READ_BYTES, Stream

Headers = list[tuple[bytes, bytes]]
Stop = TypeVar("Stop")
SLICE_BYTES = 4 << 10  # deflated, they make at most 4 MiB
PLAIN_BYTES = 256 << 10  # of one read in the clear, where system calls and not ciphers are what costs


class Incoming:
    """The body of a message whose head `parser` has just read from `stream`; `length` where it is known."""

    def __init__(self, stream: Stream, parser: h11.Connection, length: int | None) -> None:
        self._stream = stream
        self._parser = parser
        self._left = length
        self._piece = PLAIN_BYTES if stream.tls is None else READ_BYTES
        self.ended = length == 0
        self.trailers: Headers = []
        if length is not None:
            stream.unread(parser.trailing_data[0])

    @property
    def at_hand(self) -> bool:
        """Tell whether there is something to read without waiting."""
        return self.ended or bool(self._parser.trailing_data[0])

    async def read(self) -> bytes:
        """Give what has arrived; empty at the end, and there only.

        Raises OSError where the other side stops in the middle, h11.RemoteProtocolError where it breaks the framing.
        """
        if self.ended:
            return b""
        if self._left is None:
            return await self._parsed()
        data = await self._stream.read(min(self._piece, self._left))
        if not data:
            raise ConnectionAbortedError("the message ended early")
        self._left -= len(data)
        self.ended = not self._left
        return data

    async def _parsed(self) -> bytes:
        parts: list[bytes] = []
        while True:
            event = self._parser.next_event()
            if isinstance(event, h11.Data):
                parts.append(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.trailers = trailers(list(event.headers))
                self._stream.unread(self._parser.trailing_data[0])
                self.ended = True
                return b"".join(parts)
            elif parts:
                return b"".join(parts)
            else:
                self._parser.receive_data(await self._stream.read())


class Sliced(Incoming):
    """The same in small pieces, for who decodes it: a piece that expands is held until its reader has taken it."""

    _rest = b""
    _over = False

    async def read(self) -> bytes:
        """Give the next bytes, as `Incoming` does."""
        if not self._rest:
            self._rest = await super().read()
            self._over = self.ended
        data, self._rest = self._rest[:SLICE_BYTES], self._rest[SLICE_BYTES:]
        self.ended = self._over and not self._rest
        return data


class Outgoing:
    """A body on its way: `start` is the head of its message, sent with the first bytes; `chunked` frames it."""

    def __init__(self, stream: Stream, start: bytes, *, chunked: bool) -> None:
        self._stream = stream
        self._start = start
        self._chunked = chunked
        self.broken = False  # it was this side that failed

    @property
    def begun(self) -> bool:
        """Tell whether the head has gone out."""
        return not self._start

    async def write(self, data: bytes, end: Incoming | None = None) -> None:
        """Send bytes, and after them the end of the body that has been read from `end`, if it has one."""
        if self._chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._chunked and end is not None:
            data += _last_chunk(end.trailers)
        start, self._start = self._start, b""
        try:
            if start or data:
                await self._stream.write(start + data if start else data)
        except OSError:
            self.broken = True
            raise


def _last_chunk(trailers: Headers) -> bytes:
    return b"0\r\n" + b"".join(b"%b: %b\r\n" % field for field in trailers) + b"\r\n"


async def pump(source: Incoming, sink: Outgoing, examine: Callable[[bytes], Awaitable[bytes | Stop]]) -> Stop | None:
    """Pass a whole body on, or give what `examine` makes of a piece of it that may not pass; then it is not ended.

    `examine` gives what is to be sent for each piece, which may be empty; after the last one `source.ended` is true.
    The head goes out at once, with as much of the body as is at hand.
    """
    if not source.at_hand:
        await sink.write(b"")
    while True:
        passed = await examine(await source.read())
        if not isinstance(passed, bytes):
            return passed
        if source.ended:
            await sink.write(passed, source)
            return None
        await sink.write(passed)
