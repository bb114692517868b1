"""`ringfence runs | diff | apply | discard | rollback | snapshot`: what becomes of a run's changes."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from ringfence.model.errors import UsageError
from ringfence.session import changes, progress, tainting
from ringfence.session import options as options_module
from ringfence.session import run as session
from ringfence.workspace import runs
from ringfence.workspace.change import Outcome, Result, Reviewed
from ringfence.workspace.runs import Run
from ringfence.workspace.text import Difference, stat_lines

from . import arguments, catalogue, change_text
from . import help as help_text
from .terminal import paint, put, put_json, safe, table

_RUN = re.compile(r"\d{4}[0-9a-f-]*")
_OUTCOMES = {Outcome.APPLIED: "good", Outcome.HELD: "warn", Outcome.CONFLICT: "warn", Outcome.FAILED: "bad"}


def main(name: str, words: Sequence[str]) -> int:
    """Carry out one of the six commands in the workspace that the options name."""
    given = arguments.parse(catalogue.find(name), words)
    if given is None:
        return help_text.show([name])
    options = options_module.Options()
    options.directory = given.text("directory")
    workspace = options_module.workspace_of(session.working_directory(options))
    return ACTIONS[name](given, workspace)


def list_runs(given: arguments.Arguments, workspace: str) -> int:
    """Show the runs that are kept."""
    found = changes.list_runs("" if given.has("all") else workspace)
    if given.has("json"):
        put_json([described(run) for run in found])
    elif found:
        rows = [(run.run, state_of(run) + told(run), run.argv0, run.workspace) for run in found]
        put(*table(rows, indent=0, styles=("name",)))
    else:
        put(f"no run of {safe(workspace)} has left changes")
    return 0


def state_of(run: Run) -> str:
    """How far a run has come, in a word; a run that nobody holds any more has ended, however that happened."""
    if run.state is runs.State.RUNNING and not runs.is_live(run):
        return "interrupted"
    return "snapshot" if run.of and run.state is runs.State.ENDED else run.state.value


def told(run: Run) -> str:
    """That a run has reached for a secret."""
    return ", tainted" if tainting.mark_of(run.directory) else ""


def described(run: Run) -> dict[str, Any]:
    """A run as JSON shows it."""
    started = datetime.fromtimestamp(run.start_ns / 1e9, UTC).isoformat(timespec="seconds")
    return {
        "run": run.run,
        "state": state_of(run),
        "started": started,
        "command": run.argv0,
        "workspace": run.workspace,
        "of": run.of,
        "tainted": tainting.mark_of(run.directory),
    }


def show_difference(given: arguments.Arguments, workspace: str) -> int:
    """Show what a run changed that the host does not have, and what of it is held back."""
    run = changes.find(given.words[0] if given.words else "", workspace)
    found = changes.layers(run)
    differences: list[Difference] = []
    total = sum(len(layer.reviewed) for layer in found)
    with progress.shown("comparing", lambda: f"{len(differences)} of {total} paths,"):
        for layer in found:
            differences.extend(changes.difference(layer))
    if given.has("json"):
        put_json({"run": run.run, "changes": [entry for layer in found for entry in described_changes(layer)]})
        return 0
    if not differences:
        put(nothing_left(run))
        return 0
    if sys.stdout.isatty():
        items = list(zip(differences, [one for layer in found for one in layer.reviewed], strict=True))
        put(*(change_text.stat(items) if given.has("stat") else change_text.whole(items)))
    else:
        put(*(stat_lines(differences) if given.has("stat") else [line for item in differences for line in item.lines]))
    put(*held_lines([item for layer in found for item in layer.reviewed if not item.allowed]))
    return 0


def nothing_left(run: Run) -> str:
    """Why there is nothing to show, which need not mean that the run changed nothing."""
    if was_applied(run):
        back = f"`ringfence rollback {run.run}` takes it back"
        return f"all that run {run.run} changed is in {safe(run.workspace)}; {back}"
    return f"run {run.run} changed nothing that {safe(run.workspace)} does not have"


def described_changes(layer: changes.Layer) -> Iterable[dict[str, Any]]:
    """A layer's changes as JSON shows them: the text, and for what is held the code and the reason."""
    for item, reviewed in zip(changes.difference(layer), layer.reviewed, strict=True):
        yield msgspec.to_builtins(item) | {
            "kind": reviewed.change.kind.value,
            "held": reviewed.code,
            "reason": reviewed.sentence,
        }


def held_lines(held: Sequence[Reviewed]) -> Iterable[str]:
    """What will not be applied by itself, and how to let it through."""
    if held:
        yield ""
    for item in held:
        final = "" if item.releasable else "; it cannot be let through"
        yield f"{paint('held', 'warn')}  {safe(item.change.path)} ({item.code}: {safe(item.sentence)}{final})"
    if any(item.releasable for item in held):
        yield "  `ringfence apply --held PATH` lets one through, once you have looked at it"


def apply_changes(given: arguments.Arguments, workspace: str) -> int:
    """Bring changes into the workspace."""
    words = list(given.words)
    name = words.pop(0) if words and is_run(words[0], workspace) else ""
    run = changes.find(name, workspace)
    paths = [relative(path, run.workspace) for path in words]
    held, overwrite = ([relative(path, run.workspace) for path in given.texts(name)] for name in ("held", "overwrite"))
    results = changes.apply_changes(run, paths=paths, held=held, overwrite=overwrite)
    return finish(given, run, results, "applied")


def is_run(word: str, workspace: str) -> bool:
    """Whether a word means a run rather than a path."""
    if any(changes.is_called(run, word) for run in changes.list_runs()):
        return True
    return _RUN.fullmatch(word) is not None and not os.path.lexists(f"{workspace}/{word}")


def relative(path: str, workspace: str) -> str:
    """A path as given, from the working directory or from the top of the workspace, relative to the workspace."""
    here = os.getcwd()
    start = here if here == workspace or here.startswith(workspace + "/") else workspace
    found = os.path.relpath(os.path.join(start, path), workspace)
    if found == "." or found.startswith("../") or found == "..":
        raise UsageError(f"`{safe(path)}` is not below the workspace `{workspace}`", hint="name paths as `diff` does")
    return found


def discard(given: arguments.Arguments, workspace: str) -> int:
    """Throw changes away."""
    run = changes.discard(changes.find(given.words[0], workspace))
    if given.has("json"):
        put_json(described(run))
    else:
        put(f"run {run.run}: what it wrote is gone" + (", what was applied stays" if was_applied(run) else ""))
    return 0


def was_applied(run: Run) -> bool:
    """Whether anything of the run reached the host."""
    return run.state is runs.State.APPLIED


def roll_back(given: arguments.Arguments, workspace: str) -> int:
    """Take an apply back."""
    run = changes.find(given.words[0], workspace)
    return finish(given, run, changes.roll_back(run), "rolled back")


def finish(given: arguments.Arguments, run: Run, results: Sequence[Result], done: str) -> int:
    """Show what became of each path; 1 if the host kept one of them from being done."""
    if given.has("json"):
        put_json({"run": run.run, "results": results})
    else:
        put(*rendered(run, results, done))
    return 1 if any(result.outcome in (Outcome.CONFLICT, Outcome.FAILED) for result in results) else 0


def rendered(run: Run, results: Sequence[Result], done: str) -> Iterable[str]:
    """Every path that was not done with its reason, and the count of the others."""
    count = sum(result.outcome is Outcome.APPLIED for result in results)
    for result in results:
        word = done if result.outcome is Outcome.APPLIED else result.outcome.value
        reason = f"  {safe(result.reason)}" if result.reason else ""
        yield f"{paint(word, _OUTCOMES[result.outcome])}  {safe(result.path)}{reason}"
    yield f"run {run.run}: {count} {'path' if count == 1 else 'paths'} {done}, {len(results) - count} left alone"


def snapshot(given: arguments.Arguments, workspace: str) -> int:
    """Keep a copy of what a run has changed by now."""
    made = changes.snapshot(changes.find(given.words[0] if given.words else "", workspace), given.text("name"))
    if given.has("json"):
        put_json(described(made))
    else:
        put(f"snapshot {made.run} of run {made.of}: `ringfence diff {made.run}` shows it")
    return 0


ACTIONS: dict[str, Callable[[arguments.Arguments, str], int]] = {
    "runs": list_runs,
    "diff": show_difference,
    "apply": apply_changes,
    "discard": discard,
    "rollback": roll_back,
    "snapshot": snapshot,
}
