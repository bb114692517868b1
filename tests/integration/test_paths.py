"""A sample of the suites about security and everyday work, on every supervised path; scripts/paths runs all of them."""

import os
import subprocess
import sys

import pytest

from tests.house.sources import ROOT

SAMPLE = ("tests/attacks/test_p3_survivors.py", "tests/attacks/test_p5_descriptors.py")


@pytest.mark.require("bubblewrap", "userns", "peer-pidfd")
@pytest.mark.timeout(400)
@pytest.mark.parametrize("path", ["supervised", "pooled"])
def test_a_sample_holds(path: str) -> None:
    environment = {**os.environ, "RINGFENCE_TEST_PATH": path}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *SAMPLE],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=380,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
