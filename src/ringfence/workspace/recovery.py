"""Repair what a killed or failed step left, so that every entry is either done or never happened.

Theory of operation: the journal says which entry was begun and which inode the new thing has; what lies under the
entry's name, its temporary names and in the undo directory says how far it came. An exchange that took place is
completed, one that did not is forgotten, and nothing that may be the host's is ever removed.
"""

import os
import stat

from .beneath import lstat_at
from .change import ChangeKind, FileType
from .host import Host
from .journal import Entry, Identity
from .moves import ConflictError, place_new, remove


def settle(host: Host) -> None:
    """Settle every entry whose end is not recorded."""
    for entry in host.journal.entries:
        if entry.pending:
            settle_entry(host, entry)


def settle_entry(host: Host, entry: Entry) -> None:
    """Bring one begun entry to `done` or `dropped`, and remove its temporaries."""
    host.unstage(entry.n)
    try:
        with host.parent(entry.change.path) as (directory, name):
            happened = _settle_in(host, entry, directory, name)
            new = Identity.of(lstat_at(directory, name)) if happened else None
    except (FileNotFoundError, NotADirectoryError):
        happened, new = False, None
    if happened:
        host.journal.done(entry, new)
    else:
        host.journal.drop(entry)


def _settle_in(host: Host, entry: Entry, directory: int, name: str) -> bool:
    change, old = entry.change, entry.old
    found = lstat_at(directory, name)
    if change.kind is ChangeKind.MODE:
        return found is not None and stat.S_IMODE(found.st_mode) == final_mode(entry)
    if change.kind is ChangeKind.DELETE:
        return _settle_removal(host, entry, directory, name)
    if found is not None and _is_staged(entry, found):
        return _settle_installed(host, entry, directory, name)
    _forget(host, entry, directory, name)
    if old is not None and old.is_directory and lstat_at(directory, name) is None:
        host.make_directory(entry, directory, name)
    return False


def _is_staged(entry: Entry, found: os.stat_result) -> bool:
    """Tell whether `found` is what `entry` brings: a nameless file that died gives its inode number to others."""
    change = entry.change
    plain = change.type is FileType.FILE
    return found.st_ino == entry.inode != 0 and (
        not plain or (found.st_size, found.st_mtime_ns) == (change.size, change.mtime_ns)
    )


def _settle_removal(host: Host, entry: Entry, directory: int, name: str) -> bool:
    if entry.change.type is FileType.DIRECTORY:
        return lstat_at(directory, name) is None
    if lstat_at(directory, host.temporary(entry)) is None:
        return host.kept(entry) or (entry.over is not None and lstat_at(directory, name) is None)
    try:
        host.keep(entry, directory, host.temporary(entry))
    except OSError:
        place_new(directory, host.temporary(entry), name)
        return False
    return True


def _settle_installed(host: Host, entry: Entry, directory: int, name: str) -> bool:
    for left in (host.temporary(entry), host.aside(entry)):
        if lstat_at(directory, left) is not None:
            try:
                host.keep_or_put_back(entry, directory, name, left)
            except OSError:
                _forget(host, entry, directory, name)
                return False
    return True


def _forget(host: Host, entry: Entry, directory: int, name: str) -> None:
    """Take back an installation that did not happen: the new thing goes, the old one returns."""
    for left in (host.temporary(entry), host.aside(entry)):
        found = lstat_at(directory, left)
        if found is None:
            continue
        if entry.inode in (0, found.st_ino):
            remove(directory, left)
        elif lstat_at(directory, name) is None:
            place_new(directory, left, name)
        else:
            # The exchange took place and someone replaced our file since: the old one stays with the run.
            host.keep(entry, directory, left)


def final_mode(entry: Entry) -> int:
    """Give the permission bits that a MODE entry sets: those asked for, and no special bit the host did not have."""
    old = stat.S_IMODE(entry.old.mode) if entry.old is not None else 0
    special = old & 0o7000 if entry.change.type is FileType.DIRECTORY else old & entry.change.mode & 0o7000
    return entry.change.mode & 0o777 | special


def restore_directories(host: Host, final: dict[str, tuple[int, int | None]]) -> None:
    """Set modes and modification times of directories, the deepest first; what is gone is passed over."""
    for path in sorted(final, key=lambda name: name.count("/") + bool(name), reverse=True):
        mode, mtime_ns = final[path]
        try:
            found = host.tree.lstat(path) if path else os.fstat(host.tree.root)
            if found is None or not stat.S_ISDIR(found.st_mode):
                continue
            if mtime_ns is not None and found.st_mtime_ns != mtime_ns:
                host.set_mtime(path, mtime_ns)
            if mode >= 0 and path and stat.S_IMODE(found.st_mode) != mode:
                host.set_mode(path, mode)
            host.step("restored")
        except (OSError, ConflictError):
            continue  # the directory belongs to the host; its times and bits are not worth failing for
