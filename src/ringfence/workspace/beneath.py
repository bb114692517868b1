"""Paths below a directory, resolved so that no symbolic link and no mount point is ever crossed.

Theory of operation: a `Tree` holds a descriptor of its root. Each operation first opens the *directory* that contains
the name and then uses a `*at` call with that single name, which the kernel never follows when it is a link. The
directory is opened by openat2(2) with RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS and RESOLVE_NO_XDEV
(Linux 5.6). Where a seccomp filter or an old kernel answers ENOSYS, each component is opened with O_NOFOLLOW instead,
which gives the same guarantee a little slower.

SECURITY: a checkout is hostile and the host's tree may change under us; a parent that was swapped for a link between
review and apply fails with ELOOP here and is reported for that path alone (threat: git as a loader).
"""

import ctypes
import errno
import os
from typing import Self

from ringfence.model.paths import HostPath

_SYS_OPENAT2 = 437  # asm-generic number, the same on every architecture Linux 5.6 and later supports
_SYS_RENAMEAT2_FLAGS = {"noreplace": 1, "exchange": 2}  # RENAME_NOREPLACE, RENAME_EXCHANGE, renameat2(2)
_RESOLVE = 0x01 | 0x02 | 0x04 | 0x08  # NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH: openat2(2)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_UNSUPPORTED = (errno.ENOSYS, errno.EPERM, errno.E2BIG)

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def _openat2(directory: int, path: str, flags: int) -> int:
    how = _OpenHow(flags=flags, mode=0, resolve=_RESOLVE)
    fd = _libc.syscall(_SYS_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return int(fd)


def open_by_component(directory: int, path: str, flags: int) -> int:
    """Open `path` below `directory` one component at a time, refusing links, `..` and other file systems."""
    device = os.fstat(directory).st_dev
    current = os.dup(directory)
    try:
        components = path.split("/")
        for position, name in enumerate(components):
            if name in ("", ".", ".."):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
            last = position == len(components) - 1
            opened = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC if last else _DIRECTORY, dir_fd=current)
            os.close(current)
            current = opened
            if os.fstat(current).st_dev != device:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    except OSError:
        os.close(current)
        raise
    return current


def open_beneath(directory: int, path: str, flags: int) -> int:
    """Open `path` below the descriptor `directory`; raise `OSError`: ELOOP for a link, EXDEV for a mount."""
    try:
        return _openat2(directory, path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    return open_by_component(directory, path, flags)


def rename(source: int, name: str, target: int, new_name: str, *, how: str) -> None:
    """renameat2(2) with `how` either `noreplace` or `exchange`; EINVAL where the file system has no such rename."""
    flags = _SYS_RENAMEAT2_FLAGS[how]
    if _libc.renameat2(source, os.fsencode(name), target, os.fsencode(new_name), ctypes.c_uint(flags)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name, None, new_name)


def split(path: str) -> tuple[str, str]:
    """Split a relative path into the directory (empty for the root) and the last name."""
    directory, _, name = path.rpartition("/")
    return directory, name


class Tree:
    """A directory tree, addressed by relative paths that are resolved beneath its root each time."""

    def __init__(self, root: HostPath) -> None:
        # The root itself is the operator's word and may be reached through links.
        self.root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the root's descriptor."""
        os.close(self.root)

    def open_directory(self, path: str) -> int:
        """Open the directory `path` (empty: the root); the caller closes the descriptor."""
        if not path:
            return os.open(".", _DIRECTORY, dir_fd=self.root)
        return open_beneath(self.root, path, os.O_RDONLY | os.O_DIRECTORY)

    def open_parent(self, path: str) -> tuple[int, str]:
        """Open the directory that holds `path`, and give its descriptor (the caller closes it) and the last name."""
        directory, name = split(path)
        return self.open_directory(directory), name

    def lstat(self, path: str) -> os.stat_result | None:
        """Stat `path` without following it; None where nothing is there."""
        try:
            directory, name = self.open_parent(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return lstat_at(directory, name)
        finally:
            os.close(directory)


def lstat_at(directory: int, name: str) -> os.stat_result | None:
    """Stat `name` in the open directory without following it; None where nothing is there."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
