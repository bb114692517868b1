"""Takes values out of what comes over a WebSocket (RFC 6455), as many bytes as before.

Theory of operation. The frames of a server are not masked, so that the texts of their payloads can be searched. The
payloads of one message are one text, however many frames it comes in; headers are passed in their place. What is kept
back ends with the message. Extensions, which compress, are not offered where values are known (sending.py); a frame of
a compressed or masked message is passed as it is.
"""

from collections import deque
from collections.abc import Callable

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

    def feed(self, data: bytes) -> bytes:
        """Return what may pass now; without data, at the end, all that was kept back."""
        self._input += data
        while self._step():
            pass
        if data:
            return self._released()
        self._ready += self._stream.feed(b"", last=True)
        self.names |= self._stream.names
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
            made, found = self._search().replaced(piece)
            self._waiting.append(made)
            self.names.update(found)
        elif self._opaque:
            self._waiting.append(piece)
        else:
            self._waiting.append(len(piece))
            self._ready += self._stream.feed(piece)
        self._end_of_frame()
        return True

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
        self._control = bool(first & _CONTROL) and self._left <= _LONGEST_CONTROL
        if not self._control:
            started = bool(first & _OPCODE)
            self._opaque = bool(second & _MASKED or first & _COMPRESSED) or (self._opaque and not started)
            self._final = bool(first & _FINAL)
        self._waiting.append(self._input[:end])
        self._input = self._input[end:]
        self._end_of_frame()
        return True

    def _end_of_frame(self) -> None:
        if not self._left and self._final and not self._control and not self._opaque:
            self._ready += self._stream.feed(b"", last=True)
            self.names |= self._stream.names
            self._stream = Stream(self._search)

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
