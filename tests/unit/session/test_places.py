"""Where ringfence's own files are: XDG variables, the home, and root with the home of somebody else."""

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.session import places

WRITTEN: tuple[Callable[[], str], ...] = (places.state, places.cache, places.trust, places.audit)


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home, and nothing that says where things are but it."""
    for name in ("STATE", "CACHE", "DATA", "CONFIG"):
        monkeypatch.delenv(f"XDG_{name}_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def owned_by(monkeypatch: pytest.MonkeyPatch, home: Path, uid: int) -> None:
    real = os.stat
    there = os.stat_result((0o040700, 1, 1, 1, uid, uid, 0, 0, 0, 0))
    monkeypatch.setattr(os, "stat", lambda path, **more: there if path == str(home) else real(path, **more))


def test_everything_lies_in_the_home(unset: Path) -> None:
    assert [place().startswith(f"{unset}/.") for place in (*WRITTEN, places.user_policy)] == [True] * 5


def test_variables_move_what_they_name(unset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert places.audit() == "/elsewhere/ringfence/audit"
    assert places.cache() == f"{unset}/.cache/ringfence"


@pytest.mark.parametrize(
    ("root", "owner", "own"), [(True, 1001, True), (True, 0, False), (True, 65534, False), (False, 1001, False)]
)
def test_root_writes_nothing_into_the_home_of_another(
    unset: Path, monkeypatch: pytest.MonkeyPatch, root: bool, owner: int, own: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else owner)
    owned_by(monkeypatch, unset, owner)
    expected = pwd.getpwuid(os.getuid()).pw_dir if own else str(unset)
    assert [place().startswith(f"{expected}/.") for place in WRITTEN] == [True] * len(WRITTEN)
    assert places.user_policy() == f"{unset}/.config/ringfence/policy.toml"  # what its owner forbids stays forbidden
