"""Put the host back as it was before a run was applied, or before an apply that was killed.

Rules: entries are undone in the reverse of their order. A path that the host changed after the apply is a conflict and
is left alone; the run then stays `applied`, so that the rest can be tried again. Undoing an entry twice does no harm,
which is what makes a killed rollback safe to repeat.

Git's objects stay where git was used on the host after the apply: a branch, a commit or the index may need them by now,
and to nobody else they do any harm until `git gc` removes them.
"""

import stat

from . import gitstate
from .beneath import lstat_at
from .change import ChangeKind, FileType, Outcome, Result
from .host import Host, Step, explained, no_step, open_host
from .journal import Entry, Identity
from .moves import ConflictError, exchange, place_new, remove, remove_directory
from .recovery import final_mode, restore_directories, settle
from .runs import Run, State, exclusive, set_state


def rollback(run: Run, *, step: Step = no_step) -> list[Result]:
    """Undo everything `run` applied; give one result per path, sorted by path.

    Raise `HostError` while the run is alive, or where the workspace or the journal cannot be used.
    """
    with exclusive(run), open_host(run, step) as host:
        settle(host)
        if host.journal.unwinding is None:
            host.journal.unwind(_untouched_since(host), keep=_objects_in_use(host))
        step("unwind")
        results: dict[str, Result] = {}
        for entry in reversed(host.journal.entries):
            if entry.status == "done" and not _is_below(entry.change.path, host.journal.kept):
                results[entry.change.path] = _undo_guarded(host, entry)
        _restore_directories(host)
        host.journal.finish()
        if all(result.outcome is Outcome.APPLIED for result in results.values()):
            set_state(run, State.ROLLED_BACK)
    return sorted(results.values(), key=lambda result: result.path.split("/"))


def _is_below(path: str, directory: str) -> bool:
    return bool(directory) and f"{path}/".startswith(f"{directory}/")


def _objects_in_use(host: Host) -> str:
    """Give git's object directory if git was used on the host after the apply; else nothing."""
    place = gitstate.objects(host)
    unused = host.journal.git != "" and gitstate.fingerprint(host) == host.journal.git
    return "" if unused else place


def _untouched_since(host: Host) -> list[str]:
    """List the directories in which nobody but us made or removed anything, as far as their mtime tells."""
    left = host.journal.left
    untouched = []
    for path in host.journal.touched:
        found = host.tree.lstat(path) if path else lstat_at(host.tree.root, ".")
        if found is None or left.get(path, found.st_mtime_ns) == found.st_mtime_ns:
            untouched.append(path)
    return untouched


def _undo_guarded(host: Host, entry: Entry) -> Result:
    path = entry.change.path
    try:
        with host.parent(path) as (directory, name):
            _undo(host, entry, directory, name)
        host.journal.undone(entry)
        host.step("undone")
    except ConflictError as error:
        return Result(path=path, outcome=Outcome.CONFLICT, reason=str(error))
    except OSError as error:
        return Result(path=path, outcome=Outcome.FAILED, reason=explained(error))
    return Result(path=path, outcome=Outcome.APPLIED)


def _undo(host: Host, entry: Entry, directory: int, name: str) -> None:
    _repair(host, entry, directory, name)
    found = Identity.of(lstat_at(directory, name))
    if entry.over is not None and _is_new(entry, found):
        host.forget(entry)  # a kill may have left what was ours there
    elif entry.change.kind is ChangeKind.MODE:
        _undo_mode(host, entry, found)
    elif not _is_new(entry, found) and not _is_ours_again(host, entry, found):
        if not _is_old(entry, found):
            raise ConflictError("it was changed on the host after the apply")
        remove(directory, host.temporary(entry))
        host.forget(entry)
    elif entry.old is None and found is not None:
        _take_new_away(host, entry, directory, name)
    elif entry.old is not None:
        _put_old_back(host, entry, directory, name)


def _repair(host: Host, entry: Entry, directory: int, name: str) -> None:
    """Complete what a kill left between the two renames that stand for an exchange."""
    aside = host.aside(entry)
    if lstat_at(directory, aside) is None:
        return
    if lstat_at(directory, name) is None:
        place_new(directory, aside, name)
    else:
        remove(directory, aside)


def _is_new(entry: Entry, found: Identity | None) -> bool:
    """Tell whether the host still has what the apply left there."""
    return found is None if entry.new is None else entry.new.same(found)


def _is_ours_again(host: Host, entry: Entry, found: Identity | None) -> bool:
    """Tell whether this is a directory that the apply made and later removed, and that we have just made again.

    It has another inode than the first time; only an empty one is removed.
    """
    if found is None or not found.is_directory or entry.change.type is not FileType.DIRECTORY:
        return False
    again = (other for other in host.journal.entries if other.change.path == entry.change.path)
    return any(other.status == "undone" and other.old is not None and other.old.is_directory for other in again)


def _is_old(entry: Entry, found: Identity | None) -> bool:
    """Tell whether an earlier attempt has already put the old thing back."""
    if entry.old is None or found is None:
        return entry.old is None and found is None
    if entry.old.is_directory:
        return found.is_directory
    return entry.old.same_version(found)


def _undo_mode(host: Host, entry: Entry, found: Identity | None) -> None:
    if found is None or entry.old is None or stat.S_IFMT(found.mode) != stat.S_IFMT(entry.old.mode):
        raise ConflictError("it was changed on the host after the apply")
    old, now = stat.S_IMODE(entry.old.mode), stat.S_IMODE(found.mode)
    opened = stat.S_IRWXU if found.is_directory else 0
    if now | opened not in (final_mode(entry) | opened, old | opened):
        raise ConflictError("its mode was changed on the host after the apply")
    if now != old:
        host.set_mode(entry.change.path, old)
        host.step("mode")


def _take_new_away(host: Host, entry: Entry, directory: int, name: str) -> None:
    if entry.change.type is FileType.DIRECTORY:
        remove_directory(directory, name)
        host.step("removed")
        return
    temporary = host.temporary(entry)
    remove(directory, temporary)
    place_new(directory, name, temporary)
    host.step("removed")
    if entry.new is None or not entry.new.same(Identity.of(lstat_at(directory, temporary))):
        place_new(directory, temporary, name)
        raise ConflictError("it was changed on the host a moment ago")
    remove(directory, temporary)


def _put_old_back(host: Host, entry: Entry, directory: int, name: str) -> None:
    old, temporary = entry.old, host.temporary(entry)
    if old is not None and old.is_directory:
        remove(directory, temporary)
        host.make_directory(entry, directory, temporary)
        host.step("made")
    else:
        host.bring_back(entry, directory)
    if entry.new is None:
        place_new(directory, temporary, name)
        host.step("placed")
        return
    left = exchange(directory, temporary, name, host.aside(entry))
    host.step("placed")
    try:
        if not entry.new.same(Identity.of(lstat_at(directory, left))):
            raise ConflictError("it was changed on the host a moment ago")
        remove(directory, left)  # a directory only if nobody put anything into it
    except ConflictError:
        host.put_back(entry, directory, name, left)
        if old is not None and old.is_directory:
            remove(directory, temporary)
        else:
            host.keep(entry, directory, temporary)
        raise
    host.step("removed")


def _restore_directories(host: Host) -> None:
    """Give back the modes and, where nobody else made or removed anything, the modification times of directories."""
    journal = host.journal
    untouched = journal.unwinding if journal.unwinding is not None else frozenset(journal.touched)
    modes = dict(journal.opened)
    times = {path: mtime_ns for path, mtime_ns in journal.touched.items() if path in untouched}
    for entry in journal.entries:
        if entry.status == "undone" and entry.old is not None and entry.old.is_directory:
            modes.setdefault(entry.change.path, stat.S_IMODE(entry.old.mode))  # unless it was opened up before
            if entry.change.kind is not ChangeKind.MODE:
                times.setdefault(entry.change.path, entry.old.mtime_ns)
        elif entry.status == "done" and entry.change.type is FileType.DIRECTORY:
            modes.pop(entry.change.path, None)  # a conflict: it keeps what the apply gave it
    restore_directories(host, {path: (modes.get(path, -1), times.get(path)) for path in modes | times})
