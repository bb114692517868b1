"""HTTP/1 between a client inside and upstream hosts: every request is read, decided on, and written anew.

Theory of operation. A client's connection is one loop: a head is read and must have one meaning (http1.py,
authority.py), policy decides on it, and only then is there a connection upstream. One is kept at most, and used again
for the same scheme, host and port by this client alone. Requests in a pipeline wait for their turn, so each is decided
on by itself and answers keep their order. What is sent upstream is the canonical form that was decided on.

A denial is an answer of ours, 4xx or 5xx, in the same connection. What cannot be answered any more is cut: the client
sees a reset, never the proper end of a message that did not end.
"""

import asyncio
import base64
import hmac

import h11
import msgspec

from ringfence.policy.egress import Request

from . import git_service, heads, tls
from .authority import Origin, Target, request_target
from .body import Incoming
from .denial import DRAINED_BYTES, denial, readable
from .exchange import Asked, Exchange
from .http1 import Head, request_length, values
from .malformed import Malformed
from .session import Connection, Refusal, Session
from .stream import Stream

IN_CONNECT = Refusal("bad-request", "CONNECT ends here, so nothing in it is replaced")

OVERHEARD_S = 0.2

_ENDING: set[asyncio.Task[None]] = set()  # the loop itself holds tasks weakly


class Connect(msgspec.Struct, frozen=True):
    """What an explicit client asks a tunnel to; the head has been read, nothing has been answered.

    `agent` is what the client says it is, in whatever words.
    """

    host: str
    port: int
    agent: bytes = b""


async def serve(
    client: Stream,
    session: Session,
    connection: Connection,
    origin: Origin | None,
    *,
    password: str = "",
    nameless: bool = False,
) -> Connect | None:
    """Serve a client until its end, or until it asks for a tunnel; raises OSError where it must be cut.

    `origin` is whom a captured or terminated connection is to; None for a client that speaks to a proxy, which must
    give `password` (`user:password`) where there is one. A client that has negotiated HTTP/2 is served in it. With
    `nameless` what the client calls the host does not matter: it has connected to a path, and many say `localhost`.
    """
    if client.tls is not None and client.tls.selected_alpn_protocol() == "h2" and origin is not None:
        from . import http2  # loaded by `tls.prepare`, else it would not have been offered

        await http2.serve(client, session, connection, origin)
        return None
    relay = _Relay(client, session, connection, origin, password=password)
    relay.nameless = nameless
    try:
        wanted = await relay.run()
        relay.end_upstream()
        return wanted
    finally:
        relay.drop_upstream()


class _Relay:
    def __init__(
        self, client: Stream, session: Session, connection: Connection, origin: Origin | None, *, password: str
    ) -> None:
        self.client = client
        self.session = session
        self.connection = connection
        self.origin = origin
        self.nameless = False
        self._credentials = b"Basic " + base64.b64encode(password.encode()) if password and origin is None else b""
        self._upstream: tuple[Origin, Stream] | None = None

    async def run(self) -> Connect | None:
        """Serve one request after the other; returns at the client's end, or with what it wants a tunnel to."""
        while True:
            parser = heads.parser(h11.SERVER)
            head = None
            try:
                head = await heads.read_request(self.client, parser)
                if head is None:
                    return None
                target = self._target(head)
            except Malformed as error:
                refusal = self.session.refuse(self.connection, error.code, error.reason)
                said = head.said + parser.trailing_data[0] if head else await self.client.read()
                self.session.suspect(self.connection, refusal, await self._overheard(said))
                await self.client.write(denial(self.session, refusal, None).wire(keep=False))
                return None
            barred = self._barred(head)
            if not target.scheme and barred is None:
                self.session.suspect(self.connection, IN_CONNECT, head.said)
                self.client.unread(parser.trailing_data[0])
                return Connect(target.host, target.port, b" ".join(values(head.headers, b"user-agent")))
            if not await self._serve(parser, head, target, barred):
                return None

    async def _overheard(self, said: bytes) -> bytes:
        """Give what was `said` and what follows, as far as it comes at once: a placeholder in it is noticed."""
        try:
            async with asyncio.timeout(OVERHEARD_S):
                while self.session.marks and len(said) < DRAINED_BYTES and (more := await self.client.read()):
                    said += more
        except OSError:
            pass  # it is refused all the same
        return said

    def _target(self, head: Head) -> Target:
        if head.problem:
            raise Malformed(head.problem)
        host = None if self.nameless else head.host
        target = request_target(head.method, head.target, host, origin=self.origin, encoded_slash=True)
        if target.scheme == "https" and self.origin is None:
            raise Malformed("https through a proxy wants CONNECT")
        self.connection.host, self.connection.port, self.connection.scheme = target.host, target.port, target.scheme
        return target

    def _barred(self, head: Head) -> Refusal | None:
        given = b"".join(values(head.headers, b"proxy-authorization"))
        if not self._credentials or hmac.compare_digest(given, self._credentials):
            name = self.session.marks.find(given) if given else ""
            reason = f"the placeholder of `{name}` stands in the password for the proxy"
            return self.session.refuse(self.connection, "secret-misuse", reason, secret=name) if name else None
        return self.session.refuse(self.connection, "proxy-password", "the proxy's password is missing or wrong")

    async def _serve(self, parser: h11.Connection, head: Head, target: Target, barred: Refusal | None) -> bool:
        """Serve one request, or answer why not; tells whether the client may send another."""
        length = request_length(head.headers)
        asked = Asked(head=head, target=target, parser=parser, body=Incoming(self.client, parser, length))
        admitted = barred or await self._permitted(asked)
        try:
            return await self._answered(asked, admitted)
        finally:
            await git_service.release(self.session, admitted)

    async def _answered(self, asked: Asked, admitted: git_service.Admitted) -> bool:
        """Carry out what was admitted, or answer why not; tells whether the client may send another."""
        asked = admitted if isinstance(admitted, Asked) else asked
        upstream = await self._connected(asked.target) if isinstance(admitted, Asked) else admitted
        untouched = not isinstance(upstream, Stream) or asked.body.ended
        if isinstance(upstream, Stream):
            exchange = Exchange(self.client, upstream, self.session, self.connection, asked=asked)
            refusal = await exchange.run()
            if not exchange.reusable:
                self.drop_upstream()
            if refusal is None:
                return exchange.keep
            upstream = refusal
        refused = upstream if isinstance(upstream, Refusal) else None
        if isinstance(upstream, Refusal):
            self.session.suspect(self.connection, upstream, asked.head.said)
            upstream = denial(self.session, upstream, asked.target, asked.method)
            upstream = readable(upstream, b",".join(values(asked.head.headers, b"accept")))
        length = request_length(asked.head.headers)
        short = not asked.expects and length is not None and length <= DRAINED_BYTES
        keep = untouched and asked.keep and (asked.body.ended or short)
        await self.client.write(upstream.wire(keep=keep, bodiless=asked.method == "HEAD"))
        drained = b""
        while keep and (data := await asked.body.read()):
            drained += data
        if refused and drained:
            self.session.suspect(self.connection, refused, drained)
        return keep

    async def _permitted(self, asked: Asked) -> git_service.Admitted:
        target = asked.target
        scheme, host, port = target.scheme, target.host, target.port
        request = Request(host=host, port=port, scheme=scheme, method=asked.method, path=target.path)
        refusal = await self.session.permit(self.connection, request)
        return refusal or await git_service.admit(self.client, self.session, self.connection, asked)

    async def _connected(self, target: Target) -> Stream | Refusal:
        origin = Origin(target.scheme, target.host, target.port)
        if self._upstream is not None:
            known, stream = self._upstream
            if known == origin and stream.is_at_rest():
                return stream
            self.end_upstream()
        connected = await tls.connect(self.session, self.connection)
        if isinstance(connected, Stream):
            self._upstream = (origin, connected)
        return connected

    def end_upstream(self) -> None:
        """End the connection upstream, which waits for a request; nobody waits until its other side has ended too."""
        if self._upstream is not None:
            ending = asyncio.create_task(self._upstream[1].close())
            self._upstream = None
            _ENDING.add(ending)
            ending.add_done_callback(_ENDING.discard)

    def drop_upstream(self) -> None:
        """Cut the connection upstream, if there still is one."""
        if self._upstream is not None:
            self._upstream[1].abort()
            self._upstream = None
