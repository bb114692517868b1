"""One request that the gate has let begin, and its answer, between the proxy and the upstream host (hop.py).

Theory of operation. As in exchange.py the request's body is passed on by a task of its own (hop_upload.py), so an
answer that comes early does not wait. There is nothing to decide about `100 Continue`: the proxy waits for it, or not.

INVARIANT: the proxy's connection is no TCP, so a cut looks like an end there. Therefore every answer has a length or is
chunked, and a message is ended only where its end was received (tests/unit/network/test_relay_bodies.py, `test_a_cut_*`
with `carried`), at the length that was announced, whatever the gate gives (test_hop_bodies.py, `test_a_gate_that_*`).
"""

import asyncio
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import NoReturn

import h11

from ringfence.model import passage as judging
from ringfence.model.passage import Noted, Stopped

from .body import Incoming, Outgoing, Sliced, pump
from .exchange import WATCH_INTERVAL_S, Asked
from .gate import Passage
from .heads import MAX_INFORMATIONAL, parser, read_response
from .hop_upload import Ask, Crossing, Upload
from .http1 import bodiless, listed, response_headers, response_length, values
from .session import WEBSOCKET_IDLE_TIMEOUT_S
from .stream import Stream
from .upgrade import accepted

_STATUS = frozenset(HTTPStatus)
# The framing is the hop's own, and so is what tells the proxy (exchange.py) that an answer is a refusal.
_OURS = frozenset({b"transfer-encoding", b"x-ringfence"})


class HopExchange:
    """One request and its answer; afterwards `reusable` says whether both connections may go on."""

    def __init__(
        self,
        client: Stream,
        upstream: Stream,
        asked: Asked,
        crossing: Crossing,
        *,
        note: Callable[[Asked, Noted], None],
        ask: Ask,
    ) -> None:
        """Prepare to carry `asked` out over `upstream`, a connection to its host."""
        self.client = client
        self.upstream = upstream
        self.asked = asked
        self.crossing = crossing
        self.reusable = False
        self._note = note
        self._passage = crossing.passage
        self._sender = parser(h11.CLIENT)
        self._upload = Upload(upstream, asked, crossing, ask)
        self._watcher: asyncio.TimerHandle | None = None
        self._stopped: Stopped | None = None  # by the answer
        self._answering = False

    @property
    def stopped(self) -> Stopped | None:
        """Tell what stopped it, whether or not that could be answered."""
        return self._stopped or self._upload.stopped

    async def run(self) -> Stopped | None:
        """Carry the request out; what stopped it, where that can still be answered. Raises OSError for a cut."""
        self._watch()
        try:
            start = self.crossing.start(self._sender, ended=self.asked.body.ended)
            await self._upload.begin(start)
            await self._respond()
        except (OSError, h11.RemoteProtocolError) as error:
            if self.stopped is None or self._answering:
                raise ConnectionAbortedError("cut") from error
            return self.stopped
        except h11.LocalProtocolError:  # SECURITY: it quotes what the gate gave, which may hold a value
            raise ConnectionAbortedError("a head that cannot be sent") from None
        finally:
            if self._watcher is not None:
                self._watcher.cancel()
            await self._upload.end()
            self._tell()
        return None

    # ---- the answer

    async def _respond(self) -> None:
        response = await self._final()
        if isinstance(response, h11.InformationalResponse):
            await self._switch(response)
            return
        asked, taking, fields = self.asked, self._passage, list(response.headers)
        chunked = bool(values(fields, b"transfer-encoding"))
        length = response_length(asked.head.method, response.status_code, fields)
        ends = response.http_version == b"1.0" or b"close" in listed(fields, b"connection")
        ends = ends or (length is None and not chunked)
        told = [field for field in response_headers(fields) if field[0] not in _OURS]
        head = taking.answer(judging.Incoming(response.status_code, told))
        if isinstance(head, Stopped):
            self._give_up(head)
        self._tell()
        await self._answer(response, head, taking, length=length, ends=ends)
        if not ends:
            await self._upload.wait()  # the host has answered early and goes on reading
        self.reusable = self._upload.complete and not ends

    async def _answer(
        self, response: h11.Response, head: judging.Incoming, taking: Passage, *, length: int | None, ends: bool
    ) -> None:
        asked = self.asked
        framed = length is not None and not head.transformed
        headers = [field for field in head.headers if framed or field[0] != b"content-length"]
        headers += [(b"connection", b"close")] if ends else []
        body = (Sliced if head.transformed else Incoming)(self.upstream, self._sender, length)
        answer = h11.Response(status_code=head.status, headers=headers, reason=_phrase(head.status))
        start = asked.parser.send(answer) or b""
        if bodiless(asked.head.method, response.status_code):
            self._answering = True
            await self.client.write(start)
            return
        sink = Outgoing(self.client, start, chunked=not framed)
        measured = _Measured(body, taking, length if framed else None)
        try:
            stopped = await pump(body, sink, measured.passed)
        finally:
            self._answering = sink.begun
        if stopped is not None:
            self._give_up(stopped)

    def _give_up(self, stopped: Stopped) -> NoReturn:
        self._stopped = stopped
        self.upstream.abort()
        raise ConnectionAbortedError("stopped")

    async def _final(self) -> h11.Response | h11.InformationalResponse:
        """Wait for the answer, passing informational ones on but 101, which ends the wait as well."""
        for _ in range(MAX_INFORMATIONAL):
            event = await read_response(self.upstream, self._sender)
            if isinstance(event, h11.Response) or event.status_code == 101:
                return event
            if event.status_code != 100 or self.crossing.whole is None:
                await self._inform(event)
        raise h11.RemoteProtocolError("the host goes on announcing an answer")

    async def _inform(self, event: h11.InformationalResponse) -> None:
        headers = response_headers(list(event.headers), websocket=event.status_code == 101)
        head = self._passage.answer(judging.Incoming(event.status_code, headers))
        if isinstance(head, Stopped):
            self._give_up(head)
        status = event.status_code
        passed = h11.InformationalResponse(status_code=status, headers=list(head.headers), reason=_phrase(status))
        await self.client.write(self.asked.parser.send(passed) or b"")

    # ---- WebSocket

    async def _switch(self, event: h11.InformationalResponse) -> None:
        if not self.asked.head.websocket or not accepted(self.crossing.head.headers, list(event.headers)):
            raise h11.RemoteProtocolError("a protocol that was not asked for")
        if self._watcher is not None:
            self._watcher.cancel()  # either side may end before the other
        self.upstream.unread(self._sender.trailing_data[0])
        await self._inform(event)
        self._answering = True
        self._tell()
        spare = self.client.timeout_s + WEBSOCKET_IDLE_TIMEOUT_S  # the proxy's limit is the shorter one
        self.client.timeout_s = self.upstream.timeout_s = spare
        cut = False
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_carry(self.client, self.upstream, self._departing))
                group.create_task(_carry(self.upstream, self.client, self._passage.upgraded))
        except* OSError:
            cut = True
        if cut:
            raise ConnectionAbortedError("a side of the WebSocket was cut")

    def _departing(self, data: bytes) -> bytes:
        passed = self._passage.request_upgraded(data)
        if isinstance(passed, Stopped):
            self._give_up(passed)
        return passed

    # ---- beside it

    def _watch(self) -> None:
        """Give the request up when the proxy has: it never ends its side while it waits for an answer."""
        self._watcher = asyncio.get_running_loop().call_later(WATCH_INTERVAL_S, self._watch)
        try:
            ended = not self.client.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            ended = False
        except OSError:
            ended = True
        if ended:
            self.upstream.abort()

    def _tell(self) -> None:
        for note in self._passage.notes():
            self._note(self.asked, note)


class _Measured:
    """An answer's body through the gate; `left` is how much of it was announced, None where its end will tell."""

    def __init__(self, body: Incoming, taking: Passage, left: int | None) -> None:
        self._body = body
        self._passage = taking
        self._left = left

    async def passed(self, data: bytes) -> bytes | Stopped:
        passed = self._passage.answer_body(data, last=self._body.ended)
        if isinstance(passed, Stopped):
            return passed
        if self._left is not None:
            self._left -= len(passed)
            if self._left < 0 or (self._body.ended and self._left):
                raise ConnectionAbortedError("a body of another length")
        if self._body.ended and self._body.trailers:
            self._body.trailers = list(self._passage.answer_trailers(self._body.trailers))
        return passed


async def _carry(source: Stream, sink: Stream, through: Callable[[bytes], bytes]) -> None:
    while data := await source.read():
        await sink.write(through(data))
    await sink.write(through(b""))
    await sink.write_eof()


def _phrase(status: int) -> bytes:
    """The usual phrase: the host's own could carry anything."""
    return HTTPStatus(status).phrase.encode() if status in _STATUS else b""
