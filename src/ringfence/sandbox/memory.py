"""How much memory a sandbox uses, without cgroups: the watchdog that enforces the limit where none is delegated."""

import os


def used_bytes(init: int) -> int:
    """Memory of every process under the sandbox's first process `init` and of its private tmpfs mounts.

    Resident pages are counted first, which is cheap but counts shared pages once per process; only the
    processes' proportional share (PSS) is exact, and only that decides. Returns 0 when the sandbox is gone.
    """
    root = f"/proc/{init}/root"
    try:
        pids = [name for name in os.listdir(f"{root}/proc") if name.isdigit()]
    except OSError:
        return 0
    total = 0
    for pid in pids:
        try:
            with open(f"{root}/proc/{pid}/smaps_rollup", "rb") as file:
                for line in file:
                    if line.startswith((b"Pss:", b"SwapPss:")):
                        total += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total + tmpfs_bytes(root)


def resident_bytes(init: int) -> int:
    """An upper bound for the processes' share of `used_bytes`, cheap enough for every tick."""
    root = f"/proc/{init}/root"
    page = os.sysconf("SC_PAGE_SIZE")
    total = 0
    try:
        pids = [name for name in os.listdir(f"{root}/proc") if name.isdigit()]
    except OSError:
        return 0
    for pid in pids:
        try:
            with open(f"{root}/proc/{pid}/statm", "rb") as file:
                total += int(file.read().split()[1]) * page
        except OSError:
            continue
    return total + tmpfs_bytes(root)


def tmpfs_bytes(root: str) -> int:
    """Bytes held by the private tmpfs mounts, which no process's share contains."""
    total = 0
    for place in ("/tmp", "/dev/shm", "/run"):
        try:
            found = os.statvfs(root + place)
        except OSError:
            continue
        total += (found.f_blocks - found.f_bfree) * found.f_frsize
    return total
