"""Our own directories and policy files, as the doctor sees them."""

from pathlib import Path

import pytest

from ringfence.report import hardening
from ringfence.sandbox.doctor import Status
from ringfence.session.shell_proxy import VARIABLES


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


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "http_proxy"])
def test_a_proxy_that_only_the_shell_names_is_said(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    (home / "project").mkdir()
    assert hardening.parent_proxy(str(home / "project")) == []
    monkeypatch.setenv(name, "http://me:hunter2@proxy.example:3128")
    (finding,) = hardening.parent_proxy(str(home / "project"))
    assert finding.status is Status.DEGRADED
    assert finding.detail.startswith(f"{name} of this shell is not used")
    assert 'parent-proxy = "http://proxy.example:3128"' in finding.remedy
    assert "hunter2" not in finding.detail + finding.remedy
    policy = home / ".config/ringfence/policy.toml"
    policy.parent.mkdir(parents=True)
    policy.write_text('version = 1\n[network]\nparent-proxy = "http://proxy.example:3128"\n')
    (finding,) = hardening.parent_proxy(str(home / "project"))
    assert (finding.status, "proxy.example:3128" in finding.detail) == (Status.OK, True)


def test_a_workspace_around_our_own_files_is_said(home: Path) -> None:
    (home / ".local/state/ringfence").mkdir(parents=True)
    found = [finding for finding in hardening.own_directories(str(home)) if finding.name == "workspace"]
    assert [finding.status for finding in found] == [Status.DEGRADED]
