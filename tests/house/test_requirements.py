"""Positive controls for what tests ask of the machine, and for the home that each of them gets."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import requirements

ABSENT = "no-such-program-anywhere"


def test_what_is_missing_skips_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RINGFENCE_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"`{ABSENT}` is not on PATH"):
        requirements.require("sh", ABSENT)


def test_what_is_demanded_fails_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGFENCE_REQUIRE", f"git, {ABSENT}")
    with pytest.raises(pytest.fail.Exception, match="RINGFENCE_REQUIRE names"):
        requirements.require(ABSENT)


def test_what_only_root_has_skips_for_an_ordinary_user_even_if_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGFENCE_REQUIRE", "root")
    if os.geteuid() == 0:
        requirements.require("root")
    else:
        with pytest.raises(pytest.skip.Exception):
            requirements.require("root")


def test_what_is_there_is_given(require: Callable[..., None]) -> None:
    require("sh")


@pytest.mark.require(ABSENT)
def test_the_marker_skips() -> None:
    pytest.fail("the marker did not skip")


def test_the_home_is_empty_and_not_the_real_one(home: Path) -> None:
    assert Path.home() == home
    assert [path.name for path in home.iterdir()] == [".run"]
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"):
        assert home in Path(os.environ[name]).parents


def test_another_user_reaches_the_open_path(open_path: Path, ordinary_user: str) -> None:
    (open_path / "note").write_text("here")
    command = ["runuser", "-u", ordinary_user, "--", "cat", str(open_path / "note")]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout == "here"
