"""Progress: one line after a second, on a terminal, for the command line, and gone when it is done."""

import os
import pty
import re
import select
import subprocess
import sys
import time

import pyte
import pytest

from tests.house.sources import ROOT

WAIT_S = 60.0
WORK = """
import signal, sys, time
{cli}
from ringfence.session import progress
done = []
print("begin", file=sys.stderr, flush=True)
began = time.monotonic()
with progress.shown("counting", lambda: f"{{len(done)}} of 3,"):
    done.append(1)
    time.sleep({seconds})
took = time.monotonic() - began
assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
print("end", file=sys.stderr, flush=True)
print("took", took)
"""
CLI = "import ringfence.cli"


def seen(cli: str, seconds: float, term: str = "xterm") -> tuple[list[str], list[str]]:
    """Every state of the second line of a terminal while the work is done in it, and the first three in the end."""
    ours, theirs = pty.openpty()
    screen = pyte.Screen(60, 4)
    stream = pyte.ByteStream(screen)
    states: list[str] = []
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", sys.executable, "-c", WORK.format(cli=cli, seconds=seconds)],
        env={"PATH": os.environ["PATH"], "TERM": term, "PYTHONPATH": str(ROOT / "src")},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(ours, 4096)
            except OSError:
                break  # EIO: the other end has been closed
            if not data:
                break
            for number in data:  # what is drawn and what takes it away can come in one piece
                stream.feed(bytes((number,)))
                states.append(screen.display[1].strip())
        assert process.wait(WAIT_S) == 0
    os.close(ours)
    return states, [line.strip() for line in screen.display[:3]]


def test_a_line_appears_after_a_second_and_is_taken_away() -> None:
    states, left = seen(CLI, 1.6)
    assert any(re.fullmatch("ringfence: counting: 1 of 3, [1-9][0-9]* s", state) for state in states)
    assert left[:2] == ["begin", "end"]


@pytest.mark.parametrize(("cli", "seconds", "term"), [(CLI, 0.2, "xterm"), ("", 1.4, "xterm"), (CLI, 1.4, "dumb")])
def test_nothing_is_shown(cli: str, seconds: float, term: str) -> None:
    states, left = seen(cli, seconds, term)
    is_late = float(left[2].split()[1]) >= 1 > seconds  # the machine stood still meanwhile
    assert is_late or not [state for state in states if "counting" in state]
    assert left[:2] == ["begin", "end"]


def test_nothing_is_written_to_what_is_no_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORK.format(cli=CLI, seconds=1.4)],
        env={"PATH": os.environ["PATH"], "TERM": "xterm", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert (done.returncode, done.stderr) == (0, "begin\nend\n")
