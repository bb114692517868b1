"""`--apply live` from end to end: an editor sees files while the command runs; end, audit and rollback agree."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence import Policy, Sandbox, UsageError
from ringfence.session import changes, places
from ringfence.workspace import overlay
from ringfence.workspace.apply import apply
from ringfence.workspace.change import Reviewed
from ringfence.workspace.live import corrected
from ringfence.workspace.runs import is_live
from tests.attacks.arena import RINGFENCE, SOURCE
from tests.trees import Place, outcomes, write

pytestmark = pytest.mark.require("bubblewrap", "userns", "overlay")
ARRIVAL_S = 60.0


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "ws"
    place.mkdir()
    (place / "a").write_text("host\n")
    (place / "gone").write_text("g\n")
    return place


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so on the host; fail when it takes too long."""
    end = time.monotonic() + ARRIVAL_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


SCRIPT = """
echo agent >> a; mkdir -p new/deep; echo n > new/deep/f; rm gone; ln -s a link; echo evil > .envrc; echo t > t
read line; rm t; echo again >> a; read line; echo last > last
"""


def test_files_arrive_while_the_command_runs(workspace: Path) -> None:
    with Sandbox(directory=workspace, apply="live") as box:
        process = box.start(["sh", "-c", SCRIPT])
        wait_for((workspace / "t").exists)
        wait_for((workspace / "new/deep/f").exists)
        wait_for(lambda: (workspace / "a").read_text() == "host\nagent\n")
        assert process.running
        assert {"gone"} <= set(os.listdir(workspace)) and not {"link", ".envrc"} & set(os.listdir(workspace))
        process.stdin.write(b"\n")
        wait_for(lambda: (workspace / "a").read_text().endswith("again\n"))
        wait_for(lambda: not (workspace / "t").exists())
        done = process.communicate(b"\n")
    assert done.returncode == 0, done.stderr
    assert done.held == ((".envrc", "auto-load"),)
    assert sorted(os.listdir(workspace)) == ["a", "last", "link", "new"]
    assert done.applied == 7  # a, gone, last, link and new with two below
    run = changes.find(done.run, str(workspace))
    changes.roll_back(run)
    assert sorted(os.listdir(workspace)) == ["a", "gone"]
    assert (workspace / "a").read_text() == "host\n"


def test_the_host_s_edits_meanwhile_win(workspace: Path) -> None:
    with Sandbox(directory=workspace, apply="live") as box:
        process = box.start(
            ["sh", "-c", "echo 1 > a; echo 1 > b; read line; echo 2 > a; echo 2 > b; echo end > end; read line"]
        )
        wait_for((workspace / "b").exists)
        wait_for(lambda: (workspace / "a").read_text() == "1\n")
        (workspace / "a").write_text("human\n")
        process.stdin.write(b"\n")
        wait_for((workspace / "end").exists)
        done = process.communicate(b"\n")
    assert dict(done.held)["a"].startswith("conflict")
    assert (workspace / "a").read_text() == "human\n"
    assert (workspace / "b").read_text() == "2\n"


def test_an_edit_at_the_moment_of_arrival_is_the_host_s(tmp_path: Path) -> None:
    """It is not taken for what has arrived, which the run's next version of the file may replace."""
    place = Place(tmp_path, {"a": "host\n"})
    write(place.upper, {"a": "1\n", "b": "1\n"})

    def edit(name: str) -> None:
        if name == "installed":
            for path in place.workspace.glob("[ab]"):
                if path.read_text() == "1\n":
                    path.write_text("human\n")

    assert set(outcomes(apply(place.run, place.unfiltered(), step=edit)).values()) == {"applied"}
    write(place.upper, {"a": "2\n", "b": "2\n"})
    found = corrected(overlay.changes(place.run.upper, place.run.workspace), place.run)
    assert outcomes(apply(place.run, [Reviewed(change=one) for one in found])) == dict.fromkeys("ab", "conflict")
    assert [path.read_text() for path in place.workspace.glob("[ab]")] == ["human\n"] * 2


def test_a_run_that_changes_nothing_leaves_nothing(workspace: Path) -> None:
    done = Sandbox(directory=workspace, apply="live").run(["sh", "-c", "echo x > x; sleep 0.3; rm x"])
    assert (done.returncode, done.held) == (0, ())
    assert sorted(os.listdir(workspace)) == ["a", "gone"]


def test_what_a_killed_supervisor_left_can_be_finished_or_rolled_back(workspace: Path) -> None:
    script = "echo agent > a; echo n > n; echo x > x; read line"
    for finish in (True, False):
        (workspace / "a").write_text("host\n")
        argv = [*RINGFENCE, "run", "--apply", "live", "--", "sh", "-c", script]
        process = subprocess.Popen(
            argv, cwd=workspace, env=os.environ | {"PYTHONPATH": str(SOURCE)}, stdin=subprocess.PIPE
        )
        wait_for((workspace / "x").exists)
        wait_for(lambda: (workspace / "a").read_text() == "agent\n")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        run = changes.find("", str(workspace))
        wait_for(lambda run=run: not is_live(run))  # type: ignore[misc]  # bound as it is now
        if finish:
            changes.apply_changes(run)
        changes.roll_back(changes.find(run.run, str(workspace)))
        assert sorted(os.listdir(workspace)) == ["a", "gone"]
        assert (workspace / "a").read_text() == "host\n"


def test_where_nothing_can_be_carried_over_the_end_does_it_and_the_audit_says_so(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ringfence.workspace import live

    def refuse(_limit: int) -> None:
        raise OSError(24, "no more watches")

    monkeypatch.setattr(live, "Watches", refuse)  # what the kernel says when max_user_instances is reached
    done = Sandbox(directory=workspace, apply="live").run(["sh", "-c", "echo x > x"])
    assert done.applied == 1
    assert (workspace / "x").exists()
    records = [json.loads(line) for line in Path(f"{places.audit()}/audit.jsonl").read_text().splitlines()]
    (limit,) = [record for record in records if record["kind"] == "limit"]
    assert limit["code"] == "live"


def test_a_project_may_not_set_it_and_the_user_may(workspace: Path) -> None:
    (workspace / "ringfence.toml").write_text('version = 1\n[workspace]\napply = "live"\n')
    with pytest.raises(UsageError, match=r"loosen|tighten"):
        Sandbox(directory=workspace).run(["true"])
    (workspace / "ringfence.toml").write_text('version = 1\n[workspace]\napply = "exit"\n')
    done = Sandbox(Policy({"workspace": {"apply": "live"}}), directory=workspace).run(["sh", "-c", "echo x > x"])
    assert done.returncode == 0
