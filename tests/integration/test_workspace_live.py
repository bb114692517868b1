"""Files that reach the host while the run goes on: which ones, when, and that the end and a rollback know of them.

Longer than 400 lines: one mirror moved on by hand, and everything that may happen meanwhile.
"""

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringfence.workspace import live
from ringfence.workspace.apply import apply
from ringfence.workspace.beneath import Tree
from ringfence.workspace.filter import Rules, review
from ringfence.workspace.host import no_step, open_host
from ringfence.workspace.inotify import Watches
from ringfence.workspace.overlay import changes, existing
from ringfence.workspace.recovery import settle
from ringfence.workspace.rollback import rollback
from ringfence.workspace.runs import exclusive, interrupted, lock, restored
from tests.integration.test_workspace_host_edits import Shell
from tests.trees import Place, in_child, outcomes, snapshot, whiteout, without_times, write

FILES: dict[str, str | bytes | None] = {"a": "a\n", "d/b": "b\n", "d/keep": "k\n", "gone": "g\n"}


class Seen:
    """A mirror that a test moves on by hand, as its thread would."""

    def __init__(self, place: Place, **rules: object) -> None:
        self.place = place
        self.tree = Tree(place.run.workspace)
        self.mirror = live.Mirror(place.run, lambda: Rules(existing=existing(self.tree), **rules))  # type: ignore[arg-type]  # keywords of a test
        self.mirror.scan("")

    def later(self, files: dict[str, str | bytes | None] | None = None) -> set[str]:
        """Let the contained side write `files`, and everything that is due come to pass; give what the host has."""
        write(self.place.upper, files or {}, mtime_ns=time.time_ns())
        self.mirror.notice()
        self.mirror.carry(time.monotonic() + live.REST_S)
        return self.mirror.applied

    def host(self, name: str) -> str | None:
        path = self.place.workspace / name
        return path.read_text() if path.is_file() else None


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, FILES)


@pytest.fixture
def seen(place: Place) -> Iterator[Seen]:
    found = Seen(place)
    yield found
    found.mirror.__exit__()
    found.tree.close()


def at_the_end(place: Place) -> dict[str, str]:
    """Apply the rest as the end of a run does."""
    found = changes(place.run.upper, place.run.workspace)
    if os.path.lexists(place.run.journal):
        found = live.corrected(found, place.run)
    with Tree(place.run.workspace) as host:
        return outcomes(apply(place.run, review(found, rules=Rules(existing=existing(host)))))


def test_new_and_changed_files_arrive_with_their_directories(seen: Seen) -> None:
    assert seen.later({"a": "agent\n", "d/b": "agent\n", "new/deep/f": "f\n"}) == {
        "a",
        "d/b",
        "new",
        "new/deep",
        "new/deep/f",
    }
    assert [seen.host(name) for name in ("a", "d/b", "new/deep/f", "d/keep")] == ["agent\n", "agent\n", "f\n", "k\n"]
    assert not [
        name for _, _, names in os.walk(seen.place.workspace) for name in names if name.startswith(".ringfence")
    ]


def test_what_happens_later_in_new_directories_is_seen(seen: Seen) -> None:
    seen.later({"new/deep/f": "1\n"})
    seen.later({"new/deep/f": "2\n", "new/deep/g": "g\n", "new/more/h": "h\n"})
    assert [seen.host(f"new/{name}") for name in ("deep/f", "deep/g", "more/h")] == ["2\n", "g\n", "h\n"]


def test_an_editor_s_way_of_saving_arrives(seen: Seen) -> None:
    write(seen.place.upper, {"a.tmp": "saved\n"})
    os.rename(seen.place.upper / "a.tmp", seen.place.upper / "a")
    assert seen.later() == {"a"}
    assert seen.host("a") == "saved\n"


def test_a_directory_renamed_inside_is_followed(seen: Seen) -> None:
    seen.later({"new/f": "1\n"})
    os.rename(seen.place.upper / "new", seen.place.upper / "other")
    seen.later()
    write(seen.place.upper, {"other/f": "2\n"}, mtime_ns=time.time_ns())
    seen.later()
    assert (seen.host("other/f"), seen.host("new/f")) == ("2\n", None)


def test_everything_else_waits_for_the_end(seen: Seen) -> None:
    upper = seen.place.upper
    whiteout(upper, "gone")
    write(upper, {"link": "-> a", ".git/config": "[core]\n", "sub/.git/HEAD": "x", "empty": None, ".envrc": "evil"})
    write(upper, {"d/keep": "k\n"})
    os.chmod(upper / "d/keep", 0o755)
    os.mkfifo(upper / "pipe")
    (upper / "a").mkdir()
    (upper / "a/inner").write_text("in the place of a file")
    before = snapshot(seen.place.workspace)
    assert seen.later() == set()
    assert snapshot(seen.place.workspace) == before
    assert not Path(seen.place.run.journal).exists()


def test_held_files_and_those_beyond_a_budget_stay(place: Place) -> None:
    seen = Seen(place, protected=lambda path: path == "d/b", max_bytes=100_000)
    seen.later({"d/b": "x", ".vscode/tasks.json": "{}", "Tools/.ENVRC": "x", "big": "x" * 90_000})
    seen.later({"more": "x" * 90_000, "small": "s"})
    assert seen.mirror.applied == {"big", "small"}
    seen.later({"big": "y" * 90_000})  # the same file again takes no more room
    assert seen.host("big") == "y" * 90_000


def test_large_files_wait_for_the_end(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FILE_BYTES", 10)
    assert seen.later({"large": "x" * 11, "fits": "x" * 10}) == {"fits"}


def test_a_host_edit_is_never_overwritten(seen: Seen) -> None:
    write(seen.place.workspace, {"a": "human\n"})
    assert seen.later({"a": "agent\n", "d/b": "1\n"}) == {"d/b"}
    write(seen.place.workspace, {"d/b": "human\n"})
    seen.later({"d/b": "2\n"})
    assert (seen.host("a"), seen.host("d/b")) == ("human\n", "human\n")
    assert at_the_end(seen.place) == {"a": "conflict", "d/b": "conflict"}


def test_a_file_that_the_host_created_or_removed_meanwhile_is_left_alone(
    place: Place, require: Callable[..., None]
) -> None:
    require("bubblewrap", "overlay")
    place.contain("sh", "-c", "echo more >> a")  # copied up by the kernel, so that it is known where it came from
    seen = Seen(place)
    os.unlink(place.workspace / "a")
    write(place.workspace, {"new": "human\n"})
    assert seen.later({"new": "agent\n"}) == set()
    assert (seen.host("a"), seen.host("new")) == (None, "human\n")


def test_a_file_that_is_being_written_is_not_taken(seen: Seen) -> None:
    with open(seen.place.upper / "a", "w") as file:
        file.write("half")
        file.flush()
        seen.mirror.notice()
        seen.mirror.carry(time.monotonic() + 1)
        assert seen.host("a") == "a\n"
        file.write(" and half")
    seen.later()
    assert seen.host("a") == "half and half"


def test_the_end_finishes_what_was_begun_and_a_rollback_undoes_both(seen: Seen) -> None:
    place = seen.place
    before = snapshot(place.workspace)
    for number in range(3):
        seen.later({"a": f"{number}\n", "new/f": f"{number}\n", "d/b": f"{number}\n", "temporary": f"{number}\n"})
    kept = os.listdir(place.run.undo)
    assert len(kept) == 2  # the host's own versions of `a` and `d/b`, and nothing of ours
    whiteout(place.upper, "gone")
    os.unlink(place.upper / "temporary")
    whiteout(place.upper, "temporary")  # the kernel leaves one, since the host has the file by now
    whiteout_of_ours(place.upper, "d/b")
    write(place.upper, {"link": "-> a", ".envrc": "evil", "a": "last\n"})
    assert at_the_end(place) == {
        ".envrc": "held",
        "a": "applied",
        "d/b": "applied",
        "gone": "applied",
        "link": "applied",
        "temporary": "applied",
    }
    assert (seen.host("a"), seen.host("new/f")) == ("last\n", "2\n")
    assert set(outcomes(rollback(place.run)).values()) == {"applied"}
    assert snapshot(place.workspace) == before


def whiteout_of_ours(upper: Path, path: str) -> None:
    (upper / path).unlink()
    whiteout(upper, path)


def test_a_rollback_leaves_later_edits_of_the_host_alone(seen: Seen) -> None:
    seen.later({"a": "1\n", "d/b": "1\n"})
    seen.later({"a": "2\n", "d/b": "2\n"})
    write(seen.place.workspace, {"a": "human\n"})
    assert outcomes(rollback(seen.place.run)) == {"a": "conflict", "d/b": "applied"}
    assert (seen.host("a"), seen.host("d/b")) == ("human\n", "b\n")


def test_a_rollback_that_is_killed_between_two_versions_can_be_repeated(tmp_path: Path) -> None:
    place = Place(tmp_path, FILES)
    seen = Seen(place)
    before = snapshot(place.workspace)
    for number in range(3):
        seen.later({"a": f"{number}\n", "new/f": f"{number}\n"})
    for at in range(40):
        remaining = [at]

        def step(_name: str, remaining: list[int] = remaining) -> None:
            remaining[0] -= 1
            if remaining[0] < 0:
                os._exit(9)

        if in_child(lambda step=step: rollback(place.run, step=step)) == 0:  # type: ignore[misc]  # bound as it is now
            break
    rollback(place.run)
    assert snapshot(place.workspace) == before


def test_what_others_put_into_a_directory_of_ours_is_no_removal(place: Place) -> None:
    seen = Seen(place)
    (place.upper / "new").mkdir()
    os.setxattr(place.upper / "new", "user.overlay.opaque", b"y")  # as the kernel makes it
    seen.later({"new/f": "f\n"})
    write(place.workspace, {"new/human": "h\n"})
    os.unlink(place.upper / "new/f")
    assert at_the_end(place) == {"new/f": "applied"}
    assert os.listdir(place.workspace / "new") == ["human"]


def test_what_was_made_and_removed_inside_goes_at_once(seen: Seen) -> None:
    upper = seen.place.upper
    seen.later({"new/f": "f\n", "new/g": "g\n", "h": "h\n", "a": "agent\n"})
    os.unlink(upper / "new/f")
    os.unlink(upper / "h")
    whiteout(upper, "h")
    os.unlink(upper / "a")
    whiteout(upper, "a")
    seen.later()
    assert [seen.host(name) for name in ("new/f", "new/g", "h", "a")] == [None, "g\n", None, "agent\n"]
    os.unlink(upper / "new/g")
    os.rmdir(upper / "new")
    whiteout(upper, "new")
    assert seen.later() == {"a"}
    assert not (seen.place.workspace / "new").exists()


def test_a_directory_that_no_whiteout_hides_goes_at_the_end(seen: Seen) -> None:
    seen.later({"d/new/f": "f\n", "d/new/below/g": "g\n"})
    shutil.rmtree(seen.place.upper / "d/new")
    assert seen.later() == {"d/new", "d/new/below"}
    assert (seen.host("d/new/f"), seen.host("d/new/below/g")) == (None, None)
    assert at_the_end(seen.place) == {"d/new": "applied", "d/new/below": "applied"}
    assert sorted(os.listdir(seen.place.workspace / "d")) == ["b", "keep"]


@pytest.mark.require("bubblewrap", "overlay")
def test_a_directory_that_shows_inside_once_more_can_be_replaced_there(seen: Seen) -> None:
    shell = Shell(seen.place)
    try:
        seen.later({"new/f": "f\n"})
        shutil.rmtree(seen.place.upper / "new")  # as if it had been removed just before the host got it: no whiteout
        assert shell("ls new") == "f\n"
        seen.later()
        assert shell("ls new; rm -rf new && ln -sT elsewhere new && readlink new") == "elsewhere\n"
    finally:
        shell.end()


def test_a_directory_renamed_inside_leaves_nothing_behind_but_the_host_s_edits(seen: Seen) -> None:
    seen.later({"new/f": "f\n", "new/g": "g\n"})
    write(seen.place.workspace, {"new/g": "human\n"})
    os.rename(seen.place.upper / "new", seen.place.upper / "other")
    seen.later()
    assert [seen.host(name) for name in ("other/f", "new/f", "new/g")] == ["f\n", None, "human\n"]


def test_what_vanishes_while_it_is_carried_over_does_not_stay(seen: Seen) -> None:
    write(seen.place.upper, {"temporary": "t\n", "other": "o\n"})
    seen.mirror.notice()

    def rules() -> Rules:  # asked for between the first look and the apply
        (seen.place.upper / "temporary").unlink()
        return Rules()

    seen.mirror._rules = rules
    seen.mirror.carry(time.monotonic() + 1)
    assert seen.host("temporary") is None
    assert seen.host("other") == "o\n"


def test_what_a_killed_supervisor_could_not_take_away_goes_at_the_end(place: Place) -> None:
    seen = Seen(place)
    seen.later({"new/f": "f\n", "new/g": "g\n"})
    seen.mirror.__exit__()
    os.unlink(place.upper / "new/f")
    assert at_the_end(place) == {"new/f": "applied"}
    assert os.listdir(place.workspace / "new") == ["g"]
    rollback(place.run)
    assert not (place.workspace / "new").exists()


def test_when_events_are_lost_everything_is_looked_at(seen: Seen) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    names = ("x", "y")
    for number in range(limit // 2 + 10):  # the kernel joins equal events only where they follow each other
        (seen.place.upper / names[number % 2]).write_text(str(number))
    (seen.place.upper / "last").write_text("last\n")
    while seen.mirror._watches.read().files:
        pass
    seen.mirror.scan("")
    seen.later()
    assert seen.host("last") == "last\n"


def test_too_many_directories_are_left_to_the_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "WATCH_LIMIT", 4)
    seen = Seen(place)
    write(place.upper, {f"n{number}/f": "x" for number in range(20)})
    seen.later()
    assert 1 <= sum((place.workspace / f"n{number}/f").exists() for number in range(20)) < 10
    at_the_end(place)
    assert all((place.workspace / f"n{number}/f").exists() for number in range(20))


def test_links_in_the_layer_lead_nowhere(seen: Seen, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write(outside, {"secret": "s3cret", "dir/f": "f"})
    upper = seen.place.upper
    (upper / "d").mkdir(exist_ok=True)
    (upper / "to").symlink_to(outside)
    (upper / "d/secret").symlink_to(outside / "secret")
    seen.later()
    (upper / "new").mkdir()
    seen.later({"new/f": "1\n"})
    os.rename(upper / "new", upper / "aside")
    (upper / "new").symlink_to(outside / "dir")
    seen.later()
    assert not (seen.place.workspace / "to").exists()
    assert seen.host("d/secret") is None
    assert (outside / "dir/f").read_text() == "f"


def test_links_of_the_host_are_not_followed(seen: Seen, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write(outside, {"f": "f"})
    (seen.place.workspace / "out").symlink_to(outside)
    (seen.place.workspace / "file").symlink_to(outside / "f")
    assert seen.later({"out/f": "evil", "out/g": "evil", "file": "evil"}) == set()
    assert without_times(snapshot(outside)) == {
        "": ("directory", stat.S_IMODE(outside.stat().st_mode), b""),
        "f": ("file", 0o644, b"f"),
    }


def test_special_bits_are_dropped_by_the_filter(seen: Seen) -> None:
    write(seen.place.upper, {"tool": "x"})
    os.chmod(seen.place.upper / "tool", 0o4755)
    assert seen.later() == set()


def test_it_waits_for_its_turn_and_needs_no_lock_of_the_run(seen: Seen) -> None:
    with lock(seen.place.run):  # as the run itself holds it
        assert seen.later({"a": "agent\n"}) == {"a"}
    with exclusive(seen.place.run):
        pass


def test_a_kill_while_carrying_is_settled_at_the_end(place: Place) -> None:
    write(place.upper, {"a": "agent\n", "new/f": "f\n"})
    before = snapshot(place.workspace)

    def killed() -> None:
        seen = Seen(place)
        seen.mirror.carry(time.monotonic() + live.REST_S)
        with open_host(place.run, no_step) as host:  # as the next batch would begin
            host.journal.plan(changes(place.run.upper, place.run.workspace)[:1])
        os._exit(9)

    in_child(killed)
    with open_host(place.run, no_step) as host:
        settle(host)
    at_the_end(place)
    assert (place.workspace / "a").read_text() == "agent\n"
    rollback(place.run)
    assert snapshot(place.workspace) == before


def test_a_watch_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    with Watches(10) as watches:
        fd = os.open(tmp_path, os.O_RDONLY)
        os.close(fd)
        with pytest.raises(FileNotFoundError):
            watches.add(fd, "gone")
        assert not watches.read().files


@pytest.mark.require("bubblewrap", "overlay")
def test_the_kernel_tells_of_what_is_done_through_the_overlay(place: Place) -> None:
    seen = Seen(place)
    place.contain(
        "sh",
        "-c",
        "echo more >> a; echo n > n; echo t > t; mv t d/b; mkdir new; echo f > new/f; mkdir -p e/e; echo f > e/e/f",
    )
    assert seen.later() == {"a", "n", "d/b", "new", "new/f", "e", "e/e", "e/e/f"}
    assert seen.host("a") == "a\nmore\n"


def test_somebody_who_looks_does_not_touch_the_journal_of_a_run_that_goes_on(seen: Seen) -> None:
    """`ringfence diff` and the like read it while a line is being written."""
    seen.later({"a": "agent\n"})
    with open(seen.place.run.journal, "ab") as journal:
        journal.write(b'{"step": "pl')
    before = Path(seen.place.run.journal).read_bytes()
    assert not interrupted(seen.place.run)
    assert live.corrected(changes(seen.place.run.upper, seen.place.run.workspace), seen.place.run) == []
    assert restored(seen.place.run) == {}
    assert Path(seen.place.run.journal).read_bytes() == before
