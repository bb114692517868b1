"""The record from which a killed apply is finished or undone.

Theory of operation: one JSON value per line, appended *before* the step it announces; `sync` makes what was announced
durable before a batch of steps changes the host. A line cut short by a kill or a full disk announces nothing, because
the step behind it was never begun, and is dropped. Entries are numbered over the whole life of the run.

    {"step": "plan", "changes": [...]}             numbers every change from the next free number on
    {"step": "open", "path", "mode"}               a directory of the host gets access bits for its owner
    {"step": "touch", "path", "mtime_ns"}          the first change in this directory of the host
    {"step": "begin", "n", "old", "ctime_ns"}      what the host has now (an `Identity`, or null) and since when; with
                                                   `over` what that entry brought, of which nothing is kept
    {"step": "swap", "n", "inode"}                 the new thing is complete under its temporary name
    {"step": "done", "n", "new"}                   the host now has this
    {"step": "drop", "n"}                          nothing was changed
    {"step": "undone", "n"}                        the host has the old thing again
    {"step": "left", "path", "mtime_ns"}           the directory as the apply left it
    {"step": "git", "state"}                       what git's directory was like then (`gitstate.fingerprint`)
    {"step": "unwind", "paths"[, "keep"]}          a rollback begins; these directories nobody else has touched since,
                                                   and what lies below `keep` stays
    {"step": "finished"}
"""

import json
import os
import stat
from typing import Any, Self

import msgspec

from ringfence.model.errors import HostError
from ringfence.model.paths import HostPath

from .change import Change

_FINISHED = b'{"step": "finished"}'
_TAIL_BYTES = 256  # more than the record that says so takes


def ends_finished(path: HostPath) -> bool:
    """Tell `Journal.finished` from the end of the file alone: a journal can be long, and every run asks about many."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size = os.fstat(fd).st_size
        start = max(0, size - _TAIL_BYTES)
        lines = os.pread(fd, _TAIL_BYTES, start).split(b"\n")[:-1]  # what follows the last line end announces nothing
    finally:
        os.close(fd)
    if not lines:
        return start == 0
    return lines[-1] == _FINISHED if start == 0 or len(lines) > 1 else False


class Identity(msgspec.Struct, frozen=True):
    """What tells one version of a host path from another: inode, size in bytes, mtime, `st_mode` and owner."""

    inode: int
    size: int
    mtime_ns: int
    mode: int
    uid: int
    gid: int

    @classmethod
    def of(cls, found: os.stat_result | None) -> "Identity | None":
        """Take what matters of a stat result."""
        if found is None:
            return None
        size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
        mtime_ns = found.st_mtime_ns
        return cls(found.st_ino, size, mtime_ns, found.st_mode, found.st_uid, found.st_gid)

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory, whose size and mtime follow its entries and tell nothing."""
        return stat.S_ISDIR(self.mode)

    def same(self, other: "Identity | None") -> bool:
        """Tell whether `other` is this very thing, unchanged."""
        if other is not None and self.is_directory and other.is_directory:
            return self.inode == other.inode
        return self == other

    def same_version(self, other: "Identity | None") -> bool:
        """Compare all but the inode, which a copy does not keep."""
        return other is not None and (self.size, self.mtime_ns, self.mode) == (other.size, other.mtime_ns, other.mode)


class Entry:
    """What is known of one change. `status`: planned, begun, swapping, done, dropped or undone.

    `made` is what was staged for its place, while we are the ones who staged it.
    """

    __slots__ = ("change", "inode", "made", "n", "new", "old", "old_ctime_ns", "over", "status")

    def __init__(self, n: int, change: Change) -> None:
        self.n = n
        self.change = change
        self.status = "planned"
        self.old: Identity | None = None
        self.new: Identity | None = None
        self.made: Identity | None = None
        self.old_ctime_ns = 0
        self.over: int | None = None
        self.inode = 0

    @property
    def pending(self) -> bool:
        """Whether a step was announced whose end is not recorded."""
        return self.status in ("begun", "swapping")


class Journal:
    """The journal of one run, read at opening and appended to afterwards.

    `look`: only read it, as it is; somebody else may be writing to it now. Raises OSError if it is not there.
    """

    def __init__(self, path: HostPath, *, look: bool = False) -> None:
        self.entries: list[Entry] = []
        self.opened: dict[str, int] = {}
        self.touched: dict[str, int] = {}
        self.left: dict[str, int] = {}
        self.unwinding: frozenset[str] | None = None
        self.kept = ""
        self.git = ""
        self.finished = True
        self._path = path
        flags = os.O_RDONLY if look else os.O_RDWR | os.O_CREAT | os.O_APPEND
        self._fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._read(path, repair=not look)
        except (ValueError, KeyError, IndexError, TypeError):
            os.close(self._fd)
            raise HostError("the journal of this run is damaged", place=path) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def plan(self, changes: list[Change]) -> list[Entry]:
        """Number `changes` and record them; give their entries."""
        first = len(self.entries)
        self._record({"step": "plan", "changes": [msgspec.to_builtins(change) for change in changes]})
        return self.entries[first:]

    def open(self, path: str, mode: int) -> None:
        """Announce that the directory `path`, now with `mode`, gets access bits."""
        if path not in self.opened:
            self._record({"step": "open", "path": path, "mode": mode})

    def touch(self, path: str, mtime_ns: int) -> None:
        """Announce the first change in the directory `path`."""
        if path not in self.touched:
            self._record({"step": "touch", "path": path, "mtime_ns": mtime_ns})

    def leave(self, path: str, mtime_ns: int) -> None:
        """Record how the apply leaves a touched directory."""
        self._record({"step": "left", "path": path, "mtime_ns": mtime_ns})

    def leave_git(self, state: str) -> None:
        """Record how the apply leaves git's directory."""
        self._record({"step": "git", "state": state})

    def unwind(self, paths: list[str], *, keep: str) -> None:
        """Announce a rollback, which leaves alone what lies below the directory `keep` (empty: none)."""
        self._record({"step": "unwind", "paths": paths, "keep": keep})

    def begin(self, entry: Entry, old: os.stat_result | None, over: Entry | None = None) -> None:
        """Announce that `entry` will change the host, which now has `old`, brought there by `over`."""
        record = {"step": "begin", "n": entry.n, "old": msgspec.to_builtins(Identity.of(old))}
        record |= {} if old is None else {"ctime_ns": old.st_ctime_ns}
        self._record(record if over is None else record | {"over": over.n})

    def swap(self, entry: Entry, inode: int) -> None:
        """Announce that the new thing, complete as `inode`, will take its place."""
        self._record({"step": "swap", "n": entry.n, "inode": inode})

    def done(self, entry: Entry, new: Identity | None) -> None:
        """Record that the host now has `new`."""
        self._record({"step": "done", "n": entry.n, "new": msgspec.to_builtins(new)})

    def drop(self, entry: Entry) -> None:
        """Record that nothing was changed for `entry`."""
        self._record({"step": "drop", "n": entry.n})

    def undone(self, entry: Entry) -> None:
        """Record that the host has the old thing again."""
        self._record({"step": "undone", "n": entry.n})

    def finish(self) -> None:
        """Record that nothing is left to do."""
        self._record(json.loads(_FINISHED))
        self.sync()

    def sync(self) -> None:
        """Make everything announced so far durable."""
        os.fdatasync(self._fd)

    def _record(self, record: dict[str, Any]) -> None:
        data = (json.dumps(record) + "\n").encode("ascii")
        size = os.fstat(self._fd).st_size
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            os.ftruncate(self._fd, size)
            hint = "make room, then finish the apply or roll it back"
            raise HostError(f"the journal cannot be written: {error.strerror}", place=self._path, hint=hint) from error
        self._take(record)

    def _read(self, path: HostPath, *, repair: bool) -> None:
        with open(path, "rb") as file:
            content = file.read()
        complete = content.rfind(b"\n") + 1
        if repair and complete != len(content):
            os.ftruncate(self._fd, complete)
        for line in content[:complete].splitlines():
            self._take(json.loads(line))

    def _take(self, record: dict[str, Any]) -> None:
        step = record["step"]
        self.finished = step == "finished"
        if step == "plan":
            for value in record["changes"]:
                self.entries.append(Entry(len(self.entries), msgspec.convert(value, Change)))
        elif step == "open":
            self.opened.setdefault(record["path"], record["mode"])
        elif step == "touch":
            self.touched.setdefault(record["path"], record["mtime_ns"])
        elif step == "left":
            self.left[record["path"]] = record["mtime_ns"]
        elif step == "unwind":
            self.unwinding = frozenset(record["paths"])
            self.kept = record.get("keep", "")
        elif step == "git":
            self.git = record["state"]
        elif step == "finished":
            self.unwinding = None
        else:
            self._take_entry(step, self.entries[record["n"]], record)

    def _take_entry(self, step: str, entry: Entry, record: dict[str, Any]) -> None:
        if step == "begin":
            entry.status, entry.old, entry.inode = "begun", msgspec.convert(record["old"], Identity | None), 0
            entry.over, entry.old_ctime_ns = record.get("over"), record.get("ctime_ns", 0)
            self.left.pop(entry.change.path.rpartition("/")[0], None)  # it is about to change once more, by us
        elif step == "swap":
            entry.status, entry.inode = "swapping", record["inode"]
        elif step == "done":
            entry.status, entry.new = "done", msgspec.convert(record["new"], Identity | None)
        else:
            entry.status = {"drop": "dropped", "undone": "undone"}[step]
            if step == "undone" and entry.over is not None:
                self.entries[entry.over].new = entry.new  # nothing was put back: that entry answers for it now
