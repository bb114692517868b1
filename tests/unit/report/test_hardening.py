"""Our own directories and policy files, as the doctor sees them."""

from pathlib import Path

import pytest

from ringfence.report import hardening
from ringfence.sandbox.doctor import Status


def test_a_directory_that_is_not_there_yet_is_fine(tmp_path: Path) -> None:
    assert hardening.private_directory("cache", str(tmp_path / "none")).status is Status.OK


@pytest.mark.parametrize(("mode", "status"), [(0o700, Status.OK), (0o755, Status.OK), (0o777, Status.DEGRADED)])
def test_a_directory_that_others_may_write_to_is_not(tmp_path: Path, mode: int, status: Status) -> None:
    tmp_path.chmod(mode)
    found = hardening.private_directory("cache", str(tmp_path))
    assert found.status is status
    assert bool(found.remedy) == (status is not Status.OK)


def test_a_policy_that_is_wrong_is_named(tmp_path: Path) -> None:
    (tmp_path / "ringfence.toml").write_text("version = 1\n[limits]\nmemory = true\n")
    (finding,) = hardening.policy_files(str(tmp_path))
    assert finding.status is Status.MISSING
    assert f"{tmp_path}/ringfence.toml:3" in finding.detail


def test_policy_files_in_force_are_listed(tmp_path: Path) -> None:
    (tmp_path / "ringfence.toml").write_text("version = 1\n")
    (finding,) = hardening.policy_files(str(tmp_path))
    assert (finding.status, finding.detail) == (Status.OK, f"{tmp_path}/ringfence.toml")


def test_a_workspace_around_our_own_files_is_said(home: Path) -> None:
    (home / ".local/state/ringfence").mkdir(parents=True)
    found = [finding for finding in hardening.own_directories(str(home)) if finding.name == "workspace"]
    assert [finding.status for finding in found] == [Status.DEGRADED]
