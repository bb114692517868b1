"""The SDK's boundaries that are built ahead: what they serve, what they do not, and that nothing is left of them."""

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from ringfence import CommandTimeoutError, Sandbox
from ringfence.audit.read import read
from tests import paths
from tests.house.sources import ROOT
from tests.integration.resident_runs import stand_ready
from tests.integration.test_pool import POSTURE, PYTHON

pytestmark = pytest.mark.require("bubblewrap", "userns")


@pytest.fixture
def workspace(open_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RINGFENCE_SUPERVISOR", "1")
    place = open_path / "workspace"
    place.mkdir()
    (place / "file").write_text("old\n")
    return place


@pytest.fixture
def state(home: Path) -> Path:
    return home / ".local/state/ringfence"


@pytest.fixture
def box(workspace: Path) -> Iterator[Sandbox]:
    with Sandbox(directory=workspace, apply="ask") as found:
        yield found


def stands(box: Sandbox, state: Path) -> set[tuple[int, int]]:
    """Have boundaries; give what marks their directories."""
    stand_ready(box)
    found = set(paths.waiting(state))
    assert len(found) == 2
    return found


def taken(state: Path, before: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Which of those have become runs that were kept."""
    found = set()
    for path in (state / "runs").iterdir():
        with suppress(FileNotFoundError):  # what a run leaves goes after its answer
            found.add(paths.mark(path))
    return before & found


def test_a_boundary_that_stands_serves_one_command(box: Sandbox, state: Path) -> None:
    before = stands(box, state)
    words = ["sh", "-c", "cat; cat file; test ! -e new; echo x >new; echo e >&2; exit 7"]
    for number in (1, 2):
        done = box.run(words, input=b"in\n", env={"MINE": "1"})
        assert (done.returncode, done.stdout, done.stderr) == (7, b"in\nold\n", b"e\n")
        assert len(taken(state, before)) == number  # and what the first one wrote the second does not see
    assert [change.path for change in box.changes()] == ["new"]


def test_it_looks_like_any_other_from_inside(box: Sandbox, state: Path) -> None:
    cold = box.run([*PYTHON, POSTURE])
    before = stands(box, state)
    pooled = box.run([*PYTHON, POSTURE])
    assert json.loads(pooled.stdout) == json.loads(cold.stdout)
    assert before - set(paths.waiting(state))  # one of them has served it


def test_it_is_recorded_as_a_run_that_begins_now(box: Sandbox, state: Path) -> None:
    stands(box, state)
    done = box.run(["sh", "-c", "echo x >new"])
    found = list(read(str(state / "audit"), run=done.run))
    assert [record.kind for record in found] == ["launch", "exit"]
    assert found[0].fields["argv"] == ["sh", "-c", "echo x >new"]


def test_policy_that_has_changed_meanwhile_holds(box: Sandbox, state: Path, home: Path) -> None:
    before = stands(box, state)
    place = home / ".config/ringfence"
    place.mkdir(parents=True)
    (place / "policy.toml").write_text('version = 1\n[filesystem]\ndeny-read = ["./file"]\n')
    assert box.run(["sh", "-c", "echo x >new; cat file"]).returncode == 1
    assert not taken(state, before)


def test_what_this_process_has_become_meanwhile_is_inherited(box: Sandbox, state: Path) -> None:
    before = stands(box, state)
    mask = os.umask(0o027)
    try:
        assert box.run(["sh", "-c", "echo x >new; umask"]).text == "0027\n"
    finally:
        os.umask(mask)
    assert not taken(state, before)


def test_the_environment_is_that_of_the_command(
    box: Sandbox, state: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands(box, state)
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    assert box.run(["printenv", "LANG"]).text == "de_DE.UTF-8\n"
    assert box.run(["printenv", "MINE"], env={"MINE": "1"}).text == "1\n"
    assert box.run(["printenv", "MINE"]).returncode == 1


def test_a_workspace_that_was_replaced_meanwhile_is_the_new_one(box: Sandbox, state: Path, workspace: Path) -> None:
    before = stands(box, state)
    workspace.rename(workspace.with_name("elsewhere"))
    workspace.mkdir()
    (workspace / "file").write_text("new\n")
    assert box.run(["sh", "-c", "echo x >new; cat file"]).text == "new\n"
    assert not taken(state, before)


def test_one_that_was_killed_is_passed_over(box: Sandbox, state: Path) -> None:
    ahead = stand_ready(box)
    for one in list(ahead.standing):
        assert one.run.supervisor
        os.kill(one.run.supervisor.init, signal.SIGKILL)
    paths.wait_until(lambda: not ahead.standing)
    assert box.run(["echo", "fine"]).text == "fine\n"


def test_time_out_and_signals(box: Sandbox, state: Path) -> None:
    stands(box, state)
    with pytest.raises(CommandTimeoutError):
        box.run(["sleep", "60"], timeout_s=0.3)
    with box.start(["sleep", "60"]) as process:
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM


def test_many_threads_at_once(box: Sandbox, state: Path) -> None:
    stands(box, state)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: box.run(["echo", str(number)]).text, range(8)))
    assert found == [f"{number}\n" for number in range(8)]


def test_asyncio(box: Sandbox, state: Path) -> None:
    before = stands(box, state)

    async def main() -> list[str]:
        found = await asyncio.gather(*(box.run_async(["sh", "-c", f"echo x >new; echo {n}"]) for n in range(3)))
        return [done.text for done in found]

    assert asyncio.run(main()) == ["0\n", "1\n", "2\n"]
    assert len(taken(state, before)) == 2


FORKING = """
import os, sys, time
from ringfence import Sandbox
with Sandbox(directory=sys.argv[1]) as box:
    for _ in range(2):
        box.run(["true"])
    until = time.monotonic() + 60
    while [one.is_built for one in box._ahead.standing] != [True, True] and time.monotonic() < until:
        time.sleep(0.01)
    print(len(box._ahead.standing), flush=True)
    for _ in range(2):
        if child := os.fork():
            os.waitpid(child, 0)
            print("parent", box.run(["echo", "fine"]).text, end="", flush=True)
        else:
            with box:
                print("child", box.run(["echo", "fine"]).text, end="", flush=True)
            os._exit(0)
"""


def test_a_fork_of_this_process_has_none(workspace: Path) -> None:
    words = [sys.executable, "-W", "ignore", "-c", FORKING, str(workspace)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=110)
    assert done.stdout == b"2\n" + b"child fine\nparent fine\n" * 2, done.stderr


def test_nothing_is_left_behind(workspace: Path, state: Path) -> None:
    def left() -> tuple[list[str], int, list[str]]:
        programs = [name.split()[0] for path in Path("/proc").glob("[0-9]*") for name in started(path)]
        held = []
        for name in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):  # the listing's own
                held.append(os.readlink(f"/proc/self/fd/{name}"))
        return sorted(held), threading.active_count(), programs

    def started(process: Path) -> list[str]:
        """The name of a process of ours, in a list; empty for another's."""
        with suppress(OSError):
            name, _, rest = (process / "stat").read_text().rpartition(")")
            if int(rest.split()[1]) == os.getpid():
                return [name]
        return []

    with Sandbox(directory=workspace) as box:
        box.run(["true"])
    paths.wait_until(lambda: not any(thread.name.startswith("ringfence") for thread in threading.enumerate()))
    gc.collect()  # what earlier tests have left
    before = left()
    with Sandbox(directory=workspace) as box:
        stands(box, state)
        box.run(["true"])
    assert paths.wait_until(lambda: left() == before), (before, left())
    assert not any((state / "runs-waiting").iterdir())
    assert not any((state / "runs").iterdir())


@pytest.mark.parametrize("why", ["turned off", "no block", "network"])
def test_where_none_is_built(workspace: Path, state: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    if why == "turned off":
        monkeypatch.setenv("RINGFENCE_SUPERVISOR", "0")
    box = Sandbox(directory=workspace, allow=["files.example"] if why == "network" else [])
    if why != "no block":
        box.__enter__()
    for _ in range(3):
        assert box.run(["true"]).returncode == 0
    assert not (box._ahead and box._ahead.standing)
    box.close()
    assert not (state / "runs-waiting").exists()
