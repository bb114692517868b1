"""A sample of the suites about security and everyday work on every path but the cold one; scripts/paths runs them all.

Posture is read from /proc, and compared with the Plan, where a boundary was built before it was asked for and where it
serves many commands. The attacks are those on what differs there: survivors, descriptors, namespaces, IPC.
"""

import os
import subprocess
import sys

import pytest

from tests.house.sources import ROOT

POSTURE = (
    "posture/test_process.py",
    "posture/test_view.py",
    "posture/test_kernel_limits.py",
    "posture/test_promises.py",
)
SURVIVORS, DESCRIPTORS = "attacks/test_p3_survivors.py", "attacks/test_p5_descriptors.py"
SAMPLES = {
    "supervised": (SURVIVORS, DESCRIPTORS),
    "pooled": (SURVIVORS, DESCRIPTORS, *POSTURE),
    "warm": (
        SURVIVORS,
        "attacks/test_f2_files_write.py",
        "attacks/test_k2_namespaces.py",
        "attacks/test_i1_ipc_and_keyrings.py",
        *POSTURE,
    ),
}


@pytest.mark.require("bubblewrap", "userns", "peer-pidfd")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("path", SAMPLES)
def test_a_sample_holds(path: str) -> None:
    environment = {**os.environ, "RINGFENCE_TEST_PATH": path}
    files = [f"tests/{name}" for name in SAMPLES[path]]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *files],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1180,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
