"""Renames that never replace anything unseen, and their substitutes where a file system or kernel lacks them.

renameat2(2) with RENAME_NOREPLACE and RENAME_EXCHANGE does each of these in one step (Linux 3.15; not on every network
or FUSE file system). The substitutes take two steps; `recovery` and `rollback` know what lies between them.
"""

import contextlib
import errno
import os
import stat

from .beneath import lstat_at, rename
from .content import copy_content, open_regular

_NO_SUCH_RENAME = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class ConflictError(Exception):
    """The host has something else than the check expected; nothing of it was changed."""


def remove_directory(directory: int, name: str) -> None:
    """Remove an empty directory; raise `ConflictError` where something is left in it."""
    try:
        os.rmdir(name, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise ConflictError("the directory holds something that the run did not remove") from None
        raise


def remove(directory: int, name: str) -> None:
    """Remove a temporary of ours, whatever its type."""
    found = lstat_at(directory, name)
    if found is not None and stat.S_ISDIR(found.st_mode):
        remove_directory(directory, name)
    elif found is not None:
        os.unlink(name, dir_fd=directory)


def place_new(directory: int, source: str, target: str) -> None:
    """Rename `source` to the free name `target`; raise `ConflictError` if it is not free."""
    try:
        try:
            rename(directory, source, directory, target, how="noreplace")
        except OSError as error:
            if error.errno not in _NO_SUCH_RENAME:
                raise
            _place_by_link(directory, source, target)
    except FileExistsError:
        raise ConflictError("it was created on the host in the meantime") from None


def _place_by_link(directory: int, source: str, target: str) -> None:
    found = os.stat(source, dir_fd=directory, follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode):
        os.mkdir(target, 0o700, dir_fd=directory)  # rename(2) may replace an empty directory: this reserves the name
        os.rename(source, target, src_dir_fd=directory, dst_dir_fd=directory)
    else:
        os.link(source, target, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        os.unlink(source, dir_fd=directory)


def exchange(directory: int, source: str, target: str, spare: str) -> str:
    """Let `source` and `target` change places; give the name that now holds what was `target` (`source` or `spare`)."""
    try:
        rename(directory, source, directory, target, how="exchange")
    except OSError as error:
        if error.errno not in _NO_SUCH_RENAME:
            raise
        place_new(directory, target, spare)
        place_new(directory, source, target)
        return spare
    return source


def move(source: int, name: str, target: int, new_name: str) -> None:
    """Move a file or link from one open directory to another, by copy where that is another file system."""
    try:
        os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        partial = f"{new_name}-part" if new_name.isdigit() else new_name
        remove(target, partial)
        _copy(source, name, target, partial)
        if partial != new_name:
            os.rename(partial, new_name, src_dir_fd=target, dst_dir_fd=target)
        os.unlink(name, dir_fd=source)


def _copy(source: int, name: str, target: int, new_name: str) -> None:
    """Copy a file or link to another file system with everything that makes it what it is."""
    found = os.stat(name, dir_fd=source, follow_symlinks=False)
    times = (found.st_atime_ns, found.st_mtime_ns)
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), new_name, dir_fd=target)
        with contextlib.suppress(PermissionError):
            os.chown(new_name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
        os.utime(new_name, ns=times, dir_fd=target, follow_symlinks=False)
        return
    reading = open_regular(source, name)
    try:
        writing = os.open(new_name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            copy_content(reading, writing)
            with contextlib.suppress(PermissionError):
                os.fchown(writing, found.st_uid, found.st_gid)
            with contextlib.suppress(OSError):
                for attribute in os.listxattr(reading):
                    os.setxattr(writing, attribute, os.getxattr(reading, attribute))
            os.fchmod(writing, stat.S_IMODE(found.st_mode))
            os.utime(writing, ns=times)
            os.fsync(writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)
