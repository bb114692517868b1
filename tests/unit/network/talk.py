"""A client, the proxy's HTTP core and upstream hosts over loopback, each end in the test's hands.

The session and its channel are the real ones; the test is the supervisor: every dial is recorded, and gives the test
the upstream host's end of a new connection.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TypeVar
from unittest.mock import patch

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress, EgressRule
from ringfence.model.passage import Destination, Doubt
from ringfence.network import exchange, hop, relay
from ringfence.network.authority import Origin
from ringfence.network.ca import SessionAuthority
from ringfence.network.channel import Channel
from ringfence.network.gate import Gate
from ringfence.network.messages import Ask, Dial, Dialed, Record, encode, from_proxy
from ringfence.network.session import Connection, Fields, Session
from ringfence.network.stream import Stream

HOST = "api.test"
ORIGIN = Origin("http", HOST, 80)
T = TypeVar("T")
TIMEOUT_S = 60
EVERY_PORT = ((1, 65535),)


def rule(host: str = HOST, **settings: object) -> EgressRule:
    """Give a rule that allows."""
    values: dict[str, object] = {"verdict": Verdict.ALLOW, "source": Source(scope="user"), "ports": EVERY_PORT}
    return EgressRule(host=host, **(values | settings))  # type: ignore[arg-type]  # of the caller's choosing


GATE: ContextVar[Gate | None] = ContextVar("GATE", default=None)
EGRESS = Egress(rules=(rule(), rule("other.test")))


class End:
    """One end of a connection, with which a test speaks and listens."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    async def say(self, data: bytes | str) -> None:
        """Send bytes."""
        await self.stream.write(data.encode("latin-1") if isinstance(data, str) else data)

    async def hear(self, until: bytes = b"\r\n\r\n") -> bytes:
        """Read up to and including `until`."""
        data = b""
        while until not in data:
            more = await self.stream.read()
            assert more, f"ended after {data!r}"
            data += more
        end = data.index(until) + len(until)
        self.stream.unread(data[end:])
        return data[:end]

    async def hear_bytes(self, count: int) -> bytes:
        """Read exactly so many bytes."""
        parts, left = [], count
        while left:
            data = await self.stream.read(min(left, 1 << 17))
            assert data, f"ended {left} bytes early"
            parts.append(data)
            left -= len(data)
        return b"".join(parts)

    async def hear_rest(self) -> bytes:
        """Read to the end."""
        parts = []
        while data := await self.stream.read():
            parts.append(data)
        return b"".join(parts)

    async def hear_all(self) -> bytes:
        """Read to the end, or until it is cut."""
        parts = []
        try:
            while data := await self.stream.read():
                parts.append(data)
        except ConnectionError:
            pass
        return b"".join(parts)

    async def hear_answer(self) -> tuple[bytes, bytes]:
        """Read a head, and the body whose length it gives."""
        head = await self.hear()
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        return head, await self.hear_bytes(length)

    async def leave(self) -> None:
        """End this side."""
        await self.stream.write_eof()

    def cut(self) -> None:
        """Close at once, in the middle of whatever is said."""
        self.stream.abort()


class Talk:
    """The whole table."""

    def __init__(self, session: Session, supervisor: Stream, gate: Gate | None) -> None:
        self.session = session
        self.gate = gate
        self.told: list[tuple[str, str, Fields]] = []
        self.room = hop.Room()
        self.doubts: list[Doubt] = []
        self.answer = True
        self.dialled: list[tuple[str, int]] = []
        self.schemes: list[str] = []
        self.records: list[Record] = []
        self.failing: dict[str, str] = {}
        self.asked: list[Ask] = []
        self.client: End
        self.served: asyncio.Task[relay.Connect | None]
        self._supervisor = supervisor
        self._upstreams: asyncio.Queue[End] = asyncio.Queue()
        self._ends: list[Stream] = []
        self._hops: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()

    async def upstream(self) -> End:
        """Wait for the next connection upstream, and be its other end."""
        return await self._upstreams.get()

    async def new_end(self) -> tuple[Stream, End]:
        """Make a connection: the proxy's end and the test's."""
        mine, theirs = tcp_pair()
        pair = await Stream.over(mine), await Stream.over(theirs)
        self._ends += pair
        return pair[0], End(pair[1])

    async def supervise(self) -> None:
        """Answer what the proxy asks, until it ends."""
        while True:
            await self._supervisor.wait_until_readable()
            data = self._supervisor.socket.recv(1 << 16)
            if not data:
                return
            message = from_proxy.decode(data)
            if isinstance(message, Record):
                self.records.append(message)
                self._news.set()
            elif isinstance(message, Dial):
                await self._dialed(message)

    async def _dialed(self, message: Dial) -> None:
        self.dialled.append((message.host, message.port))
        self.schemes.append(message.scheme)
        code = self.failing.get(message.host, "")
        carried = self.gate is not None and message.scheme != ""
        address = "" if code else "192.0.2.1"
        answer = encode(Dialed(request=message.request, code=code, address=address, carried=carried))
        if code:
            self._supervisor.socket.send(answer)
            return
        mine, theirs = tcp_pair()
        stream = await Stream.over(mine)
        self._ends.append(stream)
        if self.gate is not None and carried:
            theirs = await self._carried(theirs, Destination(message.scheme, message.host, message.port), self.gate)
        socket.send_fds(self._supervisor.socket, [answer], [theirs.fileno()])
        theirs.close()
        await self._upstreams.put(End(stream))

    async def _carried(self, upstream: socket.socket, destination: Destination, gate: Gate) -> socket.socket:
        """Put the hop between, as the vault does; give the proxy's end."""
        near, far = socket.socketpair()
        stream = await Stream.over(near)
        serving = hop.serve(stream, upstream, destination, gate, told=self._tell, ask=self._settle, room=self.room)
        self._hops.append(asyncio.create_task(serving))
        return far

    def _tell(self, kind: str, code: str, fields: Fields) -> None:
        self.told.append((kind, code, fields))
        self._news.set()

    async def _settle(self, doubt: Doubt) -> bool:
        self.doubts.append(doubt)
        return self.answer

    async def hops_ended(self) -> None:
        """Wait until nothing is carried any more; a fault of the hop is raised here."""
        for serving in self._hops:
            await serving

    async def recorded(self, kind: str, count: int = 1) -> list[Record]:
        """Wait for so many records of a kind."""
        while True:
            found = [record for record in self.records if record.kind == kind]
            if len(found) >= count:
                return found
            self._news.clear()
            await self._news.wait()

    async def close(self) -> None:
        """Close every end; no hop may have failed."""
        for serving in self._hops:
            serving.cancel()
        for outcome in await asyncio.gather(*self._hops, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError), repr(outcome)
        for stream in self._ends:
            stream.abort()


@contextmanager
def carrying(gate: Gate | None) -> Iterator[None]:
    """Have every table in here lead through a hop with this gate."""
    token = GATE.set(gate)
    try:
        yield
    finally:
        GATE.reset(token)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Give two connected sockets that, other than a socket pair, can be reset."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return client, listener.accept()[0]


async def listen(channel: Channel) -> None:
    """Be the loop that proxy.py runs over the channel."""
    while (packet := await channel.receive()) is not None:
        assert isinstance(packet.message, Dialed)
        channel.answer(packet.message, packet.descriptors)


@asynccontextmanager
async def talk(
    origin: Origin | None = ORIGIN,
    egress: Egress = EGRESS,
    *,
    authority: SessionAuthority | None = None,
    serve: Callable[[Stream, Session, Connection], Awaitable[relay.Connect | None]] | None = None,
    password: str = "",
    gate: Gate | None = None,
) -> AsyncIterator[Talk]:
    """Set the table; the proxy serves the client already, and closes it as proxy.py would."""
    supervisor, own = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel((await Stream.over(own)).socket)
    session = Session(egress, channel, authority or SessionAuthority.create())
    table = Talk(session, await Stream.over(supervisor), gate or GATE.get())
    stream, table.client = await table.new_end()
    connection = Connection(1, ("192.0.2.9", 1), ("198.18.0.1", 80), time.monotonic())
    if origin is not None:
        connection.scheme, connection.host, connection.port = origin.scheme, origin.host, origin.port

    async def one() -> relay.Connect | None:
        try:
            if serve is not None:
                wanted = await serve(stream, session, connection)
            else:
                wanted = await relay.serve(stream, session, connection, origin, password=password)
            if wanted is None:
                await stream.close()
            return wanted
        except OSError:
            return None
        finally:
            stream.abort()

    table.served = asyncio.create_task(one())
    others = [asyncio.create_task(table.supervise()), asyncio.create_task(listen(channel))]
    try:
        yield table
    finally:
        table.served.cancel()
        await asyncio.wait([table.served])
        channel.close()
        for task in others:
            task.cancel()
        await asyncio.wait(others)
        await table.close()
        supervisor.close()
        own.close()


def run(conversation: Coroutine[None, None, T], *, leave_after_s: float = TIMEOUT_S) -> T:
    """Hold a conversation, which must come to its end; the proxy itself lets no body be sent before `leave_after_s`."""

    async def bounded() -> T:
        async with asyncio.timeout(TIMEOUT_S):
            return await conversation

    with patch.object(exchange, "CONTINUE_TIMEOUT_S", leave_after_s):
        return asyncio.run(bounded())
