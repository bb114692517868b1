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

from .readiness import is_readable
from .resident import SHOWN

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from collections.abc import Callable

SO_PEERPIDFD = 77  # <asm-generic/socket.h>
NAMESPACES = tuple(
    f"ns/{name}" for name in "cgroup ipc mnt net pid pid_for_children time time_for_children user uts".split()
)
STATUS = frozenset(
    "TracerPid Umask Uid Gid Groups CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp Seccomp_filters THP_enabled"
    " Speculation_Store_Bypass SpeculationIndirectBranch Cpus_allowed Mems_allowed".split()
)
FILES = ("cgroup", "limits", "oom_score_adj", "loginuid", "sessionid", "coredump_filter", "attr/current")
OPTIONAL = ("attr/current", "loginuid", "sessionid")
WALLS = frozenset("Uid Gid Groups CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp Seccomp_filters".split())
# Fields of proc_pid_stat(5), counted from the one after the name, which may hold anything. We have no
# terminal: whoever has one, which a command may open as /dev/tty, is not like us.
TERMINAL, PRIORITY, NICE, REALTIME, POLICY = 4, 15, 16, 37, 38
IOPRIO_GET = {"x86_64": 252, "aarch64": 31}  # <asm/unistd.h>
IOPRIO_WHO_PROCESS = 1

_libc = ctypes.CDLL(None, use_errno=True)


class Place:
    """The directory of a process in /proc, held open; with `keeps`, for one that is looked at again, its files as well.

    What is read from a file of /proc is of the moment in which it is read, however long it has been open.
    """

    def __init__(self, pid: "int | str", *, keeps: bool = False) -> None:
        """Raise OSError for one that has gone."""
        self.pid = 0 if pid == "self" else int(pid)
        self.directory = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.keeps = keeps
        self.kept: dict[str, int] = {}

    def content(self, name: str, size: int = 65536) -> bytes:
        """What a file says; raise OSError. No file here is longer, and a short read spares the kernel the rest."""
        if name in self.kept:
            return os.pread(self.kept[name], size, 0)
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.directory)
        if self.keeps:
            self.kept[name] = descriptor
            return os.pread(descriptor, size, 0)
        try:
            return os.read(descriptor, size)
        finally:
            os.close(descriptor)

    def read(self, name: str, *, optional: bool = False) -> str:
        """The same as text; empty for an optional one that this kernel does not have."""
        try:
            return self.content(name).decode("utf-8", "replace")
        except OSError:
            if optional:
                return ""
            raise

    def lines(self, wanted: "frozenset[str]") -> "list[str]":
        """The wanted lines of its `status`; raise OSError."""
        return [line for line in self.read("status").splitlines() if line.partition(":")[0] in wanted]

    def view(self) -> "tuple[object, ...]":
        """Its namespaces and its root; raise OSError."""
        root = os.stat("root/", dir_fd=self.directory)
        return ([os.readlink(link, dir_fd=self.directory) for link in NAMESPACES], root.st_dev, root.st_ino)

    def memory_policy(self) -> bytes:
        """What numactl(8) sets, as the first mapping shows it; empty on a kernel without."""
        try:
            return self.content("numa_maps", 64).split(b" ")[1]
        except FileNotFoundError:
            return b""

    def likeness(self) -> "tuple[object, ...]":
        """All that is compared; raise OSError for one that has gone or that we may not look at."""
        fields = self.read("stat").rpartition(")")[2].split()
        scheduling: list[object] = [fields[number] for number in (TERMINAL, PRIORITY, NICE, REALTIME, POLICY)]
        scheduling += [io_priority(self.pid), self.memory_policy()]
        files = [self.read(name, optional=name in OPTIONAL) for name in FILES]
        return (self.view(), self.lines(STATUS), scheduling, files)

    def close(self) -> None:
        """Give the descriptors back."""
        for descriptor in (*self.kept.values(), self.directory):
            os.close(descriptor)


def likeness(pid: "int | str") -> "tuple[object, ...]":
    """All that is compared of a process; raise OSError for one that has gone or that we may not look at."""
    place = Place(pid)
    try:
        return place.likeness()
    finally:
        place.close()


def walls(pid: "int | str") -> "tuple[object, ...]":
    """What keeps a process from something as far as it can be seen, and no more; raise OSError as `likeness` does."""
    place = Place(pid)
    try:
        return (place.view(), place.lines(WALLS), place.read("attr/current", optional=True))
    finally:
        place.close()


def io_priority(pid: int) -> int:
    """What ionice(1) sets; raise OSError."""
    number = ctypes.c_long(IOPRIO_GET.get(os.uname().machine, -1))
    found = int(_libc.syscall(number, ctypes.c_long(IOPRIO_WHO_PROCESS), ctypes.c_long(pid)))
    if found < 0:
        raise OSError(ctypes.get_errno(), "ioprio_get")
    return found


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


def lines(place: str, wanted: "frozenset[str]") -> "list[str]":
    """The wanted lines of `status` of the process whose directory in /proc is `place`; raise OSError."""
    with open(f"{place}/status", encoding="utf-8", errors="replace") as file:
        return [line for line in file.read().splitlines() if line.partition(":")[0] in wanted]


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
        return same and not is_readable(handle, 0)  # what was read belonged to it: it is alive
    except OSError:
        return False
    finally:
        os.close(handle)
