"""Which program contains an agent's commands, where it is asked to."""

import sys
from pathlib import Path

import pytest

from ringfence.cli.hook import containing


def test_it_is_the_one_beside_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that was not activated is not on the agent's PATH, and a PATH may name another one."""
    monkeypatch.setattr(sys, "argv", [f"{tmp_path}/ringfence-python", "hook"])
    assert containing() == "ringfence"
    (tmp_path / "ringfence").touch(mode=0o644)
    assert containing() == "ringfence"
    (tmp_path / "ringfence").chmod(0o755)
    assert containing() == f"{tmp_path}/ringfence"


@pytest.mark.parametrize("called", ["-c", "", "ringfence-python", "./ringfence-python"])
def test_where_that_is_not_known_it_is_its_name(called: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ringfence").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [called, "hook"])
    assert containing() == "ringfence"
