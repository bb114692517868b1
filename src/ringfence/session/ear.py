"""Listens inside one boundary for the programs of inside/, and answers each connection once.

A listening socket is opened in the sandbox's network namespace and held here, beside the supervisor: whoever connects
to it is inside this one run. One message is the question, up to where the other side stops sending; the answer begins
with exit status and length. INVARIANT: no answer, or half of one, is a refusal there; so nothing here needs to be
caught that would end a thread.
"""

import socket
import threading

from ringfence.model.errors import HostError
from ringfence.network import capture
from ringfence.sandbox import launch

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from collections.abc import Callable

READ_TIMEOUT_S = 30.0
CONNECTIONS_AT_MOST = 8  # SECURITY: each may hold a question of the largest size in memory (docs/threats.md, L1)


class Ear:
    """For what one service is asked; `limit` bytes are read at most, what is longer is cut off."""

    def __init__(self, name: str, answer: "Callable[[bytes], tuple[int, bytes]]", limit: int) -> None:
        self.name = name
        self.answer = answer
        self.limit = limit
        self.listener: socket.socket | None = None
        self.room = threading.BoundedSemaphore(CONNECTIONS_AT_MOST)

    def open(self, init: int, place: tuple[str, int]) -> None:
        """Listen inside the boundary whose first process is `init`; raise HostError where that fails."""
        try:
            ((_, descriptor),) = launch.borrow(lambda: [(self.name, capture.listen_inside(init, *place))])
        except OSError as error:
            raise HostError(f"cannot listen inside for {self.name}: {error.strerror}") from error
        self.listener = socket.socket(fileno=descriptor)
        threading.Thread(target=self.serve, args=(self.listener,), name=self.name, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()

    def serve(self, listener: socket.socket) -> None:
        """Take one connection after the other until `close`; each is answered by a thread of its own."""
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            self.room.acquire()
            threading.Thread(target=self.attend, args=(peer,), name=self.name, daemon=True).start()

    def attend(self, peer: socket.socket) -> None:
        """Answer one connection."""
        try:
            with peer:
                peer.settimeout(READ_TIMEOUT_S)
                status, text = self.answer(self.received(peer))
                peer.sendall(f"{status} {len(text)}\n".encode() + text)
        except OSError:
            pass  # it has gone, and takes that for a refusal
        finally:
            self.room.release()

    def received(self, peer: socket.socket) -> bytes:
        """Everything the other side sends, as far as it is read."""
        data = bytearray()
        while len(data) <= self.limit:
            more = peer.recv(1 << 16)
            if not more:
                break
            data += more
        return bytes(data)
