"""The import budget of the hot path: what `ringfence run` loads before its first fork, by name.

Every module costs time before each command. One that is missing here is an improvement to record; one that is new
needs its reason, or belongs after the fork.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ringfence.sandbox import facts
from tests.house.sources import ROOT

OWN = {
    "ringfence",
    "ringfence.cli",
    "ringfence.cli.entry",
    "ringfence.cli.run",
    "ringfence.model",
    "ringfence.model.errors",
    "ringfence.sandbox",
    "ringfence.sandbox.artefact",
    "ringfence.sandbox.cgroup",
    "ringfence.sandbox.launch",
    "ringfence.session",
    "ringfence.session.cache",
    "ringfence.session.ground",
    "ringfence.session.options",
    "ringfence.session.places",
    "ringfence.session.run",
    "ringfence.workspace",
    "ringfence.workspace.layout",
}
# Without the native stager root's launcher prepares id-mapped mounts itself, and has loaded what that takes before it
# forks.
STAGES = os.geteuid() == 0 and not facts.native_stage()
AS_ROOT = {"ringfence.sandbox.staging"} if STAGES else set()
ROOT_ONLY = {"_ctypes", "_struct", "ctypes", "ctypes._endian", "struct", "types"} if STAGES else set()
STANDARD = {
    "_blake2",
    "_json",
    "_signal",
    "_socket",
    "fcntl",
    "gc",
    "marshal",
    "posix",
    "time",
}
# What costs milliseconds, or says that the slow path was taken.
NEVER = {"argparse", "asyncio", "dataclasses", "json", "msgspec", "pathlib", "re", "subprocess", "tomllib", "typing"}
CLIENT = {"ringfence"} | {
    f"ringfence.{name}"
    for name in "cli cli.entry model model.errors session session.resident session.places session.unix_sockets".split()
}
# At the first fork or spawn of the process, before anything of the new process runs.
WATCH = """
import sys
before = set(sys.modules)
def hook(event, args, done=[]):
    if event in ("os.fork", "os.posix_spawn") and not done:
        done.append(event)
        import os
        with open(os.environ["RECORD"], "w") as file:
            file.write("\\n".join(sorted(set(sys.modules) - before)))
sys.addaudithook(hook)
from ringfence.cli.entry import main
main()
"""


def loaded(workspace: Path, record: Path, home: Path) -> set[str]:
    """The modules that a run had loaded when it forked, beyond those of a bare interpreter."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", WATCH, "run", "true"],
        cwd=workspace,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": str(ROOT / "src"), "RECORD": str(record)}
        | {"RINGFENCE_SUPERVISOR": "0"},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    return set(record.read_text().split())


@pytest.mark.require("bubblewrap", "userns")
def test_the_hot_path_loads_what_is_listed_and_nothing_else(tmp_path: Path, home: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    cold = loaded(workspace, tmp_path / "cold", home)
    assert "ringfence.planner.build" in cold and "msgspec" in cold  # positive control: the slow path is seen
    warm = loaded(workspace, tmp_path / "warm", home)
    assert {name for name in warm if name.startswith("ringfence")} == OWN | AS_ROOT
    assert warm - OWN - AS_ROOT <= STANDARD | ROOT_ONLY
    assert not warm & NEVER


def test_asking_the_resident_supervisor_loads_next_to_nothing() -> None:
    """What a client loads until it asks: every module here is paid for by each supervised run."""
    code = "import sys; before = set(sys.modules); import ringfence.cli.entry, ringfence.session.resident as r;"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"{code} r.ask(['run', 'true']); print(*(set(sys.modules) - before))"],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent/home", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        timeout=60,
    )
    own = {name for name in done.stdout.decode().split() if name.startswith("ringfence")}
    assert own == CLIENT
    assert set(done.stdout.decode().split()) - own <= {"_signal", "_socket", "encodings.ascii", "gc", "mmap", "pwd"}
