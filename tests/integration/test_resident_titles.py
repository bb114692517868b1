"""Whoever ends the resident supervisor by its command line ends no run."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import paths
from tests.integration.resident_runs import TIMEOUT_S, Installation

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
    server = paths.server(box.state)
    with box.begin(
        ["sh", "-c", "echo begun; read line; echo $line"], said=b"begun\n", stdin=subprocess.PIPE
    ) as process:
        # A fork has these words for a moment; the run's had them dropped before its command began.
        assert paths.wait_until(lambda: named_so(box) == [server]), named_so(box)
        os.kill(server, signal.SIGTERM)
        output, error = process.communicate(b"still there\n", TIMEOUT_S)
        assert (process.returncode, output, error) == (0, b"still there\n", b"")
