"""What happens to a run's changes after it has ended: look, apply, discard, roll back. Shared by command line and SDK.

Each operation that touches the host, or what a run left, is recorded in the audit as an event of that run.
"""

import os
from collections.abc import Callable, Iterator, Sequence

import msgspec

from ringfence.model.errors import HostError, UsageError
from ringfence.model.paths import HostPath
from ringfence.workspace import rollback, runs
from ringfence.workspace import snapshot as copies
from ringfence.workspace.apply import apply, resume
from ringfence.workspace.change import ChangeKind, Outcome, Result, Reviewed
from ringfence.workspace.runs import Run, State
from ringfence.workspace.text import Difference, differences

from . import applying, places, progress
from .options import Options
from .wiring import TERMS, Kept, Recorder


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Under which policy a run took place, as far as its changes are concerned; `wiring.remember` writes it."""

    lowers: tuple[str, ...]
    deny_write: tuple[tuple[str, bool], ...]
    max_bytes: int
    audit: tuple[str, int]
    interpreters: tuple[tuple[str, bool], ...] = ()


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of a run, the workspace's or that of a git directory outside of it, with its changes and verdicts."""

    run: Run
    reviewed: tuple[Reviewed, ...]


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
        interpreters=tuple(found.interpreters),
    )


def list_runs(workspace: str = "") -> list[Run]:
    """Every run that is kept, oldest first; only those of `workspace` if it is given."""
    found = runs.list_runs(HostPath(places.runs()))
    return [run for run in found if workspace in ("", run.workspace)]


def find(name: str, workspace: str) -> Run:
    """The run whose identifier begins with `name`, or the latest of `workspace`; raise UsageError unless it is one.

    A snapshot is found by its whole name only.
    """
    if not name:
        latest = [run for run in list_runs(workspace) if os.path.isdir(run.upper) and not run.of]
        if not latest:
            hint = "`ringfence runs --all` lists those of other workspaces"
            raise UsageError(f"no run of `{workspace}` has left changes", hint=hint)
        return latest[-1]
    found = [run for run in list_runs() if is_called(run, name)]
    if not found:
        raise UsageError(f"no run `{name}`", hint="`ringfence runs --all` lists them")
    if len(found) > 1 and found[0].run != name:
        raise UsageError(f"`{name}` fits {len(found)} runs", hint=", ".join(run.run for run in found[:5]))
    return found[0]


def is_called(run: Run, word: str) -> bool:
    """Whether `word` means `run`."""
    return run.run == word or (run.run.startswith(word) and not run.of)


def has_changes(run: Run) -> bool:
    """Whether the run, or the copy that it is, still has what it wrote."""
    return os.path.isdir(run.upper)


def layers(run: Run, release: frozenset[str] = frozenset()) -> list[Layer]:
    """The run's changes as they would be applied now, with the verdict on each; raise UsageError if there are none."""
    if not os.path.isdir(run.upper):
        raise UsageError(f"run `{run.run}` was discarded: nothing of it is left", hint="`ringfence runs` lists others")
    kept = terms(run)
    rules, known = list(kept.deny_write), kept.interpreters
    with progress.shown("looking at what was changed"):
        return [
            Layer(
                run=layer,
                reviewed=tuple(applying.reviewed(layer, rules, max_bytes=kept.max_bytes, release=release, known=known)),
            )
            for layer in applying.layers(run, list(kept.lowers))
            if os.path.isdir(layer.upper)
        ]


def difference(layer: Layer) -> Iterator[Difference]:
    """A layer's changes as text, in order."""
    changed = [item.change for item in layer.reviewed]
    return differences(changed, upper=layer.run.upper, lower=layer.run.workspace)


def apply_changes(
    run: Run,
    *,
    paths: Sequence[str] = (),
    held: Sequence[str] = (),
    overwrite: Sequence[str] = (),
    chosen: frozenset[str] | None = None,
) -> list[Result]:
    """Apply what may be applied, or of that only `paths` and what is below them; `held` lets through by name.

    `overwrite` names paths whose later version on the host gives way; a rollback brings it back. `chosen`, if given, is
    each path that is wanted, in any layer.

    Paths are relative to the workspace. An apply that was killed is finished first. Raises UsageError for a path that
    the run did not change or that cannot be let through, HostError while the run is alive.
    """
    if runs.is_live(run):
        raise HostError(f"run `{run.run}` is still going on", hint="wait until its command has ended")
    with _Recording(run) as record:
        results = finish_interrupted(run)
        found = layers(run, with_parents(held))
        check_named(found[0], (*paths, *overwrite), held)
        for layer in found:
            wanted = [item for item in layer.reviewed if not paths or layer.run.layer or is_chosen(item, paths)]
            wanted = wanted if chosen is None else with_way(wanted, chosen)
            if wanted:
                named = frozenset() if layer.run.layer else frozenset(overwrite)
                with progress.shown(f"applying {len(wanted)} changes"):
                    results += apply(layer.run, wanted, overwrite=named)
        record("", results, (*held, *overwrite))
    return results


def finish_interrupted(run: Run) -> list[Result]:
    """Finish an apply of the run that was killed."""
    if not runs.interrupted(run):
        return []
    found = applying.layers(run, list(terms(run).lowers))
    return [result for layer in found if os.path.lexists(layer.journal) for result in resume(layer)]


def check_named(layer: Layer, paths: Sequence[str], held: Sequence[str]) -> None:
    """Raise UsageError for a name that means nothing here."""
    left = "`ringfence diff --stat` lists what is left"
    for path in paths:
        if not any(is_chosen(item, [path]) for item in layer.reviewed):
            raise UsageError(f"run `{layer.run.run}` did not change `{path}`", hint=left)
    for path in held:
        item = next((item for item in layer.reviewed if item.change.path == path), None)
        if item is None:
            below = [item.change.path for item in layer.reviewed if item.code and is_chosen(item, [path])]
            hint = f"name each file by itself, as `--held {below[-1]}`" if below else left
            raise UsageError(f"run `{layer.run.run}` did not change `{path}`", hint=hint)
        if not item.allowed:
            raise UsageError(f"`{path}` cannot be let through: {item.sentence}", hint="copy it by hand if you must")


def with_parents(paths: Sequence[str]) -> frozenset[str]:
    """`paths` and the directories they are in, which may be held for the sake of what is in them."""
    return frozenset(path[:end] for path in paths for end in (*_slashes(path), len(path)))


def _slashes(path: str) -> Iterator[int]:
    return (at for at, character in enumerate(path) if character == "/")


def with_way(items: Sequence[Reviewed], chosen: frozenset[str]) -> list[Reviewed]:
    """Those of `items` that are chosen, and the new directories that these are in."""
    above = with_parents(tuple(chosen)) - chosen
    way = (ChangeKind.CREATE, ChangeKind.REPLACE)
    return [
        item for item in items if item.change.path in chosen or (item.change.path in above and item.change.kind in way)
    ]


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
    if found.of and found.state is not State.APPLIED:
        runs.delete(found)  # nobody looks for what became of a copy; its name is free again
    return found


def snapshot(run: Run, name: str = "") -> Run:
    """Keep what `run` has changed by now, alive or not, as `name`.

    Raises UsageError where nothing of it is left, or `name` is taken or none; HostError where there is no room.
    """
    if not os.path.isdir(run.upper):
        raise UsageError(f"run `{run.run}` was discarded: nothing of it is left", hint="`ringfence runs` lists others")
    kept = terms(run)
    try:
        with progress.shown("copying what was changed"):
            made = copies.snapshot(run, name)
    except OSError as error:
        raise HostError(f"the snapshot cannot be made: {error.strerror}", place=run.directory) from error
    with open(f"{made.directory}/{TERMS}", "xb") as file:
        file.write(msgspec.json.encode(kept))
    with _Recording(run) as record:
        record("snapshot", [], [])
    return made


def roll_back(run: Run) -> list[Result]:
    """Take back everything the run's applies did; raise UsageError if there was none."""
    found = [layer for layer in applying.layers(run, list(terms(run).lowers)) if os.path.lexists(layer.journal)]
    if not found or run.state is State.ROLLED_BACK:
        raise UsageError(f"nothing of run `{run.run}` has been applied", hint="`ringfence runs` shows each run's state")
    with _Recording(run) as record, progress.shown("taking back what was applied"):
        results = [result for layer in reversed(found) for result in rollback.rollback(layer)]
        record("rolled-back", results, [])
    return results


class _Recording:
    """The audit for the length of one operation, under the terms of its run."""

    def __init__(self, run: Run) -> None:
        self.recorder = Recorder(run.run, terms(run).audit, Kept())

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
