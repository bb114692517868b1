"""What needs an interpreter with packages: the one of these tests."""

import sys

import msgspec
import pytest

from tests.ecosystem.bench import Bench
from tests.ecosystem.checks import Check, one
from tests.utility.confined import said

TESTS = """
import os, pytest, subprocess, sys

@pytest.mark.parametrize("number", range(20))
def test_numbers(number, tmp_path):
    (tmp_path / "file").write_text(str(number))
    done = subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True)
    assert done.stdout == "1\\n" and os.environ["PYTEST_XDIST_WORKER"] in ("gw0", "gw1")
"""


@pytest.mark.parametrize("check", [one("python", "pytest-workers")], ids=str)
def test_pytest_runs_in_workers(check: Check, bench: Bench) -> None:
    (bench.workspace / "test_demo.py").write_text(TESTS)
    words = [sys.executable, "-B", "-m", "pytest", "-q", "-n", "2"]
    readable = [word for prefix in {sys.prefix, sys.base_prefix} for word in ("--read", prefix)]
    assert bench.on_host(words, start="ws").returncode == 0
    state = bench.state()
    done = bench.run(words, [*readable, "--env", "PYTHONDONTWRITEBYTECODE"])
    assert done.returncode == 0 and b"20 passed" in done.stdout, said(done)
    state.unchanged_but(check.changes)
    bench.record(msgspec.structs.replace(check, version=f"'{sys.executable}' -m pytest --version"))
