"""The proxy's process, from what it must have before it is confined to the end of its one session.

Theory of operation. `prepare` loads and makes everything that needs a file or a new socket: modules, the event loop,
certificates. After it the process can be locked down; `run` then works with the descriptors it is sent. Listening
sockets accept while there is room for another connection, and what comes beyond that waits in the kernel's queue. The
end of the channel, whoever caused it, ends every connection: nothing passes unless somebody is there to decide again.
"""

import asyncio
import contextlib
import functools
import math
import socket
from collections.abc import Awaitable, Callable, Coroutine

from ringfence.model.egress import Gateway

from . import dns_server, explicit, relay, tls, transparent
from .authority import Origin
from .ca import SessionAuthority
from .channel import Channel
from .marks import Marks
from .messages import Answer, Dialed, Marked, Replace, Serve
from .session import MAX_CONNECTIONS, Connection, Session
from .stream import Stream
from .synthetic import SyntheticAddresses

FAREWELL_TIMEOUT_S = 1.0
EXHAUSTED_PAUSE_S = 0.1
MAX_COMPLAINTS = 100  # about faults of ours, which somebody inside may cause again and again

Serving = Callable[[Stream, Connection], Awaitable[None]]


class Proxy:
    """A proxy that is ready to be confined."""

    def __init__(self, authority: SessionAuthority, loop: asyncio.AbstractEventLoop) -> None:
        self.authority = authority
        self._loop = loop
        self._complaints = 0
        loop.set_exception_handler(self._complain)

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        self._complaints += 1
        if self._complaints <= MAX_COMPLAINTS:
            loop.default_exception_handler(context)

    def close(self) -> None:
        """Give back the event loop's descriptors."""
        self._loop.close()

    def run(self, channel: int) -> None:
        """Serve the session at the other end of `channel`, a descriptor, until that end is closed."""
        with contextlib.closing(self), socket.socket(fileno=channel) as connected:
            self._loop.run_until_complete(serve(connected, self.authority))


def prepare() -> Proxy:
    """Do everything for which files and new sockets are needed."""
    tls.prepare()
    authority = SessionAuthority.create()
    authority.context_for("prepared.invalid")  # whatever making a leaf loads is loaded now
    return Proxy(authority, asyncio.new_event_loop())


async def serve(connected: socket.socket, authority: SessionAuthority) -> None:
    """Serve the session that the supervisor describes in its first message, until it ends the conversation."""
    channel = Channel(connected)
    opening = await channel.receive()
    if opening is None:
        return
    if not isinstance(opening.message, Serve) or len(opening.message.sockets) != len(opening.descriptors):
        raise ConnectionAbortedError("the supervisor did not begin with its rules and sockets")
    front = Front(Session(opening.message.egress, channel, authority), opening.message, opening.descriptors)
    try:
        while (packet := await channel.receive()) is not None:
            match packet.message:
                case Dialed() | Answer():
                    channel.answer(packet.message, packet.descriptors)
                case Replace():
                    front.session.replace(packet.message.egress)
                    front.listen(packet.message.sockets, packet.descriptors)
                case Marked():
                    front.session.marks = Marks(packet.message.placeholders)
                case Serve():
                    raise ConnectionAbortedError("the supervisor began a second session")
    finally:
        await front.close()
        channel.close()


class Front:
    """The listening sockets of a session, and the connections accepted on them."""

    def __init__(self, session: Session, opening: Serve, descriptors: tuple[int, ...]) -> None:
        """Begin to serve; `descriptors` are those of the sockets that `opening` tells the kinds of."""
        self.session = session
        self._names = SyntheticAddresses()
        self._password = opening.password
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: list[socket.socket] = []
        self._gateways = iter(opening.egress.gateways)
        self.listen(opening.sockets, descriptors)

    def listen(self, kinds: tuple[str, ...], descriptors: tuple[int, ...]) -> None:
        """Serve further sockets, of these kinds."""
        for kind, descriptor in zip(kinds, descriptors, strict=True):
            listening = socket.socket(fileno=descriptor)
            self._listening.append(listening)
            self._start(self._served(kind, listening), lambda _: None)

    def _served(self, kind: str, listening: socket.socket) -> Coroutine[None, None, None]:
        session, names, password = self.session, self._names, self._password
        if kind == "dns-udp":
            return dns_server.serve_datagrams(listening, session, names)
        if kind == "gateway":
            return self._accept(listening, functools.partial(serve_gateway, session, next(self._gateways)))
        servings: dict[str, Serving] = {
            "tcp": lambda client, connection: transparent.serve(client, session, connection, names),
            "proxy": lambda client, connection: explicit.serve(client, session, connection, names, password=password),
            "dns-tcp": lambda client, _: dns_server.serve_stream(client, session, names),
        }
        return self._accept(listening, servings[kind])

    async def _accept(self, listening: socket.socket, serving: Serving) -> None:
        arrivals = Stream(listening)
        arrivals.timeout_s = math.inf
        while True:
            await arrivals.wait_until_readable()
            await self._room.acquire()
            try:
                client, address = listening.accept()
            except OSError:
                self._room.release()
                await asyncio.sleep(EXHAUSTED_PAUSE_S)  # no descriptor is left for the moment, or it has gone away
            else:
                self._start(self._serve(client, address, serving), lambda _: self._room.release())

    async def _serve(self, client: socket.socket, address: tuple[str, int], serving: Serving) -> None:
        stream = await Stream.over(client)
        named = client.family != socket.AF_UNIX
        ends = (plain(address), plain(client.getsockname())) if named else (("", peer_pid(client)), ("", 0))
        connection = self.session.accept(*ends, asyncio.current_task())
        try:
            await self.session.drain()
            await serving(stream, connection)
            await stream.close()
        except OSError:
            pass  # a side has cut it short; what was to be recorded has been
        finally:
            stream.abort()
            self.session.forget(connection)

    def _start(self, work: Coroutine[None, None, None], then: Callable[["asyncio.Task[None]"], None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        task.add_done_callback(then)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # A fault of ours: it has cost this connection, and is told on standard error.
            self._loop.call_exception_handler(
                {"message": "a connection was given up", "exception": error, "task": task}
            )

    async def close(self) -> None:
        """End every connection; hand over what is still to be recorded, if anybody listens."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for listening in self._listening:
            listening.close()
        self.session.summarise()
        try:
            async with asyncio.timeout(FAREWELL_TIMEOUT_S):
                await self.session.drain()
        except OSError:
            pass


async def serve_gateway(session: Session, gateway: Gateway, client: Stream, connection: Connection) -> None:
    """Serve a client of a unix socket as if it had connected to the host that the socket leads to."""
    connection.host, connection.port = gateway.host, gateway.port
    connection.scheme = "https" if gateway.tls else "http"
    origin = Origin(connection.scheme, gateway.host, gateway.port)
    await relay.serve(client, session, connection, origin, nameless=True)


def peer_pid(client: socket.socket) -> int:
    """Give the process that connected to a unix socket (SO_PEERCRED, unix(7))."""
    return int.from_bytes(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")


def plain(address: tuple[str, int]) -> tuple[str, int]:
    """Give address and port of a socket's name; an IPv4 address that a socket of IPv6 reports is one again."""
    host = address[0]
    return (host.removeprefix("::ffff:") if "." in host else host, address[1])
