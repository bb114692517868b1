"""Carry files over to the host while the run is still going on, as soon as they are closed.

Theory of operation: directories of the upper layer are watched. A regular file that was closed after writing, or
renamed to its name, is compared with the host, judged by the filter, and applied through the same journal as at the
end, so a rollback undoes it too. Whatever is anything but a new or changed regular file outside of `.git` (removals of
the host's own files, links, modes, types) waits for the end of the run, where the whole difference is read and judged
once more.

What was made on the host and is removed inside goes at once: the overlay leaves no whiteout where it did not see the
lower file come, so the host's copy would appear inside. For the same reason the layer is looked at again just before
and just after a file gets its name.

A file found in a directory that has just appeared may still be open, so it has to rest for a moment. Of a path that is
carried over again and again only the host's first version is kept. Where events are lost, everything is looked at.

SECURITY: the contained side is alive. Every path is resolved beneath the layer and beneath the workspace; content is
read from the descriptor of a regular file, and must be what was judged before and after it was read; the names seen
in the layer decide nothing but what is looked at.
"""

import os
import select
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from typing import Self

import msgspec

from ringfence.model.names import canonical

from .apply import apply_some, finish
from .beneath import Tree
from .change import Change, ChangeKind, FileType, Outcome
from .filter import Rules, review
from .host import Host, no_step, open_host
from .inotify import Watches
from .journal import Entry, Identity, Journal
from .overlay import deletion, file_changes
from .recovery import settle
from .runs import Run, turn

WATCH_LIMIT = 4096  # directories; what happens in further ones arrives at the end
FILE_BYTES = 32 << 20  # a larger file arrives at the end
QUIET_S = 0.03
REST_S = 0.3
_BATCH = 64


class Mirror:
    """The live part of one run's apply. `rules` gives the filter's rules anew each time.

    `applied`: paths that the host has from this run. Raises OSError or HostError where the layer, the workspace or the
    journal cannot be used; what was announced then is settled by the apply at the end.
    """

    def __init__(self, run: Run, rules: Callable[[], Rules]) -> None:
        self._run = run
        self._rules = rules
        self._due: dict[str, float] = {}
        self._spent: dict[str, int] = {}
        self._made: set[str] = set()
        self._host: Host | None = None
        self.applied: set[str] = set()
        with ExitStack() as stack:
            self._layer = stack.enter_context(Tree(run.upper))
            self._tree = stack.enter_context(Tree(run.workspace))
            self._watches = stack.enter_context(Watches(WATCH_LIMIT))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def serve(self, stop: int) -> None:
        """Carry over until the descriptor `stop` has something to say."""
        self.scan("")
        poller = select.poll()
        for descriptor in (stop, self._watches.descriptor):
            poller.register(descriptor, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poller.poll(self._pause_ms())]
            if stop in ready:
                return
            if ready:
                self.notice()
            self.carry(time.monotonic())

    def _pause_ms(self) -> int | None:
        if not self._due:
            return None
        return max(0, int((min(self._due.values()) - time.monotonic()) * 1000) + 1)

    def notice(self) -> None:
        """Take what the watches saw."""
        happened = self._watches.read()
        now = time.monotonic()
        gone = happened.gone & self._made
        gone |= {path for path in self._made if not gone.isdisjoint(_parents(path))} if gone else set()
        for path in happened.files | (self._made if happened.lost else gone):
            if not _is_git(path):
                self._due[path] = min(now + QUIET_S, self._due.get(path, now + QUIET_S))
        for path in {""} if happened.lost else happened.directories:
            self.scan(path)

    def scan(self, top: str) -> None:
        """Watch the directory `top` of the layer and those below it, and look at every file there is."""
        pending = [top]
        while pending:
            path = pending.pop()
            if _is_git(path):
                continue
            try:
                directory = self._layer.open_directory(path)
            except OSError:
                continue  # gone again, or no directory any more
            try:
                if self._watches.add(directory, path):
                    self._look(directory, path, pending)
            finally:
                os.close(directory)

    def _look(self, directory: int, path: str, pending: list[str]) -> None:
        due = time.monotonic() + REST_S
        with os.scandir(directory) as entries:
            for entry in entries:
                below = f"{path}/{entry.name}" if path else entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append(below)
                elif entry.is_file(follow_symlinks=False) and not _is_git(below):
                    self._due.setdefault(below, due)

    def carry(self, now: float) -> None:
        """Carry over what is due at `now`, on the monotonic clock."""
        due = [path for path, at in self._due.items() if at <= now][:_BATCH]
        for path in due:
            del self._due[path]
        found: dict[str, Change] = {}
        for path in due:
            with suppress(OSError):  # it went away, or something that is no file takes its place: a case for the end
                found.update((change.path, change) for change in file_changes(self._layer, self._tree, path))
        allowed = self._allowed(list(found.values())) if found else []
        self._apply(allowed)
        self._apply(self._vanished({*due, *(change.path for change in allowed)}))

    def _vanished(self, paths: Iterable[str]) -> list[Change]:
        """Removals of what this run made on the host and has no more.

        A directory only where a whiteout hides it: the kernel may have shown the host's inside otherwise, and one that
        was removed under it can be neither removed nor replaced there any more (rmdir fails with ENOENT).
        """
        found = [deletion(self._tree, path) for path in self._made.intersection(paths) if self._is_gone(path)]
        return [c for c in found if c is not None and (c.type is not FileType.DIRECTORY or self._is_hidden(c.path))]

    def _is_gone(self, path: str) -> bool:
        try:
            found = self._layer.lstat(path)
        except OSError:
            return False
        return found is None or stat.S_ISCHR(found.st_mode)

    def _is_hidden(self, path: str) -> bool:
        found = [self._layer.lstat(place) for place in (*_parents(path), path)]
        return any(one is not None and stat.S_ISCHR(one.st_mode) for one in found)

    def _allowed(self, found: Sequence[Change]) -> list[Change]:
        rules = self._rules()
        now = {change.path for change in found}
        others = sum(size for path, size in self._spent.items() if path not in now)
        left = max(0, rules.max_bytes - others)
        rules = msgspec.structs.replace(rules, max_bytes=left, max_file_bytes=min(FILE_BYTES, rules.max_file_bytes))
        allowed = [item.change for item in review(found, rules=rules) if item.allowed]
        files = [change for change in allowed if change.type is FileType.FILE]
        needed = {parent for change in files for parent in _parents(change.path)}
        return [change for change in allowed if change.type is FileType.DIRECTORY and change.path in needed] + files

    def _apply(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        with turn(self._run):
            if self._host is None:
                self._host = self._stack.enter_context(open_host(self._run, no_step))
                settle(self._host)
            journal = self._host.journal
            first = len(journal.entries)
            results = apply_some(self._host, changes)
            finish(self._host, journal.entries[first:])
        done = {result.path for result in results if result.outcome is Outcome.APPLIED}
        for change in changes:
            if change.path in done:
                self._remember(change)

    def _remember(self, change: Change) -> None:
        if change.kind is ChangeKind.DELETE:
            self.applied.discard(change.path)
            self._made.discard(change.path)
            self._spent.pop(change.path, None)
            return
        self.applied.add(change.path)
        self._spent[change.path] = change.allocated
        if change.kind is ChangeKind.CREATE:
            self._made.add(change.path)


def corrected(changes: Sequence[Change], run: Run) -> list[Change]:
    """The difference as the run meant it, where the host got some of it while the run was going on.

    A directory that the run made may be opaque in the layer, because the host had none of that name; what others put
    into it on the host since then is no removal. And what the run made and removed again is one, without a whiteout.
    """
    with Journal(run.journal, look=True) as journal, Tree(run.upper) as layer, Tree(run.workspace) as host:
        latest = {entry.change.path: entry for entry in journal.entries if entry.status == "done"}
        ours = {path: entry.new for path, entry in latest.items() if entry.new is not None}
        made = {path for path in ours if _origin(latest[path], journal).old is None}
        found = [
            c for c in changes if c.kind is not ChangeKind.DELETE or c.path in ours or made.isdisjoint(_parents(c.path))
        ]
        for path in made - {change.path for change in found}:
            there = host.lstat(path)
            if there is not None and layer.lstat(path) is None and ours[path].same(Identity.of(there)):
                found += [change] if (change := deletion(host, path)) else []
    return sorted(found, key=lambda change: change.path.split("/"))


def _origin(entry: Entry, journal: Journal) -> Entry:
    while entry.over is not None:
        entry = journal.entries[entry.over]
    return entry


def _parents(path: str) -> list[str]:
    names = path.split("/")
    return ["/".join(names[:depth]) for depth in range(1, len(names))]


def _is_git(path: str) -> bool:
    return any(canonical(name) == ".git" for name in path.split("/"))
