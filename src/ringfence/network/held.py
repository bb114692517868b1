"""A request's body that is taken in before the request is carried out, and the request that goes on with it."""

import msgspec

from .body import Incoming
from .exchange import Asked
from .http1 import listed
from .malformed import Malformed
from .spool import SpoolFile
from .stream import Stream

PIECE = 256 << 10


class Held(Incoming):
    """A body that was read already: what is in memory, then a spool, which belongs to whoever made this."""

    def __init__(self, head: bytes, spool: SpoolFile | None = None) -> None:
        self._head = head
        self.spool = spool
        self._offset = 0
        self.trailers = []
        self.ended = False

    @property
    def at_hand(self) -> bool:
        """It all is."""
        return True

    async def read(self) -> bytes:
        """Give the next piece; see Incoming."""
        if self.ended:
            return b""
        data, self._head = self._head, b""
        if not data and self.spool is not None:
            data = self.spool.read(self._offset, PIECE)
            self._offset += len(data)
        self.ended = self.spool is None or self._offset == self.spool.size
        return data


def held(asked: Asked, body: Held) -> Asked:
    """Give a request that goes on with a body that was read; nobody waits for `100 Continue` any more."""
    headers = tuple(field for field in asked.head.headers if field[0] != b"expect")
    return msgspec.structs.replace(asked, head=msgspec.structs.replace(asked.head, headers=headers), body=body)


def require_plain(asked: Asked) -> None:
    """Require a body without content coding; raise `Malformed`."""
    if listed(asked.head.headers, b"content-encoding") - {b"identity"}:
        raise Malformed("a request that must be read, and is compressed")


async def go_on(client: Stream, asked: Asked) -> None:
    """Have a client that waits for it send its body."""
    if asked.expects and not asked.body.ended:
        await client.write(asked.go_on())
