"""Answers the hooks of an agent inside a boundary, from outside.

A listening socket is opened in the sandbox's network namespace and held here, beside the supervisor: whoever connects
to it is inside this one run. inside/hook.py sends an event and gets exit status and output. INVARIANT: no answer, or
half of one, is a refusal there; so nothing here needs to be caught that would end a thread.
"""

import socket
import threading

from ringfence.model.errors import HostError, RingfenceError
from ringfence.model.guest_network import HOOKS
from ringfence.model.ports import Report
from ringfence.network import capture
from ringfence.sandbox import launch

from . import hook_events
from .hook_decisions import Decider

READ_TIMEOUT_S = 30.0
CONNECTIONS_AT_MOST = 8  # SECURITY: each may hold an event of the largest size in memory (docs/threats.md, L1)
CLIENT_BYTES = 32


class HookService:
    """The companion (model/ports.py) of one agent's run."""

    def __init__(self, decider: Decider) -> None:
        self.decider = decider
        self.listener: socket.socket | None = None
        self.room = threading.BoundedSemaphore(CONNECTIONS_AT_MOST)

    def attach(self, init: int, report: Report) -> None:
        """Listen inside the boundary whose first process is `init`; raise HostError where that fails."""
        self.decider.report = report
        try:
            ((_, descriptor),) = launch.borrow(lambda: [("hooks", capture.listen_inside(init, *HOOKS))])
        except OSError as error:
            raise HostError(f"cannot listen for the agent's hooks: {error.strerror}") from error
        self.listener = socket.socket(fileno=descriptor)
        threading.Thread(target=self.serve, args=(self.listener,), name="hooks", daemon=True).start()

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
            threading.Thread(target=self.attend, args=(peer,), name="hook", daemon=True).start()

    def attend(self, peer: socket.socket) -> None:
        """Answer one connection."""
        try:
            with peer:
                peer.settimeout(READ_TIMEOUT_S)
                status, text = answer(self.decider, received(peer))
                peer.sendall(f"{status} {len(text)}\n".encode() + text)
        except OSError:
            pass  # it has gone, and takes that for a refusal
        finally:
            self.room.release()


def received(peer: socket.socket) -> bytes:
    """Everything the other side sends; more than an event may have is cut off, and then not understood."""
    data = bytearray()
    while len(data) <= hook_events.EVENT_BYTES + CLIENT_BYTES:
        more = peer.recv(1 << 16)
        if not more:
            break
        data += more
    return bytes(data)


def answer(decider: Decider, data: bytes) -> tuple[int, bytes]:
    """Exit status and output for one message: the client's name, a line feed, the event."""
    client, _, text = data.partition(b"\n")
    try:
        if client.decode("ascii", "replace") != decider.where.client:
            raise ValueError("another agent's hook")
        event = hook_events.read(text)
        return 0, hook_events.written(decider.where.client, event, decider.reply(event))
    except (ValueError, RingfenceError) as error:
        return hook_events.REFUSED, f"ringfence: {error}; so this is denied\n".encode(errors="replace")
    except Exception as error:  # a defect of ours must not let the call pass, nor end in silence
        return hook_events.REFUSED, f"ringfence: {type(error).__name__}; so this is denied\n".encode()
