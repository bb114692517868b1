"""Look at an audit directory as it stands at one moment, while others go on writing."""

import errno
import os
import stat
from collections.abc import Iterator

import msgspec

from .chain import Link
from .files import CURRENT, HEAD, list_rotated, open_directory, read_head, wait_for_lock

_READ_ONLY = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Snapshot(msgspec.Struct, kw_only=True):
    """Open descriptors and what was seen under the lock. Rotated files never change, so they are opened later.

    `current` is None where there is no current file; `head` None where there is none that can be read.
    `names` lists everything in the directory.
    """

    directory: int
    names: tuple[str, ...]
    rotated: tuple[str, ...]
    head: Link | None
    current: int | None
    current_bytes: int
    open_end: bool = False

    def close(self) -> None:
        """Close what is open."""
        if self.current is not None:
            os.close(self.current)
        os.close(self.directory)

    def lines(self) -> Iterator[tuple[str, int, bytes]]:
        """Yield file name, line number and line (without newline), oldest first; then `open_end` is right.

        What is not a regular file is passed over. Raises `OSError` for a file that cannot be read.
        """
        for name in self.rotated:
            descriptor = _open_regular(name, self.directory)
            if descriptor is not None:
                yield from self._lines_of(name, descriptor, None)
        if self.current is not None:
            yield from self._lines_of(CURRENT, os.dup(self.current), self.current_bytes)

    def _lines_of(self, name: str, descriptor: int, size_bytes: int | None) -> Iterator[tuple[str, int, bytes]]:
        self.open_end = False
        with open(descriptor, "rb") as file:
            left = os.fstat(descriptor).st_size if size_bytes is None else size_bytes
            file.seek(0)  # a duplicate shares its offset with the original
            number = 0
            while left > 0:
                line = file.readline(left)
                if not line:
                    break
                left -= len(line)
                number += 1
                self.open_end = not line.endswith(b"\n")
                yield name, number, line.removesuffix(b"\n")


def take_snapshot(path: str) -> Snapshot:
    """Open the audit directory `path`.

    Raises `OSError` if there is none, `SandboxError` if its lock is not to be had.
    """
    directory = open_directory(path)
    head: int | None = None
    current: int | None = None
    try:
        head = _open_regular(HEAD, directory)
        if head is not None:
            wait_for_lock(head, f"{path}/{HEAD}", shared=True)
        current = _open_regular(CURRENT, directory)
        return Snapshot(
            directory=directory,
            names=tuple(sorted(os.listdir(directory))),
            rotated=tuple(list_rotated(directory)),
            head=None if head is None else read_head(head),
            current=current,
            current_bytes=0 if current is None else os.fstat(current).st_size,
        )
    except BaseException:
        if current is not None:
            os.close(current)
        os.close(directory)
        raise
    finally:
        if head is not None:
            os.close(head)


def _open_regular(name: str, directory: int) -> int | None:
    """Open file `name` for reading; None if there is none, or it is something else."""
    try:
        descriptor = os.open(name, _READ_ONLY, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None
