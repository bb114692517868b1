"""Each boundary has a session keyring of its own, its commands have none, and an ordinary user has 200 keys at most.

Keys are counted by user, for all that this user runs. So each test is one that nobody else is: the tests beside it go
on having keys, and none of theirs is given back meanwhile.
"""

import ctypes
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ringfence import Sandbox
from ringfence.model.errors import SandboxError
from tests.house.sources import ROOT

pytestmark = pytest.mark.require("root", "bubblewrap", "userns")  # root has a million keys, and can be somebody else
TIMEOUT_S = 100
FIRST_USER, USERS = 20_000, 40_000
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
_numbers = itertools.count(os.getpid() * 10)


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


def build_without_a_key() -> None:
    """No boundary is built."""
    with no_key_left() as holder, Sandbox() as box, box.start(["true"]) as process:
        with pytest.raises(SandboxError):
            process.wait(TIMEOUT_S)
        assert b"keyring: Disk quota exceeded" in process.stderr.read()
        holder.communicate("end\n")


def build_with_the_next_key() -> None:
    """The next that is given back is taken."""
    with no_key_left() as holder, Sandbox() as box, box.start(["true"]) as process:
        with pytest.raises(TimeoutError):
            process.wait(0.3)
        holder.communicate("end\n")
        assert process.wait(TIMEOUT_S) == 0


def command(*, fresh: bool) -> None:
    """A command of a session needs none."""
    with Sandbox() as box, box.session() as session:
        session.run(["true"])
        with no_key_left() as holder:
            assert session.run(["echo", "on"], fresh=fresh).stdout == b"on\n"
            holder.communicate("end\n")


def somebody(place: Path, call: str) -> None:
    """Carry out a call of this module as a user who has no process yet, in directories of theirs."""
    user = FIRST_USER + next(_numbers) % USERS
    for name in ("home", "workspace"):
        (place / name).mkdir()
        os.chown(place / name, user, user)
    environment = {**os.environ, "HOME": str(place / "home"), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    environment = {name: value for name, value in environment.items() if not name.startswith("XDG_")}
    words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--", sys.executable, "-P", "-c"]
    words += [f"from tests.integration.test_keys import *; {call}"]
    done = subprocess.run(
        words, cwd=place / "workspace", env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 0, done.stderr


def test_where_no_key_is_left_no_boundary_is_built(open_path: Path) -> None:
    somebody(open_path, "build_without_a_key()")


def test_the_next_key_that_is_given_back_is_taken(open_path: Path) -> None:
    somebody(open_path, "build_with_the_next_key()")


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "shared"])
def test_commands_of_a_session_need_none(open_path: Path, fresh: bool) -> None:
    somebody(open_path, f"command(fresh={fresh})")
