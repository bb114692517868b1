"""What scripts/mutate says of a change: noticed only where one of the chosen tests notices it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.house.sources import ROOT

DEFAULT = "connect.py Asked: 0 -> 1"
UNREACHED = "connect.py Asked.__str__: self.port and self.port != _PORTS.get(self.scheme) -> without part 1"
NOTICES_ONE = """
from ringfence.policy.connect import Asked

def test_nobody_names_a_port() -> None:
    assert Asked.__struct_defaults__[0] == {port}
"""


def mutate(place: Path, text: str) -> "subprocess.CompletedProcess[str]":
    """Try two changes with the tests in `text` alone."""
    (place / "test_it.py").write_text(text)
    words = ["scripts/mutate", "--only", f"{DEFAULT},{UNREACHED}", "--results", str(place / "results")]
    argv = [sys.executable, *words, "--tests", str(place / "test_it.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_what_no_test_reaches_is_not_noticed(tmp_path: Path) -> None:
    done = mutate(tmp_path, NOTICES_ONE.format(port=0))
    results = [json.loads(line) for line in (tmp_path / "results").read_text().splitlines()]
    assert {one["name"]: one["outcome"] for one in results} == {DEFAULT: "killed", UNREACHED: "alive"}, done.stdout
    assert done.returncode == 1 and f"not noticed: {UNREACHED}\n" in done.stdout


def test_tests_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    done = mutate(tmp_path, "import nothing_of_that_name")
    assert done.returncode == 2 and "not all tests can be collected" in done.stdout + done.stderr


def test_tests_that_fail_without_any_change_are_refused(tmp_path: Path) -> None:
    done = mutate(tmp_path, NOTICES_ONE.format(port=443))
    assert done.returncode == 2 and "without any change a test fails already" in done.stdout + done.stderr
    assert "test_nobody_names_a_port" in done.stdout + done.stderr and not (tmp_path / "results").exists()
