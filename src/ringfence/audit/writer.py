"""Append records to the audit, together with any number of other processes.

Rules.
1. Everything happens under an exclusive lock on `head`, which is never renamed; nothing is remembered between
   records, so it does not matter who wrote last, rotated, or died.
2. New lines go out in one write(2) at the end of `audit.jsonl`; then the head is overwritten in place. A process
   killed in between leaves a head that lags, which is no problem. A process killed within the write leaves a line
   without a newline, as every record ends in the only newline it has. The head is brought to disk once, before the
   first record of a file: from then on a power failure leaves an old one, which lags.
3. The next writer ends such a line, leaves it as it is, and vouches for it with a `torn` record (or chains on from
   it, if nothing but the newline is missing).
4. A head that is ahead of the file, or differs from it, or is gone, means that records were taken away. That is
   written down as a `broken` record before the head moves on: otherwise the next run would wipe out the evidence.
5. Whatever goes wrong raises `SandboxError`. A write that did not fit is taken back, so that the chain stays valid.
"""

import errno
import os
import time

from ringfence.model.errors import SandboxError

from .chain import BROKEN, GENESIS, ROTATION, Link, encode, encode_torn, read_seal
from .files import (
    CURRENT,
    HEAD,
    as_sandbox_error,
    format_head,
    list_rotated,
    open_directory,
    open_private,
    read_first,
    read_head,
    read_tail,
    rotated_name,
    wait_for_lock,
)
from .together import TOGETHER, Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ringfence.model.event import Event

ROTATE_BYTES = 16 << 20
FSYNC_POLICIES = ("always", "exit", "never")


class AuditWriter:
    """Appends to the audit in `directory`; an `AuditSink`.

    `fsync`: `always` (each record is on disk before `record` returns), `exit` (when `close` is called) or `never`.
    A file that has reached `rotate_bytes` is rotated before the next record; 0: never. Making one touches nothing.
    """

    __slots__ = ("_directory", "_fsync", "_rotate_bytes", "_unsynced")

    def __init__(self, directory: str, *, fsync: str = "exit", rotate_bytes: int = ROTATE_BYTES) -> None:
        if fsync not in FSYNC_POLICIES:
            raise ValueError(f"no fsync policy `{fsync}`")
        self._directory = directory
        self._fsync = fsync
        self._rotate_bytes = rotate_bytes
        self._unsynced = False

    def record(self, event: "Event") -> None:
        """Append `event`; raise `SandboxError` if it cannot be made durable."""
        self.record_fields(event.kind.value, event.run, event.time_ns, event.code, fields=event.fields)

    def record_fields(self, kind: str, run: str, time_ns: int, code: str, *, fields: "Mapping[str, object]") -> None:
        """Append what `record` would, without the import of `Event`; the parameters are its fields.

        Raises `SandboxError` if the record cannot be made durable, `TypeError` for a field that is not JSON.
        """
        self.record_all(run, [(kind, code, fields, time_ns)])

    def record_all(self, run: str, events: "Sequence[tuple[str, str, Mapping[str, object], int]]") -> None:
        """`record_fields` for several events in one write: kind, code, fields and Unix time of each."""
        if not events:
            return
        stamp = timestamp(events[-1][3])

        def seal(previous: Link) -> tuple[bytes, Link]:
            lines = b""
            for kind, code, fields, time_ns in events:
                line, previous = encode(previous, time=timestamp(time_ns), run=run, kind=kind, code=code, fields=fields)
                lines += line
            return lines, previous

        TOGETHER.write((self._directory, self._fsync, self._rotate_bytes), Entry(seal, stamp), self._append)
        self._unsynced = self._fsync == "exit"

    def _append(self, entries: list[Entry]) -> None:
        """Append what this process has to record."""
        try:
            directory = open_directory(self._directory, create=True)
            try:
                head = _lock_head(directory, self._directory)
                try:
                    _Append(directory, self._directory, head, self._fsync).carry_out(entries, self._rotate_bytes)
                finally:
                    os.close(head)
            finally:
                os.close(directory)
        except OSError as error:
            raise as_sandbox_error(error, f"{self._directory}/{CURRENT}") from error

    def close(self) -> None:
        """Bring what was recorded to disk under the policy `exit`; raise `SandboxError` if that fails."""
        if not self._unsynced:
            return
        try:
            directory = open_directory(self._directory)
            try:
                _sync_file(directory, CURRENT, f"{self._directory}/{CURRENT}")
            finally:
                os.close(directory)
        except OSError as error:
            raise as_sandbox_error(error, f"{self._directory}/{CURRENT}") from error
        self._unsynced = False


class _Append:
    """One append, under the lock on `head`: rotate, look at the end of the chain, recover, write, note the head."""

    __slots__ = ("_directory", "_fsync", "_head", "_path")

    def __init__(self, directory: int, path: str, head: int, fsync: str) -> None:
        self._directory = directory
        self._path = path
        self._head = head
        self._fsync = fsync

    def carry_out(self, entries: list[Entry], rotate_bytes: int) -> None:
        """Append records, in one write; one that is none is left out, and knows why."""
        self._rotate_if_due(rotate_bytes)
        current = self._open_current()
        try:
            size = os.fstat(current).st_size
            recovery, link = self._recover(current, size, entries[0].stamp)
            if size == 0 and self._fsync != "never":
                os.fsync(self._head)
                os.fsync(self._directory)  # the names, before there is anything behind them
            lines = [recovery]
            for entry in entries:
                try:
                    line, link = entry.seal(link)
                except TypeError as error:
                    entry.error = error
                else:
                    lines.append(line)
            data = b"".join(lines)
            if not data:
                return
            self._write(current, size, data)
        finally:
            os.close(current)
        self._note(link)

    def _open_current(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        return open_private(self._directory, CURRENT, place=f"{self._path}/{CURRENT}", flags=flags)

    def _rotate_if_due(self, rotate_bytes: int) -> None:
        try:
            size = os.stat(CURRENT, dir_fd=self._directory, follow_symlinks=False).st_size
        except FileNotFoundError:
            return
        if not 0 < rotate_bytes <= size:
            return
        current = self._open_current()
        try:
            last, fragment = read_tail(current, size)
            first = read_first(current, size)
            if first is None or last is None or fragment:
                return  # recovery comes first, in the file it is about
            if self._fsync != "never":
                os.fsync(current)
        finally:
            os.close(current)
        self._rename(rotated_name(first.link[0], last.link[0]))

    def _rename(self, name: str) -> None:
        if name in list_rotated(self._directory):  # nobody else renames: we hold the lock
            raise SandboxError(
                "a rotated file of that name exists",
                place=f"{self._path}/{name}",
                hint="move it out of the way and run `ringfence log verify`",
            )
        os.rename(CURRENT, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)

    def _recover(self, current: int, size: int, stamp: str) -> tuple[bytes, Link]:
        """Give what has to stand before the next record, and the link which that one follows."""
        last, fragment = read_tail(current, size)
        rotated = list_rotated(self._directory) if last is None else []
        link = last.link if last else self._last_rotated(rotated)
        if size == 0 and not rotated and os.fstat(self._head).st_size == 0:
            # The very first record. The head is written before it, so that from now on a missing head is a removed one.
            self._note(GENESIS)
        data = b"\n" if fragment else b""
        whole = read_seal(fragment)
        if whole and whole.sound:
            link, fragment = whole.link, b""
        disagreement = _compare(read_head(self._head), link)
        if fragment:
            line, link = encode_torn(link, fragment, time=stamp)
            data += line
        if size == 0 and rotated:
            line, link = encode(link, time=stamp, run="", kind=ROTATION, code="", fields={"file": rotated[-1]})
            data += line
        if disagreement:
            code, fields = disagreement
            line, link = encode(link, time=stamp, run="", kind=BROKEN, code=code, fields=fields)
            data += line
        return data, link

    def _last_rotated(self, rotated: list[str]) -> Link:
        """Find the last sound record of the newest rotated file that has one."""
        for name in reversed(rotated):
            descriptor = open_private(self._directory, name, place=f"{self._path}/{name}", flags=os.O_RDONLY)
            try:
                last, _ = read_tail(descriptor, os.fstat(descriptor).st_size)
            finally:
                os.close(descriptor)
            if last:
                return last.link
        return GENESIS

    def _write(self, current: int, size: int, data: bytes) -> None:
        """Append `data` in one write(2); a part that did not fit is taken back, so that the chain stays valid."""
        written = os.write(current, data)
        if written < len(data):
            os.ftruncate(current, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._fsync == "always":
            os.fdatasync(current)

    def _note(self, link: Link) -> None:
        content = format_head(link)
        if os.pwrite(self._head, content, 0) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.ftruncate(self._head, len(content))
        if self._fsync == "always":
            os.fdatasync(self._head)


def timestamp(time_ns: int) -> str:
    """Format Unix time as RFC 3339 in UTC with nanoseconds; such stamps sort as they should."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    year, month, day, hour, minute, second = time.gmtime(seconds)[:6]
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}.{nanoseconds:09d}Z"


def _compare(head: Link | None, link: Link) -> "tuple[str, dict[str, object]] | None":
    """Tell how the head disagrees with the end of the chain: the problem's kind, and the evidence."""
    if head is None:
        return "missing-file", {"file": HEAD}
    if head[0] < link[0] or head == link:
        return None
    return "truncated" if head[0] > link[0] else "edited", {"head_seq": head[0], "head_hash": head[1]}


def _lock_head(directory: int, path: str) -> int:
    """Open and lock the head; one that was unlinked while we waited is not the one that others lock."""
    place = f"{path}/{HEAD}"
    while True:
        head = open_private(directory, HEAD, place=place, flags=os.O_RDWR | os.O_CREAT)
        try:
            wait_for_lock(head, place)
            linked = os.fstat(head).st_nlink > 0
        except BaseException:
            os.close(head)
            raise
        if linked:
            return head
        os.close(head)


def _sync_file(directory: int, name: str, place: str) -> None:
    try:
        descriptor = open_private(directory, name, place=place, flags=os.O_RDONLY)
    except FileNotFoundError:
        return  # rotated away, and synced by whoever did that
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
