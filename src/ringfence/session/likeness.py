"""Whether a run could be carried out by one process exactly as by another: what a child cannot be given, compared.

A run inherits from whoever starts it: namespaces, control group, capabilities, filters, limits, mask and priority. The
supervisor serves only those who have the same as it has itself, so that nothing has to be imitated.

SECURITY: this is also what keeps a process of some other sandbox, which can see the socket, from having something done
for it outside (docs/threats.md, P7): such a process differs in its namespaces, its filter or `NoNewPrivs`. All is read
from /proc for the process that connected, by a descriptor on it that the kernel made when it did (SO_PEERPIDFD, Linux
6.5), so that no other process can be meant; where there is none, nobody is served.
"""

import _socket
import ctypes
import os
import select

from .resident import SHOWN

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from collections.abc import Callable

SO_PEERPIDFD = 77  # <asm-generic/socket.h>
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts")
STATUS = frozenset(
    "TracerPid Umask Uid Gid Groups CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp Seccomp_filters THP_enabled"
    " Speculation_Store_Bypass SpeculationIndirectBranch Cpus_allowed Mems_allowed".split()
)
FILES = ("cgroup", "limits", "oom_score_adj", "loginuid", "sessionid", "coredump_filter", "attr/current")
WALLS = frozenset("Uid Gid Groups CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp Seccomp_filters".split())
# Fields of proc_pid_stat(5), counted from the one after the name, which may hold anything. We have no
# terminal: whoever has one, which a command may open as /dev/tty, is not like us.
TERMINAL, PRIORITY, NICE, REALTIME, POLICY = 4, 15, 16, 37, 38
IOPRIO_GET = {"x86_64": 252, "aarch64": 31}  # <asm/unistd.h>
IOPRIO_WHO_PROCESS = 1

_libc = ctypes.CDLL(None, use_errno=True)


def likeness(pid: "int | str") -> "tuple[object, ...]":
    """All that is compared of a process; raise OSError for one that has gone or that we may not look at."""
    place = f"/proc/{pid}"
    fields = read(f"{place}/stat").rpartition(")")[2].split()
    scheduling: list[object] = [fields[number] for number in (TERMINAL, PRIORITY, NICE, REALTIME, POLICY)]
    scheduling += [io_priority(0 if pid == "self" else int(pid)), memory_policy(place)]
    files = [read(f"{place}/{name}", optional=name in ("attr/current", "loginuid", "sessionid")) for name in FILES]
    return (view(place), lines(place, STATUS), scheduling, files)


def walls(pid: "int | str") -> "tuple[object, ...]":
    """What keeps a process from something as far as it can be seen, and no more; raise OSError as `likeness` does."""
    place = f"/proc/{pid}"
    return (view(place), lines(place, WALLS), read(f"{place}/attr/current", optional=True))


def view(place: str) -> "tuple[object, ...]":
    """The namespaces and the root of the process whose directory in /proc is `place`; raise OSError."""
    root = os.stat(f"{place}/root/")
    return ([os.readlink(f"{place}/ns/{name}") for name in NAMESPACES], root.st_dev, root.st_ino)


def lines(place: str, wanted: "frozenset[str]") -> "list[str]":
    """The wanted lines of its `status`; raise OSError."""
    return [line for line in read(f"{place}/status").splitlines() if line.partition(":")[0] in wanted]


def io_priority(pid: int) -> int:
    """What ionice(1) sets; raise OSError."""
    number = ctypes.c_long(IOPRIO_GET.get(os.uname().machine, -1))
    found = int(_libc.syscall(number, ctypes.c_long(IOPRIO_WHO_PROCESS), ctypes.c_long(pid)))
    if found < 0:
        raise OSError(ctypes.get_errno(), "ioprio_get")
    return found


def memory_policy(place: str) -> bytes:
    """What numactl(8) sets, as the first mapping shows it; empty on a kernel without."""
    try:
        descriptor = os.open(f"{place}/numa_maps", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.read(descriptor, 64).split(b" ")[1]  # a short read spares the kernel the other mappings
    finally:
        os.close(descriptor)


def show() -> None:
    """Hold a file that has no name, for `looks_at_us`."""
    made = os.memfd_create("shown", os.MFD_CLOEXEC)
    os.dup2(made, SHOWN, inheritable=False)
    os.close(made)


def looks_at_us(descriptor: int) -> bool:
    """Whether it is the file that we show, which is reached by /proc/PID/fd alone, by those who may look into us.

    SECURITY: a Landlock domain shows nowhere in /proc, and needs no `NoNewPrivs` where root made it; from inside one
    the kernel lets nobody look into a process outside. (Files like /proc/PID/auxv ask less of whoever has CAP_PERFMON.)
    """
    try:
        shown, found = os.fstat(SHOWN), os.fstat(descriptor)
    except OSError:
        return False
    return (shown.st_dev, shown.st_ino) == (found.st_dev, found.st_ino)


def read(path: str, *, optional: bool = False) -> str:
    """The text of a file of /proc; empty for an optional one that this kernel does not have."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        if optional:
            return ""
        raise
    try:
        return os.read(descriptor, 65536).decode("utf-8", "replace")
    except OSError:
        if optional:
            return ""
        raise
    finally:
        os.close(descriptor)


def is_like(
    peer: "_socket.socket", own: "tuple[object, ...]", seen: "Callable[[int], tuple[object, ...]]" = likeness
) -> bool:
    """Whether the process that connected is of our user, still there, and like us in everything that is `seen`."""
    try:
        handle = peer.getsockopt(_socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError:
        return False
    try:
        credentials = peer.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        pid, uid = (int.from_bytes(credentials[at : at + 4], "little") for at in (0, 4))
        if uid != os.getuid() or pid <= 0:
            return False
        same = seen(pid) == own
        return same and not select.select([handle], [], [], 0)[0]  # what was read belonged to it: it is alive
    except OSError:
        return False
    finally:
        os.close(handle)
