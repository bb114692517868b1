"""HTTP/2 between a client inside and the upstream host, for rules that ask for it: each stream is decided on by itself.

Theory of operation. A stream of the client's becomes one on a single connection to the same host, once its request
has one meaning (`:authority` is the name of the connection, else 421) and policy allows it. Each direction of a
stream is a `Flow`; an early response, an upload that nobody reads, trailers and resets are states of two flows that
know nothing of each other. A stream that ends in an error upstream ends in the same for the client.

SECURITY: a client that opens streams only to reset them is cut (CVE-2023-44487); denials count as much as requests.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import h2.events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from ringfence.policy.egress import Request

from . import tls
from .authority import Origin, Target, request_target
from .denial import denial
from .http1 import Headers, forwarded_headers, head_problem, response_headers, trailers, values
from .http2_connection import MAX_STREAMS, GoAway, Http2Connection
from .http2_flow import Exchange, Flow
from .malformed import Malformed, Mismatch
from .session import Connection, Refusal, Session
from .stream import Stream

WINDOWS = (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)
BODIES = (h2.events.DataReceived, h2.events.TrailersReceived, h2.events.StreamEnded)
BodyEvent = h2.events.DataReceived | h2.events.TrailersReceived | h2.events.StreamEnded
MAX_RESETS = 2 * MAX_STREAMS  # beyond those of which as many streams have ended well


async def serve(client: Stream, session: Session, connection: Connection, origin: Origin) -> None:
    """Serve a client that has negotiated HTTP/2 with us in the name of `origin`; raises OSError where it was cut."""
    relay = _Relay(client, session, connection, origin)
    try:
        relay.start(relay.client.write)
        await relay.read_client()
    finally:
        await relay.end()


class _Relay:
    def __init__(self, client: Stream, session: Session, connection: Connection, origin: Origin) -> None:
        self.client = Http2Connection(client, client_side=False)
        self.session, self.connection, self.origin = session, connection, origin
        self._upstream: Http2Connection | None = None
        self._dialling: asyncio.Task[Http2Connection | Refusal] | None = None
        self._exchanges: dict[int, Exchange] = {}  # by the client's stream
        self._upward: dict[int, Exchange] = {}  # by the host's stream
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._leaving = False  # no further stream is served: the client may try it again over another connection
        self._last = self._resets = self._completed = 0

    def start(self, *works: Callable[[], Awaitable[None]]) -> None:
        """Let work run beside the rest, which ends if it fails."""
        for work in works:
            self._started(work).add_done_callback(self._tasks.discard)

    def _started(self, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        return task

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (OSError, ProtocolError):
            self.client.stream.abort()

    async def end(self) -> None:
        """Stop everything, and record what was under way."""
        if self._upstream is not None:
            self._upstream.stream.abort()
        tasks = [*self._tasks, *([self._dialling] if self._dialling is not None else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for exchange in list(self._exchanges.values()):
            self._finish(exchange, "lost")

    # ---- what the client does

    async def read_client(self) -> None:
        """Follow the client to its end."""
        try:
            while events := await self.client.receive():
                for event in events:
                    self._client_event(event)
                self._flush()
        except ProtocolError as error:
            self._broken(str(error))
            raise ConnectionAbortedError("broken HTTP/2") from error
        except ConnectionAbortedError as error:
            if isinstance(error.__cause__, ProtocolError):
                self._broken(str(error.__cause__))
            raise

    def _broken(self, reason: str) -> None:
        """What the client sent has no one meaning (RFC 9113, section 8.1.1)."""
        self.session.refuse(self.connection, "bad-request", f"HTTP/2: {reason}")

    def _client_event(self, event: h2.events.Event | GoAway) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._begin(event)
        elif isinstance(event, WINDOWS):
            self._push(exchange.down for exchange in self._exchanges.values())
        elif isinstance(event, BODIES):
            exchange = self._exchanges.get(event.stream_id)
            self._body(exchange, exchange.up if exchange else None, event, self.client)
        elif isinstance(event, h2.events.StreamReset):
            self._resets += 1
            if self._resets > MAX_RESETS + self._completed:
                raise ConnectionAbortedError("too many streams were reset")
            self._give_up(self._exchanges.get(event.stream_id), event.error_code or 0)

    def _begin(self, event: h2.events.RequestReceived) -> None:
        stream_id = event.stream_id
        if self._leaving:
            self._reset(self.client, stream_id, ErrorCodes.REFUSED_STREAM)
            return
        self._last = stream_id
        exchange = self._exchanges[stream_id] = Exchange(self.client, stream_id, self.session.clock())
        exchange.up.ended = event.stream_ended is not None
        exchange.admission = self._started(partial(self._admit, exchange, tuple(event.headers)))
        exchange.admission.add_done_callback(self._tasks.discard)

    def _give_up(self, exchange: Exchange | None, code: int) -> None:
        """The client has reset its stream."""
        if exchange is None:
            return
        if exchange.admission is not None:
            exchange.admission.cancel()
        if self._upstream is not None and exchange.up.sink is not None:
            self._reset(self._upstream, exchange.up.sink_id, code)
        self._finish(exchange, "lost")

    # ---- admission

    async def _admit(self, exchange: Exchange, fields: Headers) -> None:
        target: Target | None = None
        try:
            target = self._target(exchange, fields)
            request = Request(
                host=target.host, port=target.port, scheme=target.scheme, method=exchange.method, path=target.path
            )
            refusal = await self.session.permit(self.connection, request)
        except Malformed as error:
            refusal = self.session.refuse(self.connection, error.code, error.reason)
        said = b"\n".join(part for field in fields for part in field)
        if refusal is not None:
            self.session.suspect(self.connection, refusal, said)
        elif name := self.session.marks.find(said):  # the vault cannot be put between HTTP/2
            reason = f"the placeholder of `{name}` was sent over HTTP/2"
            refusal = self.session.refuse(self.connection, "secret-misuse", reason, secret=name)
        exchange.rule = self.connection.rule
        upstream = refusal or await self._connected()
        if isinstance(upstream, Refusal):
            self._deny(exchange, upstream, target)
        elif target is not None:
            await self._forward(exchange, upstream, _request_head(target, exchange.method, fields))

    async def _forward(self, exchange: Exchange, upstream: Http2Connection, head: Headers) -> None:
        while upstream.h2.open_outbound_streams >= upstream.h2.remote_settings.max_concurrent_streams:
            self._room.clear()
            await self._room.wait()
        if self._leaving:
            self._reset(self.client, exchange.client_id, ErrorCodes.REFUSED_STREAM)
            self._finish(exchange, "lost")
            return
        if self.session.spend(self.connection, sum(len(name) + len(value) for name, value in head)) is not None:
            raise ConnectionAbortedError("budget exceeded")
        stream_id = upstream.h2.get_next_available_stream_id()
        self._upward[stream_id] = exchange
        exchange.down = Flow(upstream, stream_id)
        exchange.up.start(upstream, stream_id, head)
        self._flush()

    def _target(self, exchange: Exchange, fields: Headers) -> Target:
        """What a request is about; h2 has made sure that its pseudo-header fields are there, once, and first."""
        method, scheme, path, authority = (
            b"".join(values(fields, name)) for name in (b":method", b":scheme", b":path", b":authority")
        )
        named = authority or b"".join(values(fields, b"host"))
        plain = [field for field in fields if not field[0].startswith(b":") and field[0] != b"host"]
        if problem := head_problem(method, [(b"host", named), *plain], body_on_get=True):
            raise Malformed(problem)
        if scheme.decode("latin-1") != self.origin.scheme:
            raise Mismatch("the scheme is not the connection's")
        target = request_target(method, path, named, origin=self.origin, encoded_slash=True)
        exchange.method, exchange.path = method.decode("ascii"), target.path
        return target

    async def _connected(self) -> Http2Connection | Refusal:
        """The connection to the host, which the first stream makes for all."""
        if self._upstream is not None:
            return self._upstream
        if self._dialling is None:
            self._dialling = asyncio.create_task(self._dial())
        dialled = await asyncio.shield(self._dialling)
        self._dialling = None
        return dialled

    async def _dial(self) -> Http2Connection | Refusal:
        stream = await tls.connect(self.session, self.connection, http2=True)
        if isinstance(stream, Refusal):
            return stream
        if stream.tls is None or stream.tls.selected_alpn_protocol() != "h2":
            stream.abort()
            return self.session.refuse(self.connection, "unreachable", "the host does not speak HTTP/2")
        upstream = self._upstream = Http2Connection(stream, client_side=True)
        self.start(upstream.write, partial(self._read_upstream, upstream))
        return upstream

    def _deny(self, exchange: Exchange, refusal: Refusal, target: Target | None) -> None:
        answer = denial(self.session, refusal, target, exchange.method)
        headers = [(b":status", b"%d" % answer.status), *((name.lower(), value) for name, value in answer.headers)]
        flow = exchange.down = Flow(None, 0)
        exchange.up.drop()
        if exchange.method != "HEAD":
            flow.receive(answer.body, len(answer.body))
        flow.ended = True
        flow.start(self.client, exchange.client_id, headers)
        self._settle(exchange)
        self._flush()

    # ---- what the host does

    async def _read_upstream(self, upstream: Http2Connection) -> None:
        try:
            while events := await upstream.receive():
                for event in events:
                    self._host_event(event, upstream)
                self._flush()
        except (OSError, ProtocolError):
            upstream.stream.abort()
        self._leaving = True
        self._room.set()
        for exchange in list(self._upward.values()):
            self._fail(exchange)
        self.client.announce_end(self._last)

    def _host_event(self, event: h2.events.Event | GoAway, upstream: Http2Connection) -> None:
        if isinstance(event, GoAway):
            self._leaving = True
            for unseen in [self._upward[stream_id] for stream_id in self._upward if stream_id > event.last]:
                self._reset(self.client, unseen.client_id, ErrorCodes.REFUSED_STREAM)
                self._finish(unseen, "lost")
            self._room.set()
            self.client.announce_end(self._last)
            return
        if isinstance(event, WINDOWS):
            self._room.set()
            self._push(exchange.up for exchange in self._upward.values())
            return
        if isinstance(event, BODIES):
            exchange = self._upward.get(event.stream_id)
            self._body(exchange, exchange.down if exchange else None, event, upstream)
        elif isinstance(event, h2.events.ResponseReceived | h2.events.InformationalResponseReceived):
            self._head(self._upward.get(event.stream_id), event)
        elif isinstance(event, h2.events.StreamReset):
            self._host_reset(self._upward.get(event.stream_id), event.error_code or 0)

    def _head(
        self, exchange: Exchange | None, event: h2.events.ResponseReceived | h2.events.InformationalResponseReceived
    ) -> None:
        if exchange is None or exchange.down is None:
            return
        fields = tuple(event.headers)
        status = b"".join(values(fields, b":status"))
        headers = [(b":status", status), *response_headers([field for field in fields if field[0] != b":status"])]
        if isinstance(event, h2.events.ResponseReceived):
            exchange.status = int(status)
            exchange.down.ended = event.stream_ended is not None
            exchange.down.start(self.client, exchange.client_id, headers)
            self._settle(exchange)
        else:
            self.client.h2.send_headers(exchange.client_id, headers)

    def _host_reset(self, exchange: Exchange | None, code: int) -> None:
        """The host wants no more of a request that it has answered, or the stream has failed."""
        if exchange is None or exchange.down is None:
            return
        if exchange.down.ended and code == ErrorCodes.NO_ERROR:
            exchange.up.drop()
            self._settle(exchange)
        else:
            self._reset(self.client, exchange.client_id, code)
            self._finish(exchange, "lost")

    def _fail(self, exchange: Exchange) -> None:
        """The connection to the host is gone."""
        if exchange.status:
            self._reset(self.client, exchange.client_id, ErrorCodes.INTERNAL_ERROR)
            self._finish(exchange, "lost")
        else:
            refusal = self.session.refuse(self.connection, "unreachable", "the host ended the connection")
            target = Target(scheme="https", host=self.origin.host, port=self.origin.port, path=exchange.path)
            self._upward.pop(exchange.up.sink_id, None)
            self._deny(exchange, refusal, target)

    # ---- both

    def _body(self, exchange: Exchange | None, flow: Flow | None, event: BodyEvent, source: Http2Connection) -> None:
        """Take bytes, trailers or the end of a stream that still has an exchange."""
        if isinstance(event, h2.events.DataReceived):
            if self.session.spend(self.connection, len(event.data)) is not None:
                raise ConnectionAbortedError("budget exceeded")
            if flow is None:
                source.acknowledge(event.stream_id, event.flow_controlled_length)
            else:
                flow.receive(event.data, event.flow_controlled_length)
        if exchange is None or flow is None:
            return
        if isinstance(event, h2.events.TrailersReceived):
            flow.trailers = trailers(tuple(event.headers))
        flow.ended = isinstance(event, h2.events.StreamEnded) or event.stream_ended is not None
        flow.push()
        self._settle(exchange)

    def _push(self, flows: Iterable[Flow | None]) -> None:
        for flow in list(flows):
            if flow is not None:
                flow.push()
        for exchange in list(self._exchanges.values()):
            self._settle(exchange)

    def _settle(self, exchange: Exchange) -> None:
        """End an exchange whose response has been sent, and whose request has been, or is wanted no more."""
        if exchange.down is None or not exchange.down.finished:
            return
        if exchange.up.dropped and not exchange.up.ended:
            # After the response has been written: curl 7.88 loses one that arrives together with a reset.
            asyncio.get_running_loop().call_later(0, self._stop, exchange)
        elif exchange.up.dropped or exchange.up.finished:
            self._completed += 1
            self._finish(exchange, "")

    def _stop(self, exchange: Exchange) -> None:
        """Ask the client to send no more of what nobody wants (RFC 9113, 8.1)."""
        if exchange.client_id in self._exchanges:
            self._reset(self.client, exchange.client_id, ErrorCodes.NO_ERROR)
            self._completed += 1
            self._finish(exchange, "")
            self.client.flush()

    def _finish(self, exchange: Exchange, code: str) -> None:
        if self._exchanges.pop(exchange.client_id, None) is None:
            return
        self._upward.pop(exchange.up.sink_id, None)
        self._room.set()
        exchange.up.drop()
        if exchange.down is not None:
            exchange.down.drop()
        if exchange.status or code:
            fields = self.session.fields(self.connection) | {
                "rule": exchange.rule,
                "method": exchange.method,
                "path": exchange.path,
                "status": exchange.status,
                "sent_bytes": exchange.up.count,
                "received_bytes": exchange.down.count if exchange.down else 0,
                "duration_ms": round((self.session.clock() - exchange.began) * 1000),
            }
            self.session.record("egress", code, self.connection, fields)

    def _reset(self, side: Http2Connection, stream_id: int, code: int) -> None:
        try:
            side.h2.reset_stream(stream_id, code)
        except ProtocolError:
            pass  # it has ended meanwhile

    def _flush(self) -> None:
        self.client.flush()
        if self._upstream is not None:
            self._upstream.flush()


def _request_head(target: Target, method: str, fields: Headers) -> Headers:
    plain = [field for field in fields if not field[0].startswith(b":")]
    headers = forwarded_headers(plain, authority=target.authority)[1:]
    if b"trailers" in values(fields, b"te"):
        headers.append((b"te", b"trailers"))  # gRPC demands it
    return [
        (b":method", method.encode()),
        (b":scheme", target.scheme.encode()),
        (b":authority", target.authority),
        (b":path", target.wire),
        *headers,
    ]
