"""inotify(7) watches on the directories of an upper layer, set from the host.

What the contained side does through the overlay is done by the kernel to the upper layer's own files, and told there
(measured on kernel 6.18, tests/integration/test_workspace_live.py). SECURITY: a directory is watched through a
descriptor that was resolved beneath the layer, so a link in its place is never followed.
"""

import ctypes
import errno
import os
from typing import Self

_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
_ONLYDIR = 0x01000000
_OVERFLOW, _IGNORED, _ISDIR = 0x4000, 0x8000, 0x40000000
_MASK = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _ONLYDIR
_READ_BYTES = 1 << 16
_HEAD_BYTES = 16

_libc = ctypes.CDLL(None, use_errno=True)


class Happened:
    """Files closed after writing or renamed to their name, directories that appeared, names that went away.

    `lost`: the kernel dropped events.
    """

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.directories: set[str] = set()
        self.gone: set[str] = set()
        self.lost = False


class Watches:
    """Directories by watch descriptor, and what happened in them."""

    def __init__(self, limit: int) -> None:
        self.descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1: raise fs.inotify.max_user_instances")
        self._limit = limit
        self._paths: dict[int, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def add(self, directory: int, path: str) -> bool:
        """Watch the open `directory`, which is called `path` from now on; False where no more can be watched."""
        number = _libc.inotify_add_watch(self.descriptor, f"/proc/self/fd/{directory}".encode(), _MASK)
        if number < 0:
            code = ctypes.get_errno()
            if code == errno.ENOSPC:
                return False
            raise OSError(code, os.strerror(code), path)
        self._paths[number] = path
        return len(self._paths) < self._limit

    def read(self) -> Happened:
        """What happened since the last call; much of it may need several calls."""
        found = Happened()
        try:
            data = os.read(self.descriptor, _READ_BYTES)
        except BlockingIOError:
            data = b""
        while len(data) >= _HEAD_BYTES:
            number, mask, size = (int.from_bytes(data[at : at + 4], "little") for at in (0, 4, 12))
            name = os.fsdecode(data[_HEAD_BYTES : _HEAD_BYTES + size].rstrip(b"\0"))
            data = data[_HEAD_BYTES + size :]
            found.lost = found.lost or bool(mask & _OVERFLOW)
            if mask & _IGNORED:
                self._paths.pop(number, None)
            elif name and number in self._paths:
                path = f"{self._paths[number]}/{name}".lstrip("/")
                if mask & (_MOVED_FROM | _DELETE):
                    found.gone.add(path)
                elif mask & _ISDIR:
                    found.directories.add(path)
                elif mask & (_CLOSE_WRITE | _MOVED_TO):
                    found.files.add(path)
        return found
