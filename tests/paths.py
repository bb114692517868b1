"""On which path a suite takes `ringfence run`.

`RINGFENCE_TEST_PATH` is `cold` (where it is not set), `supervised`, `pooled` or `warm`: the same tests then see a run
that its client carries out, one of the resident supervisor's, a boundary of its pool, or a command of a session
(tests/through_session.py). scripts/paths runs the suites about security and everyday work on each; it names a file in
`RINGFENCE_TEST_NOTES`, to which each run adds which path it really took.
"""

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

TAKEN = os.environ.get("RINGFENCE_TEST_PATH", "cold")
NOTES = os.environ.get("RINGFENCE_TEST_NOTES", "")
PATIENCE_S = 60.0
BEGINNING_S = 3.0
REMOVAL_S = 20.0
NOT_ON = "on this path: "
_never_built: set[Hashable] = set()


def not_on(**reasons: str) -> "pytest.MarkDecorator":
    """Leave a test out on the paths on which it has no meaning: `@not_on(warm="a session has no ...")`.

    tests/house/test_conduct.py counts these.
    """
    import pytest  # the programs that carry runs out have no use for it

    return pytest.mark.skipif(TAKEN in reasons, reason=NOT_ON + reasons.get(TAKEN, ""))


def variables(taken: str = TAKEN) -> dict[str, str]:
    """The environment variable that chooses it."""
    return {"RINGFENCE_SUPERVISOR": "1" if taken in ("supervised", "pooled") else "0"}


def run_words(program: list[str], taken: str = TAKEN) -> list[str]:
    """The words that stand before the options of `ringfence run`; `program` are those that start ringfence."""
    if taken == "cold":
        return [*program, "run"]
    name, *more = ("through_session.py",) if taken == "warm" else ("through_resident.py", NOTES, "run")
    return [sys.executable, "-P", str(Path(__file__).with_name(name)), *more]


def make_ready(run: Callable[[], object], state: Path, taken: str = TAKEN, *, kind: Hashable = None) -> None:
    """Have a supervisor, and for `pooled` boundaries, for requests like the one that `run` makes; `state` is ours.

    Not every policy's are built ahead: where none was once, nobody waits for those of that `kind` again.
    """
    if taken in ("cold", "warm"):
        return
    run()
    if not (state / "resident").is_dir():
        return  # it was refused, and left none behind
    wait_until(lambda: server(state) > 0)
    if taken == "pooled" and kind not in _never_built:
        for _ in range(2):
            run()
        wait_until(lambda: bool(pool(state)), BEGINNING_S)
        wait_until(lambda: members(state) == 2 or not pool(state))  # however slowly they are built
        if members(state) == 0 and kind is not None:
            _never_built.add(kind)


def members(state: Path) -> int:
    """How many boundaries stand and wait: the first process of each has made that of its command."""
    return sum(bool(children(first)) for pid in pool(state) for below in children(pid) for first in children(below))


def pool(state: Path) -> list[int]:
    """The processes of which each builds a boundary, or waits with one."""
    return [pid for pid in children(server(state)) if name_of(pid) == "ringfence-pool"]


def children(pid: int) -> list[int]:
    """The children of a process's first thread."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def has_ended(pid: int) -> bool:
    """Whether a process is no more; one that only waits to be collected has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_for_end(pids: Iterable[int]) -> list[int]:
    """Wait until none of these processes is left, or patience is over; give those that are."""
    left = list(pids)
    wait_until(lambda: all(has_ended(pid) for pid in left))
    return [pid for pid in left if not has_ended(pid)]


def name_of(pid: int) -> str:
    """What a process is called where processes are listed."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def waiting(state: Path, *, built: bool = True) -> dict[tuple[int, int], Path]:
    """Boundaries with an overlay that wait (those being built, too), by what tells their run's directory for good."""
    place = state / "runs-waiting"
    found = {}
    for path in place.iterdir() if place.is_dir() else ():
        # overlayfs makes work/work when it is mounted, which is the last but a few mounts
        if path.name[0] != "." and (not built or (path / "work/work").exists()):  # a dot: about to be removed
            with suppress(FileNotFoundError):  # it has just been taken
                found[mark(path)] = path
    return found


def mark(run: Path) -> tuple[int, int]:
    """What stays with a run's directory when it is moved: an inode alone is soon that of another file."""
    lock = (run / "lock").stat()
    return lock.st_ino, lock.st_mtime_ns


def server(state: Path) -> int:
    """The process that listens there; 0 where none does."""
    for path in (state / "resident").glob("*.lock"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
            place = os.open(path.parent, os.O_PATH)
            try:
                peer.connect(f"/proc/self/fd/{place}/{path.stem}")
                return int.from_bytes(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")
            except OSError:
                continue
            finally:
                os.close(place)
    return 0


@contextmanager
def ended(state: Path) -> Iterator[None]:
    """Leave no supervisor behind."""
    try:
        yield
    finally:
        end(state)


def end(state: Path, *, may_leave: bool = False) -> None:
    """End whoever listens there, and see all go that it has forked, and what it had waiting unless that may stay."""
    while pid := server(state):
        with suppress(ProcessLookupError):  # it has just ended by itself
            handle = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(handle, signal.SIGSTOP)  # from now on it forks no more
                left = children(pid)
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [])
            finally:
                os.close(handle)
            wait_for_end(left)
        wait_until(lambda: may_leave or not any((state / "runs-waiting").glob("*")), REMOVAL_S)


def wait_until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
    """Look until something is so, or patience is over; tell whether it is."""
    end = time.monotonic() + patience_s
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return found
