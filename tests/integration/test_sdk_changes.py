"""The SDK's view of changes: look, choose, apply, discard, take back, keep a copy."""

import os
from pathlib import Path

import pytest

from ringfence import Sandbox, UsageError

pytestmark = pytest.mark.require("bubblewrap", "userns", "overlay")
WORK = "echo two >> a; mkdir -p new; echo x > new/f; echo y > new/g; rm gone; echo e > .envrc; chmod 755 tool"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "ws"
    place.mkdir()
    for name in ("a", "gone", "tool"):
        (place / name).write_text(f"{name}\n")
    return place


@pytest.fixture
def box(workspace: Path) -> Sandbox:
    return Sandbox(directory=workspace, workspace="overlay", apply="ask")


def test_changes_say_what_and_why_not(box: Sandbox, workspace: Path) -> None:
    box.run(["sh", "-c", WORK], check=True)
    found = {change.path: change for change in box.changes()}
    assert {path: (change.kind, change.type) for path, change in found.items()} == {
        ".envrc": ("create", "file"),
        "a": ("modify", "file"),
        "gone": ("delete", "file"),
        "new": ("create", "directory"),
        "new/f": ("create", "file"),
        "new/g": ("create", "file"),
        "tool": ("mode", "file"),
    }
    assert "+two" in found["a"].text
    assert (found[".envrc"].held, found[".envrc"].releasable, found["a"].held) == ("auto-load", True, "")
    assert found[".envrc"].reason
    assert sorted(os.listdir(workspace)) == ["a", "gone", "tool"]


def test_a_filter_chooses(box: Sandbox, workspace: Path) -> None:
    box.run(["sh", "-c", WORK], check=True)
    done = box.apply(filter=lambda change: change.path in ("new/f", ".envrc"))
    assert done.done == ("new", "new/f")
    assert [path for path, _ in done.left] == [".envrc"]
    assert sorted(os.listdir(workspace)) == ["a", "gone", "new", "tool"]
    assert os.listdir(workspace / "new") == ["f"]
    assert box.apply(filter=lambda change: False).done == ()
    rest = box.apply(held=[".envrc"])
    assert set(rest.done) == {".envrc", "a", "gone", "new/g", "tool"}
    assert set(box.rollback().done) == {*done.done, *rest.done}
    assert sorted(os.listdir(workspace)) == ["a", "gone", "tool"]


def test_a_conflict_is_left_and_can_be_decided(box: Sandbox, workspace: Path) -> None:
    box.run(["sh", "-c", WORK], check=True)
    (workspace / "a").write_text("human\n")
    assert dict(box.apply().left)["a"] == "it was changed on the host since the run began"
    assert (workspace / "a").read_text() == "human\n"
    assert box.apply(overwrite=["a"]).done == ("a",)
    assert (workspace / "a").read_text() == "a\ntwo\n"
    box.rollback()
    assert (workspace / "a").read_text() == "human\n"


def test_discard(box: Sandbox, workspace: Path) -> None:
    box.run(["sh", "-c", WORK], check=True)
    box.discard()
    with pytest.raises(UsageError, match="no run of this sandbox"):
        box.changes()
    assert sorted(os.listdir(workspace)) == ["a", "gone", "tool"]


def test_each_run_by_its_name_and_the_latest_without(box: Sandbox, workspace: Path) -> None:
    first = box.run(["sh", "-c", "echo 1 > one"])
    box.run(["sh", "-c", "echo 2 > two"])
    box.run(["true"])  # leaves nothing
    assert [change.path for change in box.changes()] == ["two"]
    assert [change.path for change in box.changes(first.run)] == ["one"]
    box.apply(first.run)
    assert sorted(os.listdir(workspace)) == ["a", "gone", "one", "tool"]


def test_a_sandbox_without_runs_does_not_take_another_s(box: Sandbox, workspace: Path) -> None:
    box.run(["sh", "-c", WORK], check=True)
    other = Sandbox(directory=workspace, apply="ask")
    for action in (other.changes, other.apply, other.discard, other.rollback, other.snapshot):
        with pytest.raises(UsageError, match="no run of this sandbox"):
            action()


def test_a_snapshot_of_a_run_that_goes_on(box: Sandbox, workspace: Path) -> None:
    process = box.start(["sh", "-c", "echo 1 > a; echo ready; read line; echo 2 > a; echo 2 > b"])
    assert process.stdout.readline() == b"ready\n"
    assert box.snapshot("point") == "point"
    process.communicate(b"\n")
    assert [change.path for change in box.changes("point")] == ["a"]
    assert [change.path for change in box.changes()] == ["a", "b"]
    box.apply("point")
    assert (workspace / "a").read_text() == "1\n"
    box.rollback("point")
    box.apply()
    assert (workspace / "a").read_text() == "2\n"
    box.discard("point")
    with pytest.raises(UsageError, match="no run `point`"):
        box.changes("point")


def test_a_snapshot_of_a_run_that_goes_on_keeps_its_terms(workspace: Path) -> None:
    from ringfence import Policy

    policy = Policy({"filesystem": {"deny-write": ["*.key"]}})
    with Sandbox(policy, directory=workspace, apply="ask") as box:
        process = box.start(["sh", "-c", "echo 1 > new.key; echo ready; read line"])
        assert process.stdout.readline() == b"ready\n"
        box.snapshot("point")
        (change,) = box.changes("point")
        assert (change.held, change.releasable) == ("path-protected", False)


def test_two_sessions_on_one_workspace(workspace: Path) -> None:
    """Each has a layer of its own; applies take turns, and what the other changed first is a conflict, not lost."""
    boxes = [Sandbox(directory=workspace) for _ in range(2)]
    script = "echo {n} > shared; echo {n} > only{n}; cat shared; echo ready; read line"
    started = [box.start(["sh", "-c", script.format(n=n)]) for n, box in enumerate(boxes)]
    for number, process in enumerate(started):
        assert process.stdout.readline() == f"{number}\n".encode()  # its own version
        assert process.stdout.readline() == b"ready\n"
    first = started[0].communicate(b"\n")
    second = started[1].communicate(b"\n")
    assert (first.held, first.applied) == ((), 2)
    assert [path for path, _ in second.held] == ["shared"]
    assert second.held[0][1].startswith("conflict: ")
    assert (workspace / "shared").read_text() == "0\n"
    assert sorted(os.listdir(workspace)) == ["a", "gone", "only0", "only1", "shared", "tool"]
    boxes[1].apply(overwrite=["shared"])
    assert (workspace / "shared").read_text() == "1\n"
    boxes[1].rollback()
    assert (workspace / "shared").read_text() == "0\n"


def test_many_sessions_end_at_once(workspace: Path) -> None:
    count = 6
    boxes = [Sandbox(directory=workspace) for _ in range(count)]
    script = "for i in $(seq 40); do echo {n} > file$i; done; echo {n} > own{n}; read line"
    started = [box.start(["sh", "-c", script.format(n=n)]) for n, box in enumerate(boxes)]
    for process in started:
        process.stdin.write(b"\n")
    results = [process.communicate() for process in started]
    assert all(result.returncode == 0 for result in results)
    for number in range(count):
        assert (workspace / f"own{number}").read_text() == f"{number}\n"
    winners = {(workspace / f"file{i}").read_text() for i in range(1, 41)}
    assert len(winners) == 1, "one apply was interleaved with another"
    assert sum(result.applied for result in results) == 40 + count
