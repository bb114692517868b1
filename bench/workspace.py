"""What a copy-on-write workspace costs, by the size of the tree: `python -m bench.workspace [ROUNDS] [FILES...]`.

All contenders of a size run interleaved, in random order, on one tree; differences are paired by round.
"""

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ringfence.model.paths import HostPath
from ringfence.workspace import layout, overlay, runs
from ringfence.workspace.apply import apply
from ringfence.workspace.beneath import Tree
from ringfence.workspace.filter import Rules, review
from ringfence.workspace.rollback import rollback

SIZES = (1_000, 20_000, 100_000)
SNAPSHOT_SIZE = 20_000  # the only one at which zerobox copies the tree in bearable time
SLOW_ROUNDS = 3
CHANGES = (100, 10_000)
FILES_PER_DIRECTORY = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A command line, and what has to be undone after each run; `slow` ones get fewer rounds."""

    name: str
    argv: list[str]
    after: Callable[[], None] = lambda: None
    slow: bool = False


def program() -> list[str]:
    """The installed command beside the running interpreter, or the source tree's."""
    installed = os.path.join(os.path.dirname(sys.executable), "ringfence")
    if os.access(installed, os.X_OK):
        return [installed]
    return [sys.executable, "-P", "-c", "from ringfence.cli.entry import main; main()"]


def tree(root: Path, files: int) -> None:
    """Make a repository of `files` small files in directories of 50, all of them committed."""
    for number in range(files):
        directory = root / f"d{number // 2500}" / f"s{number // FILES_PER_DIRECTORY % 50}"
        if number % FILES_PER_DIRECTORY == 0:
            directory.mkdir(parents=True)
        (directory / f"f{number}.py").write_text(f"line {number}\n" * (10 if number % 10 else 200))
    settings = ["-c", "user.name=b", "-c", "user.email=b@example.org", "-c", "gc.auto=0"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "b"]):
        subprocess.run(["git", *settings, *words], cwd=root, check=True)


def contenders(root: Path, scratch: Path, files: int) -> list[Contender]:
    """Everything that is compared on one tree."""
    copy, worktree = scratch / "copy", scratch / "worktree"
    write = "for i in $(seq 100); do echo $$ > b$i; done"

    def tidy() -> None:
        for name in list(root.glob("b*")):
            name.unlink()

    def forget_worktree() -> None:
        subprocess.run(["git", "worktree", "remove", "--force", str(worktree)], cwd=root, check=True)

    found = [
        Contender(name="direct", argv=[*program(), "run", "--workspace", "direct", "true"]),
        Contender(name="overlay", argv=[*program(), "run", "true"]),
        Contender(
            name="direct, 100 files written",
            argv=[*program(), "run", "--workspace", "direct", "sh", "-c", write],
            after=tidy,
        ),
        Contender(name="overlay, 100 files written", argv=[*program(), "run", "sh", "-c", write], after=tidy),
        Contender(
            name="cp -a",
            argv=["cp", "-a", str(root), str(copy)],
            after=lambda: shutil.rmtree(copy),
            slow=True,
        ),
        Contender(
            name="git worktree add",
            argv=["git", "worktree", "add", "-q", "--detach", str(worktree)],
            after=forget_worktree,
            slow=True,
        ),
    ]
    if shutil.which("zerobox") and files == SNAPSHOT_SIZE:
        found.append(Contender(name="zerobox --snapshot", argv=["zerobox", "--snapshot", "--", "true"], slow=True))
    return found


def elapsed_ms(contender: Contender, root: Path) -> float:
    """Wall-clock time of one run; a run that fails ends the measurement."""
    start = time.perf_counter()
    done = subprocess.run(contender.argv, cwd=root, stdin=subprocess.DEVNULL, capture_output=True)
    taken = (time.perf_counter() - start) * 1000
    if done.returncode:
        raise SystemExit(f"{contender.name} failed: {done.stderr.decode()}")
    contender.after()
    return taken


@contextmanager
def place(files: int) -> Iterator[tuple[Path, Path]]:
    """A tree of `files` files, and a scratch directory on the same file system."""
    with tempfile.TemporaryDirectory(dir=os.path.expanduser("~"), prefix="ringfence-bench-") as directory:
        root, scratch = Path(directory, "project"), Path(directory, "scratch")
        root.mkdir()
        scratch.mkdir()
        tree(root, files)
        yield root, scratch


def searching() -> list[Contender]:
    """A policy that hides a name wherever it is, which needs a search of the tree; apart, as nothing may change it."""
    return [
        Contender(name="direct", argv=[*program(), "run", "--workspace", "direct", "true"]),
        Contender(name="overlay, `.env` hidden", argv=[*program(), "run", "--deny-read", ".env", "true"]),
    ]


def measure(field: list[Contender], root: Path, rounds: int) -> dict[str, list[float]]:
    """Times by contender."""
    for contender in field:
        if not contender.slow:
            elapsed_ms(contender, root)
            elapsed_ms(contender, root)  # the first made what the second finds in caches
    times: dict[str, list[float]] = {contender.name: [] for contender in field}
    for number in range(rounds):
        entering = [contender for contender in field if not contender.slow or number < SLOW_ROUNDS]
        for contender in random.sample(entering, len(entering)):
            times[contender.name].append(elapsed_ms(contender, root))
    return times


def per_change_us(root: Path, scratch: Path, count: int) -> list[float]:
    """Microseconds per change of reading a difference, of judging it, of applying it and of taking it back."""
    created = layout.create(str(scratch / "runs"), workspace=str(root), argv0="bench")
    created.release()
    run = runs.load(HostPath(created.directory))
    upper = Path(run.upper)
    for number in range(count):
        if number % FILES_PER_DIRECTORY == 0:
            (upper / f"new{number // FILES_PER_DIRECTORY}").mkdir()
        (upper / f"new{number // FILES_PER_DIRECTORY}" / f"f{number}").write_text(f"line {number}\n" * 10)
    with Tree(run.workspace) as host:
        rules = Rules(existing=overlay.existing(host))
        review(overlay.changes(run.upper, run.workspace), rules=rules)  # the first walk finds nothing in caches
        marks = [time.perf_counter()]
        found = overlay.changes(run.upper, run.workspace)
        marks.append(time.perf_counter())
        reviewed = review(found, rules=rules)
        marks.append(time.perf_counter())
    apply(run, reviewed)
    marks.append(time.perf_counter())
    rollback(run)
    marks.append(time.perf_counter())
    shutil.rmtree(scratch / "runs")
    return [(after - before) / count * 1e6 for before, after in pairwise(marks)]


def table(times: dict[str, list[float]]) -> str:
    """Markdown: the median, and the median of the differences to the row above that does the same directly."""
    lines = ["| contender | median ms | more than `direct`, ms |", "|---|---|---|"]
    for name, found in times.items():
        base = times["direct, 100 files written" if "written" in name else "direct"]
        more = statistics.median(mine - other for mine, other in zip(found, base, strict=False))
        lines.append(f"| {name} | {statistics.median(found):.1f} | {more:+.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    who = "root" if os.getuid() == 0 else "an ordinary user"
    for files in [int(word) for word in sys.argv[2:]] or SIZES:
        with place(files) as (root, scratch):
            sys.stdout.write(f"\n{files} files, {rounds} rounds as {who}\n\n")
            sys.stdout.write(table(measure(contenders(root, scratch, files), root, rounds)) + "\n\n")
            sys.stdout.write(table(measure(searching(), root, rounds)).split("\n")[-1] + "\n\n")
            for count in CHANGES:
                read, judged, applied, undone = per_change_us(root, scratch, count)
                sys.stdout.write(
                    f"{count} changes: diff {read:.1f} us, filter {judged:.1f} us, apply {applied:.0f} us, "
                )
                sys.stdout.write(f"rollback {undone:.0f} us each\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
