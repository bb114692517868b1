"""What one boundary stands on, and whether that is still so: exactly, in as few system calls as that takes.

SECURITY: this decides whether a boundary that was built ahead is used (pool.py), so every short cut here is one that
nothing can slip through. Three are taken.
1. The kernel tells whoever holds the table of mounts open that it has changed (proc(5), mountinfo). Only then is it
   read again, and compared.
2. All paths are looked at by one call where that was compiled (look.py).
3. An entry appears in a directory, leaves it or is renamed only together with a change of the directory's ctime, which
   nobody can set. So names that were missing there are missing as long as it is the same directory with the same ctime.
   That is relied on only where the time was old when we looked, since the clock of a file system has steps; on file
   systems of which we know it; and not where a key could make names readable. Elsewhere each path is looked up.
"""

import fcntl
import os
import select
import time

from . import cache, look

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ringfence.sandbox.artefact import Artefact

RELIABLE = frozenset((b"ext4", b"xfs", b"tmpfs"))
SETTLED_NS = 2_000_000_000  # some file systems count in seconds
FS_IOC_GETFLAGS = 0x80086601  # <linux/fs.h>
FS_ENCRYPT_FL = 0x800
ENOTTY = 25  # a file system without such flags


class Mounts:
    """The host's table of mounts, as it was when this was made."""

    __slots__ = ("descriptor", "has_changed", "poller", "text")

    def __init__(self) -> None:
        self.descriptor = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self.poller = select.poll()
        self.poller.register(self.descriptor, select.POLLPRI)
        self.text = self.read()
        self.has_changed = False

    def read(self) -> bytes:
        """All of it, as it is now."""
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        return b"".join(iter(lambda: os.read(self.descriptor, 1 << 16), b""))

    def are_the_same(self) -> bool:
        """Whether it is as it was; each change is told once, so what has changed once is no longer the same."""
        if not self.has_changed and self.poller.poll(0):
            self.has_changed = self.read() != self.text
        return not self.has_changed

    def kinds(self) -> "dict[int, bytes]":
        """The file system of each device."""
        found = {}
        for line in self.text.splitlines():
            fields = line.split(b" ")
            major, _, minor = fields[2].partition(b":")
            found[os.makedev(int(major), int(minor))] = fields[fields.index(b"-", 6) + 1]
        return found

    def close(self) -> None:
        """Listen no longer."""
        os.close(self.descriptor)


class Missing:
    """Paths that are not there, of which each would begin with one of `names` in `directory`."""

    __slots__ = ("directory", "mark", "paths")

    def __init__(self, directory: str, names: "set[str]", paths: "list[str]", kinds: "dict[int, bytes]") -> None:
        self.directory = directory
        self.paths = paths
        self.mark = None
        if len(paths) > 1 and directory and (found := look.mark(directory)) and kinds.get(found[0]) in RELIABLE:
            is_old = time.time_ns() - found[2] >= SETTLED_NS
            if is_old and is_plain(directory) and all(is_missing(f"{directory}/{name}") for name in names):
                self.mark = found

    def are_missing(self) -> bool:
        """Whether none of them is there."""
        if self.mark is not None and look.mark(self.directory) == self.mark:
            return True
        return all(cache.stamp(path) is None for path in self.paths)


class Outlook:
    """What a boundary for this entry of the launch cache stands on; to be made before anything is mounted."""

    def __init__(self, entry: cache.Entry, artefact: "Artefact", seen: "Sequence[look.Known]" = ()) -> None:
        """Raise OSError where something cannot be looked at; `seen` is what there is besides (kind.py)."""
        self.entry = entry
        self.mounts = Mounts()
        known = dict(entry.paths)
        self.there: list[tuple[str, cache.Stamp]] = [(path, was) for path, was in entry.paths if was is not None]
        self.sources = [(path, cache.stamp(path)) for path in sorted({path for path, _ in artefact.sources})]
        self.there += [(path, was) for path, was in self.sources if known.get(path) is None]
        self.lowers = [(path, look.place(path)) for path in artefact.lowers]
        self.missing = missing([path for path, was in entry.paths if was is None], self.mounts.kinds())
        self.together = look.Look([*self.everything(), *seen])

    def everything(self) -> "list[look.Known]":
        """All that was looked at."""
        found: list[look.Known] = []
        found += [(look.STAMP, path, was) if was else (look.ABSENT, path, ()) for path, was in self.there]
        for missing in self.missing:
            if missing.mark:
                found.append((look.MARK, missing.directory, missing.mark))
            else:
                found += [(look.ABSENT, path, ()) for path in missing.paths]
        found += [(look.LISTING, path, was) if was else (look.ABSENT, path, ()) for path, was in self.entry.listings]
        return found + [(look.PLACE, path, was) for path, was in self.lowers]

    def is_mounted(self) -> bool:
        """Whether what was to be mounted still is what was looked at, now that it is mounted; may raise OSError."""
        return (
            self.mounts.are_the_same()
            and all(cache.stamp(path) == was for path, was in self.sources)
            and all(look.place(path) == was for path, was in self.lowers)
        )

    def holds(self) -> bool:
        """Whether all is as it was: the mounts, what is mounted, what the entry was made from; may raise OSError."""
        stamp, listing_stamp = cache.stamp, cache.listing_stamp
        return (
            self.mounts.are_the_same()
            and all(stamp(path) == was for path, was in self.there)
            and all(missing.are_missing() for missing in self.missing)
            and all(listing_stamp(path) == was for path, was in self.entry.listings)
            and all(look.place(path) == was for path, was in self.lowers)
        )

    def is_plainly_the_same(self) -> bool:
        """Whether that is so, and of `seen` as well, as far as a compiled look can tell: True is certain."""
        return self.mounts.are_the_same() and self.together.is_the_same()

    def close(self) -> None:
        """Give the descriptor back."""
        self.mounts.close()


def missing(paths: "list[str]", kinds: "dict[int, bytes]") -> list[Missing]:
    """Absent paths by the directory where the first absent part of each would appear."""
    found: dict[str, tuple[set[str], list[str]]] = {}
    for path in paths:
        directory, name = where(path)
        names, together = found.setdefault(directory, (set(), []))
        names.add(name)
        together.append(path)
    return [Missing(directory, names, together, kinds) for directory, (names, together) in found.items()]


def where(path: str) -> "tuple[str, str]":
    """The directory in which the first absent part of an absent path would appear, and the name of that part.

    Both are empty where that cannot be told, as behind a link that leads nowhere.
    """
    while (parent := os.path.dirname(path)) != path:
        if os.path.isdir(parent):
            name = os.path.basename(path)
            return (parent, name) if name not in ("", ".", "..") else ("", "")
        if os.path.lexists(parent):
            break
        path = parent
    return ("", "")


def is_missing(path: str) -> bool:
    """Whether it is not there, which is more than that it cannot be looked at."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False


def is_plain(directory: str) -> bool:
    """Whether its names are not encrypted: a key would make them appear without a change."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        flags = int.from_bytes(fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, bytes(8)), "little")
    except OSError as error:
        return error.errno == ENOTTY
    finally:
        os.close(descriptor)
    return not flags & FS_ENCRYPT_FL
