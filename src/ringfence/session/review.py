"""What a `Sandbox` offers for its runs' changes: look at them, apply them, throw them away, take an apply back.

One call concerns one run: the one named, else the latest of this sandbox that left changes.
"""

from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from ringfence.model.errors import UsageError
from ringfence.workspace.change import Outcome, Result
from ringfence.workspace.runs import Run

from . import changes as store
from .run import Run as Carried

REMEMBERED = 1000  # runs of one sandbox, of which most leave nothing


class FileChange(msgspec.Struct, frozen=True, kw_only=True):
    """One path that a run changed and the workspace does not have yet.

    `kind` is `create`, `modify`, `replace`, `mode`, `delete` or `unreadable`; `type` is `file`, `directory`, `symlink`,
    `fifo`, `socket` or `device`. `held` is the code of what holds it back, empty if nothing does, `reason` the sentence
    for it; `releasable` says whether `apply(held=[path])` lets it through. `text` is the difference as `diff` shows it.
    """

    path: str
    kind: str
    type: str
    size: int = 0
    held: str = ""
    reason: str = ""
    releasable: bool = False
    text: str = ""


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an apply or a rollback: paths done, and (path, reason) of those left alone."""

    run: str
    done: tuple[str, ...] = ()
    left: tuple[tuple[str, str], ...] = ()


class Reviewing:
    """The part of `Sandbox` that deals with changes."""

    def __init__(self) -> None:
        self._started: deque[Carried] = deque(maxlen=REMEMBERED)

    def _run(self, name: str) -> Run:
        if name:
            return store.find(name, "")
        kept = {run.run: run for run in store.list_runs()}
        named = [carried.identifier for carried in self._started]
        found = [kept[run] for run in named if run in kept and store.has_changes(kept[run])]
        if not found:
            raise UsageError("no run of this sandbox has left changes", hint='`Sandbox(apply="ask")` keeps them')
        return found[-1]

    def changes(self, run: str = "") -> tuple[FileChange, ...]:
        """What the run changed that the workspace does not have; raise UsageError if there is no such run."""
        found = []
        for layer in store.layers(self._run(run)):
            for text, item in zip(store.difference(layer), layer.reviewed, strict=True):
                change = FileChange(
                    path=item.change.path,
                    kind=item.change.kind.value,
                    type=item.change.type.value,
                    size=item.change.size,
                    held=item.code,
                    reason=item.sentence,
                    releasable=item.releasable,
                    text="\n".join(text.lines),
                )
                found.append(change)
        return tuple(found)

    def apply(
        self,
        run: str = "",
        *,
        filter: Callable[[FileChange], bool] | None = None,  # noqa: A002 - the word for it
        held: Sequence[str] = (),
        overwrite: Sequence[str] = (),
    ) -> Applied:
        """Bring the run's changes into the workspace, or of those that may be applied only the ones `filter` takes.

        `held` lets through by name what is held back; `overwrite` names paths whose later version on the host gives
        way. Directories that a chosen file needs come along.
        """
        found = self._run(run)
        paths = None if filter is None else [change.path for change in self.changes(found.run) if filter(change)]
        if paths == []:
            return Applied(run=found.run)
        chosen = None if paths is None else frozenset(paths)
        return outcome(found, store.apply_changes(found, held=held, overwrite=overwrite, chosen=chosen))

    def discard(self, run: str = "") -> None:
        """Throw the run's changes away; what was applied stays."""
        store.discard(self._run(run))

    def rollback(self, run: str = "") -> Applied:
        """Put the workspace back as it was before the run was applied."""
        found = self._run(run)
        return outcome(found, store.roll_back(found))

    def snapshot(self, name: str = "", *, run: str = "") -> str:
        """Keep what the run has changed by now, be it still going on; give the name to use as `run` elsewhere."""
        return store.snapshot(self._run(run), name).run


def outcome(run: Run, results: Sequence[Result]) -> Applied:
    """Results as the caller sees them."""
    done = tuple(result.path for result in results if result.outcome is Outcome.APPLIED)
    left = tuple((result.path, result.reason) for result in results if result.outcome is not Outcome.APPLIED)
    return Applied(run=run.run, done=done, left=left)
