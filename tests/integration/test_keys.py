"""Each boundary has a session keyring of its own, its commands have none, and an ordinary user has 200 keys at most."""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ringfence import Sandbox
from ringfence.model.errors import SandboxError

pytestmark = [
    pytest.mark.require("bubblewrap", "userns"),
    pytest.mark.skipif(os.getuid() == 0, reason="root has a million keys"),
]
TAKE_ALL = """
import ctypes, itertools, select, sys
add_key = ctypes.CDLL(None, use_errno=True).syscall
numbers = itertools.count()
said = False
while not select.select([sys.stdin], [], [], 0.001)[0]:  # those of processes that ended are given back a while later
    while add_key(248, b"keyring", b"%d" % next(numbers), None, 0, -2) >= 0:  # KEY_SPEC_PROCESS_KEYRING
        pass
    said = said or print(ctypes.get_errno(), flush=True) or True
"""
EDQUOT = 122
KEYCTL, JOIN_SESSION_KEYRING = 250, 1


@contextmanager
def no_key_left() -> Iterator[subprocess.Popen[str]]:
    """A process that holds all that are to be had, until it is told something.

    We get a session keyring first, as a login gives one: who has none may overrun the quota by it.
    """
    ctypes.CDLL(None).syscall(KEYCTL, JOIN_SESSION_KEYRING, None)
    words = [sys.executable, "-c", TAKE_ALL]
    with subprocess.Popen(words, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == f"{EDQUOT}\n"
        yield holder


def test_where_no_key_is_left_no_boundary_is_built(open_path: Path) -> None:
    with no_key_left() as holder, Sandbox(directory=open_path) as box, box.start(["true"]) as process:
        with pytest.raises(SandboxError):
            process.wait(20)
        assert b"keyring: Disk quota exceeded" in process.stderr.read()
        holder.communicate("end\n")


def test_the_next_key_that_is_given_back_is_taken(open_path: Path) -> None:
    time.sleep(0.5)  # those of an earlier test are given back one after the other
    with no_key_left() as holder, Sandbox(directory=open_path) as box, box.start(["true"]) as process:
        with pytest.raises(TimeoutError):
            process.wait(0.7)
        holder.communicate("end\n")
        assert process.wait(20) == 0


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "shared"])
def test_commands_of_a_session_need_none(open_path: Path, fresh: bool) -> None:
    time.sleep(0.5)
    with Sandbox(directory=open_path) as box, box.session() as session:
        session.run(["true"])
        with no_key_left() as holder:
            assert session.run(["echo", "on"], fresh=fresh).stdout == b"on\n"
            holder.communicate("end\n")
