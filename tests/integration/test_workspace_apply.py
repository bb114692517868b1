"""Apply on a real workspace: conflicts, ownership, failures, order, and what rollback refuses."""

import ctypes
import os
import stat
from pathlib import Path

import pytest

from ringfence.model.errors import HostError
from ringfence.workspace import runs
from ringfence.workspace.apply import apply, resume
from ringfence.workspace.rollback import rollback
from tests.trees import LONG_AGO_NS, Place, in_child, outcomes, snapshot, whiteout, write

EDITED_NS = LONG_AGO_NS + 1


def test_the_host_s_later_edit_wins(tmp_path: Path) -> None:
    place = Place(tmp_path, {"both": "old", "mine": "old", "removed": "old", "mode": "old"})
    write(place.upper, {"both": "agent", "mine": "agent", "fresh": "agent", "mode": "old"})
    os.chmod(place.upper / "mode", 0o755)
    whiteout(place.upper, "removed")
    reviewed = place.unfiltered()
    for path in ("both", "removed", "fresh", "mode"):
        write(place.workspace, {path: "human"})
    found = outcomes(apply(place.run, reviewed))
    assert found == {
        "both": "conflict",
        "fresh": "conflict",
        "mine": "applied",
        "mode": "conflict",
        "removed": "conflict",
    }
    assert (place.workspace / "both").read_text() == "human"
    assert (place.workspace / "removed").read_text() == "human"
    assert (place.workspace / "fresh").read_text() == "human"
    assert (place.workspace / "mine").read_text() == "agent"
    assert stat.S_IMODE((place.workspace / "mode").stat().st_mode) == 0o644


def test_an_edit_that_hides_its_mtime_is_still_a_conflict(tmp_path: Path) -> None:
    place = Place(tmp_path, {"file": "old"})
    write(place.upper, {"file": "agent"})
    write(place.workspace, {"file": "hum"})
    assert (place.workspace / "file").stat().st_mtime_ns == LONG_AGO_NS
    assert outcomes(apply(place.run, place.unfiltered())) == {"file": "conflict"}


def test_an_edit_between_check_and_exchange_wins(tmp_path: Path) -> None:
    place = Place(tmp_path, {"file": "old", "gone": "old"})
    write(place.upper, {"file": "agent"})
    whiteout(place.upper, "gone")

    def step(name: str) -> None:
        if name == "sync":
            write(place.workspace, {"file": "human", "gone": "human"}, mtime_ns=EDITED_NS)

    found = apply(place.run, place.unfiltered(), step=step)
    assert outcomes(found) == {"file": "conflict", "gone": "conflict"}
    assert (place.workspace / "file").read_text() == "human"
    assert (place.workspace / "gone").read_text() == "human"
    assert sorted(os.listdir(place.workspace)) == ["file", "gone"]


def test_a_file_saved_by_rename_between_check_and_exchange_wins(tmp_path: Path) -> None:
    place = Place(tmp_path, {"file": "old"})
    write(place.upper, {"file": "agent"})

    def step(name: str) -> None:
        if name == "sync":
            write(place.workspace, {"file.tmp": "old"})
            os.rename(place.workspace / "file.tmp", place.workspace / "file")

    assert outcomes(apply(place.run, place.unfiltered(), step=step)) == {"file": "conflict"}
    assert os.listdir(place.workspace) == ["file"]


def test_what_the_host_added_keeps_its_directory(tmp_path: Path) -> None:
    place = Place(tmp_path, {"dir/a": "a", "dir/b": "b"})
    whiteout(place.upper, "dir")
    reviewed = place.unfiltered()
    write(place.workspace, {"dir/human": "h"})
    assert outcomes(apply(place.run, reviewed)) == {"dir": "conflict", "dir/a": "applied", "dir/b": "applied"}
    assert os.listdir(place.workspace / "dir") == ["human"]


def test_what_the_host_removed_is_not_missed(tmp_path: Path) -> None:
    place = Place(tmp_path, {"dir/a": "a", "changed": "old", "mode": "m"})
    whiteout(place.upper, "dir")
    write(place.upper, {"changed": "agent", "mode": "m"})
    os.chmod(place.upper / "mode", 0o600)
    reviewed = place.unfiltered()
    os.unlink(place.workspace / "dir/a")
    os.rmdir(place.workspace / "dir")
    os.unlink(place.workspace / "changed")
    os.unlink(place.workspace / "mode")
    found = outcomes(apply(place.run, reviewed))
    assert found == {"changed": "conflict", "dir": "applied", "dir/a": "applied", "mode": "conflict"}


def test_types_and_modes_that_the_host_changed(tmp_path: Path) -> None:
    place = Place(tmp_path, {"file": "old", "dir/x": "x"})
    write(place.upper, {"file": "agent", "dir": None, "made": None})
    os.chmod(place.upper / "dir", 0o700)
    reviewed = place.unfiltered()
    os.unlink(place.workspace / "file")
    (place.workspace / "file").mkdir()
    (place.workspace / "made").mkdir()
    os.chmod(place.workspace / "dir", 0o750)
    assert outcomes(apply(place.run, reviewed)) == {"dir": "conflict", "file": "conflict", "made": "applied"}
    assert stat.S_IMODE((place.workspace / "dir").stat().st_mode) == 0o750


def test_held_changes_are_reported_and_left_alone(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    write(place.upper, {".envrc": "evil", "ok": "fine"})
    found = apply(place.run, place.review())
    assert outcomes(found) == {".envrc": "held", "ok": "applied"}
    assert found[0].reason.startswith("auto-load: ")
    assert os.listdir(place.workspace) == ["ok"]


def test_held_changes_can_be_applied_later_by_name(tmp_path: Path) -> None:
    place = Place(tmp_path, {"ok": "old"})
    before = snapshot(place.workspace)
    write(place.upper, {".envrc": "wanted", "ok": "fine"})
    apply(place.run, place.review())
    assert outcomes(apply(place.run, place.review(release=frozenset({".envrc"})))) == {".envrc": "applied"}
    assert (place.workspace / ".envrc").read_text() == "wanted"
    rollback(place.run)
    assert snapshot(place.workspace) == before


def test_a_layer_that_changed_since_the_review_is_refused(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    write(place.upper, {"file": "reviewed", "link": "-> file"})
    reviewed = place.unfiltered()
    write(place.upper, {"file": "something else"})
    found = outcomes(apply(place.run, reviewed))
    assert found == {"file": "conflict", "link": "applied"}


def test_a_failed_file_does_not_stop_the_others(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    write(place.upper, {"a": "a", "b": "b", "c": "c"})
    reviewed = place.unfiltered()
    os.unlink(place.upper / "b")
    found = apply(place.run, reviewed)
    assert outcomes(found) == {"a": "applied", "b": "failed", "c": "applied"}
    assert found[1].reason == "No such file or directory"
    assert sorted(os.listdir(place.workspace)) == ["a", "c"]


def test_mtime_attributes_and_hard_links(tmp_path: Path) -> None:
    place = Place(tmp_path, {"noted": "old", "twin": "old"})
    os.setxattr(place.workspace / "noted", "user.note", b"the host's")
    os.link(place.workspace / "twin", place.workspace / "other-twin")
    place.run = place.begin()
    write(place.upper, {"noted": "new", "twin": "new", "one": "linked"}, mtime_ns=EDITED_NS)
    os.link(place.upper / "one", place.upper / "two")
    os.setxattr(place.upper / "noted", "user.evil", b"the agent's")
    apply(place.run, place.unfiltered())
    noted = place.workspace / "noted"
    assert noted.stat().st_mtime_ns == EDITED_NS
    assert os.getxattr(noted, "user.note") == b"the host's"
    assert "user.evil" not in os.listxattr(noted)
    assert (place.workspace / "other-twin").read_text() == "old"
    assert (place.workspace / "two").read_text() == "linked"
    assert (place.workspace / "one").stat().st_nlink == 1
    rollback(place.run)
    assert (place.workspace / "twin").stat().st_nlink == 2


def test_holes_stay_holes(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    with open(place.upper / "sparse", "wb") as file:
        file.seek(1 << 30)
        file.write(b"end")
        file.truncate(1 << 40)
    apply(place.run, place.unfiltered())
    facts = (place.workspace / "sparse").stat()
    assert facts.st_size == 1 << 40
    assert facts.st_blocks * 512 < 1 << 20
    with open(place.workspace / "sparse", "rb") as file:
        file.seek(1 << 30)
        assert file.read(4) == b"end\0"


@pytest.mark.require("ordinary-user")
def test_as_root_everything_belongs_to_the_owner_of_the_workspace(tmp_path: Path) -> None:
    place = Place(tmp_path, {"old": "old"})
    os.chown(place.workspace, 1234, 2345)
    os.chown(place.workspace / "old", 1234, 2345)
    place.run = place.begin()
    assert (place.upper.stat().st_uid, place.upper.stat().st_gid) == (1234, 2345)
    write(place.upper, {"old": "new", "dir/file": "f", "link": "-> old"})
    os.chown(place.upper / "old", 0, 0)
    apply(place.run, place.unfiltered())
    for path in ("old", "dir", "dir/file", "link"):
        facts = (place.workspace / path).lstat()
        assert (facts.st_uid, facts.st_gid) == (1234, 2345), path
    rollback(place.run)
    facts = (place.workspace / "old").stat()
    assert (facts.st_uid, facts.st_gid) == (1234, 2345)


def test_a_setgid_directory_hands_on_its_group(tmp_path: Path) -> None:
    place = Place(tmp_path, {"team": None})
    os.chmod(place.workspace / "team", 0o2775)
    place.run = place.begin()
    write(place.upper, {"team/sub/file": "x"})
    os.chmod(place.upper / "team", 0o2775)
    os.chmod(place.upper / "team/sub", 0o2755)
    assert set(outcomes(apply(place.run, place.review())).values()) == {"applied"}
    assert stat.S_IMODE((place.workspace / "team/sub").stat().st_mode) == 0o2755
    assert stat.S_IMODE((place.workspace / "team/sub/file").stat().st_mode) == 0o644


def test_a_live_run_is_never_applied(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    write(place.upper, {"x": "x"})
    with runs.lock(place.run):
        assert runs.is_live(place.run)
        with pytest.raises(HostError, match="still going on"):
            apply(place.run, place.unfiltered())
        with pytest.raises(HostError, match="still going on"):
            rollback(place.run)
    assert not runs.is_live(place.run)
    assert os.listdir(place.workspace) == []


def test_a_workspace_that_is_gone_is_an_error(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    write(place.upper, {"x": "x"})
    reviewed = place.unfiltered()
    os.rmdir(place.workspace)
    with pytest.raises(HostError, match="workspace cannot be opened"):
        apply(place.run, reviewed)


def test_git_s_objects_come_before_its_references(tmp_path: Path) -> None:
    place = Place(tmp_path, {".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": "0" * 40})
    write(place.upper, {".git/refs/heads/main": "1" * 40, ".git/index": "i", f".git/objects/ab/{'c' * 38}": "o"})
    order: list[str] = []

    def step(name: str) -> None:
        if name == "done":
            order.append(str(sorted(path for path in snapshot(place.workspace) if "objects/ab/" in path)))

    apply(place.run, place.unfiltered(), step=step)
    assert "ccc" in order[3]  # `objects`, `objects/ab`, then the object, then the rest
    assert (place.workspace / ".git/refs/heads/main").read_text() == "1" * 40


def test_rollback_leaves_what_the_host_changed_afterwards(tmp_path: Path) -> None:
    place = Place(tmp_path, {"a": "old", "b": "old", "c": "old", "dir/x": "x"})
    write(place.upper, {"a": "agent", "b": "agent", "new/f": "agent", "mode": "m"})
    whiteout(place.upper, "c")
    whiteout(place.upper, "dir")
    apply(place.run, place.unfiltered())
    write(place.workspace, {"a": "human", "c": "human", "new/human": "h"}, mtime_ns=EDITED_NS)
    found = outcomes(rollback(place.run))
    assert {path for path, outcome in found.items() if outcome == "conflict"} == {"a", "c", "new"}
    assert (place.workspace / "a").read_text() == "human"
    assert (place.workspace / "b").read_text() == "old"
    assert (place.workspace / "c").read_text() == "human"
    assert (place.workspace / "dir/x").read_text() == "x"
    assert os.listdir(place.workspace / "new") == ["human"]
    assert runs.load(place.run.directory).state is runs.State.APPLIED
    os.unlink(place.workspace / "new/human")
    assert outcomes(rollback(place.run))["new"] == "applied"
    assert not (place.workspace / "new").exists()


def test_rollback_of_a_file_that_stands_for_a_directory(tmp_path: Path) -> None:
    place = Place(tmp_path, {"d/x": "x", "f": "f"})
    write(place.upper, {"d": "a file"})
    (place.upper / "f").mkdir()
    before = snapshot(place.workspace)
    apply(place.run, place.unfiltered())
    write(place.workspace, {"f/human": "h"})
    found = outcomes(rollback(place.run))
    assert found["f"] == "conflict"
    assert found["d"] == "applied"
    assert sorted(os.listdir(place.workspace)) == ["d", "f"]
    os.unlink(place.workspace / "f/human")
    rollback(place.run)
    assert snapshot(place.workspace, directory_times=False) == {
        path: (kind, mode, 0 if kind == "directory" else mtime_ns, content)
        for path, (kind, mode, mtime_ns, content) in before.items()
    }


def test_two_runs_over_one_workspace(tmp_path: Path) -> None:
    place = Place(tmp_path, {"shared": "old", "first": "old", "second": "old"})
    other = Place.__new__(Place)
    other.workspace, other.runs = place.workspace, place.runs
    other.run = other.begin()
    write(place.upper, {"shared": "one", "first": "one"})
    write(other.upper, {"shared": "two", "second": "two"})
    assert outcomes(apply(place.run, place.unfiltered())) == {"first": "applied", "shared": "applied"}
    assert outcomes(apply(other.run, other.unfiltered())) == {"second": "applied", "shared": "conflict"}
    assert (place.workspace / "shared").read_text() == "one"
    rollback(place.run)
    assert (place.workspace / "second").read_text() == "two"
    assert (place.workspace / "shared").read_text() == "old"


def test_a_damaged_journal_is_reported(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    write(place.upper, {"x": "x"})
    Path(place.run.journal).write_text('{"step": "done", "n": 7}\n')
    with pytest.raises(HostError, match="damaged"):
        apply(place.run, place.unfiltered())


def test_a_journal_cut_short_is_read_up_to_the_cut(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    write(place.upper, {"x": "x"})
    Path(place.run.journal).write_text('{"step": "plan", "cha')
    assert outcomes(apply(place.run, place.unfiltered())) == {"x": "applied"}
    assert resume(place.run) == []


@pytest.mark.require("root")
def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    """Mount a tiny file system in a namespace of its own, and fill it with the apply."""

    def work() -> None:
        _mount_tmpfs(tmp_path)
        place = Place(tmp_path, {"a": "old", "b": "old"}, state=None)
        before = snapshot(place.workspace)
        write(place.upper, {"a": b"x" * 400_000, "b": b"y" * 400_000, "small": "s"})
        found = outcomes(apply(place.run, place.unfiltered()))
        assert "failed" in found.values(), found
        assert (place.workspace / "b").read_bytes() in (b"old", b"y" * 400_000)
        assert not [name for name in os.listdir(place.workspace) if name.startswith(".ringfence")]
        rollback(place.run)
        assert snapshot(place.workspace) == before

    assert in_child(work) == 0


def _mount_tmpfs(place: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(0x00020000) == 0  # CLONE_NEWNS
    assert libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None) == 0  # MS_REC | MS_PRIVATE
    assert libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=1300k") == 0
