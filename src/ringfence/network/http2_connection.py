"""One HTTP/2 connection (RFC 9113), client's or host's side: frames in, frames out, and what is owed for them.

Theory of operation. Whoever reads never waits for a write: what is to be sent is collected, and a task of its own
writes it. What has been received is acknowledged, so that the other side may send more, only when it has been written
to where it goes. So no two sides can wait for each other, and no more is held than the windows below.

A GOAWAY is taken out of the frames before h2 sees it: h2 takes it for the end of the connection, while hosts announce
with it that they will finish what they have begun (section 6.8).

SECURITY: a peer that provokes answers faster than it reads them (PING and SETTINGS: CVE-2019-9512, CVE-2019-9515) is
cut. h2 bounds a header block to 64 KiB decoded, and the CONTINUATION frames it may come in (CVE-2024-27316's kind).
"""

import asyncio
from collections.abc import Sequence

import msgspec
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event
from h2.exceptions import DenialOfServiceError, FrameTooLargeError, ProtocolError
from h2.settings import SettingCodes, Settings

from .stream import Stream

STREAM_WINDOW = 256 << 10
CONNECTION_WINDOW = 1 << 20
MAX_STREAMS = 100
MAX_UNSENT = 2 * CONNECTION_WINDOW
MAX_PROVOKED = 1000  # answers to PING and SETTINGS that have not been written yet
FRAME_BYTES = 16 << 10  # the largest payload that is accepted: the default, section 6.5.2
_DEFAULT_WINDOW = 65535
_PREFACE = 24  # bytes that a client sends before its first frame, section 3.4
_HEADER = 9
_PROVOKING = (4, 6)  # SETTINGS, PING
_GOAWAY = 7
_GOAWAY_HEAD = bytes((0, 0, 8, _GOAWAY, 0, 0, 0, 0, 0))  # length, type, flags, stream: section 4.1
_LAST = (1 << 31) - 1


class GoAway(msgspec.Struct, frozen=True):
    """The other side will not look at streams beyond `last`."""

    last: int


class Http2Connection:
    """`h2` is the state; call `flush` after it has been told to send something."""

    def __init__(self, stream: Stream, *, client_side: bool) -> None:
        """Introduce ourselves over `stream`, as the client or as the server."""
        self.stream = stream
        self.h2 = H2Connection(H2Configuration(client_side=client_side, header_encoding=None))
        wanted = {
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            SettingCodes.MAX_HEADER_LIST_SIZE: 64 << 10,
            SettingCodes.ENABLE_PUSH: 0,
        }
        if not client_side:
            del wanted[SettingCodes.ENABLE_PUSH]
        self.h2.local_settings = Settings(client=client_side, initial_values=wanted)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW - _DEFAULT_WINDOW)
        self._received = bytearray()
        self._skipped = 0 if client_side else _PREFACE
        self._unsent = bytearray()
        self._provoked = 0
        self._owed: list[tuple[Http2Connection, int, int]] = []
        self._wake = asyncio.Event()
        self.flush()

    async def receive(self) -> Sequence[Event | GoAway]:
        """Wait for what the other side does next; empty when it has ended, ConnectionAbortedError where it may not."""
        while data := await self.stream.read():
            try:
                events = self._take(data)
            except ProtocolError as error:
                await self.stream.write(bytes(self._unsent) + self.h2.data_to_send())
                raise ConnectionAbortedError("broken HTTP/2") from error
            self.flush()
            if events:
                return events
        return ()

    def _take(self, data: bytes) -> list[Event | GoAway]:
        """Read whole frames; GOAWAY is ours, all others are h2's."""
        self._received += data
        events: list[Event | GoAway] = []
        start, end = 0, self._skipped
        while len(self._received) >= end + _HEADER:
            length = int.from_bytes(self._received[end : end + 3], "big")
            whole = end + _HEADER + length
            if length > FRAME_BYTES:
                raise FrameTooLargeError("larger than announced")
            if len(self._received) < whole:
                break
            self._skipped = 0
            self._provoked += self._received[end + 3] in _PROVOKING
            if self._provoked > MAX_PROVOKED:
                raise DenialOfServiceError("answers are provoked and not read")
            if self._received[end + 3] == _GOAWAY and length >= 8:
                events += self.h2.receive_data(bytes(self._received[start:end]))
                last = int.from_bytes(self._received[end + _HEADER : end + _HEADER + 4], "big") & _LAST
                events.append(GoAway(last))
                start = whole
            end = whole
        if end > start and not self._skipped:
            events += self.h2.receive_data(bytes(self._received[start:end]))
        if not self._skipped:
            del self._received[:end]
        return events

    def owe(self, source: "Http2Connection", stream_id: int, count: int) -> None:
        """Acknowledge `count` bytes of a stream of `source` once what is to be sent here has been written."""
        self._owed.append((source, stream_id, count))

    def acknowledge(self, stream_id: int, count: int) -> None:
        """Let the other side send `count` more bytes, on the stream too if it still exists."""
        if count:
            try:
                self.h2.acknowledge_received_data(count, stream_id)
            except ProtocolError:
                pass
            self.flush()

    def announce_end(self, last: int) -> None:
        """Tell the other side to open no streams beyond `last`; those that are open go on."""
        self._unsent += self.h2.data_to_send() + _GOAWAY_HEAD + last.to_bytes(4, "big") + bytes(4)  # NO_ERROR
        self._wake.set()

    def flush(self) -> None:
        """Hand what h2 has to send to the task that writes; raise ConnectionAbortedError where too much waits."""
        self._unsent += self.h2.data_to_send()
        if len(self._unsent) > MAX_UNSENT:
            raise ConnectionAbortedError("the other side does not read")
        self._wake.set()

    async def write(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            data, self._unsent = self._unsent, bytearray()
            owed, self._owed = self._owed, []
            if data:
                await self.stream.write(data)
            self._provoked = 0
            for source, stream_id, count in owed:
                source.acknowledge(stream_id, count)
