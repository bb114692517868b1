"""Which signals are recorded: those to processes of the host, and not those to what has ended inside."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.sources import ROOT

pytestmark = pytest.mark.require("bubblewrap", "userns")
RINGFENCE = "from ringfence.cli.entry import main; main()"
# Most numbers below 100 belong to the host's own first processes. As git does with its filters and a shell with its
# jobs, children are signalled once more after their end; others, which were started later, still live.
ENDED = """
import os, signal, subprocess
children = [subprocess.Popen(["true"], start_new_session=True) for turn in range(90)]
for child in children:
    child.wait()
later = subprocess.Popen(["sleep", "60"])
for child in children:
    for call in (os.kill, os.killpg):
        try:
            call(child.pid, signal.SIGTERM)
        except OSError:
            pass
later.kill()
"""
OUTSIDE = """
import os, sys
try:
    os.kill(int(sys.argv[1]), 0)
except OSError:
    pass
"""


def refused(workspace: Path, *words: str) -> list[str]:
    """What a run is recorded to have signalled."""
    argv = [sys.executable, "-c", RINGFENCE, "run", "--", "/usr/bin/python3", "-I", "-c", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(argv, cwd=workspace, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    audit = Path(os.environ["XDG_STATE_HOME"]) / "ringfence/audit/audit.jsonl"
    records = [json.loads(line) for line in audit.read_text().splitlines()]
    return [one["fields"]["target"] for one in records if one["code"] == "signal-denied"]


def test_what_has_ended_inside_is_no_process_outside(tmp_path: Path) -> None:
    assert refused(tmp_path, ENDED) == []


def test_a_process_of_the_host_is(tmp_path: Path) -> None:
    assert refused(tmp_path, OUTSIDE, str(os.getpid())) == [f"pid {os.getpid()}"]
