"""One answer on its way in: whatever the vault knows is replaced by what stands for it.

Theory of operation. Fields of the head, the body as it flows, trailers and the frames of a WebSocket are searched for
values in every form (encodings.py); replacements are as long, so lengths that were stated stay true. What a host sends
that has been given values, or gives them, must be readable: gzip and deflate are undone, and go on as they are; other
codings, and parts of a body, stop the answer.
SECURITY: a host that is not trusted to keep a value to itself should not be given it: a value that comes back reversed,
encrypted or in pieces is not recognised (docs/secrets.md).
"""

import msgspec

from ringfence.model.passage import WHOLE_BYTES, Destination, Headers, Incoming, Noted, Outgoing, Stopped

from .capturing import UNREADABLE, capture, notes
from .coding import Decoder, UnreadableError, coding
from .holdings import Holdings
from .scanner import Stream
from .scopes import beyond, stated
from .sending import Sending
from .websocket import Frames

_BODILESS = (204, 304)
_FRAMED = (b"content-encoding", b"content-length")


class Answering:
    """The answer's side of a passage."""

    def __init__(self, holdings: Holdings, destination: Destination, request: Outgoing, sending: Sending) -> None:
        """Begin; `sending` knows which values were put into the request."""
        self._holdings = holdings
        self._captured = holdings.capture(destination, request)
        self._is_head = request.method == b"HEAD"
        self._sending = sending
        self._stream = Stream(holdings.current_inbound)
        self._frames = Frames(holdings.current_inbound)
        self._decoder: Decoder | None = None
        self._capturing = False
        self._body = b""
        self._names: set[str] = set()
        self._noted: set[str] = set()
        self._notes: list[Noted] = []
        self.minted: dict[str, str] = {}

    def head(self, answer: Incoming) -> Incoming | Stopped:
        """Give the head as it may go inside."""
        headers = self.fields(answer.headers)
        if answer.status < 200:
            return msgspec.structs.replace(answer, headers=headers)
        problem = self._scopes(answer.headers)
        if problem is not None:
            return problem
        if self._is_head or answer.status in _BODILESS:
            return msgspec.structs.replace(answer, headers=headers)
        if answer.status == 206 and self._sending.intimate:
            return Stopped(UNREADABLE, "it is a part of a body, which may be a part of a value")
        self._capturing = bool(self._captured) and 200 <= answer.status < 300
        named = coding(answer.headers)
        if self._sending.intimate and named:
            try:
                self._decoder = Decoder(named)
            except UnreadableError as error:
                return Stopped(UNREADABLE, str(error))
            headers = [field for field in headers if field[0] not in _FRAMED]
        return Incoming(answer.status, headers, transformed=self._decoder is not None)

    def body(self, data: bytes, *, last: bool) -> bytes | Stopped:
        """Give what of the body may go inside now."""
        if self._decoder is not None:
            try:
                data = self._decoder.feed(data, last=last)
            except UnreadableError as error:
                return Stopped(UNREADABLE, str(error))
        if self._capturing:
            self._body += data
            if len(self._body) > WHOLE_BYTES:
                return Stopped(UNREADABLE, "it should bring values, and is too long")
            if not last:
                return b""
            minted = capture(self._holdings, self._body, self._captured)
            if isinstance(minted, Stopped):
                return minted
            self.minted = minted
            self._notes += notes(minted)
            data = self._body
        given = self._stream.feed(data, last=last)
        self._names |= self._stream.names
        return given

    def fields(self, headers: Headers) -> Headers:
        """Give the fields of a head or trailer without values."""
        return [(self._scrubbed(name), self._scrubbed(value)) for name, value in headers]

    def upgraded(self, data: bytes) -> bytes:
        """Give what of a WebSocket may go inside now."""
        given = self._frames.feed(data)
        self._names |= self._frames.names
        return given

    def notes(self) -> list[Noted]:
        """Return what is to be recorded since the last call: each value that came back, once."""
        found = [*self._notes, *(Noted("scrubbed", name) for name in sorted(self._names - self._noted))]
        self._noted |= self._names
        self._notes = []
        return found

    def _scrubbed(self, text: bytes) -> bytes:
        made, names = self._holdings.inbound.replaced(text)
        self._names.update(names)
        return made

    def _scopes(self, headers: Headers) -> Stopped | None:
        """Learn the scopes of the token that was used; refuse the answer where they are more than policy says."""
        told = stated(headers)
        for name in sorted(self._sending.used) if told is not None else ():
            allowed = self._holdings.secret(name).scopes
            if allowed is None or told is None:
                continue
            excess = beyond(told, allowed)
            self._holdings.excess[name] = excess
            if excess:
                return Stopped("secret-scope", f"`{name}` has scopes beyond its policy: {', '.join(excess)}", name)
        return None
