"""What passes over a WebSocket (RFC 6455): values are taken out of what comes, and what goes is judged.

Theory of operation. The payloads of one message are one text, however many frames it comes in; headers are passed in
their place. What is kept back ends with the message. The frames of a client are masked, with a key that stands in each:
their texts are judged without it, and go on as they came. Extensions, which compress, are not offered where there is a
vault (network/hop.py): from a server a frame of a compressed or masked message is passed as it is, from inside none is.
"""

from collections import deque
from collections.abc import Callable

from ringfence.model.passage import Stopped

from .scanner import Search, Stream

_FINAL, _COMPRESSED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x40, 0x0F, 0x80, 0x7F  # section 5.2
_CONTROL = 0x08
_LONGEST_CONTROL = 125  # section 5.5; what is longer is no control frame, and is searched as a message is
_EXTENDED = {126: 2, 127: 8}


class Frames:
    """The bytes from a server after its 101."""

    def __init__(self, search: Callable[[], Search]) -> None:
        """Begin."""
        self._search = search
        self._stream = Stream(search)
        self.names: set[str] = set()
        self._input = b""
        self._left = 0  # of the payload of the frame at hand
        self._control = self._opaque = self._final = False
        # What has not gone out, in its order: bytes that pass as they are, and numbers of bytes of the message's text.
        self._waiting: deque[bytes | int] = deque()
        self._ready = b""
        self._key = bytes(4)  # the mask of the frame at hand, from its next byte on

    def feed(self, data: bytes) -> bytes:
        """Return what may pass now; without data, at the end, all that was kept back."""
        self._input += data
        while self._step():
            pass
        if data:
            return self._released()
        self._ready += self._text(b"", last=True)
        rest, self._input = self._input, b""
        return self._released() + rest

    def _step(self) -> bool:
        """Take a frame's header, or what there is of its payload; tell whether there was something to take."""
        if not self._left:
            return self._header()
        piece = self._input[: self._left]
        if not piece or (self._control and len(piece) < self._left):
            return False
        self._input = self._input[len(piece) :]
        self._left -= len(piece)
        if self._control:
            self._waiting.append(self._whole(piece))
        elif self._opaque:
            self._waiting.append(piece)
        else:
            self._waiting.append(len(piece))
            self._ready += self._text(piece, last=False)
        self._end_of_frame()
        return True

    def _whole(self, piece: bytes) -> bytes:
        """Give the payload of a control frame."""
        made, found = self._search().replaced(piece)
        self.names.update(found)
        return made

    def _text(self, piece: bytes, *, last: bool) -> bytes:
        """Give what of a message is ready; `last` where it ends."""
        made = self._stream.feed(piece, last=last)
        self.names |= self._stream.names
        if last:
            self._stream = Stream(self._search)
        return made

    def _is_opaque(self, *, masked: bool, compressed: bool) -> bool:
        """Tell whether a frame's message cannot be read."""
        return masked or compressed

    def _header(self) -> bool:
        if len(self._input) < 2:
            return False
        first, second = self._input[0], self._input[1]
        length = second & _LENGTH
        end = 2 + _EXTENDED.get(length, 0) + (4 if second & _MASKED else 0)
        if len(self._input) < end:
            return False
        extended = self._input[2 : 2 + _EXTENDED.get(length, 0)]
        self._left = int.from_bytes(extended, "big") if extended else length
        self._key = self._input[end - 4 : end] if second & _MASKED else bytes(4)
        self._control = bool(first & _CONTROL) and self._left <= _LONGEST_CONTROL
        if not self._control:
            started = bool(first & _OPCODE)
            opaque = self._is_opaque(masked=bool(second & _MASKED), compressed=bool(first & _COMPRESSED))
            self._opaque = opaque or (self._opaque and not started)
            self._final = bool(first & _FINAL)
        self._waiting.append(self._input[:end])
        self._input = self._input[end:]
        self._end_of_frame()
        return True

    def _end_of_frame(self) -> None:
        if not self._left and self._final and not self._control and not self._opaque:
            self._ready += self._text(b"", last=True)

    def _released(self) -> bytes:
        pieces = []
        while self._waiting:
            part = self._waiting[0]
            if isinstance(part, bytes):
                pieces.append(part)
            elif len(self._ready) >= part:
                pieces.append(self._ready[:part])
                self._ready = self._ready[part:]
            else:
                pieces.append(self._ready)
                self._waiting[0] = part - len(self._ready)
                self._ready = b""
                break
            self._waiting.popleft()
        return b"".join(pieces)


Judge = Callable[[bytes, bool], tuple[Stopped | None, int]]
"""Judges what is left of a message's text, and whether it ends there: the verdict, and how much of it may go."""


class Departing(Frames):
    """The bytes of a client after its 101; `stopped` is why they do not go on."""

    def __init__(self, judge: Judge) -> None:
        """Begin."""
        super().__init__(lambda: Search([]))
        self._judge = judge
        self._plain = self._masked = b""  # of the message at hand, what is kept back
        self.stopped: Stopped | None = None

    def departed(self, data: bytes) -> bytes | Stopped:
        """Return what may go upstream now; without data, at the end, all that was kept back."""
        if not data and self._control:
            self._input = b""  # SECURITY: a frame that does not come to its end was not judged
        passed = self.feed(data)
        return self.stopped or passed

    def _whole(self, piece: bytes) -> bytes:
        self.stopped = self.stopped or self._judge(self._unmasked(piece), True)[0]
        return piece

    def _text(self, piece: bytes, *, last: bool) -> bytes:
        self._plain += self._unmasked(piece)
        self._masked += piece
        verdict, cut = self._judge(self._plain, last)
        self.stopped = self.stopped or verdict
        ready = self._masked[:cut]
        self._plain, self._masked = self._plain[cut:], self._masked[cut:]
        return ready

    def _is_opaque(self, *, masked: bool, compressed: bool) -> bool:
        if compressed:
            self.stopped = self.stopped or Stopped("secret-body", "a message is compressed, which was not agreed on")
        return False

    def _unmasked(self, piece: bytes) -> bytes:
        size, turn = len(piece), len(piece) % 4
        mask = (self._key * (size // 4 + 1))[:size]
        self._key = self._key[turn:] + self._key[:turn]
        return (int.from_bytes(piece, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")
