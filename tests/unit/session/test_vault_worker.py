"""What the vault's process says of its own errors: kind and place, never their text, which may quote a value."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ringfence.session.vault_worker import LOG_BYTES, placed

VALUE = "ghp_0123456789abcdefghij"


def quoting(depth: int) -> None:
    if depth:
        quoting(depth - 1)
    raise ValueError(f"cannot parse {VALUE}")


def said(depth: int) -> str:
    with pytest.raises(ValueError, match="cannot parse") as caught:
        quoting(depth)
    return placed(caught.type, caught.value.__traceback__)


def test_an_error_without_its_text() -> None:
    assert said(0).startswith("ValueError at test_vault_worker.py:")
    assert " quoting < " in said(0) and VALUE not in said(0) and "\n" not in said(0)


def test_of_a_deep_one_the_innermost_places() -> None:
    assert said(100).count(" < ") == 7 and VALUE not in said(100)


def test_what_is_said_again_and_again_takes_no_more_room(tmp_path: Path) -> None:
    """The newest stands where the descriptor does, which is where the supervisor reads."""
    program = """
import sys
from ringfence.session.vault_worker import say
for _ in range(4000):
    say(ValueError, None)
say(OSError, None)
"""
    with open(tmp_path / "log", "w+b") as log:
        subprocess.run(
            [sys.executable, "-c", program], stderr=log, check=True, env={"PYTHONPATH": os.pathsep.join(sys.path)}
        )
        said = os.pread(log.fileno(), os.lseek(log.fileno(), 0, os.SEEK_CUR), 0)
        assert os.fstat(log.fileno()).st_size <= LOG_BYTES
    assert said.endswith(b"OSError at \n")
