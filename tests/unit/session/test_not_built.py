"""What is said where a system call of ours failed: the path, the reason, and what helps."""

import errno
import os
from pathlib import Path

import pytest

from ringfence.session.not_built import refused

DOCTOR = "`ringfence doctor` tests this host; `ringfence runs` lists what can still be applied"
ELSEWHERE = "point XDG_STATE_HOME at a directory that you may write to"


@pytest.mark.parametrize(
    ("number", "path", "hint"),
    [
        (errno.EACCES, "/h/.local", ELSEWHERE),
        (errno.EROFS, "/h/.local/state/ringfence", ELSEWHERE),
        (errno.EPERM, "/h/.local/state/ringfence/runs/1", ELSEWHERE),
        (errno.EACCES, "/h/.local/state/ringfences", DOCTOR),
        (errno.EACCES, "/h/.loc", DOCTOR),
        (errno.EACCES, None, DOCTOR),
        (errno.EIO, "/h/.local", DOCTOR),
    ],
)
def test_whose_place_it_is_decides_the_remedy(
    number: int, path: str | None, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/h/.local/state")
    why = os.strerror(number)
    found = refused(OSError(number, why, path))
    told = f"`{path}`: {why}" if path else why
    assert (str(found), found.hint) == (f"the boundary could not be built or was lost: {told}", hint)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named(number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    found = refused(OSError(number, os.strerror(number)))
    assert str(found).endswith(f"was lost: {os.strerror(number)}")
    assert found.hint.startswith(f"free some space where `{tmp_path}/ringfence` lies")


def test_what_has_no_number_is_told_as_it_is() -> None:
    assert str(refused(OSError("the pipe is gone"))).endswith("was lost: the pipe is gone")
