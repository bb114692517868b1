"""Whether whoever speaks to a live run is its operator, and no process that a sandbox of another make holds.

SECURITY: a run does for its operator what the operator could do without it: reach hosts, execute programs that hold
secrets. A process of the same user that sees the run's directory may be held by walls that the run's supervisor is not
(docs/threats.md, E4). So whoever asks shows a file that is reached through /proc/PID/fd of the supervisor and nowhere
else. The kernel lets nobody look there (PTRACE_MODE_READ, ptrace(2)) who is in a Landlock domain, or in a user or pid
namespace, that does not hold the supervisor as well, or who has fewer capabilities. Whoever may can also walk through
/proc/PID/root, so other mounts hold nobody back. What is left is compared: filters of system calls, `no_new_privs`,
and the network.

Fewer walls than the supervisor's are an operator's right: a run that an editor's terminal has started, or a container,
is spoken to from a plain shell outside. Filters can only be counted, so one of another kind in the same number passes.
"""

import os

from .likeness import SO_PEERPIDFD, lines
from .readiness import is_readable
from .unix_sockets import SOL_SOCKET, peer_pid, peer_uid

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence

CAP_SYS_ADMIN = 21  # <linux/capability.h>
COUNTED = {
    "NoNewPrivs": "it may gain no privileges, which the supervisor may",
    "Seccomp": "its system calls are filtered, which the supervisor's are not",
    "Seccomp_filters": "its system calls are filtered more often than the supervisor's",
}
NO_LOOK = "it may not look into the supervisor"
HINT = "ask from a shell like the one that started the run: same user and group, in no other sandbox"


class Shown:
    """The file that a run's supervisor shows; `descriptor` stays the caller's."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = os.dup(descriptor)

    def is_it(self, descriptor: int) -> bool:
        """Whether somebody has reached it."""
        own, found = os.fstat(self.descriptor), os.fstat(descriptor)
        return (own.st_dev, own.st_ino) == (found.st_dev, found.st_ino)

    def refusal(self, peer: "_socket.socket", descriptors: "Sequence[int]") -> str:
        """Why a peer that has sent these is not listened to; empty for an operator."""
        if peer_uid(peer) not in (0, os.getuid()):
            return "it is another user's"
        if not any(self.is_it(descriptor) for descriptor in descriptors):
            return NO_LOOK
        pid = peer_pid(peer)
        if not pid:
            return ""  # it looks into a pid namespace that it is not in: from above
        handle = -1
        try:
            handle = handle_of(peer, pid)
            found = more_walls(pid, peer_uid(peer))
            return "it has ended" if is_readable(handle, 0) else found  # else another one may have its number
        except OSError:
            return "it has ended"
        finally:
            if handle >= 0:
                os.close(handle)

    def close(self) -> None:
        """Show nothing any more."""
        os.close(self.descriptor)


def handle_of(peer: "_socket.socket", pid: int) -> int:
    """A descriptor on the process that connected; raise OSError. Before Linux 6.5 it is the one with its number."""
    try:
        return int.from_bytes(peer.getsockopt(SOL_SOCKET, SO_PEERPIDFD, 4), "little")
    except OSError:
        return os.pidfd_open(pid)


def more_walls(pid: int, uid: int) -> str:
    """What holds a process that looks into us, and does not hold us; raise OSError for one that has gone."""
    place = f"/proc/{pid}"
    own, other = status("/proc/self"), status(place)
    for field, wall in COUNTED.items():
        if int(other.get(field, "0")) > int(own.get(field, "0")):
            return wall
    try:
        user, network = (os.readlink(f"{place}/ns/{kind}") for kind in ("user", "net"))
    except PermissionError:
        # It looks into us, and we not into it: it is above us, or hides, and then its files belong to root.
        return "" if os.stat(place).st_uid == uid else "it cannot be looked at"
    if user != os.readlink("/proc/self/ns/user") or network == os.readlink("/proc/self/ns/net"):
        return ""  # whoever looks into another user namespace has every right over it (user_namespaces(7))
    enters = int(other.get("CapEff", "0"), 16) >> CAP_SYS_ADMIN & 1  # setns(2)
    return "" if enters else "its network is another"


def status(place: str) -> "dict[str, str]":
    """What proc_pid_status(5) says of walls; raise OSError."""
    found = (line.partition(":") for line in lines(place, frozenset({*COUNTED, "CapEff"})))
    return {field: value.strip() for field, _, value in found}
