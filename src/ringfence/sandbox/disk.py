"""How much disk a run's upper layers hold: the watchdog behind `limits.workspace-size`.

A walk costs time in proportion to what was written, so the file system's own count is asked first.

SECURITY: a file that was unlinked while it is open has no name to be found by, and takes space until its last holder
has gone. Those that processes hold as descriptors are counted; where one may be held by a mapping alone, or by a
descriptor that is on its way through a socket, what the whole file system has lost counts (docs/threats.md, L3).
"""

import os
import stat

from . import memory

ENTRY_LIMIT = 500_000  # the apply step takes no more changes than this
FILLING_BYTES = 1 << 20  # lost since the last look
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Usage:
    """Tells whether `uppers` together hold more than `limit_bytes`."""

    def __init__(self, uppers: "list[str]", limit_bytes: int) -> None:
        self.uppers = uppers
        self.limit_bytes = limit_bytes
        self.free_at_start = free_bytes(uppers)
        self.looks = 0
        self.last_free = self.free_at_start
        self.filling = False

    def exceeded(self, root: str = "") -> bool:
        """Ask the file system; walk when it has lost half the limit since the start, and now and then anyway.

        `root` is /proc/INIT/root, as in memory.py; empty once every process has gone.
        """
        if not self.limit_bytes or not self.uppers:
            return False
        self.looks += 1
        free = free_bytes(self.uppers)
        self.filling = self.last_free - free > FILLING_BYTES
        self.last_free = free
        lost = self.free_at_start - free
        if lost < self.limit_bytes // 2 and self.looks % 300:
            return False
        total = sum(tree_bytes(upper) for upper in self.uppers)
        if total <= self.limit_bytes and root:
            total += unlinked_bytes(root)
        return total > self.limit_bytes or (lost > self.limit_bytes and root != "" and is_hiding(root))


def free_bytes(places: "list[str]") -> int:
    """Free space of the file system that holds the first place; 0 when it cannot be asked."""
    try:
        found = os.statvfs(places[0])
    except (OSError, IndexError):
        return 0
    return found.f_bfree * found.f_frsize


def unlinked_bytes(root: str) -> int:
    """Bytes on disk of files in an overlay that have no name any more and are held open, each counted once."""
    seen: dict[tuple[int, int], int] = {}
    for pid in memory.pids(root):
        place = f"{root}/proc/{pid}"
        try:
            mounts = overlays(place)
            for name in os.listdir(f"{place}/fd"):
                found = os.stat(f"{place}/fd/{name}")
                is_unlinked = stat.S_ISREG(found.st_mode) and not found.st_nlink
                if is_unlinked and mount_id(f"{place}/fdinfo/{name}") in mounts:
                    seen[found.st_dev, found.st_ino] = found.st_blocks * 512
        except OSError:
            continue  # it has gone, or has just closed one: the next look is soon
    return sum(seen.values())


def overlays(place: str) -> "dict[bytes, bytes]":
    """The mounts of a process that are overlays, and where they lie (proc_pid_mountinfo(5))."""
    with open(f"{place}/mountinfo", "rb") as file:
        found = [line.split() for line in file if b" - overlay " in line]
    return {words[0]: words[4].replace(b"\\040", b" ") for words in found}


def mount_id(path: str) -> bytes:
    """The mount that an open file lies on, from its `fdinfo`."""
    with open(path, "rb") as file:
        return next((line.split()[1] for line in file if line.startswith(b"mnt_id:")), b"")


def is_hiding(root: str) -> bool:
    """Whether a process maps a file of an overlay that has no name, or a descriptor is on its way through a socket."""
    for pid in memory.pids(root):
        place = f"{root}/proc/{pid}"
        try:
            below = tuple(where + b"/" for where in overlays(place).values())
            with open(f"{place}/maps", "rb") as file:
                unnamed = [line.split(maxsplit=5)[5] for line in file if line.endswith(b" (deleted)\n")]
        except OSError:
            continue
        if any(path.startswith(below) for path in unnamed):
            return True
    return memory.are_descriptors_on_their_way(root)


def tree_bytes(root: str) -> int:
    """Bytes on disk below `root`; more than `ENTRY_LIMIT` names count as more than any limit.

    SECURITY: the contained side changes the tree while we walk: directories are opened relative to one another without
    following links.
    """
    total = entries = 0
    try:
        top = os.open(root, _FLAGS)
    except OSError:
        return 0
    pending: list[tuple[str, ...]] = [()]
    try:
        while pending and entries <= ENTRY_LIMIT:
            parts = pending.pop()
            try:
                place = open_below(top, parts)
            except OSError:
                continue
            with os.scandir(place) as found:
                for entry in found:
                    entries += 1
                    total += blocks(entry)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append((*parts, entry.name))
            os.close(place)
    finally:
        os.close(top)
    return total if entries <= ENTRY_LIMIT else 1 << 62


def open_below(top: int, parts: "tuple[str, ...]") -> int:
    """A descriptor on the directory `parts` below `top`; depth costs no descriptors."""
    place = os.dup(top)
    for part in parts:
        try:
            below = os.open(part, _FLAGS, dir_fd=place)
        finally:
            os.close(place)
        place = below
    return place


def blocks(entry: "os.DirEntry[str]") -> int:
    """Bytes on disk of one name; 0 when it has just gone."""
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:
        return 0
