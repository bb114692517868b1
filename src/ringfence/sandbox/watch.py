"""Inotify on the sandbox's own files: who opens a denied path, who changes a start-up file.

The watches are set from the host through /proc/PID/root of the first process, before the command starts, on
inodes of the sandbox's private mounts; so they need no privilege, cost nothing until they fire, and nothing
inside can see or remove them (inotify(7)).

A user has few instances of inotify (fs.inotify.max_user_instances, 128 by default). So a process takes INSTANCES at
most: its first sandboxes have one each, later ones share. Whoever looks at a shared one reads for all: what concerns
another waits for that one, which is woken. A file that two sandboxes see is told to both, each under its own meaning.
SECURITY: that events were lost is told to all who share the instance, since nobody knows whose they were.
"""

import _thread
import ctypes
import errno
import fcntl
import os
import time

from . import garbage

IN_OPEN, IN_MODIFY, IN_CLOSE_WRITE, IN_CREATE, IN_MOVED_TO = 0x20, 0x2, 0x8, 0x100, 0x80
IN_ATTRIB = 0x4
IN_Q_OVERFLOW = 0x4000
IN_MASK_ADD = 0x20000000
EVENTS = {
    "open": IN_OPEN,
    "change": IN_MODIFY | IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO,
    # SECURITY: on an overlay a hard link is another inode, whose opening nobody sees; but making it is seen here.
    "reach": IN_OPEN | IN_ATTRIB,
}
INSTANCES = 8
WAIT_S, POLL_S = 2.0, 0.005  # for an instance
KEPT_AT_MOST = 16384
FIONREAD = 0x541B  # <asm-generic/ioctls.h>


class Watcher:
    """All watches of one run. `descriptors` are readable when there may be something to `read`."""

    def __init__(self, root: str, watches: "list[tuple[str, str, str, list[str]]]") -> None:
        self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.found: list[tuple[str, str]] = []
        self.is_woken = False
        try:
            self.instance = _kept.join(self)
        except OSError:
            os.close(self.wake)
            raise
        self.descriptors = (self.instance.descriptor, self.wake)
        try:
            for target, on, code, names in watches:
                self.instance.watch(self, root + target, Meaning(target, EVENTS[on], code, frozenset(names)))
        except OSError:
            self.close()
            raise

    def read(self) -> "list[tuple[str, str]]":
        """Code and path of what happened since the last call."""
        with self.instance.lock:
            self.instance.gather(self)
            found, self.found = self.found, []
            if self.is_woken:
                os.eventfd_read(self.wake)
                self.is_woken = False
        return found

    def tell(self, code: str, path: str) -> None:
        """Keep for the next `read`; where that does not come, more than the kernel would keep is lost here, too."""
        if len(self.found) <= KEPT_AT_MOST:
            self.found.append((code, path) if len(self.found) < KEPT_AT_MOST else ("events-lost", ""))

    def rouse(self) -> None:
        """Have whoever waits for us read."""
        if self.found and not self.is_woken:
            os.eventfd_write(self.wake, 1)
            self.is_woken = True

    def close(self) -> None:
        """End every watch."""
        _kept.leave(self)
        os.close(self.wake)


class Meaning:
    """What an event of a watch is to one run: which path, which events, under which code, of which names only."""

    __slots__ = ("code", "mask", "names", "target")

    def __init__(self, target: str, mask: int, code: str, names: "frozenset[str]") -> None:
        self.target = target
        self.mask = mask
        self.code = code
        self.names = names


class Instance:
    """One instance of inotify, and who shares it; raises OSError where the user has no more of them.

    `wait_s`: for how long to wait for those that the kernel is about to give up (garbage.py).
    """

    def __init__(self, *, wait_s: float = 0) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        deadline = time.monotonic() + wait_s
        while (descriptor := self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)) < 0:
            if ctypes.get_errno() != errno.EMFILE or time.monotonic() >= deadline:
                break
            time.sleep(POLL_S)
        self.descriptor = descriptor
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1: raise fs.inotify.max_user_instances")
        self.lock = _thread.allocate_lock()
        self.members: dict[Watcher, None] = {}
        self.meanings: dict[int, dict[Watcher, Meaning]] = {}

    def watch(self, member: Watcher, path: str, meaning: Meaning) -> None:
        """Add one watch, beside what others watch there; raise OSError where it cannot be had."""
        with self.lock:
            number = self.libc.inotify_add_watch(self.descriptor, os.fsencode(path), meaning.mask | IN_MASK_ADD)
            if number >= 0:
                self.meanings.setdefault(number, {})[member] = meaning
                return
        if ctypes.get_errno() not in (errno.ENOENT, errno.EACCES):
            # Absent, or a file that nobody can open anyway. Anything else means that a tripwire is missing.
            # SECURITY: another sandbox of the same user must not be able to use up the watches of this one.
            raise OSError(ctypes.get_errno(), "inotify_add_watch: raise fs.inotify.max_user_watches")

    def gather(self, reader: Watcher) -> None:
        """Read all that has come until now, for everybody; who is not reading is woken.

        SECURITY: not less, since the last look of a run is the last that anybody takes; and not more, which those who
        share the instance could make last for ever.
        """
        waiting = int.from_bytes(fcntl.ioctl(self.descriptor, FIONREAD, bytes(4)), "little")
        while waiting > 0:
            data = os.read(self.descriptor, 1 << 16)
            self.sort(data)
            waiting -= len(data)
        for member in self.members:
            if member is not reader:
                member.rouse()

    def sort(self, data: bytes) -> None:
        """Tell events to those whom they concern."""
        while len(data) >= 16:
            number = int.from_bytes(data[0:4], "little", signed=True)
            mask = int.from_bytes(data[4:8], "little")
            size = int.from_bytes(data[12:16], "little")
            name = os.fsdecode(data[16 : 16 + size].rstrip(b"\0"))
            data = data[16 + size :]
            if mask & IN_Q_OVERFLOW:
                for member in self.members:
                    member.tell("events-lost", "")
            # The end of a mount is told as well, as IN_UNMOUNT and IN_IGNORED: nobody opened anything.
            for member, meaning in self.meanings.get(number, {}).items():
                if mask & meaning.mask and (not meaning.names or name in meaning.names):
                    member.tell(meaning.code, f"{meaning.target}/{name}" if name else meaning.target)

    def forget(self, member: Watcher) -> None:
        """End what only this one watches."""
        with self.lock:
            del self.members[member]
            for number in [number for number, known in self.meanings.items() if member in known]:
                del self.meanings[number][member]
                if not self.meanings[number]:
                    del self.meanings[number]
                    self.libc.inotify_rm_watch(self.descriptor, number)  # EINVAL: the file has gone with its mount
        if not self.members:
            garbage.leave([self.descriptor])


class Kept:
    """The instances of this process."""

    def __init__(self) -> None:
        self.instances: list[Instance] = []
        self.lock = _thread.allocate_lock()

    def join(self, member: Watcher) -> Instance:
        """Give an instance of its own, or a shared one where there are enough or no more can be had."""
        with self.lock:
            if len(self.instances) < INSTANCES:
                try:
                    self.instances.append(Instance())
                except OSError:
                    if not self.instances:
                        self.instances.append(Instance(wait_s=WAIT_S))
            instance = min(self.instances, key=lambda one: len(one.members))
            with instance.lock:
                instance.members[member] = None
        return instance

    def leave(self, member: Watcher) -> None:
        """Give back what is not needed any more."""
        with self.lock:
            member.instance.forget(member)
            if not member.instance.members:
                self.instances.remove(member.instance)

    def forget(self) -> None:
        """In a forked process: what we hold is our parent's, which would miss what we read."""
        self.instances = []
        self.lock = _thread.allocate_lock()


_kept = Kept()
os.register_at_fork(after_in_child=_kept.forget)
