"""While a program still tries to look up a name, somebody who looks on is told that the network is off."""

import os
import pty
import select
import subprocess
import time
import tty
from typing import Any

import pytest

from ringfence.session.wiring import HINT_S, NO_NETWORK, Kept, Recorder, paints
from tests.e2e.commands import Commands

pytestmark = pytest.mark.require("bubblewrap", "userns", "overlay")

LIMIT_S = 60.0
WAITS = "getent hosts host.example; read line; echo $line"


def begun(ringfence: Commands, *options: str) -> subprocess.Popen[bytes]:
    """A run whose command looks up a name and then waits for a line."""
    become: dict[str, Any] = {}
    if ringfence.account.pw_uid != os.geteuid():
        become = {"user": ringfence.account.pw_uid, "group": ringfence.account.pw_gid, "extra_groups": []}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    words = ringfence.words("run", *options, "--", "sh", "-c", WAITS)
    return subprocess.Popen(words, cwd=ringfence.workspace, env=ringfence.environment, **pipes, **become)  # type: ignore[call-overload,no-any-return]  # what Popen takes


def test_it_is_said_while_the_command_goes_on(ringfence: Commands) -> None:
    with begun(ringfence, "-v") as process:
        assert process.stderr
        assert select.select([process.stderr], [], [], LIMIT_S)[0]
        assert process.stderr.readline().decode().strip() == NO_NETWORK
        output, rest = process.communicate(b"told\n", LIMIT_S)
    assert output == b"told\n" and rest.count(b"the network is off") == 1  # the last line, with how to see all


def test_nobody_is_told_who_does_not_look_on(ringfence: Commands) -> None:
    with begun(ringfence) as process:
        assert process.stderr
        assert not select.select([process.stderr], [], [], HINT_S + 1)[0]
        assert process.communicate(b"\n", LIMIT_S)[1] == b""


def said_by(delay_s: float, *, ended: bool = False) -> list[str]:
    kept = Kept()
    said: list[str] = []
    kept.notice = said.append
    record = Recorder("r", ("never", 1 << 20), kept)
    record.going_on.acquire()
    if ended:
        record.close()
    record.hint(delay_s)
    return said


def test_a_run_that_is_over_is_told_nothing() -> None:
    began = time.monotonic()
    assert said_by(LIMIT_S, ended=True) == []
    assert time.monotonic() - began < LIMIT_S / 2
    assert said_by(0.01) == [NO_NETWORK]


def test_a_program_that_paints_the_screen_is_not_disturbed() -> None:
    person, line = pty.openpty()
    try:
        assert not paints(line)
        tty.setraw(line)
        assert paints(line)
    finally:
        os.close(person)
        os.close(line)
