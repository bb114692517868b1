"""The end of a run on an overlay: what was written is reviewed, applied or staged, and recorded.

Only imported when something was written. The workspace package decides what may reach the host; this module
joins it with policy's own denials and with the audit.
"""

import os
from collections.abc import Callable, Iterator, Sequence

import msgspec

from ringfence.model.decision import Source
from ringfence.model.errors import RingfenceError
from ringfence.model.paths import HostPath
from ringfence.model.surfaces import SURFACES
from ringfence.policy.effective import PathRule
from ringfence.policy.patterns import compile_rule
from ringfence.sandbox.artefact import Artefact
from ringfence.workspace import filter as review
from ringfence.workspace import runs
from ringfence.workspace.apply import apply
from ringfence.workspace.change import Change, FileType, Outcome, Reviewed, file_type
from ringfence.workspace.layout import Created
from ringfence.workspace.live import corrected
from ringfence.workspace.overlay import changes
from ringfence.workspace.protected import hidden_surfaces
from ringfence.workspace.removal import remove_tree

from . import interpreters, progress
from .wiring import Ending, Recorder

RECORDED = 200  # held-back paths per run that get a record of their own; the rest is counted


def layers(run: runs.Run, lowers: list[str]) -> Iterator[runs.Run]:
    """One value for each layer, over the directory that it covers; the first is the run's own."""
    for number, lower in enumerate(lowers):
        yield runs.over(run, number, HostPath(lower))


def denied(patterns: list[tuple[str, bool]], root: str) -> Callable[[str], bool]:
    """Whether policy denies writing to a path relative to `root`."""
    compiled = [
        compile_rule(PathRule(pattern=pattern, literal=literal, source=Source(scope="default")), workspace=root)
        for pattern, literal in patterns
    ]
    return lambda path: any(pattern.matches(f"{root}/{path}") for pattern in compiled)


def existing(root: str) -> Callable[[str], FileType | None]:
    """What the host has at a path relative to `root`."""

    def look(path: str) -> FileType | None:
        try:
            return file_type(os.lstat(f"{root}/{path}").st_mode)
        except OSError:
            return None

    return look


def reviewed(
    run: runs.Run,
    patterns: list[tuple[str, bool]],
    *,
    max_bytes: int,
    release: frozenset[str] = frozenset(),
    known: Sequence[interpreters.Place] = (),
) -> list[Reviewed]:
    """Every change of one layer with its verdict; `known`: see `interpreters.places`."""
    found: list[Change] = changes(run.upper, run.workspace)
    if os.path.lexists(run.journal):
        found = corrected(found, run)
    rules = rules_of(run, patterns, max_bytes=max_bytes, release=release)()
    return review.review(found, rules=msgspec.structs.replace(rules, interpreter=interpreters.proven(known)))


def rules_of(
    run: runs.Run, patterns: list[tuple[str, bool]], *, max_bytes: int, release: frozenset[str] = frozenset()
) -> Callable[[], review.Rules]:
    """The filter's rules for one layer, gathered anew at each call: the host may change what they depend on."""
    protected = denied(patterns, run.workspace)

    def gather() -> review.Rules:
        return review.Rules(
            surfaces=(*SURFACES, *hidden_surfaces(run.workspace)),
            protected=protected,
            existing=existing(run.workspace),
            release=release,
            git_directory=run.layer > 0 and os.path.exists(f"{run.workspace}/HEAD"),
            max_bytes=max_bytes,
        )

    return gather


def finish(artefact: Artefact, created: Created, record: Recorder, mirrored: frozenset[str]) -> Ending:
    """Apply or stage what the run wrote; every process of it is dead. Nothing is lost when this fails.

    `mirrored`: paths that the host got while the run was going on.

    Raises RingfenceError where the workspace or the journal cannot be used; the run then stays for
    `ringfence apply`.
    """
    run = runs.set_state(runs.load(HostPath(created.directory)), runs.State.ENDED)
    created.release()
    ending = Ending()
    applied = set(mirrored)
    for layer in layers(run, artefact.lowers):
        with progress.shown("looking at what was changed"):
            limit, known = artefact.workspace_bytes, artefact.interpreters
            verdicts = reviewed(layer, artefact.deny_write, max_bytes=limit, known=known)
        report_held(verdicts, record, ending)
        if artefact.workspace[2] == "ask":
            ending.pending = ending.pending or any(item.allowed for item in verdicts)
            continue
        with progress.shown(f"applying {len(verdicts)} changes"):
            results = apply(layer, verdicts)
        for result in results:
            if result.outcome is Outcome.APPLIED:
                applied.add(f"{layer.layer}/{result.path}" if layer.layer else result.path)
            elif result.outcome is not Outcome.HELD:
                ending.kept.append((result.path, f"{result.outcome.value}: {result.reason}"))
                record.report("held", result.outcome.value, {"target": result.path, "reason": result.reason})
    ending.applied = len(applied)
    if ending.applied:
        record.report("apply", "", {"applied": ending.applied, "kept": len(ending.kept)})
    if not ending.kept and not ending.pending and not ending.applied:
        remove_tree(created.directory)
    else:
        tidy(os.path.dirname(created.directory))
    return ending


def report_held(verdicts: list[Reviewed], record: Recorder, ending: Ending) -> None:
    """Record each change that is held back, with its reason."""
    for item in verdicts:
        if item.allowed:
            continue
        ending.kept.append((item.change.path, item.code))
        if len(ending.kept) <= RECORDED:
            fields = {"target": item.change.path, "reason": item.sentence, "change": item.change.kind.value}
            record.report("held", item.code, fields)


def tidy(directory: str) -> None:
    """Drop the way back of runs that are long past; a failure here is no failure of the run."""
    try:
        runs.expire(HostPath(directory))
    except (OSError, RingfenceError):
        return
