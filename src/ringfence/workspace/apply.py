"""Carry the allowed changes of a run over to the host, one by one, so that each can be taken back.

Rules:
- Nothing is overwritten that the host changed since the run began: a file's ctime, which no program can set, must not
  be later than the start. The contained side sees the lower layer only once it is mounted, which is after the start,
  so a change the clock's granularity hides was made before the command could have read the file.
- A path that fails or conflicts is reported and does not stop the others.
- New things first, the parents before what is in them and git's objects before its references; then removals, the
  deepest first; then modes of directories. Where a file takes the place of a directory, that directory is emptied
  before.
- Entries are announced in batches, each made durable by one fdatasync(2) before the first of its changes is visible.

A kill at any step is repaired by `resume` or `rollback.rollback`.
"""

import os
import stat
from collections.abc import Iterable, Sequence

from . import gitstate
from .beneath import Tree, lstat_at, split
from .change import Change, ChangeKind, FileType, Outcome, Result, Reviewed, file_type
from .host import Host, Step, explained, no_step, open_host
from .journal import Entry, Identity
from .moves import ConflictError, remove_directory
from .recovery import final_mode, restore_directories, settle, settle_entry
from .runs import Run, State, exclusive, restored, set_state

_BATCH = 64
_NEW_THINGS = (ChangeKind.CREATE, ChangeKind.MODIFY, ChangeKind.REPLACE)


def apply(
    run: Run, reviewed: Sequence[Reviewed], *, overwrite: frozenset[str] = frozenset(), step: Step = no_step
) -> list[Result]:
    """Apply what `reviewed` allows; give one result per change, sorted by path.

    `overwrite` names paths where the operator wants the run's version even if the host has a later one, which is kept.
    Raise `HostError` while the run is alive, or where the workspace or the journal cannot be used. `step` is called
    with a name between any two effects.
    """
    results = [
        Result(path=item.change.path, outcome=Outcome.HELD, reason=f"{item.code}: {item.sentence}")
        for item in reviewed
        if not item.allowed
    ]
    with exclusive(run), open_host(run, step) as host:
        settle(host)
        results += apply_some(host, [item.change for item in reviewed if item.allowed], overwrite=overwrite)
        finish(host, host.journal.entries)
        set_state(run, State.APPLIED)
    return sorted(results, key=lambda result: result.path.split("/"))


def resume(run: Run, *, step: Step = no_step) -> list[Result]:
    """Finish an apply that was killed; give the results of what was left of it. Raises as `apply` does."""
    with exclusive(run), open_host(run, step) as host:
        settle(host)
        results = _carry_out(host, [entry for entry in host.journal.entries if entry.status in ("planned", "dropped")])
        finish(host, host.journal.entries)
        set_state(run, State.APPLIED)
    return results


def apply_some(host: Host, changes: Iterable[Change], *, overwrite: frozenset[str] = frozenset()) -> list[Result]:
    """Apply `changes`, which were all allowed, on an open host; `finish` is the caller's."""
    entries = host.journal.plan(_in_order(changes))
    host.step("plan")
    return _carry_out(host, entries, overwrite)


def _carry_out(host: Host, entries: Sequence[Entry], overwrite: frozenset[str] = frozenset()) -> list[Result]:
    with Tree(host.run.upper) as layer:
        work = _Work(host, layer, overwrite)
        for entry in entries:
            work.take(entry)
        work.commit()
    return work.results


def _in_order(changes: Iterable[Change]) -> list[Change]:
    ordered = list(changes)
    emptied = {
        change.path for change in ordered if change.kind is ChangeKind.REPLACE and change.old_type is FileType.DIRECTORY
    }

    def key(change: Change) -> tuple[int, int, tuple[str, ...]]:
        names = tuple(change.path.split("/"))
        if change.kind is ChangeKind.DELETE:
            early = any("/".join(names[:depth]) in emptied for depth in range(1, len(names)))
            return (0 if early else 3, -len(names), names)
        if change.kind is ChangeKind.MODE and change.type is FileType.DIRECTORY:
            return 4, -len(names), names
        return (1 if names[:2] in ((".git",), (".git", "objects")) else 2), 0, names

    return sorted(ordered, key=key)


class _Work:
    """Entries on their way: prepared and announced in batches, then committed."""

    def __init__(self, host: Host, layer: Tree, overwrite: frozenset[str]) -> None:
        self._host = host
        self._layer = layer
        self._overwrite = overwrite
        self._restored: dict[str, list[tuple[Identity, int]]] | None = None
        self._batch: list[Entry] = []
        self._latest = {entry.change.path: entry for entry in host.journal.entries if entry.status != "planned"}
        self.results: list[Result] = []

    def take(self, entry: Entry) -> None:
        """Check and stage one entry; a directory is put in place at once, because others go into it."""
        directory = entry.change.type is FileType.DIRECTORY or entry.change.old_type is FileType.DIRECTORY
        if directory:
            self.commit()
        if self._guarded(entry, prepare=True) and entry.pending:
            self._batch.append(entry)
        if directory or len(self._batch) >= _BATCH:
            self.commit()

    def commit(self) -> None:
        """Make the batch durable, then change the host."""
        if self._batch:
            self._host.journal.sync()
            self._host.step("sync")
        for entry in self._batch:
            if self._guarded(entry, prepare=False):
                self._report(entry, Outcome.APPLIED)
        self._batch.clear()

    def _guarded(self, entry: Entry, *, prepare: bool) -> bool:
        outcome = Outcome.CONFLICT
        try:
            if prepare:
                self._prepare(entry)
            else:
                self._put(entry)
        except ConflictError as error:
            reason = str(error)
        except OSError as error:
            outcome, reason = Outcome.FAILED, explained(error)
        else:
            return True
        self._clean_up(entry)
        self._report(entry, outcome, reason)
        return False

    def _clean_up(self, entry: Entry) -> None:
        if entry.pending:
            try:
                settle_entry(self._host, entry)
            except (OSError, ConflictError):
                return  # stays announced in the journal, so the next attempt settles it

    def _report(self, entry: Entry, outcome: Outcome, reason: str = "") -> None:
        self.results.append(Result(path=entry.change.path, outcome=outcome, reason=reason))

    def _prepare(self, entry: Entry) -> None:
        host, change = self._host, entry.change
        if (change.kind is ChangeKind.DELETE or change.copied) and host.tree.lstat(change.path) is None:
            if change.copied and change.path not in self._overwrite:
                raise ConflictError("it was removed on the host since the run began")
            if change.kind is ChangeKind.DELETE:
                self._report(entry, Outcome.APPLIED)
                return
        with host.parent(change.path) as (directory, name):
            old = lstat_at(directory, name)
            if self._nothing_to_do(change, old):
                self._report(entry, Outcome.APPLIED)
                return
            self._check(change, old)
            if change.kind is not ChangeKind.MODE:
                host.journal.touch(split(change.path)[0], os.fstat(directory).st_mtime_ns)
            host.journal.begin(entry, old, self._replaced(change, Identity.of(old)))
            host.step("begin")
            if change.kind in _NEW_THINGS:
                host.stage(entry, self._layer, directory, old)

    def _nothing_to_do(self, change: Change, old: os.stat_result | None) -> bool:
        made = change.kind is ChangeKind.CREATE and change.type is FileType.DIRECTORY
        return made and old is not None and stat.S_ISDIR(old.st_mode)

    def _check(self, change: Change, old: os.stat_result | None) -> None:
        """Raise `ConflictError` unless the host still has what it had when the run began."""
        if old is None:
            if change.old_type is not None:
                raise ConflictError("it was removed on the host since the run began")
            return
        if change.old_type is None:
            raise ConflictError("it was created on the host since the run began")
        if file_type(old.st_mode) is not change.old_type:
            raise ConflictError("something else took its place on the host since the run began")
        if change.old_type is FileType.DIRECTORY:
            opened = self._host.journal.opened.get(change.path)
            mode = stat.S_IMODE(old.st_mode)
            if mode != change.old_mode and (opened is None or mode != opened | stat.S_IRWXU):
                raise ConflictError("its mode was changed on the host since the run began")
            return
        if old.st_ctime_ns > self._host.run.start_ns and not self._is_known(change.path, Identity.of(old)):
            raise ConflictError("it was changed on the host since the run began")

    def _replaced(self, change: Change, found: Identity | None) -> Entry | None:
        """The entry that brought what is there now, where nothing of it has to be kept."""
        entry = self._latest.get(change.path)
        if entry is None or entry.status != "done" or entry.new is None or change.kind is ChangeKind.MODE:
            return None
        return entry if not entry.new.is_directory and entry.new.same(found) else None

    def _is_known(self, path: str, found: Identity | None) -> bool:
        """Whether `found` is what this run put there, what a rollback put back, or what the operator gives up."""
        if path in self._overwrite or found is None:
            return path in self._overwrite
        entry = self._latest.get(path)
        if entry is not None and entry.status == "done":
            return found.same(entry.new)
        # What is put back got there by renames, which alone move a ctime on.
        known = [entry.old] if entry is not None else []
        if self._restored is None:
            self._restored = restored(self._host.run)
        known += [old for old, ctime_ns in self._restored.get(path, ()) if ctime_ns <= self._host.run.start_ns]
        return any(found.same_version(old) for old in known)

    def _put(self, entry: Entry) -> None:
        host, change = self._host, entry.change
        with host.parent(change.path) as (directory, name):
            if change.kind is ChangeKind.MODE:
                host.set_mode(change.path, final_mode(entry))
                host.step("mode")
            elif change.kind in _NEW_THINGS:
                self._check_source(change)
                host.install(entry, directory, name)
            elif change.type is FileType.DIRECTORY:
                remove_directory(directory, name)
                host.step("removed")
            else:
                host.take_away(entry, directory, name)
            # Not what lies there now: that may be an edit of this very moment, which is the host's.
            host.journal.done(entry, entry.made or Identity.of(lstat_at(directory, name)))
            host.step("done")

    def _check_source(self, change: Change) -> None:
        """Raise `ConflictError` where a run that is alive has removed or changed it again since it was staged."""
        found = self._layer.lstat(change.path)
        same = found is not None and (found.st_size, found.st_mtime_ns) == (change.size, change.mtime_ns)
        if found is None or (change.type is FileType.FILE and not same):
            raise ConflictError("the run's copy is not the one that was reviewed")


def finish(host: Host, entries: Sequence[Entry]) -> None:
    """Give directories of `entries` their last mode and mtime, close opened ones, and the journal's chapter."""
    journal = host.journal
    final: dict[str, tuple[int, int | None]] = {path: (mode, None) for path, mode in journal.opened.items()}
    for entry in entries:
        change = entry.change
        if entry.status != "done" or change.type is not FileType.DIRECTORY or change.kind is ChangeKind.DELETE:
            continue
        if change.kind is ChangeKind.MODE:
            final[change.path] = (final_mode(entry), None)
        else:
            inherited = stat.S_IMODE(entry.new.mode) & 0o7000 if entry.new is not None else 0
            final[change.path] = (change.mode & 0o777 | inherited, change.mtime_ns)
    restore_directories(host, final)
    if gitstate.objects(host):
        journal.leave_git(gitstate.fingerprint(host))
    for path in sorted({split(entry.change.path)[0] for entry in entries} & journal.touched.keys()):
        found = host.tree.lstat(path) if path else os.fstat(host.tree.root)
        if found is not None:
            journal.leave(path, found.st_mtime_ns)
    journal.finish()
