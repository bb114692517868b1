"""Name, open and look at what is in an audit directory.

    audit.jsonl                                  the file that is appended to
    audit-000000000001-000000004096.jsonl        rotated files: numbers of their first and last record
    head                                         number and hash of the last record; also what writers lock

SECURITY: all of it belongs to one user and is closed to everyone else. Nothing is opened through a symbolic link,
and what turns out to be owned by somebody else, or open to others, is refused rather than corrected: whoever made it
so may hold it open already.
"""

import errno
import fcntl
import os
import stat
import time

from ringfence.model.errors import SandboxError

from .chain import Link, Seal, read_seal

CURRENT = "audit.jsonl"
HEAD = "head"
HEAD_BYTES = 20 + 1 + 64 + 1

_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK_BYTES = 2048
_LOCK_TIMEOUT_S = 10.0
_LOCK_POLL_S = 0.001


def default_directory(environment: "os._Environ[str] | dict[str, str]") -> str:
    """Name the user's audit directory; a relative `XDG_STATE_HOME` is ignored, as its specification demands."""
    state = environment.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):
        state = os.path.expanduser("~/.local/state")
    return f"{state}/ringfence/audit"


def open_directory(path: str, *, create: bool = False) -> int:
    """Open the audit directory, making it (0700) if `create`; raise `SandboxError` if it is not ours alone."""
    flags = os.O_RDONLY | os.O_DIRECTORY | _OPEN
    try:
        directory = os.open(path, flags)
    except FileNotFoundError:
        if not create:
            raise
        _make_directories(path)
        directory = os.open(path, flags)
    if create:
        try:
            _require_private(os.fstat(directory), path, 0o700)
        except SandboxError:
            os.close(directory)
            raise
    return directory


def wait_for_lock(head: int, place: str, *, shared: bool = False) -> None:
    """Lock the open `head`; raise `SandboxError` if nobody has written to it for `_LOCK_TIMEOUT_S`.

    The wait is bounded, because a stopped process that holds the lock must not stop every other run for good. Where
    many write, each of them makes progress, and it may take longer until it is our turn.
    """
    deadline, written = time.monotonic() + _LOCK_TIMEOUT_S, os.fstat(head).st_mtime_ns
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    while True:
        try:
            fcntl.flock(head, operation)
        except BlockingIOError:
            if time.monotonic() > deadline:
                before, written = written, os.fstat(head).st_mtime_ns
                if before == written:
                    raise SandboxError(
                        f"another process has held the audit's lock for {_LOCK_TIMEOUT_S:.0f} s",
                        place=place,
                        hint="look for a stopped ringfence process (`fuser -v` names it)",
                    ) from None
                deadline = time.monotonic() + _LOCK_TIMEOUT_S
            time.sleep(_LOCK_POLL_S)
        else:
            return


def open_private(directory: int, name: str, *, place: str, flags: int) -> int:
    """Open file `name` of `directory`, made with mode 0600 where `flags` create it.

    Raises `SandboxError` if it is not a regular file, not the caller's, or open to others, and `OSError`.
    """
    # O_NONBLOCK: a FIFO in its place must not make us wait.
    descriptor = os.open(name, flags | os.O_NONBLOCK | _OPEN, 0o600, dir_fd=directory)
    try:
        _require_private(os.fstat(descriptor), place, 0o600)
    except SandboxError:
        os.close(descriptor)
        raise
    return descriptor


def rotated_name(first: int, last: int) -> str:
    """Name the rotated file that holds records `first` to `last`."""
    return f"audit-{first:012d}-{last:012d}.jsonl"


def rotated_range(name: str) -> tuple[int, int] | None:
    """Give the numbers of the first and last record that `name` promises; None if it names no rotated file."""
    first, _, last = name.removeprefix("audit-").removesuffix(".jsonl").partition("-")
    if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()) or len(name) > 60:
        return None
    numbers = int(first), int(last)
    return numbers if rotated_name(*numbers) == name else None


def list_rotated(directory: int) -> list[str]:
    """List the names of the rotated files, oldest first."""
    ranges = [(found, name) for name in os.listdir(directory) if (found := rotated_range(name))]
    return [name for _, name in sorted(ranges)]


def read_head(descriptor: int) -> Link | None:
    """Read the head; None if it holds anything but a head."""
    content = os.pread(descriptor, HEAD_BYTES + 1, 0)
    number, hash_ = content[:20], content[21:-1]
    if len(content) != HEAD_BYTES or not number.isdigit() or not hash_.isalnum():
        return None
    link = int(number), hash_.decode("ascii")
    return link if format_head(link) == content else None


def format_head(link: Link) -> bytes:
    """Format a head: always the same length, so that one write within one page replaces it."""
    return b"%020d %s\n" % (link[0], link[1].encode("ascii"))


def read_tail(descriptor: int, size_bytes: int) -> tuple[Seal | None, bytes]:
    """Find the last sound record of a file, and what stands behind the last newline (b"" if all is well)."""
    chunk = _CHUNK_BYTES
    while True:
        start = max(0, size_bytes - chunk)
        lines = read_range(descriptor, start, size_bytes).split(b"\n")
        fragment = lines.pop()
        complete = lines if start == 0 else lines[1:]
        if lines or start == 0:
            for line in reversed(complete):
                seal = read_seal(line)
                if seal and seal.sound:
                    return seal, fragment
        if start == 0:
            return None, fragment
        chunk *= 8


def read_first(descriptor: int, size_bytes: int) -> Seal | None:
    """Read the seal of the first line that has one."""
    chunk = _CHUNK_BYTES
    while True:
        end = min(size_bytes, chunk)
        for line in read_range(descriptor, 0, end).split(b"\n")[:-1]:
            seal = read_seal(line)
            if seal:
                return seal
        if end == size_bytes:
            return None
        chunk *= 8


def read_range(descriptor: int, start: int, end: int) -> bytes:
    """Read bytes `start` to `end`; shorter only if the file is."""
    parts = []
    while start < end:
        part = os.pread(descriptor, end - start, start)
        if not part:
            break
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _make_directories(path: str) -> None:
    """Make `path` and its parents with mode 0700 (XDG Base Directory Specification); an existing one is left alone."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_directories(os.path.dirname(path))
        _make_directories(path)


def _require_private(found: os.stat_result, place: str, mode: int) -> None:
    kind = stat.S_ISDIR if mode == 0o700 else stat.S_ISREG
    if not kind(found.st_mode):
        hint = "move it out of the way and run `ringfence log verify`"
        raise SandboxError("is not a regular file", place=place, hint=hint)
    if found.st_uid != os.geteuid():
        raise SandboxError(
            f"belongs to uid `{found.st_uid}`, not to you",
            place=place,
            hint="run as its owner, or point XDG_STATE_HOME at a directory of your own",
        )
    if found.st_mode & 0o077:
        raise SandboxError(
            f"is open to other users (mode `{found.st_mode & 0o7777:04o}`)",
            place=place,
            hint=f"run `ringfence log verify`, then `chmod {mode:o}` it",
        )


def as_sandbox_error(error: OSError, place: str) -> SandboxError:
    """Turn a failed system call into an error that names its remedy."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = "free some space there, or point XDG_STATE_HOME at a file system that has some"
    elif error.errno in (errno.ELOOP, errno.ENOTDIR):
        hint = "a symbolic link or file is in its place: move it out of the way and run `ringfence log verify`"
    else:
        hint = "make it writable for you, or point XDG_STATE_HOME at a directory that is"
    return SandboxError(f"cannot write the audit: {error.strerror}", place=place, hint=hint)
