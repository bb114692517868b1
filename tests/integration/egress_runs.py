"""Runs with egress that go on while a test does something to them: what they say, record, and leave behind."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from tests.lab import Lab
from tests.posture.live import children

TIMEOUT_S = 60
LOOK_S = 0.02
Found = TypeVar("Found")


class Running:
    """One `ringfence run`; `supervisor` is its process, whose standard streams are the command's."""

    def __init__(self, supervisor: "subprocess.Popen[str]", state: Path) -> None:
        self.supervisor = supervisor
        self.state = state

    @property
    def proxy(self) -> int:
        """The proxy's process."""
        (found,) = proxies(self.supervisor.pid)
        return found

    @property
    def directory(self) -> Path:
        """Where the run is kept while it goes on."""
        (found,) = (path for path in (self.state / "runs").iterdir() if (path / "control").exists())
        return found

    def line(self) -> str:
        """The next line that the command prints."""
        assert self.supervisor.stdout is not None
        return self.supervisor.stdout.readline().rstrip("\n")

    def tell(self, line: str) -> None:
        """Give the command a line."""
        assert self.supervisor.stdin is not None
        self.supervisor.stdin.write(line + "\n")
        self.supervisor.stdin.flush()

    def end(self) -> tuple[str, str]:
        """Wait for the end; what was printed until then, and on standard error."""
        return self.supervisor.communicate(timeout=TIMEOUT_S)

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The records of the latest run."""
        written = (self.state / "audit/audit.jsonl").read_text().rpartition("\n")[0]  # a record may be on its way
        found = [json.loads(line) for line in written.splitlines()]
        return [one for one in found if one["run"] == found[-1]["run"] and one["kind"] in kinds]


def proxies(supervisor: int) -> list[int]:
    """The proxies among the children of a process."""
    found = []
    for pid in children(supervisor):
        with suppress(OSError):  # it has just ended
            found += [pid] if "egress_worker" in Path(f"/proc/{pid}/cmdline").read_text() else []
    return found


@contextmanager
def running(
    lab: Lab, place: Path, argv: list[str], *options: str, environment: Mapping[str, str] = {}
) -> Iterator[Running]:
    """Start a run; at the end its input is closed, and nothing of it may be left."""
    state = Path(os.environ["XDG_STATE_HOME"]) / "ringfence"
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    words = ["ringfence", "run", *options, "--", *argv]
    supervisor = lab.popen(words, cwd=place, env=lab.environment() | dict(environment), text=True, **streams)
    try:
        yield Running(supervisor, state)
        if supervisor.poll() is None:
            supervisor.communicate(timeout=TIMEOUT_S)
    finally:
        supervisor.kill()
        supervisor.communicate(timeout=TIMEOUT_S)
    wait_for(lambda: not leftovers(place))


def called(name: str) -> list[int]:
    """Processes that go by a name."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                found.append(int(pid))
        except OSError:
            continue
    return found


def leftovers(place: Path) -> list[str]:
    """Processes that work in a directory, but for those of the test itself."""
    found = []
    for name in set(filter(str.isdigit, os.listdir("/proc"))) - {str(os.getpid())}:
        try:
            words = Path(f"/proc/{name}/cmdline").read_text()
            inside = os.readlink(f"/proc/{name}/cwd").startswith(str(place))
        except OSError:
            continue
        if inside or ("bwrap" in words and str(place) in words):
            found.append(f"{name} {words}")
    return found


def wait_for(what: Callable[[], Found], timeout_s: float = TIMEOUT_S) -> Found:
    """Give the first true answer of `what`."""
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(LOOK_S)
    return found


def write_policy(place: Path, network: str) -> tuple[str, str]:
    """Options that put rules of `[network]` in force."""
    (place / "policy.toml").write_text(f"version = 1\n[network]\n{network}\n")
    return "--policy", str(place / "policy.toml")


def rss_bytes(pid: int) -> int:
    """The resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descendants(pid: int) -> set[int]:
    """Every process below one."""
    below = set(children(pid))
    return below | {found for child in below for found in descendants(child)}
