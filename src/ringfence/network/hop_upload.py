"""A request that the gate has let begin, on its way to the upstream host (hop_exchange.py).

INVARIANT: a body is as long as its head says, whatever the gate gives; else the request is cut, for the host would take
the rest for another one (tests/unit/network/test_hop_bodies.py, `test_a_gate_that_*`).
"""

import asyncio
from collections.abc import Awaitable, Callable

import h11
import msgspec

from ringfence.model import passage as judging
from ringfence.model.passage import Doubt, Stopped

from .body import Outgoing, pump
from .exchange import Asked
from .gate import Passage
from .http1 import request_length
from .stream import Stream

Ask = Callable[[Doubt], Awaitable[bool]]
FRAMING = (b"content-length", b"transfer-encoding")


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """A request that may begin: as it was judged, by which passage, with which head; `whole` is its body, collected."""

    request: judging.Outgoing
    passage: Passage
    head: judging.Outgoing
    whole: bytes | None

    def start(self, sender: h11.Connection, *, ended: bool) -> bytes:
        """Give the head for the upstream host, framed for what will follow; `ended` where nothing will."""
        framing = [field for field in self.request.headers if field[0] in FRAMING]
        if self.whole is not None:
            framing = [(b"content-length", b"%d" % len(self.whole))] if self.whole or framing else []
        headers = []
        for field in self.head.headers:
            headers += framing if field[0] in FRAMING else [field]
            framing = [] if field[0] in FRAMING else framing
        headers += framing
        if self.whole is not None or ended:
            headers = [field for field in headers if field[0] != b"expect"]
        try:
            return sender.send(h11.Request(method=self.head.method, target=self.head.target, headers=headers)) or b""
        except h11.LocalProtocolError:  # SECURITY: it quotes the field, which may hold a value
            raise ConnectionAbortedError("a head that cannot be sent") from None


class Upload:
    """The request's way; `stopped` is what ended it before its end, and then `upstream` has been cut."""

    def __init__(self, upstream: Stream, asked: Asked, crossing: Crossing, ask: Ask) -> None:
        self.stopped: Stopped | None = None
        self._upstream = upstream
        self._body = asked.body
        self._chunked = request_length(asked.head.headers) is None
        self._crossing = crossing
        self._ask = ask
        self._owed = 0  # what the passage has been given, and has not given yet
        self._task: asyncio.Task[None] | None = None

    async def begin(self, start: bytes) -> None:
        """Send all there is, or begin to; raises OSError where it cannot begin."""
        if self._crossing.whole is not None:
            await self._upstream.write(start + self._crossing.whole)
        elif not self._body.ended:
            self._task = asyncio.create_task(self._send(start))
        elif isinstance(passed := await self._judged(b""), Stopped):
            self.stopped = passed
            raise ConnectionAbortedError("stopped")
        else:
            await self._upstream.write(start)

    async def wait(self) -> None:
        """Wait until it has been sent, or given up."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def end(self) -> None:
        """Give up what is still to be sent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def complete(self) -> bool:
        """Tell whether the host has been sent everything."""
        return self._body.ended and not self._owed and self.stopped is None

    async def _send(self, start: bytes) -> None:
        sink = Outgoing(self._upstream, start, chunked=self._chunked)
        try:
            self.stopped = await pump(self._body, sink, self._judged)
        except (OSError, h11.RemoteProtocolError):
            if sink.broken:
                self._owed += 1  # the host reads no more; what it answers is still wanted
                return
            self._upstream.abort()
        if self.stopped is not None:
            self._upstream.abort()

    async def _judged(self, data: bytes) -> bytes | Stopped:
        ended, taking = self._body.ended, self._crossing.passage
        passed = await judged(taking, data, last=ended, ask=self._ask)
        if isinstance(passed, Stopped):
            return passed
        self._owed += len(data) - len(passed)
        if self._owed < 0 or (ended and self._owed):
            raise ConnectionAbortedError("a body of another length")
        if ended and self._body.trailers:
            trailers = taking.request_trailers(self._body.trailers)
            if isinstance(trailers, Stopped):
                return trailers
            self._body.trailers = list(trailers)
        return passed


async def judged(taking: Passage, data: bytes, *, last: bool, ask: Ask) -> bytes | Stopped:
    """Put a piece of a request's body to the gate, and a doubt about it to the operator."""
    passed = taking.request_body(data, last=last)
    if isinstance(passed, Doubt) and await ask(passed):
        taking.settle()
        passed = taking.request_body(b"", last=last)
    return passed if isinstance(passed, bytes) else refused(passed)


def refused(why: Stopped | Doubt) -> Stopped:
    """Take a doubt that was not settled for a refusal."""
    return Stopped(why.code, why.reason, why.secret)
