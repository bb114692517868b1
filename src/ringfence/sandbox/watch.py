"""Inotify on the sandbox's own files: who opens a denied path, who changes a start-up file.

The watches are set from the host through /proc/PID/root of the first process, before the command starts, on
inodes of the sandbox's private mounts; so they need no privilege, cost nothing until they fire, and nothing
inside can see or remove them (inotify(7)).
"""

import ctypes
import errno
import os

IN_OPEN, IN_MODIFY, IN_CLOSE_WRITE, IN_CREATE, IN_MOVED_TO = 0x20, 0x2, 0x8, 0x100, 0x80
IN_ATTRIB = 0x4
IN_Q_OVERFLOW = 0x4000
EVENTS = {
    "open": IN_OPEN,
    "change": IN_MODIFY | IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO,
    # SECURITY: on an overlay a hard link is another inode, whose opening nobody sees; but making it is seen here.
    "reach": IN_OPEN | IN_ATTRIB,
}
ANY_EVENT = EVENTS["open"] | EVENTS["change"] | EVENTS["reach"]


class Watcher:
    """All watches of one run."""

    def __init__(self, root: str, watches: "list[tuple[str, str, str, list[str]]]") -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1: raise fs.inotify.max_user_instances")
        self.meaning: dict[int, tuple[str, str, frozenset[str]]] = {}
        for target, on, code, names in watches:
            number = libc.inotify_add_watch(self.descriptor, os.fsencode(root + target), EVENTS[on])
            if number >= 0:
                self.meaning[number] = (target, code, frozenset(names))
            elif ctypes.get_errno() not in (errno.ENOENT, errno.EACCES):
                # Absent, or a file that nobody can open anyway. Anything else means that a tripwire is missing.
                # SECURITY: another sandbox of the same user must not be able to use up the watches of this one.
                raise OSError(ctypes.get_errno(), "inotify_add_watch: raise fs.inotify.max_user_watches")

    def read(self) -> "list[tuple[str, str]]":
        """Code and path of what happened since the last call."""
        try:
            data = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return []
        found = []
        while len(data) >= 16:
            number = int.from_bytes(data[0:4], "little", signed=True)
            mask = int.from_bytes(data[4:8], "little")
            size = int.from_bytes(data[12:16], "little")
            name = os.fsdecode(data[16 : 16 + size].rstrip(b"\0"))
            data = data[16 + size :]
            target, code, names = self.meaning.get(number, ("", "", frozenset()))
            if mask & IN_Q_OVERFLOW:
                found.append(("events-lost", ""))
            # The end of a mount is told as well, as IN_UNMOUNT and IN_IGNORED: nobody opened anything.
            if code and mask & ANY_EVENT and (not names or name in names):
                found.append((code, f"{target}/{name}" if name else target))
        return found

    def close(self) -> None:
        """End every watch."""
        os.close(self.descriptor)
