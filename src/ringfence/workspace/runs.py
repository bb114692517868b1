"""The directories of runs: find, read, lock, discard and expire them."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from enum import Enum

import msgspec

from ringfence.model.errors import HostError, UsageError
from ringfence.model.paths import HostPath

from .journal import Identity, Journal, ends_finished
from .layout import JOURNAL, LOCK, METADATA, UNDO, UPPER, WORK, write_metadata
from .removal import remove_tree

KEPT_UNDO = 20  # runs per workspace that are kept: applied ones with the way back, rolled back ones to apply again
_APPLY_LOCK = ".apply-lock"


class State(Enum):
    """How far a run has come."""

    RUNNING = "running"
    ENDED = "ended"
    APPLIED = "applied"
    DISCARDED = "discarded"
    ROLLED_BACK = "rolled-back"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run as it lies on disk. `argv0` is the program only: arguments may carry secrets.

    A run may have further layers, over git directories that lie outside of its workspace; `over` gives the value that
    stands for one of them, with that directory as its `workspace`. `of`: the run of which this is a snapshot, if it is.
    """

    run: str
    directory: HostPath
    workspace: HostPath
    argv0: str
    state: State
    start_ns: int
    layer: int = 0
    of: str = ""

    def place(self, name: str) -> HostPath:
        """Give the path of `name` in the run's directory, for the layer this value stands for."""
        return HostPath(f"{self.directory}/{name}" + (f".{self.layer}" if self.layer else ""))

    @property
    def upper(self) -> HostPath:
        """The overlay's upper layer."""
        return self.place(UPPER)

    @property
    def undo(self) -> HostPath:
        """Where replaced and removed host content is kept."""
        return self.place(UNDO)

    @property
    def journal(self) -> HostPath:
        """The record of what apply did to the host."""
        return self.place(JOURNAL)


def load(directory: HostPath) -> Run:
    """Read the run in `directory`; raise `UsageError` where there is none."""
    name = os.path.basename(directory)
    try:
        with open(f"{directory}/{METADATA}", encoding="ascii") as file:
            fields = json.load(file)
        return Run(
            run=name,
            directory=directory,
            workspace=HostPath(fields["workspace"]),
            argv0=fields["argv0"],
            state=State(fields["state"]),
            start_ns=int(fields["start_ns"]),
            of=fields.get("of", ""),
        )
    except FileNotFoundError:
        raise UsageError(f"no run `{name}`", hint="`ringfence runs` lists them") from None
    except (ValueError, KeyError, TypeError):
        raise HostError(f"the record of run `{name}` cannot be read", place=f"{directory}/{METADATA}") from None


def over(run: Run, layer: int, directory: HostPath) -> Run:
    """Give the value that stands for the further layer number `layer` (from 1), which lies over `directory`."""
    return msgspec.structs.replace(run, layer=layer, workspace=directory)


def list_runs(runs: HostPath) -> list[Run]:
    """List every readable run, oldest first."""
    try:
        names = sorted(os.listdir(runs))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        if os.path.exists(f"{runs}/{name}/{METADATA}"):
            with contextlib.suppress(HostError, UsageError):
                found.append(load(HostPath(f"{runs}/{name}")))
    return sorted(found, key=lambda run: run.start_ns)  # names of one second do not tell which was first


def set_state(run: Run, state: State) -> Run:
    """Record how far the run has come, and give the new value; a further layer says nothing about the run."""
    if not run.layer:
        write_metadata(run.directory, run.workspace, run.argv0, state=state.value, start_ns=run.start_ns, of=run.of)
    return msgspec.structs.replace(run, state=state)


def is_live(run: Run) -> bool:
    """Tell whether someone holds the run's lock: its processes, or an apply that is under way."""
    try:
        with lock(run, tries=1):
            return False
    except HostError:
        return True


@contextlib.contextmanager
def lock(run: Run, *, tries: int = 50) -> Iterator[None]:
    """Hold the run's lock; raise `HostError` while the run is alive or being applied.

    Other runs take every lock for a moment to see who is alive, so one refusal in `tries`, 10 ms apart, means nothing.
    """
    fd = os.open(f"{run.directory}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for left in reversed(range(tries)):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    hint = "wait until its command has ended"
                    raise HostError(f"run `{run.run}` is still going on", hint=hint) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def exclusive(run: Run) -> Iterator[None]:
    """Hold the run's lock and wait for the turn to change the host."""
    with lock(run), turn(run):
        yield


@contextlib.contextmanager
def turn(run: Run) -> Iterator[None]:
    """Wait for the turn to change the host: applies are serialised over all runs."""
    path = f"{os.path.dirname(run.directory)}/{_APPLY_LOCK}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def discard(run: Run) -> Run:
    """Throw away what the run wrote. What was applied stays, and so does the way back from it.

    Raise `HostError` while the run is alive, or after an apply of it was interrupted.
    """
    with lock(run):
        if interrupted(run):
            hint = "finish the apply, or roll it back"
            raise HostError(f"an apply of run `{run.run}` was interrupted", hint=hint)
        for name in os.listdir(run.directory):
            if name.split(".")[0] in (UPPER, WORK):
                remove_tree(f"{run.directory}/{name}")
        if run.state not in (State.RUNNING, State.ENDED):
            return run
        # With a journal the host got something while the run was going on: the way back from that stays.
        return set_state(run, State.APPLIED if os.path.lexists(run.journal) else State.DISCARDED)


def interrupted(run: Run) -> bool:
    """Tell whether an apply or a rollback of the run began and did not end."""
    for name in os.listdir(run.directory):
        if name.split(".")[0] == JOURNAL:
            if not ends_finished(HostPath(f"{run.directory}/{name}")):
                return True
    return False


def restored(run: Run) -> dict[str, list[tuple[Identity, int]]]:
    """What rollbacks of other runs put back in this run's workspace, by path: the version, and since when it was there.

    A journal that cannot be read says nothing, so that a file counts as changed.
    """
    found: dict[str, list[tuple[Identity, int]]] = {}
    for other in list_runs(HostPath(os.path.dirname(run.directory))):
        if other.workspace != run.workspace or run.layer or not os.path.lexists(other.journal):
            continue
        with contextlib.suppress(HostError, OSError), Journal(other.journal, look=True) as journal:
            for entry in journal.entries:
                if entry.status == "undone" and entry.old is not None:
                    found.setdefault(entry.change.path, []).append((entry.old, entry.old_ctime_ns))
    return found


def delete(run: Run) -> None:
    """Remove everything there is of a run; raise `HostError` while it is alive."""
    with lock(run):
        remove_tree(run.directory)


def expire(runs: HostPath, *, keep: int = KEPT_UNDO) -> list[str]:
    """Remove finished runs but the latest `keep` applied or rolled back ones of each workspace; give the names removed.

    Snapshots stay until they are discarded.
    """
    kept: dict[str, int] = {}
    removed = []
    for run in reversed(list_runs(runs)):
        if run.state in (State.RUNNING, State.ENDED) or (run.of and os.path.isdir(run.upper)):
            continue
        if run.state in (State.APPLIED, State.ROLLED_BACK):
            kept[run.workspace] = kept.get(run.workspace, 0) + 1
            if kept[run.workspace] <= keep:
                continue
        if interrupted(run):
            continue
        with contextlib.suppress(HostError):
            delete(run)
            removed.append(run.run)
    return removed
