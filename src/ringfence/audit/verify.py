"""Verify an audit directory: the chain through all its files, the head, and who may touch them."""

import os
import stat

import msgspec

from .chain import GENESIS, Link
from .check import Checker, Gap, Problem, ProblemKind
from .files import CURRENT, HEAD, rotated_range
from .snapshot import Snapshot, take_snapshot


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify` found. `last` is what to note elsewhere as an anchor for the next time."""

    records: int
    files: int
    last: Link
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nobody has tampered with the audit; a torn record is a warning only."""
        return all(problem.warning for problem in self.problems)


def verify(directory: str, anchor: Link | None = None) -> Report:
    """Check every record of the audit in `directory` against its neighbours, the head, and the `anchor`.

    `anchor` is the `last` of an earlier report, kept where nobody who can write to the directory can change it.
    A directory that does not exist holds no records. Raises `SandboxError` if the lock is not to be had, and
    `OSError` if a file cannot be read.
    """
    try:
        snapshot = take_snapshot(directory)
    except FileNotFoundError:
        problems = [] if anchor is None or anchor == GENESIS else [_removed(anchor, "anchor")]
        return Report(records=0, files=0, last=GENESIS, problems=tuple(problems))
    try:
        return _judge(snapshot, anchor)
    finally:
        snapshot.close()


def _judge(snapshot: Snapshot, anchor: Link | None) -> Report:
    marks = [(name, link) for name, link in (("head", snapshot.head), ("anchor", anchor)) if link]
    foreign = _find_foreign(snapshot)
    checker = Checker(frozenset(link[0] for _, link in marks))
    for file, number, line in snapshot.lines():
        checker.feed(file, number, line)
    noted = max((link[0] for _, link in marks), default=0)
    missing = checker.finish(noted=noted, open_end=snapshot.open_end)
    problems = foreign + checker.problems + [_judge_gap(gap, snapshot.rotated) for gap in checker.gaps if gap.missing]
    has_content = bool(snapshot.rotated or snapshot.current_bytes)
    if snapshot.head is None and has_content:
        message = "cannot be read" if HEAD in snapshot.names else "is gone"
        problems.append(Problem(kind=ProblemKind.MISSING_FILE, file=HEAD, line=0, message=message))
    problems += [problem for name, link in marks if (problem := _judge_mark(name, link, checker, missing))]
    return Report(
        records=checker.records,
        files=len(snapshot.rotated) + (snapshot.current is not None),
        last=checker.last,
        problems=tuple(problems),
    )


def _judge_mark(name: str, link: Link, checker: Checker, missing: int) -> Problem | None:
    """Compare the chain with a `link` noted elsewhere; `missing` records at its end are not accounted for."""
    sequence, hash_ = link
    if sequence > checker.last[0]:
        return _removed(link, name, ends_at=checker.last[0]) if missing else None
    found = GENESIS[1] if sequence == 0 else checker.seen.get(sequence, hash_)  # not seen: dropped, and reported so
    if found == hash_:
        return None
    message = f"record {sequence} is not the one that the {name} notes: the chain was rewritten"
    return Problem(kind=ProblemKind.EDITED, file=CURRENT, line=0, message=message)


def _removed(link: Link, name: str, ends_at: int = 0) -> Problem:
    message = f"the {name} notes record {link[0]}, but the audit ends at {ends_at}"
    return Problem(kind=ProblemKind.TRUNCATED, file=CURRENT, line=0, message=message)


def _judge_gap(gap: Gap, rotated: tuple[str, ...]) -> Problem:
    """Tell records dropped from a file that is there from a file that is gone."""
    kind, file = ProblemKind.DROPPED, gap.file
    if gap.rotation:
        kind = ProblemKind.MISSING_FILE
        for name in rotated:
            first, last = rotated_range(name) or (0, 0)
            if first <= gap.last and gap.first <= last:
                kind, file = (ProblemKind.TRUNCATED if last == gap.last else ProblemKind.DROPPED), name
    span = f"record {gap.first}" if gap.first == gap.last else f"records {gap.first} to {gap.last}"
    amount = "" if gap.missing == gap.last - gap.first + 1 else f"{gap.missing} of "
    message = f"{amount}{span} should stand before {gap.file}:{gap.line}"
    return Problem(kind=kind, file=file, line=gap.line if file == gap.file else 0, message=message)


def _find_foreign(snapshot: Snapshot) -> list[Problem]:
    """Find what ringfence did not put there, or would refuse to write through."""
    owner = os.fstat(snapshot.directory)
    problems = []
    if stat.S_IMODE(owner.st_mode) & 0o077:
        problems.append(_foreign(".", f"is open to other users (mode `{stat.S_IMODE(owner.st_mode):04o}`)"))
    for name in snapshot.names:
        try:
            found = os.stat(name, dir_fd=snapshot.directory, follow_symlinks=False)
        except FileNotFoundError:
            continue  # rotated since
        if name not in (CURRENT, HEAD) and rotated_range(name) is None:
            problems.append(_foreign(name, "ringfence did not put it here"))
        elif not stat.S_ISREG(found.st_mode):
            problems.append(_foreign(name, "is not a regular file"))
        elif found.st_uid != owner.st_uid:
            problems.append(_foreign(name, f"belongs to uid `{found.st_uid}`, not to the directory's owner"))
        elif stat.S_IMODE(found.st_mode) & 0o077:
            problems.append(_foreign(name, f"is open to other users (mode `{stat.S_IMODE(found.st_mode):04o}`)"))
    return problems


def _foreign(file: str, message: str) -> Problem:
    return Problem(kind=ProblemKind.FOREIGN, file=file, line=0, message=message)
