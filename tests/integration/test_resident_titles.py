"""Whoever ends the resident supervisor by its command line ends no run."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import paths
from tests.integration.resident_runs import Installation

pytestmark = pytest.mark.require("bubblewrap", "userns", "peer-pidfd")
WORD = b"ringfence-resident"


@pytest.fixture(params=["supervised", "pooled"])
def box(request: pytest.FixtureRequest, open_path: Path, home: Path) -> Iterator[Installation]:
    workspace = open_path / "workspace"
    workspace.mkdir()
    found = Installation(workspace, home, request.param)
    with paths.ended(found.state):
        yield found


def named_so(box: Installation) -> list[int]:
    """What `pkill -f` would find of this installation: its state directory is one of the words as well."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if WORD in words and os.fsencode(box.state) in words:
            found.append(int(name))
    return found


def test_a_run_goes_on(box: Installation) -> None:
    box.make_ready()
    with box.start(["sh", "-c", "echo begun; read line; echo $line"], stdin=subprocess.PIPE) as process:
        assert process.stdin and process.stdout and process.stdout.readline() == b"begun\n"
        # A fork has these words for a moment; the run's had them dropped before its command began.
        assert paths.wait_until(lambda: len(named_so(box)) == 1), named_so(box)
        (resident,) = named_so(box)
        os.kill(resident, signal.SIGTERM)
        output, error = process.communicate(b"still there\n", 60)
        assert (process.returncode, output, error) == (0, b"still there\n", b"")
