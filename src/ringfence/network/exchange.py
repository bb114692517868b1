"""One request that was decided on, and its response, between a client and the upstream host.

Theory of operation. The request's body, where there is one, is passed on by a task of its own, so an answer that comes
early is never waited for behind an upload that nobody reads. The upload only ends the request if the client did: when
the client leaves or breaks the framing, the upstream connection is cut. When the upstream host stops reading, the
upload stops too, and what was answered is still delivered. A client that waits for `100 Continue` gets the upstream
host's decision, or after `CONTINUE_TIMEOUT_S`, as long as clients wait themselves, leave to go on.

Until the head of a response is sent, whatever goes wrong is a refusal, to be answered; after it, an OSError, and the
client's connection must be cut.
"""

import asyncio
import socket

import h11
import msgspec

from . import tunnel
from .authority import Target
from .body import Incoming, Outgoing, pump
from .heads import MAX_INFORMATIONAL, parser, read_response
from .http1 import Head, forwarded_headers, listed, response_headers, response_length, values
from .session import WEBSOCKET_IDLE_TIMEOUT_S, Connection, Refusal, Session
from .stream import Stream
from .upgrade import accepted

CONTINUE_TIMEOUT_S = 1.0
WATCH_INTERVAL_S = 1.0
CLOSE_WAIT = 8  # TCP_CLOSE_WAIT in the kernel's tcp_states.h: the other side has ended
ANSWER_REFUSED = "unreadable-answer"  # the request has reached its host
LEFT = Refusal("", "the client left")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has one meaning; `parser` has read its head, and writes what is answered."""

    head: Head
    target: Target
    parser: h11.Connection
    body: Incoming

    @property
    def method(self) -> str:
        """The method, as records and policy have it."""
        return self.head.method.decode("ascii")

    @property
    def keep(self) -> bool:
        """Tell whether the client would send another request after it."""
        return self.head.version == b"1.1" and b"close" not in listed(self.head.headers, b"connection")

    @property
    def expects(self) -> bool:
        """Tell whether the client waits for `100 Continue`."""
        return self.head.version == b"1.1" and bool(values(self.head.headers, b"expect"))

    def go_on(self) -> bytes:
        """Return `100 Continue`."""
        return self.parser.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")) or b""


class Exchange:
    """One request and its response; afterwards `keep` and `reusable` say which connections may go on."""

    def __init__(
        self, client: Stream, upstream: Stream, session: Session, connection: Connection, *, asked: Asked
    ) -> None:
        """Prepare to carry out `asked` over `upstream`, a connection to its host."""
        self.client = client
        self.upstream = upstream
        self.session = session
        self.connection = connection
        self.asked = asked
        self.keep = self.reusable = False
        self._sender = parser(h11.CLIENT)
        self._go_on = asyncio.Event()
        self._upload: asyncio.Task[None] | None = None
        self._watcher: asyncio.TimerHandle | None = None
        self._refusal: Refusal | None = None  # why the request was given up on the client's side
        self._status = 0
        self._code = "lost"  # unless it gets to its end
        self._carried = connection.carried
        self._refused = ""  # the code, where the vault has answered in the host's place
        self._began = session.clock()
        self._before = (upstream.bytes_out, upstream.bytes_in)

    async def run(self) -> Refusal | None:
        """Carry the request out; a refusal, which has been recorded, where the client still wants an answer.

        Raises OSError where the client must be cut.
        """
        if self.client.tls is not None:
            self._watch()
        try:
            start = self._request()
            exceeded = self.session.spend(self.connection, len(start))  # a URL carries bytes out as a body does
            if exceeded is not None:
                self._code = exceeded.code
                return exceeded
            if self.asked.body.ended:
                await self.upstream.write(start)
            else:
                self._upload = asyncio.create_task(self._send_body(start))
            await self._respond()
        except (OSError, h11.RemoteProtocolError) as error:
            return self._failed(error)
        finally:
            if self._watcher is not None:
                self._watcher.cancel()
            if self._upload is not None:
                self._upload.cancel()
                await asyncio.wait([self._upload])
            self._record()
        return None

    def _request(self) -> bytes:
        """The head for the upstream host."""
        head, target = self.asked.head, self.asked.target
        headers = forwarded_headers(head.headers, authority=target.authority, websocket=head.websocket)
        if self.asked.body.ended or not self.asked.expects:
            headers = [field for field in headers if field[0] != b"expect"]
            self._go_on.set()
        return self._sender.send(h11.Request(method=head.method, target=target.wire, headers=headers)) or b""

    # ---- the request's body

    async def _send_body(self, start: bytes) -> None:
        chunked = bool(values(self.asked.head.headers, b"transfer-encoding"))
        sink = Outgoing(self.upstream, start, chunked=chunked)
        try:
            if not self._go_on.is_set():
                await sink.write(b"")
                await self._wait_for_leave()
            self._refusal = await pump(self.asked.body, sink, self._spend)
        except h11.RemoteProtocolError:
            self._refusal = self.session.refuse(self.connection, "bad-request", "the body is not framed as announced")
        except OSError:
            if not sink.broken:
                self._refusal = LEFT
        if self._refusal is not None:
            self.upstream.abort()

    async def _spend(self, data: bytes) -> bytes | Refusal:
        return (self.session.spend(self.connection, len(data)) if data else None) or data

    async def _wait_for_leave(self) -> None:
        try:
            async with asyncio.timeout(CONTINUE_TIMEOUT_S):
                await self._go_on.wait()
        except TimeoutError:
            if not self._status:
                self._go_on.set()
                await self.client.write(self.asked.go_on())

    # ---- the response

    async def _respond(self) -> None:
        response = await self._final()
        if isinstance(response, h11.InformationalResponse):
            await self._switch(response)
            return
        asked, fields = self.asked, list(response.headers)
        chunked = bool(values(fields, b"transfer-encoding"))
        length = response_length(asked.head.method, response.status_code, fields)
        # Both lengths would be one too many; a chunked body is framed anew by h11, or lasts to the end for HTTP/1.0.
        dropped = {b"transfer-encoding", b"content-length"} if chunked else {b"transfer-encoding"}
        headers = [field for field in response_headers(fields) if field[0] not in dropped]
        keep = asked.keep and self._go_on.is_set()
        headers += [] if keep else [(b"connection", b"close")]
        body = Incoming(self.upstream, self._sender, length)
        answer = h11.Response(status_code=response.status_code, headers=headers, reason=response.reason)
        start = asked.parser.send(answer) or b""
        self._status = response.status_code
        self._refused = b"".join(values(fields, b"x-ringfence")).decode("ascii", "replace") if self._carried else ""
        sink = Outgoing(self.client, start, chunked=length is None and asked.head.version == b"1.1")
        if await pump(body, sink, self._spend) is not None:
            raise ConnectionAbortedError("budget exceeded")
        ends = response.http_version == b"1.0" or b"close" in listed(fields, b"connection")
        ends = ends or (length is None and not chunked)
        if self._upload is not None and keep and not ends:
            await asyncio.wait([self._upload])  # the host has answered early and goes on reading
        complete = asked.body.ended and self._refusal is None
        self.keep, self.reusable = keep and complete, complete and not ends
        self._code = self._refused

    async def _final(self) -> h11.Response | h11.InformationalResponse:
        """Wait for the response, passing informational ones on but 101, which ends the wait as well."""
        for _ in range(MAX_INFORMATIONAL):
            event = await read_response(self.upstream, self._sender)
            if isinstance(event, h11.Response) or event.status_code == 101:
                return event
            if event.status_code == 100:
                if not self._go_on.is_set():
                    self._go_on.set()
                    await self._inform(event)
            elif self.asked.head.version == b"1.1":
                await self._inform(event)
        raise h11.RemoteProtocolError("the host goes on announcing an answer")

    async def _inform(self, event: h11.InformationalResponse) -> None:
        headers = response_headers(list(event.headers), websocket=event.status_code == 101)
        passed = h11.InformationalResponse(status_code=event.status_code, headers=headers, reason=event.reason)
        await self.client.write(self.asked.parser.send(passed) or b"")

    async def _switch(self, event: h11.InformationalResponse) -> None:
        if not self.asked.head.websocket or not accepted(self.asked.head.headers, list(event.headers)):
            raise h11.RemoteProtocolError("a protocol that was not asked for")
        if self._watcher is not None:
            self._watcher.cancel()  # either side may end before the other
        self._status = 101
        self.upstream.unread(self._sender.trailing_data[0])
        await self._inform(event)
        self._code = await tunnel.relay(
            self.client, self.upstream, self.session, self.connection, idle_timeout_s=WEBSOCKET_IDLE_TIMEOUT_S
        )

    # ---- the end

    def _failed(self, error: OSError | h11.RemoteProtocolError) -> Refusal:
        """What to answer; raises ConnectionAbortedError where nothing can be."""
        timed_out = isinstance(error, TimeoutError)
        # A connection that was kept, and ended as we sent: the client sees what it would have seen, and tries again.
        stale = self._before[1] > 0 and self.upstream.bytes_in == self._before[1] and not timed_out
        if self._status or self._refusal is LEFT or (stale and self._refusal is None):
            raise ConnectionAbortedError("nothing to answer") from error
        self._code = code = "timed-out" if timed_out else "unreachable"
        return self._refusal or self.session.refuse(self.connection, code, str(error))

    def _watch(self) -> None:
        """Give the request up when a client under TLS has left, so that the upstream host need not work on.

        In the clear it means nothing: some programs end their side after the last request, and read on.
        """
        self._watcher = asyncio.get_running_loop().call_later(WATCH_INTERVAL_S, self._watch)
        try:
            state = self.client.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        except OSError:
            return  # not TCP, or cut
        if state == CLOSE_WAIT:
            self._refusal = LEFT
            self.upstream.abort()

    def _record(self) -> None:
        sent, received = self._before
        fields = self.session.fields(self.connection) | {
            "method": self.asked.method,
            "path": self.asked.target.path,
            "status": self._status,
            "sent_bytes": self.upstream.bytes_out - sent,
            "received_bytes": self.upstream.bytes_in - received,
            "duration_ms": round((self.session.clock() - self._began) * 1000),
        }
        # A refusal has been recorded as such, by the vault too; but what was refused is at times the answer alone.
        if (self._status or self._code == "lost") and self._refused in ("", ANSWER_REFUSED):
            self.session.record("egress", self._code, self.connection, fields)
