"""The vault's side of HTTP: between the proxy, in the clear, and an upstream host, under TLS that is verified.

Theory of operation. The proxy (relay.py) has given every request one meaning, and policy has decided on it; it speaks
to the hop as it would to the host, and the supervisor has connected both. Each request is put to the gate, which knows
the values of secrets; only when it has let one pass is there TLS with the host. What goes either way goes through the
gate (hop_exchange.py). A request that does not pass is answered as a denial of the proxy's would be.

Whatever else goes wrong is told to the proxy in its own terms, by cutting the pair: it then answers for a host that
cannot be reached, or lets its client see a connection end that was kept too long. The proxy's time limits are the
shorter ones, so it is the proxy that says when something took too long.

SECURITY: this process holds values, and whoever speaks here may have taken the proxy over. Heads are judged again, and
must be what the proxy would have sent; bodies are measured by the same code as there.
"""

import asyncio
import socket
from collections.abc import Callable

import h11

from ringfence.model.passage import WHOLE_BYTES, Destination, Doubt, Noted, Outgoing, Stopped

from . import heads, tls
from .authority import Origin, request_target
from .body import Incoming
from .denial import DRAINED_BYTES, denial_at
from .exchange import Asked
from .gate import Gate
from .hop_exchange import HopExchange
from .hop_upload import Ask, Crossing, judged, refused
from .http1 import Head, forwarded_headers, request_length
from .malformed import Malformed
from .session import Fields, Refusal
from .session import target as named
from .stream import IDLE_TIMEOUT_S, Stream

PATIENCE_S = 60.0  # beyond the proxy's
ROOM_BYTES = 8 * WHOLE_BYTES


class Room:
    """Room for bodies that are held whole, of all connections together: memory of the host that no limit counts."""

    def __init__(self) -> None:
        self.left = ROOM_BYTES


Told = Callable[[str, str, Fields], None]


async def serve(
    client: Stream, upstream: socket.socket, destination: Destination, gate: Gate, *, told: Told, ask: Ask, room: Room
) -> None:
    """Serve one connection of the proxy's to `destination` until either side has ended, and close both.

    `told` takes the kind, code and fields of an event, and must not wait; `ask` puts a doubt to the operator, and gives
    up by itself. All connections share `room`. Preconditions: `tls.prepare` has been called.
    """
    hop = _Hop(client, await Stream.over(upstream), destination, gate, told=told, ask=ask, room=room)
    try:
        await hop.run()
    except OSError:
        pass  # a side has cut it short, or it had to be
    finally:
        client.abort()
        hop.upstream.abort()


class _Hop:
    def __init__(
        self,
        client: Stream,
        upstream: Stream,
        destination: Destination,
        gate: Gate,
        *,
        told: Told,
        ask: Ask,
        room: Room,
    ) -> None:
        self.client = client
        self.upstream = upstream
        self.origin = Origin(destination.scheme, destination.host, destination.port)
        self._destination = destination
        self._gate = gate
        self._told = told
        self._ask = ask
        self._room = room
        self._held = 0  # bytes of `room`
        self._secured = destination.scheme != "https"
        client.timeout_s = upstream.timeout_s = IDLE_TIMEOUT_S + PATIENCE_S

    async def run(self) -> None:
        """Serve one request after the other; raises OSError where the pair must be cut."""
        going_on = True
        while going_on and (asked := await self._asked()):
            try:
                going_on = await self._serve(asked)
            finally:
                self._room.left += self._held
                self._held = 0
        await asyncio.gather(self.client.close(), self.upstream.close())

    # ---- a request

    async def _asked(self) -> Asked | None:
        """Wait for a request; None where the proxy, or meanwhile the host, ends."""
        parser = heads.parser(h11.SERVER)
        self._attend()
        try:
            head = await heads.read_request(self.client, parser)
            if head is None:
                return None
            target = request_target(head.method, head.target, head.host, origin=self.origin, encoded_slash=True)
        except Malformed as error:
            raise ConnectionAbortedError(error.reason) from error
        finally:
            self._leave()
        if head.problem or target.wire != head.target:
            raise ConnectionAbortedError("not what a proxy says")
        body = Incoming(self.client, parser, request_length(head.headers))
        return Asked(head=head, target=target, parser=parser, body=body)

    def _attend(self) -> None:
        """Have the proxy's side end as soon as the host's does, so that it connects anew for its next request."""
        asyncio.get_running_loop().add_reader(self.upstream.socket, self._stirred)

    def _stirred(self) -> None:
        if not self.upstream.is_at_rest():
            self._leave()
            self.client.abort()

    def _leave(self) -> None:
        if self.upstream.socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.upstream.socket)

    async def _serve(self, asked: Asked) -> bool:
        """Serve one request, or answer why not; tells whether there may be another."""
        crossing = await self._crossing(asked)
        if isinstance(crossing, Stopped):
            return await self._deny(asked, crossing)
        if not self._secured:
            failed = await tls.secure(self.upstream, self.origin.host)
            if failed is not None:
                self._record(asked, "denial" if failed.code == "upstream-certificate" else "egress", failed)
                await self.client.write(self._answer(asked, failed.code, keep=False))
                return False
            self._secured = True
        exchange = HopExchange(self.client, self.upstream, asked, crossing, note=self._noted, ask=self._ask)
        try:
            stopped = await exchange.run()
        finally:
            if exchange.stopped is not None:
                self._record(asked, "denial", exchange.stopped)
        if stopped is None:
            return exchange.reusable
        await self.client.write(self._answer(asked, stopped.code, keep=False))
        return False

    # ---- the gate

    async def _crossing(self, asked: Asked) -> Crossing | Stopped:
        """Have the gate judge a request; its body too, where that is wanted in one piece."""
        request = _request(asked.head, asked.target.authority)
        passage = self._gate.open(self._destination, request)
        if isinstance(passage, Doubt):
            if not await self._ask(passage):
                return refused(passage)
            passage = self._gate.open(self._destination, request, settled=True)
        if isinstance(passage, Doubt | Stopped):
            return refused(passage)
        whole = await self._collected(asked) if passage.whole else None
        if isinstance(whole, bytes):
            whole = await judged(passage, whole, last=True, ask=self._ask)
        if isinstance(whole, Stopped):
            return whole
        head = passage.head()
        return head if isinstance(head, Stopped) else Crossing(request=request, passage=passage, head=head, whole=whole)

    async def _collected(self, asked: Asked) -> bytes | Stopped:
        too_large = Stopped("too-large", f"the body is larger than {WHOLE_BYTES >> 20} MiB")
        if (request_length(asked.head.headers) or 0) > WHOLE_BYTES:
            return too_large
        if asked.expects:
            await self.client.write(asked.go_on())
        parts: list[bytes] = []
        while not asked.body.ended:
            parts.append(await _read(asked.body))
            self._held += len(parts[-1])
            self._room.left -= len(parts[-1])
            if self._held > WHOLE_BYTES:
                return too_large
            if self._room.left < 0:
                return Stopped("busy", "too many bodies are being judged as a whole")
        return b"".join(parts)

    # ---- what is said about it

    async def _deny(self, asked: Asked, stopped: Stopped) -> bool:
        """Answer a request that was not sent; tells whether there may be another."""
        self._record(asked, "denial", stopped)
        length = request_length(asked.head.headers)
        ended = asked.body.ended
        keep = ended or (not asked.expects and length is not None and length <= DRAINED_BYTES)
        await self.client.write(self._answer(asked, stopped.code, keep=keep))
        while keep and not asked.body.ended:
            await _read(asked.body)
        return keep

    def _answer(self, asked: Asked, code: str, *, keep: bool) -> bytes:
        answer = denial_at(code, self.origin.host, self.origin.port)
        return answer.wire(keep=keep, bodiless=asked.method == "HEAD")

    def _record(self, asked: Asked, kind: str, why: Stopped | Refusal) -> None:
        fields: Fields = {
            "target": named(self.origin.host, self.origin.port),
            "reason": why.reason,
            "method": asked.method,
            "path": asked.target.path,
        }
        if isinstance(why, Stopped) and why.secret:
            fields["secret"] = why.secret
        self._told(kind, why.code, fields)

    def _noted(self, asked: Asked, note: Noted) -> None:
        fields: Fields = {"host": self.origin.host, "port": self.origin.port, "method": asked.method}
        fields |= {"path": asked.target.path, "secret": note.secret}
        self._told("secret", note.code, fields | ({"detail": note.detail} if note.detail else {}))


def _request(head: Head, authority: bytes) -> Outgoing:
    """The head that the gate judges. No frame of a WebSocket may be compressed, for nothing is found in those."""
    headers = forwarded_headers(head.headers, authority=authority, websocket=head.websocket)
    kept = tuple(field for field in headers if field[0] != b"sec-websocket-extensions" or not head.websocket)
    return Outgoing(head.method, head.target, kept)


async def _read(body: Incoming) -> bytes:
    try:
        return await body.read()
    except h11.RemoteProtocolError as error:
        raise ConnectionAbortedError("the body is not framed as announced") from error
