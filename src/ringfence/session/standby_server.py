"""The standby's process: fork spares and hand them to runs (standby.py says what for).

Its arguments: the directory of its socket, and the socket's name. What is the same for every run, modules and the
host's authorities, is loaded here, once; its memory is shared by all that are forked, as long as nobody writes to it.

SECURITY: a peer must be of the same user, and to get a vault be within no other walls (`likeness.walls`). Nothing of a
run is in this process: what a spare is told comes from that user's own run, over a channel of which both ends have left
here; keys are made in each spare alone. A spare that has been handed over is out of our reach, and lives on when we
end. What forks have in common is in docs/decisions/018-forked-proxies.md.
"""

import fcntl
import gc
import os
import signal
import socket
import sys
import time

from ringfence.sandbox import launch

from . import likeness, titles
from .readiness import is_one_readable, is_readable
from .standby import PACKET_BYTES
from .unix_sockets import peer_uid

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from collections.abc import Callable

PROXY, VAULT = "proxy", "vault"
IDLE_S = 900.0
REST_S = 0.3  # before the next spare is made: the run that was given the last one starts meanwhile
LOOK_S = 10.0  # whether the socket is still there: nobody can ask a standby whose directory was removed


class Spare:
    """A prepared proxy or vault that waits: its pidfd and our end of the pair by which it is given a run."""

    def __init__(self, kind: str, stores: list[str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.give = ours
        serve = serving(kind, stores)
        gc.collect()
        gc.freeze()  # a fork that looks for garbage does not write to what it shares
        pid = launch.fork_service(lambda: stand_apart(serve, theirs), keep={0, 1, 2, theirs.fileno()})
        self.handle = os.pidfd_open(pid)
        theirs.close()

    def hand_over(self, peer: socket.socket, words: bytes, descriptors: list[int]) -> None:
        """Give the spare to the run at the other end, and forget it; raise OSError where one of them has gone."""
        try:
            socket.send_fds(self.give, [words], descriptors)
            socket.send_fds(peer, [b"1"], [self.handle])
        finally:
            self.close()

    def has_ended(self) -> bool:
        """Whether the spare's process is over."""
        return is_readable(self.handle, 0)

    def close(self) -> None:
        """Let go of it; one that has no run ends."""
        self.give.close()
        os.close(self.handle)


def stand_apart(serve: "Callable[[socket.socket], None]", give: socket.socket) -> None:
    """Be a process that has no more in common with the standby than one of a run's own would."""
    os.setsid()  # what is sent to the standby's group is not meant for a run
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a vault asks how its commands have ended
    serve(give)


def serving(kind: str, stores: list[str]) -> "Callable[[socket.socket], None]":
    """What a spare does, with all that it is made of loaded."""
    if kind == VAULT:
        from . import vault_carrying  # noqa: F401 - for its forks
        from .vault_worker import serve_assigned as serve_vault

        return serve_vault
    from .egress_worker import serve_assigned

    return lambda give: serve_assigned(give, stores)


class Spares:
    """A spare of each kind that has been asked for. `stores`: the files of trust that the latest run wanted."""

    def __init__(self) -> None:
        self.own = likeness.walls("self")
        self.stores = ["authority", "bundle"]
        self.kept = {PROXY: Spare(PROXY, self.stores)}
        self.wanted = {PROXY}

    def answer(self, peer: socket.socket) -> None:
        """Give a run what it asks for, the first to ask for a kind excepted: to load that takes longer than to wait.

        Raises OSError where the run, or the spare, has gone.
        """
        data, descriptors, _, _ = socket.recv_fds(peer, PACKET_BYTES, 3)
        try:
            kind, _, words = data.decode().partition(" ")
            if kind == VAULT and not self.could_be_one(peer, descriptors[2:]):
                return
            if kind in self.wanted and len(descriptors) >= 2:
                spare = self.kept.pop(kind, None) or Spare(kind, self.stores)
                spare.hand_over(peer, words.encode(), descriptors[:2])
            if kind == PROXY:
                self.stores = [word.rpartition(".")[2] for word in words.split(" ")[1:]]
            self.wanted |= {kind} & {PROXY, VAULT}
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def could_be_one(self, peer: socket.socket, shown: list[int]) -> bool:
        """Whether a vault could do nothing that the process that asks for it cannot do itself.

        SECURITY: it reads files and executes commands for whoever it is given to.
        """
        looks = len(shown) == 1 and likeness.looks_at_us(shown[0])
        return looks and likeness.is_like(peer, self.own, likeness.walls)

    def refill(self) -> None:
        """Make those that are missing."""
        for kind in sorted(self.wanted - self.kept.keys()):
            self.kept[kind] = Spare(kind, self.stores)

    def has_ended(self) -> bool:
        """Whether one of them could not be prepared."""
        return any(spare.has_ended() for spare in self.kept.values())

    def close(self) -> None:
        """Let go of all of them."""
        for spare in self.kept.values():
            spare.close()


def main() -> None:
    """Detach, and serve until nobody has asked for a while or the socket has been removed."""
    titles.appear_as(titles.STANDBY)
    directory, name = sys.argv[1:3]
    launch.detach()
    likeness.show()
    lock = os.open(f"{directory}/{name}.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # another one is at it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the spares
    os.chdir(directory)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.path.lexists(name):
        os.unlink(name)
    listener.bind(name)
    os.chmod(name, 0o600)
    listener.listen(64)
    from . import egress_worker  # 150 ms: not before whoever started this has been let go

    authorities = stamps()
    egress_worker.rehearse()
    try:
        serve(listener, name, authorities)
    finally:
        if os.path.lexists(name):
            os.unlink(name)


def stamps() -> list[tuple[int, int, int]]:
    """What tells that the host's authorities are those that were read: each file that may hold them, as it is now."""
    import ssl

    from ringfence.planner import trust_store

    found = []
    for path in (ssl.get_default_verify_paths().cafile, *(path for path, _ in trust_store.BUNDLE_PATHS)):
        try:
            status = os.stat(path or "")
        except OSError:
            continue
        found.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return found


def serve(listener: socket.socket, name: str, authorities: list[tuple[int, int, int]]) -> None:
    """Hand one spare to each run that asks, as long as the host trusts whom it trusted, and has this program."""
    spares = Spares()
    asked = time.monotonic()
    while os.path.lexists(name) and os.path.lexists(__file__) and time.monotonic() - asked < IDLE_S:
        handles = [spare.handle for spare in spares.kept.values()]
        if not is_one_readable([listener.fileno(), *handles], LOOK_S):
            continue
        if spares.has_ended() or stamps() != authorities:
            return  # it could not be prepared: our own files have changed, and whoever asks starts anew
        peer, _ = listener.accept()
        with peer:
            if peer_uid(peer) != os.getuid():
                continue
            asked = time.monotonic()
            peer.settimeout(1)
            try:
                spares.answer(peer)
            except (OSError, UnicodeDecodeError):
                pass  # the run has gone, or the spare: the next one is asked for by another run
        if not is_readable(listener.fileno(), REST_S):
            spares.refill()
    spares.close()
