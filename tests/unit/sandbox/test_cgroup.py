"""Joining control groups: whoever says that it joins by itself is believed only when it is seen inside."""

import os
from pathlib import Path

import pytest

from ringfence.sandbox import cgroup


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """A directory with the files of a group of version 1, into which writing moves nobody."""
    (tmp_path / "cgroup.procs").write_text("")
    (tmp_path / "tasks").write_text("")
    return tmp_path


def test_one_that_joined_is_left_alone(group: Path) -> None:
    (group / "cgroup.procs").write_text("7\n123\n")
    cgroup.Joining([str(group)], 7, joins=True).finish(123)
    assert (group / "cgroup.procs").read_text() == "7\n123\n"


def test_one_that_did_not_join_is_moved(group: Path) -> None:
    (group / "cgroup.procs").write_text("7\n12\n")
    cgroup.Joining([str(group)], 7, joins=True).finish(123)
    assert (group / "cgroup.procs").read_text().startswith("123")


def test_every_group_counts(group: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "cgroup.procs").write_text("")
    (group / "cgroup.procs").write_text("123\n")
    cgroup.Joining([str(group), str(other)], 7, joins=True).finish(123)
    assert (other / "cgroup.procs").read_text() == "123"


@pytest.mark.parametrize("joins", [True, False])
def test_what_cannot_be_joined_ends_the_run(tmp_path: Path, joins: bool) -> None:
    joining = cgroup.Joining([str(tmp_path / "gone")], os.getpid(), joins=joins)
    with pytest.raises(OSError, match="gone"):
        joining.finish(os.getpid())


def test_only_groups_of_version_1_can_be_joined_without_waiting(
    group: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    second = tmp_path_factory.mktemp("second")
    (second / "cgroup.procs").write_text("")
    assert cgroup.tasks([str(group), str(second)]) == [f"{group}/tasks"]
