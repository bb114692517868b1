"""Seccomp notifications: learn of every refused system call, answer it, and say what it was.

Theory of operation. The filter refuses by asking us (SECCOMP_RET_USER_NOTIF, seccomp_unotify(2)). We answer
with the error number that `seccomp.answer` names, so the refusal itself is the filter's decision and never
depends on what we read from the caller's memory. A few calls are only observed: their answer is "continue",
which is harmless because the namespaces, not we, contain them; their arguments are read for the record only.
If this process dies the kernel answers ENOSYS: refused.
"""

import fcntl
import os

# <linux/seccomp.h>: _IOWR('!', 0, 80), _IOWR('!', 1, 24)
RECEIVE, SEND = 0xC0502100, 0xC0182101
CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
# Without a resolver of its own, which a network that is off has not, the C library asks this host (resolv.conf(5)).
LOOKUPS = ("127.0.0.1:53", "[::1]:53")
LOOKUP = "look-up of a name"
DISCONNECT = "family 0"  # AF_UNSPEC: connect(2) takes a connection back; the C library sorts addresses that way
# Where services of a host listen. Other places are not looked at: a path may lead to a file server that hangs.
SOCKET_PLACES = ("/run/", "/var/run/", "/tmp/")
# The C library and loggers ask these unasked: that says nothing.
ASKED_UNASKED = ("nscd/", "systemd/", "avahi-daemon/", "sssd/")
S_IFMT, S_IFSOCK = 0o170000, 0o140000  # inode(7)
FLAGS, PF_KTHREAD = 6, 0x00200000  # proc_pid_stat(5), counted from after the name; <linux/sched.h>


class Notification:
    """One call: who made it, its name and what is known of its target."""

    __slots__ = ("code", "name", "pid", "target")

    def __init__(self, pid: int, name: str, code: str, target: str) -> None:
        self.pid = pid
        self.name = name
        self.code = code
        self.target = target


def serve(
    listener: int, profile: str, machine: str, *, is_inside: "_Inside", connecting: "_Connecting"
) -> "Notification | None":
    """Answer one notification; return what to record, None if it was allowed or its caller has died.

    `connecting` is told of every address that a program connects to, before it does so.
    """
    buffer = bytearray(80)
    try:
        fcntl.ioctl(listener, RECEIVE, buffer, True)
    except OSError:
        return None
    word = int.from_bytes
    identifier, pid = bytes(buffer[0:8]), word(buffer[8:12], "little")
    number = word(buffer[16:20], "little")
    arguments = tuple(word(buffer[at : at + 8], "little") for at in range(32, 80, 8))
    from . import seccomp

    error, code, name = seccomp.answer(number, arguments, profile=profile, machine=machine)
    found = Notification(pid, name, code, describe(name, arguments, pid))
    if not error and found.target and name != "kill":
        connecting(pid, found.target)
    reply = identifier + bytes(8)
    reply += (-error).to_bytes(4, "little", signed=True) + (0 if error else CONTINUE).to_bytes(4, "little")
    try:
        fcntl.ioctl(listener, SEND, reply)
    except OSError:
        pass  # the caller was killed while it waited; what it tried is known all the same
    return found if error else observed(found, is_inside)


TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from collections.abc import Callable

    _Inside = Callable[[int], bool]
    _Connecting = Callable[[int, str], None]


def observed(call: Notification, is_inside: "_Inside") -> "Notification | None":
    """What an observed call is worth in the record: reaching out of the boundary, which the boundary denied."""
    if call.name == "kill":
        kind, _, number = call.target.partition(" ")
        if kind and not is_inside(int(number)) and is_outside(kind, int(number)):
            call.code = "signal-denied"
            return call
    elif call.target in LOOKUPS:
        call.code, call.target = "egress-denied", LOOKUP
        return call
    elif call.name == "connect" and call.target == DISCONNECT:
        return None
    elif call.target and not local(call.target):
        call.code = "egress-denied"
        return call
    elif call.target.startswith("unix:/") and is_service_of_host(call.target[5:], call.pid):
        call.code = "unix-socket"
        return call
    return None


def is_outside(kind: str, number: int) -> bool:
    """Whether this host has such a process or group: else it has ended inside, and there was nothing to reach for."""
    try:
        (os.killpg if kind == "group" else os.kill)(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not is_kernel_s(number)


def was_given_out(init: int, number: int) -> bool:
    """Whether the boundary of the first process `init` has had a process or group of that number, or has one.

    Numbers are given out in ascending order, so all below one that lives have been. Programs signal what has ended
    since: git its filters, shells their jobs.
    """
    place = f"/proc/{init}/root/proc"
    if os.path.exists(f"{place}/{number}"):
        return True
    try:
        return number <= max((int(name) for name in os.listdir(place) if name.isdigit()), default=0)
    except OSError:
        return False


def is_kernel_s(number: int) -> bool:
    """Whether it is a thread of the kernel's, which no signal reaches; these have the lowest numbers."""
    try:
        with open(f"/proc/{number}/stat", "rb") as file:
            return bool(int(file.read().rpartition(b")")[2].split()[FLAGS]) & PF_KTHREAD)
    except (OSError, IndexError):
        return False


def is_service_of_host(path: str, pid: int) -> bool:
    """Whether a socket of the host is at `path`, and nothing at all in the caller's view."""
    place = next((place for place in SOCKET_PLACES if path.startswith(place)), "")
    if not place or path[len(place) :].startswith(ASKED_UNASKED) or os.path.lexists(f"/proc/{pid}/root{path}"):
        return False
    try:
        return os.stat(path).st_mode & S_IFMT == S_IFSOCK
    except (OSError, ValueError):
        return False


def local(target: str) -> bool:
    """Whether an address as written by `describe` stays inside: loopback, a unix socket, a question to the kernel."""
    return target.startswith(("127.", "[::1]", "unix:", "[::ffff:127.", "0.0.0.0:", "[::]:", f"family {AF_NETLINK}"))


def describe(name: str, arguments: "tuple[int, ...]", pid: int) -> str:
    """What a call was made to, as text: an address, a process; empty where it has none or the caller is gone."""
    if name == "kill":
        number = arguments[0] & 0xFFFFFFFF
        group = number >= 1 << 31
        wanted = (1 << 32) - number if group else number
        return f"{'group' if group else 'pid'} {wanted}" if wanted > 1 else ""
    if name == "connect":
        where, size = arguments[1], arguments[2]
    elif name == "sendto":
        where, size = arguments[4], arguments[5]
    else:
        return ""
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    except OSError:
        return ""
    try:
        return address(os.pread(memory, min(size & 0xFFFF, 128), where))
    except (OSError, OverflowError):
        return ""
    finally:
        os.close(memory)


def address(data: bytes) -> str:
    """A struct sockaddr as `a.b.c.d:port`, `[v6]:port` or `unix:path` (ip(7), ipv6(7), unix(7))."""
    family = int.from_bytes(data[:2], "little")
    if family == AF_INET and len(data) >= 8:
        return ".".join(str(byte) for byte in data[4:8]) + f":{int.from_bytes(data[2:4], 'big')}"
    if family == AF_INET6 and len(data) >= 24:
        import _socket

        return f"[{_socket.inet_ntop(AF_INET6, data[8:24])}]:{int.from_bytes(data[2:4], 'big')}"
    if family == AF_UNIX:
        return "unix:" + os.fsdecode(data[2:].lstrip(b"\0").partition(b"\0")[0])
    return f"family {family}"
