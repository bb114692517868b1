"""What happens to a run's changes after it has ended: look, apply, discard, roll back. Shared by command line and SDK.

Each operation that touches the host, or what a run left, is recorded in the audit as an event of that run.
"""

import os
from collections.abc import Callable, Iterator, Sequence

import msgspec

from ringfence.model.errors import HostError, UsageError
from ringfence.model.paths import HostPath
from ringfence.sandbox.artefact import Artefact
from ringfence.workspace import rollback, runs
from ringfence.workspace.apply import apply, resume
from ringfence.workspace.change import ChangeKind, Outcome, Result, Reviewed
from ringfence.workspace.runs import Run, State
from ringfence.workspace.text import Difference, differences

from . import applying, places
from .options import Options
from .wiring import Recorder

TERMS = "terms.json"


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Under which policy a run took place, as far as its changes are concerned; see `Artefact` for the fields."""

    lowers: tuple[str, ...]
    deny_write: tuple[tuple[str, bool], ...]
    max_bytes: int
    audit: tuple[str, int]


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of a run, the workspace's or that of a git directory outside of it, with its changes and verdicts."""

    run: Run
    reviewed: tuple[Reviewed, ...]


def remember(directory: str, artefact: Artefact) -> None:
    """Keep with the run under which terms it took place: its options are not known any more when it is applied."""
    terms = Terms(
        lowers=tuple(artefact.lowers),
        deny_write=tuple(artefact.deny_write),
        max_bytes=artefact.workspace_bytes,
        audit=artefact.audit,
    )
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(f"{directory}/{TERMS}", flags, 0o600), "wb") as file:
        file.write(msgspec.json.encode(terms))


def terms(run: Run) -> Terms:
    """The terms of `run`; where none were kept, those that policy sets for its workspace now."""
    try:
        with open(f"{run.directory}/{TERMS}", "rb") as file:
            return msgspec.json.decode(file.read(), type=Terms)
    except FileNotFoundError:
        pass
    except msgspec.DecodeError:
        raise HostError(f"the terms of run `{run.run}` cannot be read", place=f"{run.directory}/{TERMS}") from None
    from . import prepare

    prepared = prepare.prepare(Options(), [run.argv0], run.workspace, run.workspace)
    found = prepare.artefact(prepared)
    return Terms(
        lowers=tuple(found.lowers),
        deny_write=tuple(found.deny_write),
        max_bytes=found.workspace_bytes,
        audit=found.audit,
    )


def list_runs(workspace: str = "") -> list[Run]:
    """Every run that is kept, oldest first; only those of `workspace` if it is given."""
    found = runs.list_runs(HostPath(places.runs()))
    return [run for run in found if workspace in ("", run.workspace)]


def find(name: str, workspace: str) -> Run:
    """The run whose identifier begins with `name`, or the latest of `workspace`; raise UsageError unless it is one."""
    if not name:
        latest = [run for run in list_runs(workspace) if os.path.isdir(run.upper)]
        if not latest:
            hint = "`ringfence runs --all` lists those of other workspaces"
            raise UsageError(f"no run of `{workspace}` has left changes", hint=hint)
        return latest[-1]
    found = [run for run in list_runs() if run.run.startswith(name)]
    if not found:
        raise UsageError(f"no run `{name}`", hint="`ringfence runs --all` lists them")
    if len(found) > 1 and found[0].run != name:
        raise UsageError(f"`{name}` fits {len(found)} runs", hint=", ".join(run.run for run in found[:5]))
    return found[0]


def layers(run: Run, release: frozenset[str] = frozenset()) -> list[Layer]:
    """The run's changes as they would be applied now, with the verdict on each; raise UsageError if there are none."""
    if not os.path.isdir(run.upper):
        raise UsageError(f"run `{run.run}` was discarded: nothing of it is left", hint="`ringfence runs` lists others")
    kept = terms(run)
    return [
        Layer(
            run=layer,
            reviewed=tuple(applying.reviewed(layer, list(kept.deny_write), max_bytes=kept.max_bytes, release=release)),
        )
        for layer in applying.layers(run, list(kept.lowers))
        if os.path.isdir(layer.upper)
    ]


def difference(layer: Layer) -> Iterator[Difference]:
    """A layer's changes as text, in order."""
    changed = [item.change for item in layer.reviewed]
    return differences(changed, upper=layer.run.upper, lower=layer.run.workspace)


def apply_changes(run: Run, *, paths: Sequence[str] = (), held: Sequence[str] = ()) -> list[Result]:
    """Apply what may be applied, or of that only `paths` and what is below them; `held` lets through by name.

    Paths are relative to the workspace. An apply that was killed is finished first. Raises UsageError for a path that
    the run did not change or that cannot be let through, HostError while the run is alive.
    """
    if runs.is_live(run):
        raise HostError(f"run `{run.run}` is still going on", hint="wait until its command has ended")
    with _Recording(run) as record:
        results = finish_interrupted(run)
        found = layers(run, with_parents(held))
        check_named(found[0], paths, held)
        for layer in found:
            chosen = [item for item in layer.reviewed if not paths or layer.run.layer or is_chosen(item, paths)]
            if chosen:
                results += apply(layer.run, chosen)
        record("", results, held)
    return results


def finish_interrupted(run: Run) -> list[Result]:
    """Finish an apply of the run that was killed."""
    if not runs.interrupted(run):
        return []
    found = applying.layers(run, list(terms(run).lowers))
    return [result for layer in found if os.path.lexists(layer.journal) for result in resume(layer)]


def check_named(layer: Layer, paths: Sequence[str], held: Sequence[str]) -> None:
    """Raise UsageError for a name that means nothing here."""
    for path in paths:
        if not any(is_chosen(item, [path]) for item in layer.reviewed):
            raise UsageError(f"run `{layer.run.run}` did not change `{path}`", hint="`ringfence diff --stat` lists it")
    for path in held:
        item = next((item for item in layer.reviewed if item.change.path == path), None)
        if item is None:
            raise UsageError(f"run `{layer.run.run}` did not change `{path}`", hint="`ringfence diff --stat` lists it")
        if not item.allowed:
            raise UsageError(f"`{path}` cannot be let through: {item.sentence}", hint="copy it by hand if you must")


def with_parents(paths: Sequence[str]) -> frozenset[str]:
    """`paths` and the directories they are in, which may be held for the sake of what is in them."""
    return frozenset(path[:end] for path in paths for end in (*_slashes(path), len(path)))


def _slashes(path: str) -> Iterator[int]:
    return (at for at, character in enumerate(path) if character == "/")


def is_chosen(item: Reviewed, paths: Sequence[str]) -> bool:
    """Whether a change is at or below one of `paths`, or makes a directory that one of them is in."""
    path = item.change.path
    if any(path == name or path.startswith(name + "/") for name in paths):
        return True
    makes_way = item.change.kind in (ChangeKind.CREATE, ChangeKind.REPLACE)
    return makes_way and any(name.startswith(path + "/") for name in paths)


def discard(run: Run) -> Run:
    """Throw away what the run wrote; raise HostError while it is alive or half applied."""
    with _Recording(run) as record:
        found = runs.discard(run)
        record("discarded", [], [])
    return found


def roll_back(run: Run) -> list[Result]:
    """Take back everything the run's applies did; raise UsageError if there was none."""
    found = [layer for layer in applying.layers(run, list(terms(run).lowers)) if os.path.lexists(layer.journal)]
    if not found or run.state is State.ROLLED_BACK:
        raise UsageError(f"nothing of run `{run.run}` has been applied", hint="`ringfence runs` shows each run's state")
    with _Recording(run) as record:
        results = [result for layer in reversed(found) for result in rollback.rollback(layer)]
        record("rolled-back", results, [])
    return results


class _Recording:
    """The audit for the length of one operation, under the terms of its run."""

    def __init__(self, run: Run) -> None:
        self.recorder = Recorder(run.run, terms(run).audit, [], [])

    def __enter__(self) -> Callable[[str, Sequence[Result], Sequence[str]], None]:
        return self.record

    def __exit__(self, *_: object) -> None:
        self.recorder.close()

    def record(self, code: str, results: Sequence[Result], released: Sequence[str]) -> None:
        """What was done to the host, and what it kept from being done; what is held was recorded at the run's end."""
        left = [result for result in results if result.outcome is not Outcome.APPLIED]
        failed = [result for result in left if result.outcome is not Outcome.HELD]
        for result in failed[: applying.RECORDED]:
            self.recorder.report("held", result.outcome.value, {"target": result.path, "reason": result.reason})
        fields: dict[str, str | int | bool | list[str] | None] = {
            "applied": len(results) - len(left),
            "kept": len(left),
        }
        if released:
            fields["released"] = list(released)
        self.recorder.report("apply", code, fields)
