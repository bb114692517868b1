"""A snapshot: what a run had changed at one moment, looked at, applied and taken back like a run."""

import os
import stat
from pathlib import Path

import pytest

from ringfence.model.errors import UsageError
from ringfence.workspace import overlay, runs
from ringfence.workspace.apply import apply
from ringfence.workspace.rollback import rollback
from ringfence.workspace.runs import State
from ringfence.workspace.snapshot import snapshot as keep
from tests.trees import Place, opaque, outcomes, snapshot, whiteout, write

FILES: dict[str, str | bytes | None] = {"a": "a\n", "gone": "g\n", "d/x": "x\n", "d/y": "y\n"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path, FILES)
    write(made.upper, {"a": "agent\n", "new/deep/f": "f\n", "link": "-> a", "n\udcff\n": b"\0\xff"})
    whiteout(made.upper, "gone")
    opaque(made.upper, "d")
    write(made.upper, {"d/x": "x\n"})
    os.chmod(made.upper / "new/deep/f", 0o750)
    os.chmod(made.upper / "new", 0o555)
    os.mkfifo(made.upper / "pipe")
    return made


def copied(place: Place, name: str = "point") -> Place:
    """Give a place whose run is a snapshot of the other's."""
    other = object.__new__(Place)
    other.workspace, other.runs, other.run = place.workspace, place.runs, keep(place.run, name)
    return other


def test_it_holds_exactly_what_the_run_had(place: Place) -> None:
    before = overlay.changes(place.run.upper, place.run.workspace)
    point = copied(place)
    assert overlay.changes(point.run.upper, point.run.workspace) == [c for c in before if c.path != "pipe"]
    assert (point.run.state, point.run.of, point.run.workspace) == (State.ENDED, place.run.run, place.run.workspace)
    assert stat.S_IMODE(os.stat(point.run.directory).st_mode) == 0o700


def test_what_the_run_does_later_is_not_in_it(place: Place) -> None:
    point = copied(place)
    write(place.upper, {"a": "later\n", "later": "l\n"})
    found = outcomes(apply(point.run, point.unfiltered()))
    assert found["a"] == "applied"
    assert (place.workspace / "a").read_text() == "agent\n"
    assert not (place.workspace / "later").exists()


def test_it_is_applied_and_rolled_back_on_its_own(place: Place) -> None:
    before = snapshot(place.workspace)
    point = copied(place)
    assert set(outcomes(apply(point.run, point.unfiltered())).values()) == {"applied"}
    rollback(point.run)
    assert snapshot(place.workspace) == before


def test_going_back_and_forth_between_points_is_no_conflict(place: Place) -> None:
    """What a rollback put back counts with the time that it had before."""
    first = copied(place, "first")
    write(place.upper, {"a": "later\n"})
    before = snapshot(place.workspace)
    os.unlink(place.upper / "pipe")
    for run in (place, first, place, first):
        found = outcomes(apply(run.run, run.unfiltered()))
        assert set(found.values()) == {"applied"}, found
        rollback(run.run)
        assert snapshot(place.workspace) == before
    write(place.workspace, {"a": "human\n"})
    assert outcomes(apply(first.run, first.unfiltered()))["a"] == "conflict"


def test_an_edit_before_another_run_s_apply_stays_a_conflict(place: Place) -> None:
    """A rollback of something else does not launder an edit that came after this run's start."""
    other = object.__new__(Place)
    other.workspace, other.runs = place.workspace, place.runs
    write(place.workspace, {"a": "human\n"})
    other.run = place.begin()
    write(other.upper, {"a": "other\n"})
    assert outcomes(apply(other.run, other.unfiltered())) == {"a": "applied"}
    rollback(other.run)
    assert outcomes(apply(place.run, place.unfiltered()))["a"] == "conflict"
    assert (place.workspace / "a").read_text() == "human\n"


def test_a_live_run_can_be_copied_and_stays_alive(place: Place) -> None:
    with runs.lock(place.run):
        point = copied(place)
        assert runs.is_live(place.run)
    assert not runs.is_live(point.run)


@pytest.mark.parametrize("name", ["2025", "-x", "a/b", "..", "a b", "a\n", "x" * 65, ".hidden"])
def test_names_that_are_none(place: Place, name: str) -> None:
    with pytest.raises(UsageError, match="no name"):
        keep(place.run, name)


def test_a_name_that_is_taken(place: Place) -> None:
    keep(place.run, "point")
    with pytest.raises(UsageError, match="already"):
        keep(place.run, "point")
    assert keep(place.run).run != keep(place.run).run


def test_nothing_is_left_of_one_that_fails(place: Place) -> None:
    os.chmod(place.upper / "new", 0o755)
    (place.upper / "new/unreadable").mkdir(mode=0)
    if os.geteuid() == 0:
        pytest.skip("root reads every directory")
    with pytest.raises(PermissionError):
        keep(place.run, "point")
    assert os.listdir(place.runs) == [place.run.run]


def test_it_outlives_expiry_until_it_is_discarded(place: Place) -> None:
    point = copied(place)
    apply(point.run, point.unfiltered())
    assert runs.expire(place.runs, keep=0) == []
    runs.discard(runs.load(point.run.directory))
    assert runs.expire(place.runs, keep=0) == ["point"]


def test_links_in_a_layer_are_copied_and_not_followed(place: Place, tmp_path: Path) -> None:
    write(tmp_path / "outside", {"secret": "s3cret"})
    (place.upper / "to").symlink_to(tmp_path / "outside")
    point = copied(place)
    assert os.readlink(point.upper / "to") == str(tmp_path / "outside")


@pytest.mark.require("overlay", "bubblewrap")
def test_a_layer_of_the_kernel_s(tmp_path: Path) -> None:
    place = Place(tmp_path, FILES)
    place.contain("sh", "-c", "echo more >> a; rm gone; rm -r d; mkdir d; echo n > d/n; chmod 700 d; ln a hard")
    before = overlay.changes(place.run.upper, place.run.workspace)
    point = copied(place)
    plain = overlay.changes(point.run.upper, point.run.workspace)
    assert [(c.path, c.kind, c.mode) for c in plain] == [(c.path, c.kind, c.mode) for c in before]
