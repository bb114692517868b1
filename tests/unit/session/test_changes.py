"""Which changes are meant, and under which terms they are judged."""

import os
from pathlib import Path

import pytest

from ringfence.model.errors import HostError, UsageError
from ringfence.model.paths import HostPath
from ringfence.session import changes, places
from ringfence.session.wiring import TERMS
from ringfence.workspace import layout, runs
from ringfence.workspace.change import Change, ChangeKind, FileType, Reviewed


def reviewed(path: str, kind: ChangeKind = ChangeKind.CREATE) -> Reviewed:
    return Reviewed(change=Change(path=path, kind=kind, type=FileType.FILE))


@pytest.mark.parametrize(
    ("path", "names", "chosen"),
    [
        ("a", ["a"], True),
        ("a/b", ["a"], True),
        ("ab", ["a"], False),
        ("a", ["a/b"], True),  # makes the directory that `a/b` is in
        ("b", ["a"], False),
    ],
)
def test_a_name_stands_for_itself_what_is_below_and_the_way_there(path: str, names: list[str], chosen: bool) -> None:
    assert changes.is_chosen(reviewed(path), names) is chosen


def test_a_directory_is_not_removed_for_the_sake_of_what_was_in_it() -> None:
    assert not changes.is_chosen(reviewed("a", ChangeKind.DELETE), ["a/b"])


def test_a_release_includes_the_directories_above() -> None:
    assert changes.with_parents(["a/b/c", "d"]) == {"a", "a/b", "a/b/c", "d"}


def make(tmp_path: Path, run: str) -> None:
    layout.create(places.runs(), workspace=str(tmp_path), argv0="true", run=run).release()


def test_a_run_is_found_by_its_beginning_or_as_the_latest(tmp_path: Path) -> None:
    for run in ("20250101-000000-aaaaaa", "20250102-000000-bbbbbb"):
        make(tmp_path, run)
    assert changes.find("20250101", "/elsewhere").run.endswith("aaaaaa")
    assert changes.find("", str(tmp_path)).run.endswith("bbbbbb")
    with pytest.raises(UsageError, match="fits 2 runs"):
        changes.find("2025", str(tmp_path))
    with pytest.raises(UsageError, match="has left changes"):
        changes.find("", "/elsewhere")


def test_terms_that_were_damaged_are_not_replaced_by_others(tmp_path: Path) -> None:
    make(tmp_path, "20250101-000000-aaaaaa")
    run = runs.load(HostPath(f"{places.runs()}/20250101-000000-aaaaaa"))
    Path(run.directory, TERMS).write_text("{}")
    with pytest.raises(HostError, match="cannot be read"):
        changes.terms(run)


def test_a_run_that_is_going_on_cannot_be_applied(tmp_path: Path) -> None:
    created = layout.create(places.runs(), workspace=str(tmp_path), argv0="true")
    try:
        with pytest.raises(HostError, match="still going on"):
            changes.apply_changes(runs.load(HostPath(created.directory)))
    finally:
        os.close(created.lock_fd)
