"""A vault leaves its values to the one that takes its place, over a pair of sockets that the supervisor only makes.

The older one says all that it holds, and later, while it carries its last connections, what answers still bring; the
younger one puts in what answers have brought, and goes on to search for what sources had.
SECURITY: no value passes through the supervisor, which closes both ends as soon as it has handed them on. The younger
one is not confined yet when it takes the first part: each packet is decoded into one type, of bounded size.
"""

import socket
import struct
from collections.abc import Callable

import msgspec

from ringfence.secrets.holdings import Bequest
from ringfence.secrets.keeper import Keeper
from ringfence.secrets.placeholders import UnfitError

TIMEOUT_S = 5
PACKET_BYTES = 192 << 10  # a value and its placeholder, each of at most 64 KiB (secrets/sources.py)
_LAST = Bequest("", b"", b"", "")
_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(Bequest).decode


class Legacy:
    """The older vault's end; before there is a successor it does nothing."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._heir: socket.socket | None = None

    def begin(self, heir: socket.socket) -> None:
        """Leave everything to `heir`; of several the last one counts."""
        if self._heir:
            self._heir.close()
        self._heir = heir
        # By the kernel: `settimeout` polls, which a confined vault may not.
        heir.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", TIMEOUT_S, 0))
        self._leave([*self._keeper.bequests(again=True), _LAST])

    def go_on(self) -> None:
        """Leave what has come since."""
        if self._heir:
            self._leave(self._keeper.bequests(again=False))

    def _leave(self, values: list[Bequest]) -> None:
        try:
            for value in values:
                if self._heir:
                    self._heir.send(_encode(value))
        except OSError:
            self._heir = None  # it has given up


def everything(older: socket.socket) -> list[Bequest]:
    """Take all that the older vault holds now; what it still says if it ends, or falls silent, before the last."""
    older.settimeout(TIMEOUT_S)
    found: list[Bequest] = []
    try:
        while (data := older.recv(PACKET_BYTES)) and (left := _decode(data)) != _LAST:
            found.append(left)
    except (OSError, msgspec.DecodeError):
        pass
    return found


def later(older: socket.socket, keeper: Keeper, taken: Callable[[], None], ended: Callable[[], object]) -> None:
    """Take what has come since, without waiting: `taken` is called for each, `ended` when there will be no more."""
    try:
        while data := older.recv(PACKET_BYTES):
            keeper.inherit(_decode(data))
            taken()
    except BlockingIOError:
        return
    except (OSError, msgspec.DecodeError, UnfitError):
        pass
    ended()
