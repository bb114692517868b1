"""Edits of the host while a run was going on: found per path, never overwritten unless the operator names them."""

import os
import stat
from pathlib import Path

import pytest

from ringfence.workspace.apply import apply
from ringfence.workspace.rollback import rollback
from tests.trees import Place, outcomes, snapshot, write

pytestmark = pytest.mark.require("overlay", "bubblewrap")

APPEND = "for name in *.txt; do echo agent >> $name; done"


def applied(place: Place, *overwrite: str) -> dict[str, str]:
    return outcomes(apply(place.run, place.unfiltered(), overwrite=frozenset(overwrite)))


def test_without_an_edit_nothing_is_in_the_way(tmp_path: Path) -> None:
    place = Place(tmp_path, {"a.txt": "one\n", "d/b": "b\n"})
    place.contain("sh", "-c", APPEND + "; echo x > d/new; chmod 600 d/b; mv d/b d/c")
    assert set(applied(place).values()) == {"applied"}
    assert (place.workspace / "a.txt").read_text() == "one\nagent\n"


@pytest.mark.parametrize("how", ["in place", "by rename", "by an older file", "with the old times", "as a link"])
def test_an_edit_is_found_however_it_was_made(tmp_path: Path, how: str) -> None:
    place = Place(tmp_path, {"a.txt": "one\n", "b.txt": "one\n", "old": "old\n"})
    place.contain("sh", "-c", APPEND)
    host = place.workspace / "a.txt"
    before = host.stat()
    if how == "in place":
        host.write_text("human\n")
    elif how == "by rename":
        (place.workspace / "tmp").write_text("human\n")
        os.rename(place.workspace / "tmp", host)
    elif how == "by an older file":
        os.rename(place.workspace / "old", host)
    elif how == "as a link":
        host.unlink()
        host.symlink_to("b.txt")
    else:
        host.write_text("two\n")
        os.utime(host, ns=(before.st_atime_ns, before.st_mtime_ns))
    expected = os.readlink(host) if host.is_symlink() else host.read_text()
    assert applied(place)["a.txt"] == "conflict"
    assert (os.readlink(host) if host.is_symlink() else host.read_text()) == expected
    assert (place.workspace / "b.txt").read_text() == "one\nagent\n"


def test_what_the_host_brought_to_the_same_content_is_no_conflict(tmp_path: Path) -> None:
    place = Place(tmp_path, {"a.txt": "one\n"})
    place.contain("sh", "-c", APPEND)
    (place.workspace / "a.txt").write_text("one\nagent\n")
    assert applied(place) == {}


def test_a_file_that_the_host_removed_stays_removed(tmp_path: Path) -> None:
    place = Place(tmp_path, {"a.txt": "one\n", "d/b": "b\n"})
    place.contain("sh", "-c", APPEND + "; echo agent >> d/b; echo new > fresh")
    (place.workspace / "a.txt").unlink()
    (place.workspace / "d/b").unlink()
    (place.workspace / "d").rmdir()
    assert applied(place) == {"a.txt": "conflict", "d/b": "conflict", "fresh": "applied"}
    assert os.listdir(place.workspace) == ["fresh"]
    assert applied(place, "a.txt")["a.txt"] == "applied"
    assert (place.workspace / "a.txt").read_text() == "one\nagent\n"


def test_a_file_renamed_inside_is_not_taken_for_a_removed_one(tmp_path: Path) -> None:
    place = Place(tmp_path, {"a.txt": "one\n", "l.txt": "l\n"})
    place.contain("sh", "-c", "mv a.txt b.txt; echo more >> b.txt; ln l.txt hard; echo +l >> hard")
    found = applied(place)
    assert found == {"a.txt": "applied", "b.txt": "applied", "hard": "applied", "l.txt": "applied"}


def test_where_a_file_may_have_been_renamed_inside_a_removed_one_comes_back(tmp_path: Path) -> None:
    place = Place(tmp_path, {"a.txt": "one\n", "b": "b\n"})
    place.contain("sh", "-c", APPEND + "; rm b")
    (place.workspace / "a.txt").unlink()
    assert applied(place) == {"a.txt": "applied", "b": "applied"}


def test_a_directory_that_the_host_moved_is_not_made_anew(tmp_path: Path) -> None:
    place = Place(tmp_path, {"d/b": "b\n", "d/sub/c": "c\n", "e/x": "x\n"})
    place.contain("sh", "-c", "echo agent >> d/b; chmod 700 d/sub; chmod 755 d/sub; echo new > e/y")
    os.rename(place.workspace / "d", place.workspace / "moved")
    assert applied(place) == {"d/b": "conflict", "e/y": "applied"}
    assert sorted(os.listdir(place.workspace)) == ["e", "moved"]


def test_the_operator_may_prefer_the_run_s_version_and_get_the_host_s_back(tmp_path: Path) -> None:
    place = Place(tmp_path, {"a.txt": "one\n", "b.txt": "one\n", "gone": "one\n"})
    place.contain("sh", "-c", APPEND + "; rm gone")
    for name in ("a.txt", "b.txt", "gone"):
        (place.workspace / name).write_text("human\n")
    between = snapshot(place.workspace)
    expected = {"a.txt": "conflict", "b.txt": "conflict", "gone": "conflict"}
    assert applied(place) == expected
    assert snapshot(place.workspace) == between
    assert applied(place, "a.txt", "gone") == dict.fromkeys(expected, "applied") | {"b.txt": "conflict"}
    assert (place.workspace / "a.txt").read_text() == "one\nagent\n"
    assert (place.workspace / "b.txt").read_text() == "human\n"
    assert not (place.workspace / "gone").exists()
    rollback(place.run)
    assert snapshot(place.workspace) == between


def test_applying_again_after_a_rollback_is_no_conflict(tmp_path: Path) -> None:
    place = Place(tmp_path, {"a.txt": "one\n", "gone": "g\n"})
    place.contain("sh", "-c", APPEND + "; rm gone; echo n > new; chmod 640 new")
    for _ in range(3):
        assert set(applied(place).values()) == {"applied"}
        assert stat.S_IMODE((place.workspace / "new").stat().st_mode) == 0o640
        assert set(outcomes(rollback(place.run)).values()) == {"applied"}
    write(place.workspace, {"a.txt": "human"})
    assert applied(place)["a.txt"] == "conflict"
