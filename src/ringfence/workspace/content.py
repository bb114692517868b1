"""Read, compare and copy the content of files that nobody vouches for.

SECURITY: files are opened with O_NOFOLLOW and O_NONBLOCK and must turn out to be regular, so a link or a fifo that
takes the place of a file neither leads elsewhere nor blocks. Holes stay holes (lseek(2) SEEK_DATA), so a sparse bomb
costs what it occupies, not what it claims (threat: resources).
"""

import errno
import os
import stat

CHUNK_BYTES = 1 << 20
_RANGE_BYTES = 1 << 30  # what one copy_file_range(2) call is asked for
_NO_RANGE_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


def open_regular(directory: int, name: str) -> int:
    """Open the regular file `name` for reading; raise `OSError` for anything else."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", name)
    return fd


def same_content(first_directory: int, second_directory: int, name: str) -> bool:
    """Tell whether the file `name` holds the same bytes in both open directories."""
    first = open_regular(first_directory, name)
    try:
        second = open_regular(second_directory, name)
        try:
            return _same_bytes(first, second)
        finally:
            os.close(second)
    finally:
        os.close(first)


def _same_bytes(first: int, second: int) -> bool:
    size = os.fstat(first).st_size
    if os.fstat(second).st_size != size:
        return False
    position = 0
    while position < size:
        if size > CHUNK_BYTES:
            position = min(_next_data(first, position, size), _next_data(second, position, size))
        length = min(size - position, CHUNK_BYTES)
        left = os.pread(first, length, position)
        if left != os.pread(second, length, position):
            return False
        position += len(left) or size
    return True


def _next_data(fd: int, position: int, size: int) -> int:
    """Give the offset of the next data at or after `position`, or `size` where only a hole is left."""
    try:
        return os.lseek(fd, position, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size
        if error.errno == errno.EINVAL:  # the file system does not know about holes
            return position
        raise


def _next_hole(fd: int, position: int, size: int) -> int:
    try:
        return os.lseek(fd, position, os.SEEK_HOLE)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return size
        raise


def copy_content(source: int, target: int) -> None:
    """Copy everything from one open file to another, empty one, sharing blocks where possible and keeping holes."""
    size = os.fstat(source).st_size
    position = 0
    while (position := _next_data(source, position, size)) < size:
        end = _next_hole(source, position, size)
        _copy_range(source, target, position, end)
        position = end
    os.ftruncate(target, size)


def has_digest(fd: int, digest: str) -> bool:
    """Tell whether the open file's SHA-256 is `digest`, 64 lower-case hexadecimal digits.

    SECURITY: a file with holes has none, since to read what it merely claims may take as long as its writer likes.
    """
    import hashlib  # 3 ms, which most runs need not spend

    size = os.fstat(fd).st_size
    if size and _next_hole(fd, 0, size) < size:
        return False
    found, position = hashlib.sha256(), 0
    while data := os.pread(fd, CHUNK_BYTES, position):
        found.update(data)
        position += len(data)
    return found.hexdigest() == digest


def _copy_range(source: int, target: int, position: int, end: int) -> None:
    while position < end:
        try:
            copied = os.copy_file_range(source, target, min(end - position, _RANGE_BYTES), position, position)
        except OSError as error:
            if error.errno not in _NO_RANGE_COPY:
                raise
            copied = _write_all(target, os.pread(source, min(end - position, CHUNK_BYTES), position), position)
        if copied == 0:
            return
        position += copied


def _write_all(target: int, data: bytes, position: int) -> int:
    written = 0
    while written < len(data):
        written += os.pwrite(target, data[written:], position + written)
    return written
