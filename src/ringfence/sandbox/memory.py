"""How much memory a sandbox uses, without cgroups: the watchdog that enforces the limit where none is delegated.

What counts: the processes' share of what they map, the private tmpfs mounts, and anonymous files that nobody maps.
System V memory is bounded in the sandbox's own IPC namespace (inside/init.py, shmall), pipes and sockets by the kernel.

SECURITY: an anonymous file whose only descriptor is on its way through a socket belongs to no process. While there is
one, what the whole host holds in such files counts (docs/threats.md, L1).
"""

import os


def pids(root: str) -> "list[str]":
    """The sandbox's processes, in its own numbering; empty when it is gone. `root` is /proc/INIT/root."""
    try:
        return [name for name in os.listdir(f"{root}/proc") if name.isdigit()]
    except OSError:
        return []


def tasks(root: str) -> int:
    """Processes and threads of the sandbox, as the kernel's limit counts them (field 20 of proc_pid_stat(5))."""
    total = 0
    for pid in pids(root):
        try:
            with open(f"{root}/proc/{pid}/stat", "rb") as file:
                total += int(file.read().rpartition(b")")[2].split()[17])
        except OSError:
            continue
    return total


def used_bytes(root: str, mounts: "list[str]") -> int:
    """Memory of every process, exactly (PSS), of the tmpfs `mounts` and of anonymous files."""
    total = tmpfs_bytes(root, mounts) + unmapped_bytes(root)
    for pid in pids(root):
        try:
            with open(f"{root}/proc/{pid}/smaps_rollup", "rb") as file:
                for line in file:
                    if line.startswith((b"Pss:", b"SwapPss:")):
                        total += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total


def resident_bytes(root: str, mounts: "list[str]") -> int:
    """An upper bound for `used_bytes` that is cheap enough for every tick: shared pages count once per process."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = tmpfs_bytes(root, mounts) + unmapped_bytes(root)
    for pid in pids(root):
        try:
            with open(f"{root}/proc/{pid}/statm", "rb") as file:
                total += int(file.read().split()[1]) * page
        except OSError:
            continue
    return total


def tmpfs_bytes(root: str, mounts: "list[str]") -> int:
    """Bytes held by the private tmpfs mounts, which no process's share contains."""
    total = 0
    for place in mounts:
        try:
            found = os.statvfs(root + place)
        except OSError:
            continue
        total += (found.f_blocks - found.f_bfree) * found.f_frsize
    return total


def full_mounts(root: str, mounts: "list[str]") -> "list[str]":
    """Those of `mounts` that have no space or no file left."""
    full = []
    for place in mounts:
        try:
            found = os.statvfs(root + place)
        except OSError:
            continue
        if found.f_blocks and (found.f_bfree == 0 or (found.f_files and found.f_ffree == 0)):
            full.append(place)
    return full


def shared_bytes() -> int:
    """What the host holds in anonymous files, shared memory and tmpfs (proc_meminfo(5), `Shmem`)."""
    descriptor = os.open("/proc/meminfo", os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.read(descriptor, 8192).split()
    finally:
        os.close(descriptor)
    return int(found[found.index(b"Shmem:") + 1]) * 1024 if b"Shmem:" in found else 0


def are_descriptors_on_their_way(root: str) -> bool:
    """Whether a socket holds descriptors that nobody has received yet (`scm_fds` of proc_pid_fdinfo(5), Linux 5.7)."""
    for pid in pids(root):
        try:
            for name in os.listdir(f"{root}/proc/{pid}/fdinfo"):
                with open(f"{root}/proc/{pid}/fdinfo/{name}", "rb") as file:
                    if any(line.startswith(b"scm_fds:") and line.split()[1] != b"0" for line in file):
                        return True
        except OSError:
            continue  # it has gone, or has just closed one: the next look is soon
    return False


def unmapped_bytes(root: str) -> int:
    """Bytes of anonymous files (memfd_create(2)) held open, each counted once."""
    seen: dict[tuple[int, int], int] = {}
    for pid in pids(root):
        place = f"{root}/proc/{pid}/fd"
        try:
            names = os.listdir(place)
        except OSError:
            continue
        for name in names:
            try:
                if os.readlink(f"{place}/{name}").startswith("/memfd:"):
                    found = os.stat(f"{place}/{name}")
                    seen[found.st_dev, found.st_ino] = found.st_blocks * 512
            except OSError:
                continue
    return sum(seen.values())
