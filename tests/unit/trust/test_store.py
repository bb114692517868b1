"""The user's decisions: what counts, and what does not."""

import os
from pathlib import Path

import pytest

from ringfence.trust import store

DIGEST = "a" * 64


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "trust")


@pytest.fixture
def workspace(tmp_path: Path) -> str:
    directory = tmp_path / "project"
    directory.mkdir()
    return str(directory)


def decided(workspace: str, digest: str = DIGEST, *, time_ns: int = 1) -> store.Decision:
    inode = os.stat(workspace).st_ino
    return store.Decision(workspace=workspace, inode=inode, digest=digest, time_ns=time_ns, contents={"a": "b"})


def only_file(place: str) -> Path:
    (found,) = [path for path in Path(place).rglob("*") if path.is_file()]
    return found


def test_a_decision_counts_for_its_digest_only(place: str, workspace: str) -> None:
    assert not store.trusts(place, workspace, DIGEST)
    store.remember(place, decided(workspace))
    assert store.trusts(place, workspace, DIGEST)
    assert not store.trusts(place, workspace, "b" * 64)


def test_a_decision_counts_at_its_path_and_in_its_directory_only(place: str, workspace: str, tmp_path: Path) -> None:
    store.remember(place, decided(workspace))
    other = tmp_path / "other"
    other.mkdir()
    assert not store.trusts(place, str(other), DIGEST)
    Path(workspace).rename(tmp_path / "moved")
    assert not store.trusts(place, str(tmp_path / "moved"), DIGEST)
    other.rename(workspace)
    assert not store.trusts(place, workspace, DIGEST)


def test_a_decision_copied_to_another_workspace_counts_for_nothing(place: str, workspace: str, tmp_path: Path) -> None:
    store.remember(place, decided(workspace))
    other = tmp_path / "other"
    other.mkdir()
    store.remember(place, decided(str(other), "b" * 64))
    source = next(path for path in Path(place).rglob(DIGEST))
    target = next(path for path in Path(place).rglob("b" * 64)).parent / DIGEST
    target.write_bytes(source.read_bytes())
    target.chmod(0o600)
    assert not store.trusts(place, str(other), DIGEST)


def test_files_are_private_and_nothing_else_is_left(place: str, workspace: str) -> None:
    store.remember(place, decided(workspace))
    found = only_file(place)
    assert found.stat().st_mode & 0o777 == 0o600
    assert found.parent.stat().st_mode & 0o777 == 0o700 == Path(place).stat().st_mode & 0o777


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o644])
def test_a_file_that_others_could_have_written_counts_for_nothing(place: str, workspace: str, mode: int) -> None:
    store.remember(place, decided(workspace))
    only_file(place).chmod(mode)
    assert not store.trusts(place, workspace, DIGEST)


@pytest.mark.parametrize("depth", [0, 1])
def test_a_directory_that_others_may_write_to_counts_for_nothing(place: str, workspace: str, depth: int) -> None:
    store.remember(place, decided(workspace))
    (only_file(place).parent if depth else Path(place)).chmod(0o770)
    assert not store.trusts(place, workspace, DIGEST)


def test_a_link_counts_for_nothing(place: str, workspace: str, tmp_path: Path) -> None:
    store.remember(place, decided(workspace))
    found = only_file(place)
    found.rename(tmp_path / "elsewhere")
    found.symlink_to(tmp_path / "elsewhere")
    assert not store.trusts(place, workspace, DIGEST)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', "\xff"])
def test_what_cannot_be_understood_counts_for_nothing(place: str, workspace: str, text: str) -> None:
    store.remember(place, decided(workspace))
    only_file(place).write_bytes(text.encode("latin-1"))
    assert not store.trusts(place, workspace, DIGEST)
    assert store.decisions(place, workspace) == []


def test_a_decision_under_another_name_counts_for_nothing(place: str, workspace: str) -> None:
    store.remember(place, decided(workspace))
    only_file(place).rename(only_file(place).parent / ("c" * 64))
    assert store.decisions(place, workspace) == []


def test_revoking_forgets_all_of_a_workspace(place: str, workspace: str) -> None:
    for number in range(3):
        store.remember(place, decided(workspace, f"{number}" * 64, time_ns=number))
    assert store.revoke(place, workspace) == 3
    assert store.revoke(place, workspace) == 0
    assert not store.trusts(place, workspace, "1" * 64)


def test_the_latest_come_first_and_the_oldest_go(place: str, workspace: str) -> None:
    for number in range(store.KEPT + 2):
        store.remember(place, decided(workspace, f"{number:064x}", time_ns=number))
    times = [one.time_ns for one in store.decisions(place, workspace)]
    assert times == list(range(store.KEPT + 1, 1, -1))


def test_names_that_are_not_utf8_can_be_kept(place: str, workspace: str) -> None:
    name = store.printable(os.fsdecode(b"a\xff"))
    assert name == "a\\xff"
