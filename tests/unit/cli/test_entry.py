"""How an error of the command line is told: one line, what it is about, a remedy, and the status of its kind."""

import errno
import os

import pytest

from ringfence.cli import entry
from ringfence.model.errors import UsageError


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "/h/.local"), "`/h/.local`: Read-only file system"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (OSError("the pipe is gone"), "the pipe is gone"),
    ],
)
def test_what_the_machine_refuses_is_named(error: OSError, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    def call() -> int:
        raise error

    assert entry.guarded(call) == 3
    assert capsys.readouterr().err == (
        f"ringfence: this machine refused: {told}\n  hint: `ringfence doctor` tests this host\n"
    )


def test_an_error_of_ours_has_its_place_its_hint_and_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    def call() -> int:
        raise UsageError("unknown key `x\x1b[2J`", place="p.toml:3", hint="did you mean `y`?")

    assert entry.guarded(call) == 2
    said = capsys.readouterr().err
    assert said.startswith("ringfence: p.toml:3: unknown key `x") and said.endswith("  hint: did you mean `y`?\n")
    assert "\x1b" not in said


def test_what_is_interrupted_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def call() -> int:
        raise KeyboardInterrupt

    assert entry.guarded(call) == 130
    assert capsys.readouterr().err == ""
