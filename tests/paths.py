"""On which path a suite takes `ringfence run`.

`RINGFENCE_TEST_PATH` is `cold` (where it is not set), `supervised`, `pooled` or `warm`: the same tests then see a run
that its client carries out, one of the resident supervisor's, a boundary of its pool, or a command of a session
(tests/through_session.py). scripts/paths runs the suites about security and everyday work on each.
"""

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TAKEN = os.environ.get("RINGFENCE_TEST_PATH", "cold")
PATIENCE_S = 20.0


def variables(taken: str = TAKEN) -> dict[str, str]:
    """The environment variable that chooses it."""
    return {"RINGFENCE_SUPERVISOR": "1" if taken in ("supervised", "pooled") else "0"}


def run_words(program: list[str], taken: str = TAKEN) -> list[str]:
    """The words that stand before the options of `ringfence run`; `program` are those that start ringfence."""
    session = [sys.executable, "-P", str(Path(__file__).with_name("through_session.py"))]
    return session if taken == "warm" else [*program, "run"]


def make_ready(run: Callable[[], object], state: Path, taken: str = TAKEN) -> None:
    """Have a supervisor, and for `pooled` boundaries, for requests like the one that `run` makes; `state` is ours."""
    if taken in ("cold", "warm"):
        return
    run()
    wait_until(lambda: server(state) > 0)
    if taken == "pooled":
        for _ in range(2):
            run()
        wait_until(lambda: len(waiting(state)) == 2, patience_s=3.0)  # not every policy's are built ahead


def waiting(state: Path) -> dict[tuple[int, int], Path]:
    """Boundaries that stand and wait, by what tells their run's directory from every other for good."""
    place = state / "runs-waiting"
    found = place.iterdir() if place.is_dir() else iter(())
    # overlayfs makes work/work when it is mounted, which is the last but a few mounts
    return {mark(path): path for path in found if (path / "work/work").exists()}


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
        while pid := server(state):
            handle = os.pidfd_open(pid)
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [])
            os.close(handle)
            wait_until(lambda: not any((state / "runs-waiting").glob("*")))


def wait_until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Look until something is so, or patience is over."""
    end = time.monotonic() + patience_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
