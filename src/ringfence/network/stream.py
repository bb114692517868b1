"""A connected socket as a stream of bytes, in the clear or under TLS, with back-pressure and time limits.

The stream owns its socket, unregistered with the loop but while it waits: a tunnel may splice on it, and nothing is
read ahead of who wants it. TLS runs on memory buffers, so bytes that were looked at before the handshake are not lost.

Every failure is an OSError: TimeoutError after `timeout_s` without progress, ConnectionError, ssl.SSLError.
One task may read while others write; two readers may not.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable

READ_BYTES = 128 << 10
IDLE_TIMEOUT_S = 600.0
LINGER_TIMEOUT_S = 2.0
LINGER_BYTES = 4 << 20
EAGER_READS = 8  # without waiting, before others get their turn
_RESET = struct.pack("ii", 1, 0)  # struct linger, socket(7): close sends RST, so that a cut is not taken for an end

_Register = Callable[..., object]


class Stream:
    """One connection; `bytes_in` and `bytes_out` count what was read and written, without TLS."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self.socket = connected
        self.timeout_s = IDLE_TIMEOUT_S
        self.bytes_in = self.bytes_out = 0
        self._loop = asyncio.get_running_loop()
        self._held = b""
        self._ended = False
        self._eager = 0
        self._turn = asyncio.Lock()  # bytes of two writers never interleave
        self._waiters: set[asyncio.Future[None]] = set()
        self._tls: ssl.SSLObject | None = None
        self._incoming = self._outgoing = _NO_BUFFER

    @classmethod
    async def over(cls, connected: socket.socket) -> "Stream":
        """Take over a connected socket; called in the running loop."""
        if connected.family in (socket.AF_INET, socket.AF_INET6):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(connected)

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS connection, for its protocol and certificates; None in the clear."""
        return self._tls

    async def read(self, limit: int = READ_BYTES) -> bytes:
        """Give what there is, at most `limit` bytes, waiting for the first; empty at the end."""
        if self._held:
            data, self._held = self._held[:limit], self._held[limit:]
            return data
        data = await (self._receive(limit) if self._tls is None else self._read_tls(self._tls, limit))
        self.bytes_in += len(data)
        return data

    def unread(self, data: bytes) -> None:
        """Put bytes back in front; the next read, or the handshake, gets them again."""
        self._held = data + self._held

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`; returns when the kernel has it."""
        if self._tls is None:
            async with self._turn:
                await self._send(data)
        else:
            self._encrypt(self._tls, data)
            await self._flush()
        self.bytes_out += len(data)

    async def write_eof(self) -> None:
        """End this side's bytes; the other side may still send."""
        if self._tls is not None:
            self._notify_end(self._tls)
            await self._flush()
        async with self._turn:
            self.socket.shutdown(socket.SHUT_WR)

    def is_at_rest(self) -> bool:
        """Tell whether a connection that nobody uses can be used again: neither has it ended, nor is there anything.

        What TLS says for itself meanwhile, such as tickets for later sessions, is taken in.
        """
        if self._held:
            return False
        try:
            if self._tls is None:
                self.socket.recv(1, socket.MSG_PEEK)
                return False
            while self._decrypted(self._tls, 1) is None and (data := self.socket.recv(READ_BYTES)):
                self._incoming.write(data)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    async def start_tls(self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str = "") -> None:
        """Shake hands, from bytes given back by `unread` on; raise ssl.SSLError (or another OSError) on failure."""
        # SECURITY: who cuts the connection must not be able to end a message that is as long as the connection
        # (RFC 8446 section 6.1); Python ignores a missing close_notify unless told otherwise.
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname or None
        )
        self._incoming.write(self._held)
        self.bytes_in -= len(self._held)
        self._held = b""
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
                continue
            except ssl.SSLError:
                await self._flush()  # the alert that says why
                raise
            break
        await self._flush()
        self._tls = tls

    async def close(self) -> None:
        """End cleanly; what the other side still sends is discarded for a moment, as a reset would undo our answer."""
        try:
            async with asyncio.timeout(LINGER_TIMEOUT_S):
                await self.write_eof()
                await self._discard()
        except OSError:
            pass  # it is gone already, or does not care
        finally:
            self._release()

    def abort(self) -> None:
        """Cut the connection, so that the other side sees a reset; whoever waits on it gets ConnectionAbortedError."""
        if self.socket.fileno() >= 0:
            try:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            except OSError:
                pass  # the other side was faster
        self._release()

    async def wait_until_readable(self) -> None:
        """Wait for bytes or the end, for who reads from `socket` directly; raise TimeoutError after `timeout_s`."""
        await self._wait(self._loop.add_reader, self._loop.remove_reader)

    async def wait_until_writable(self) -> None:
        """Wait until the kernel takes bytes, for who writes to `socket` directly; raise TimeoutError as above."""
        await self._wait(self._loop.add_writer, self._loop.remove_writer)

    async def _receive(self, limit: int) -> bytes:
        while True:
            try:
                data = self.socket.recv(limit)
            except BlockingIOError:
                await self.wait_until_readable()
                self._eager = 0
                continue
            self._ended = not data
            self._eager += 1
            if self._eager >= EAGER_READS:
                self._eager = 0
                await asyncio.sleep(0)
            return data

    async def _send(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.socket.send(rest) :]
            except BlockingIOError:
                await self.wait_until_writable()

    async def _read_tls(self, tls: ssl.SSLObject, limit: int) -> bytes:
        while True:
            data = self._decrypted(tls, limit)
            if data is not None:
                return data
            if self._outgoing.pending:
                await self._flush()
            await self._feed()

    def _decrypted(self, tls: ssl.SSLObject, limit: int) -> bytes | None:
        """Everything that can be had without waiting; None where that is nothing, empty at the end."""
        parts: list[bytes] = []
        size = 0
        try:
            while size < limit and (part := tls.read(limit - size)):
                parts.append(part)
                size += len(part)
        except ssl.SSLWantReadError:
            return b"".join(parts) if parts else None
        except ssl.SSLZeroReturnError:
            pass  # close_notify; a cut without one is an SSLEOFError, which goes to the caller
        return b"".join(parts)

    async def _feed(self) -> None:
        data = await self._receive(READ_BYTES)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _encrypt(self, tls: ssl.SSLObject, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[tls.write(rest) :]

    async def _flush(self) -> None:
        async with self._turn:
            while self._outgoing.pending:
                await self._send(self._outgoing.read())

    def _notify_end(self, tls: ssl.SSLObject) -> None:
        """Write close_notify; what has been received already stays readable (SSL_shutdown(3) would drop it)."""
        try:
            self._held += self._decrypted(tls, READ_BYTES * 2) or b""
            tls.unwrap()
        except ssl.SSLError:
            pass  # it waits for the other side's close_notify, which is not our concern

    async def _discard(self) -> None:
        left = LINGER_BYTES
        while not self._ended and left > 0:
            left -= len(await self._receive(READ_BYTES))

    async def _wait(self, register: _Register, unregister: _Register) -> None:
        descriptor = self.socket.fileno()
        if descriptor < 0:
            raise ConnectionAbortedError("the connection was closed")
        waiter: asyncio.Future[None] = self._loop.create_future()
        timer = self._loop.call_later(self.timeout_s, _fail, waiter, TimeoutError("no progress"))
        register(descriptor, _wake, waiter)
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiters.discard(waiter)
            if self.socket.fileno() == descriptor:  # else released: the number may be another socket's by now
                unregister(descriptor)

    def _release(self) -> None:
        descriptor = self.socket.fileno()
        if descriptor >= 0:
            self._loop.remove_reader(descriptor)
            self._loop.remove_writer(descriptor)
            self.socket.close()
        for waiter in self._waiters:
            _fail(waiter, ConnectionAbortedError("the connection was closed"))


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def _fail(waiter: "asyncio.Future[None]", error: OSError) -> None:
    if not waiter.done():
        waiter.set_exception(error)


_NO_BUFFER = ssl.MemoryBIO()  # stands in until there is TLS; nothing is written to it
