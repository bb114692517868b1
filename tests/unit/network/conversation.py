"""A session with a supervisor that is played: what it is told is kept, what it answers is set by the test.

Time is injected: when nothing happens any more, the loop's clock jumps to the next timeout. Everything is in one
process and one thread, so nothing can still be under way then.
"""

import asyncio
import functools
import selectors
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress, EgressRule, Inspection
from ringfence.network.ca import SessionAuthority
from ringfence.network.channel import Channel
from ringfence.network.messages import (
    PACKET_BYTES,
    Answer,
    Ask,
    Dial,
    Dialed,
    FromProxy,
    Record,
    Replace,
    ToProxy,
    encode,
    from_proxy,
)
from ringfence.network.session import Connection, Session
from ringfence.network.stream import Stream
from ringfence.network.synthetic import SyntheticAddresses
from tests.unit.network.talk import tcp_pair

T = TypeVar("T")
Upstream = Callable[[Stream], Awaitable[None]]
SETTLING_S = 0.01  # real time: what the kernel may need to deliver between two sockets of one process
STUCK_S = 60.0
NEVER_S = 86400.0  # what asyncio makes of no timeout

ADDRESS = "203.0.113.7"
CLIENT = ("127.0.0.1", 40000)


class Jumping(selectors.EpollSelector):
    """Waits for events; where there are none, time passes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.last = tcp_pair()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        endless = timeout is None or timeout >= NEVER_S
        events = super().select(0)
        if not events and (endless or timeout):
            self.deliver()
            events = super().select(STUCK_S if endless else SETTLING_S)
            assert events or not endless, "the test waits for what will never happen"
            self.now += 0 if events else timeout or 0
        return events

    def deliver(self) -> None:
        """Wait for what is on its way over TCP: a busy kernel delivers it later, but one after the other."""
        self.last[0].send(b".")
        self.last[1].recv(1)

    def close(self) -> None:
        super().close()
        for end in self.last:
            end.close()


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock is injected."""

    def __init__(self) -> None:
        self.jumping = Jumping()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


def run(work: Coroutine[Any, Any, T]) -> T:
    """Carry out a conversation to its end; nothing may be left running, no error unnoticed."""
    loop = Loop()
    faults: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: faults.append(context))
    try:
        result = loop.run_until_complete(work)
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(_ended(left))
    finally:
        loop.close()
    assert not faults, faults
    return result


async def _ended(tasks: set["asyncio.Task[Any]"]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


@functools.cache
def authority() -> SessionAuthority:
    return SessionAuthority.create()


def trusting(**changes: bool) -> ssl.SSLContext:
    """Give a client's context that trusts the session's authority."""
    context = ssl.create_default_context(cadata=authority().certificate_pem)
    for name, value in changes.items():
        setattr(context, name, value)
    return context


def rule(
    host: str,
    verdict: Verdict = Verdict.ALLOW,
    inspection: Inspection = Inspection.INSPECT,
    ports: tuple[tuple[int, int], ...] = ((1, 65535),),
    **more: Any,
) -> EgressRule:
    return EgressRule(
        host=host, verdict=verdict, source=Source(scope="cli"), ports=ports, inspection=inspection, **more
    )


def egress(*rules: EgressRule, **more: Any) -> Egress:
    return Egress(rules=rules, **more)


class Supervisor:
    """The other end of the channel, in this process."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.end = end
        self.heard: list[FromProxy] = []
        self.upstream: dict[tuple[str, int], Upstream | Dialed] = {}
        self.answer: Callable[[Ask], Answer | None] = lambda ask: Answer(request=ask.request, allowed=True)
        self.tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()

    async def until(self, enough: Callable[[], object]) -> None:
        """Listen until there is enough."""
        while not enough():
            self._news.clear()
            await self._news.wait()

    def all(self, kind: type[T]) -> list[T]:
        """What was heard of one kind of message."""
        return [message for message in self.heard if isinstance(message, kind)]

    def records(self, kind: str = "") -> list[tuple[str, str]]:
        """Code and target of each record."""
        found = [record for record in self.all(Record) if kind in ("", record.kind)]
        return [(record.code, str(record.fields.get("target", record.fields.get("host")))) for record in found]

    def say(self, message: ToProxy, *descriptors: int) -> None:
        socket.send_fds(self.end, [encode(message)], list(descriptors))

    async def listen(self) -> None:
        """Hear and answer until the proxy ends the conversation."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(self.end, PACKET_BYTES)
            except ConnectionError:
                return
            if not data:
                return
            message = from_proxy.decode(data)
            self.heard.append(message)
            if isinstance(message, Dial):
                await self._dial(message)
            elif isinstance(message, Ask):
                answer = self.answer(message)
                if answer:
                    self.say(answer)
            self._news.set()

    async def _dial(self, dial: Dial) -> None:
        upstream = self.upstream.get((dial.host, dial.port), Dialed(request=0, code="unreachable", reason="nobody"))
        if isinstance(upstream, Dialed):
            self.say(Dialed(request=dial.request, code=upstream.code, reason=upstream.reason))
            return
        ours, theirs = socket.socketpair()
        with theirs:
            self.say(Dialed(request=dial.request, address=ADDRESS), theirs.fileno())
        task = asyncio.get_running_loop().create_task(serving(upstream, await Stream.over(ours)))
        self.tasks.add(task)


async def serving(upstream: Upstream, stream: Stream) -> None:
    """Let a played host serve a connection; a cut connection is no fault of it."""
    try:
        await upstream(stream)
        await stream.close()
    except OSError:
        pass
    finally:
        stream.abort()


async def echo(stream: Stream) -> None:
    """Say everything back, and end when the other side has ended."""
    while data := await stream.read():
        await stream.write(data)


async def read_all(stream: Stream) -> bytes:
    found = b""
    while data := await stream.read():
        found += data
    return found


class Talk:
    """A session and whom it talks to."""

    def __init__(self, session: Session, channel: Channel, supervisor: Supervisor) -> None:
        self.session = session
        self.channel = channel
        self.supervisor = supervisor
        self.names = SyntheticAddresses()
        self.tasks: list[asyncio.Task[None]] = []

    async def hear(self) -> None:
        """Do what proxy.serve does with messages."""
        while (packet := await self.channel.receive()) is not None:
            match packet.message:
                case Dialed() | Answer():
                    self.channel.answer(packet.message, packet.descriptors)
                case Replace():
                    self.session.replace(packet.message.egress)
                case _:
                    raise AssertionError(packet)

    def connection(self, host: str = "", port: int = 443, local: str = ADDRESS) -> Connection:
        connection = self.session.accept(CLIENT, (local, port), None)
        connection.host, connection.port = host, port if host else 0
        return connection

    async def client(
        self, serve: Callable[[Stream, Connection], Awaitable[None]], local: tuple[str, int] = ("127.0.0.1", 3128)
    ) -> Stream:
        """Connect a client, served by `serve` as proxy.py does it."""
        ours, theirs = socket.socketpair()

        async def served() -> None:
            stream = await Stream.over(theirs)
            connection = self.session.accept(CLIENT, local, asyncio.current_task())
            try:
                await serve(stream, connection)
                await stream.close()
            except OSError:
                pass
            finally:
                stream.abort()
                self.session.forget(connection)

        self.tasks.append(asyncio.get_running_loop().create_task(served()))
        return await Stream.over(ours)

    def _codes(self) -> list[str]:
        return [record.code for record in self.supervisor.all(Record)]

    async def settle(self) -> None:
        """Wait until what has been sent has been heard."""
        marker = f"marker {len(self.supervisor.heard)}"
        self.session.record("marker", marker, None, {})
        await self.supervisor.until(lambda: marker in self._codes())
        self.supervisor.heard = [
            heard for heard in self.supervisor.heard if not (isinstance(heard, Record) and heard.kind == "marker")
        ]


@asynccontextmanager
async def talking(rules: Egress) -> AsyncIterator[Talk]:
    """Begin a session under `rules`; ends it, and everything in it."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(near)
    supervisor = Supervisor(far)
    talk = Talk(Session(rules, channel, authority()), channel, supervisor)
    loop = asyncio.get_running_loop()
    helping = [loop.create_task(supervisor.listen()), loop.create_task(talk.hear())]
    try:
        yield talk
    finally:
        tasks = [*talk.tasks, *supervisor.tasks, *helping]
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        channel.close()
        far.close()
        for result in results:
            if isinstance(result, Exception):
                raise result
