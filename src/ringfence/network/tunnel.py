"""Bytes that pass unseen: both ways at once, half-closed as the two sides close, counted, never piling up.

A piece is read when the one before has been taken, so a slow side slows the other down. Large pieces matter more than
avoiding the copy: on two cores 512 KiB through user space reached three quarters of a direct connection's throughput,
splice(2) through pipes half of it, since client, proxy and host take turns less often. Many tunnels share the memory
that a few may fill.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from .session import TUNNEL_IDLE_TIMEOUT_S, Connection, Session
from .stream import Stream

LARGEST_PIECE = 512 << 10
SMALLEST_PIECE = 64 << 10
MEMORY_BYTES = 32 << 20  # of all pieces under way

_T = TypeVar("_T")


async def relay(
    client: Stream, upstream: Stream, session: Session, connection: Connection, *, idle_timeout_s: float = 0.0
) -> str:
    """Carry bytes until both sides have ended, then close `upstream`; the client is its owner's to close.

    Gives the code of what cut it short: empty, `timed-out`, `unreachable` (the upstream side was reset), or
    `budget-exceeded`; then both sides have been reset. A client that leaves after an answer has cut nothing short.
    Without `idle_timeout_s` it is that of opaque tunnels.
    """
    pump = _Tunnel(client, upstream, session, connection, idle_timeout_s=idle_timeout_s or TUNNEL_IDLE_TIMEOUT_S)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(pump.carry(client, upstream))
            group.create_task(pump.carry(upstream, client))
    except* OSError as failures:
        client.abort()
        timed_out = any(isinstance(failure, TimeoutError) for failure in failures.exceptions)
        if not pump.left:  # a client that does not wait for the end of TLS is an everyday end
            pump.code = pump.code or ("timed-out" if timed_out else "unreachable")
    finally:
        if pump.ended < 2:
            upstream.abort()
    if not pump.code:
        await upstream.close()
    return pump.code


async def serve(
    client: Stream, upstream: Stream, session: Session, connection: Connection, *, greeting: bytes = b""
) -> None:
    """Relay an opaque connection from `greeting`, which the client waits for, to its end, and record it."""
    sent, received = client.bytes_in, upstream.bytes_in
    code = "lost"  # unless the relay gets to say how it ended: the rules have changed, or the run is over
    try:
        await client.write(greeting)
        code = await relay(client, upstream, session, connection)
    finally:
        upstream.abort()
        fields = session.fields(connection)
        fields |= {"sent_bytes": client.bytes_in - sent, "received_bytes": upstream.bytes_in - received}
        session.record("egress", code, connection, fields)


class _Tunnel:
    def __init__(
        self, client: Stream, upstream: Stream, session: Session, connection: Connection, *, idle_timeout_s: float
    ) -> None:
        self.session = session
        self.connection = connection
        self.code = ""
        self.ended = 0
        self.left = False
        self._client, self._answered = client, False
        self._idle_timeout_s = idle_timeout_s
        self._moved = session.clock()
        client.timeout_s = upstream.timeout_s = idle_timeout_s

    async def carry(self, source: Stream, sink: Stream) -> None:
        while data := await self._blaming(source, self._read(source)):
            if self.session.spend(self.connection, len(data)):
                self.code = "budget-exceeded"
                raise ConnectionAbortedError("budget exceeded")
            await self._blaming(sink, sink.write(data))
            self._answered |= sink is self._client
            self._moved = self.session.clock()
        await self._blaming(sink, sink.write_eof())
        self.ended += 1

    async def _blaming(self, side: Stream, doing: Awaitable[_T]) -> _T:
        """Remember where it was the client that broke off, having had an answer."""
        try:
            return await doing
        except TimeoutError:
            raise
        except OSError:
            self.left |= side is self._client and self._answered
            raise

    async def _read(self, source: Stream) -> bytes:
        while True:
            try:
                return await source.read(self._piece())
            except TimeoutError:
                if self.session.clock() - self._moved >= self._idle_timeout_s:
                    raise
                # else the other direction was busy meanwhile

    def _piece(self) -> int:
        share = MEMORY_BYTES // (2 * max(1, len(self.session.connections)))
        return max(SMALLEST_PIECE, min(LARGEST_PIECE, share))
