"""Control groups: the exact limit for memory and processes, where the host lets us have one.

cgroup v2 is used when our own group is delegated (writable, with the controllers enabled below it), v1 when we
are root. Elsewhere the watchdog in `memory` and RLIMIT_NPROC stand in; `ringfence doctor` says which applies.
The first process of a sandbox is moved in before it starts the command, so nothing of the command runs outside.
With version 1 what stages a boundary joins by itself, before bubblewrap: that waits for nothing (`tasks`).
"""

import _thread
import os

V2_ROOT = "/sys/fs/cgroup"
PREFIX = "ringfence-"


def own_groups() -> "dict[str, str]":
    """Our group's path by v1 controller name; the v2 group is under the empty name."""
    found = {}
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:  # a codec that is loaded
            for line in file:
                _, names, path = line.rstrip("\n").split(":", 2)
                for name in names.split(","):
                    found[name] = path.rstrip("/")
    except OSError:
        pass
    return found


def places(groups: "dict[str, str]") -> "dict[str, str]":
    """Directories below which we may make a group, by controller: `memory` and `pids`, or `` for v2."""
    if "memory" in groups:
        return {name: f"{V2_ROOT}/{name}{groups[name]}" for name in ("memory", "pids") if name in groups}
    own = V2_ROOT + groups.get("", "")
    # A group that holds processes cannot enable controllers below it, so usually the parent is the place to ask.
    for directory in (own, os.path.dirname(own)):
        try:
            with open(f"{directory}/cgroup.subtree_control", encoding="ascii") as file:
                enabled = file.read().split()
        except OSError:
            continue
        movable = os.access(f"{directory}/cgroup.procs", os.W_OK)
        if movable and directory.startswith(V2_ROOT) and {"memory", "pids"} <= set(enabled):
            return {"": directory}
    return {}


def create(run: str, memory_bytes: int, processes: int) -> "list[str]":
    """Make the groups of one run and set their limits; an empty list where none can be had.

    `processes` 0: the number is held by other means, and a group less is joined (4 ms each with version 1).
    """
    made: list[str] = []
    for controller, parent in places(own_groups()).items():
        if not os.access(parent, os.W_OK) or (controller == "pids" and not processes):
            continue
        directory = f"{parent}/{PREFIX}{os.getpid()}-{run}"
        v2 = controller == ""
        limits = {}
        if controller in ("", "memory") and memory_bytes:
            limits["memory.max" if v2 else "memory.limit_in_bytes"] = memory_bytes
        if processes and controller in ("", "pids"):
            limits["pids.max"] = processes
        try:
            os.mkdir(directory)
            made.append(directory)
            for name, value in limits.items():
                write(f"{directory}/{name}", str(value))
        except OSError:
            remove(made)
            return []
    return made


def write(path: str, text: str) -> None:
    """Write one control file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def tasks(groups: "list[str]") -> "list[str]":
    """The files by which a process with one thread joins `groups` itself; empty with version 2."""
    return [f"{group}/tasks" for group in groups if os.path.exists(f"{group}/tasks")]


class Joining:
    """Puts a boundary into its groups while it is being built.

    The first move of somebody else after a pause waits for an RCU grace period (cgroup_threadgroup_rwsem), 10 to 15 ms,
    which a thread spends here instead of the launch, unless the boundary `joins` by itself: then `finish` only looks.
    Processes forked meanwhile may be left outside; `finish` moves the first process itself, before it has started
    anything.
    """

    def __init__(self, groups: "list[str]", monitor: int, *, joins: bool = False) -> None:
        self.groups = groups
        self.joins = joins
        self.done = _thread.allocate_lock()
        if groups and not joins:
            self.done.acquire()
            _thread.start_new_thread(self.move_first, (monitor,))

    def move_first(self, monitor: int) -> None:
        """Move bubblewrap; what fails here fails again, and is reported, in `finish`."""
        try:
            self.move(monitor)
        except OSError:
            pass
        finally:
            self.done.release()

    def move(self, pid: int) -> None:
        """Move one process into every group."""
        for group in self.groups:
            write(f"{group}/cgroup.procs", str(pid))

    def finish(self, init: int) -> None:
        """Make sure that the first process, and so everything it starts, is inside; raise OSError if that fails."""
        if not self.joins or not all(has(group, init) for group in self.groups):
            with self.done:
                self.move(init)


def has(group: str, pid: int) -> bool:
    """Whether a process is in a group."""
    try:
        with open(f"{group}/cgroup.procs", "rb") as file:
            return str(pid).encode() in file.read().split()
    except OSError:
        return False


def out_of_memory(groups: "list[str]") -> bool:
    """Whether the kernel killed something in the run for its memory limit."""
    for group in groups:
        for name in ("memory.oom_control", "memory.events"):
            try:
                descriptor = os.open(f"{group}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                found = os.read(descriptor, 4096).split()
            finally:
                os.close(descriptor)
            if b"oom_kill" in found:
                return int(found[found.index(b"oom_kill") + 1]) > 0
    return False


def remove(groups: "list[str]") -> None:
    """Remove the groups of an ended run, and those that a killed supervisor left behind empty."""
    for group in groups:
        parent = os.path.dirname(group)
        try:
            names = [name for name in os.listdir(parent) if name.startswith(PREFIX)]
        except OSError:
            continue
        for name in names:
            # A group that is empty may be another run's that has just been made: its maker must be gone.
            maker = name[len(PREFIX) :].partition("-")[0]
            if f"{parent}/{name}" != group and os.path.exists(f"/proc/{maker}"):
                continue
            try:
                os.rmdir(f"{parent}/{name}")
            except OSError:
                pass  # in use
