"""What stages as root, in C and in Python: what is executed can reach the user's files and nothing else of root's.

Each is given a program to execute in the place of bubblewrap, which tells what it finds.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ringfence.sandbox import cgroup
from ringfence.sandbox.launch import SANDBOX_UID_BASE
from tests import requirements
from tests.house.sources import ROOT

pytestmark = pytest.mark.require("root")

OWNER = (1234567, 1234568)
TWIN = "import sys; from ringfence.sandbox import staging; staging.carry_out('', sys.argv[1:], {})"
TELL = """
import json, os, sys
def found(path):
    status = os.stat(path)
    return [status.st_uid, status.st_gid, status.st_mode]
with open("/proc/self/status") as file:
    status = dict(line.rstrip("\\n").split(":\\t", 1) for line in file if ":\\t" in line)
with open("/proc/self/cgroup") as file:
    groups = file.read()
told = {"pid": os.getpid(), "ids": [*os.getresuid(), *os.getresgid()], "groups": os.getgroups(), "cgroup": groups}
told |= {"status": status, "environment": dict(os.environ), "argv": sys.argv}
told["open"] = sorted(os.listdir("/proc/self/fd"))
told["staged"] = {name: found(f"/tmp/{name}") for name in os.listdir("/tmp")}
told["children"] = open("/proc/self/task/%d/children" % os.getpid()).read()
told["fifo"] = [os.fstat(number).st_uid for number in range(3)]
for name in sys.argv[1:]:
    with open(name, "w") as file:
        file.write("written")
sys.__stdout__.write(json.dumps(told))
"""
Started = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=["python", "native"])
def started(request: pytest.FixtureRequest) -> Started:
    """Give the function that runs one of both to its end."""
    if request.param == "python":
        first = [sys.executable, "-P", "-c", TWIN, "stage"]
    else:
        first = [str(request.getfixturevalue("native_stage"))]
    environment = {"PYTHONPATH": str(ROOT / "src"), "SECRET": "s3cret"}

    def run(*words: str, prefix: Sequence[str] = (), **more: Any) -> "subprocess.CompletedProcess[str]":
        settings: dict[str, Any] = {"env": environment, "capture_output": True, "text": True, "timeout": 60, **more}
        return subprocess.run([*prefix, *first, *words], **settings)

    return run


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A directory of the user below one that only root may enter, and a file in it."""
    closed = tmp_path / "closed"
    place = closed / "own"
    place.mkdir(parents=True)
    (place / "file").write_text("of the user")
    for path in (place, place / "file"):
        os.chown(path, *OWNER)
    closed.chmod(0o700)
    return place


def told(started: Started, own: Path, *, tasks: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """What the program in the place of bubblewrap tells, with a directory and a file staged."""
    owner = [str(number) for number in OWNER]
    program = ["/usr/bin/python3", "python3", "-I", "-c", TELL, "/tmp/0/new"]
    done = started(*owner, *tasks, "", str(own), str(own / "file"), "", *program, **more)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_is_executed_is_nobody_in_particular(started: Started, own: Path) -> None:
    found = told(started, own)
    identifier = SANDBOX_UID_BASE + found["pid"]
    assert found["ids"] == [identifier] * 6
    assert found["groups"] == []
    assert [int(found["status"][f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Amb")] == [0] * 4
    assert {name for name in found["environment"] if name not in ("LC_CTYPE",)} == set()
    assert found["argv"] == ["-c", "/tmp/0/new"]
    assert found["children"] == ""


def test_the_user_s_files_are_its_own_wherever_they_lie(started: Started, own: Path) -> None:
    found = told(started, own)
    identifier = SANDBOX_UID_BASE + found["pid"]
    assert {name: status[:2] for name, status in found["staged"].items()} == {
        "0": [identifier] * 2,
        "1": [identifier] * 2,
    }
    made = (own / "new").stat()
    assert ((own / "new").read_text(), made.st_uid, made.st_gid) == ("written", *OWNER)


def mounts_over_tmp() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if line.split()[4].partition("/tmp")[1]]


def test_the_host_s_mounts_stay_as_they_are(started: Started, own: Path) -> None:
    before = mounts_over_tmp()
    told(started, own)
    assert mounts_over_tmp() == before
    assert own.is_dir()


def test_no_descriptor_of_its_own_is_left(started: Started, own: Path) -> None:
    found = told(started, own)
    assert found["open"] in (["0", "1", "2", "3"], ["0", "1", "2", "3", "4"])  # the listing's own


def test_pipes_can_be_opened_by_name_and_files_stay_root_s(started: Started, own: Path, tmp_path: Path) -> None:
    with open(tmp_path / "stdin", "w+b") as file:
        found = told(started, own, stdin=file)
        identifier = SANDBOX_UID_BASE + found["pid"]
        assert found["fifo"] == [0, identifier, identifier]
        assert os.fstat(file.fileno()).st_uid == 0


def test_it_joins_its_groups_before_anything_is_executed(started: Started, own: Path) -> None:
    groups = cgroup.create("contract", 1 << 30, 0)
    tasks = cgroup.tasks(groups)
    try:
        if not tasks:
            pytest.skip("no control groups of version 1")
        found = told(started, own, tasks=tasks)
        assert [os.path.basename(group) in found["cgroup"] for group in groups] == [True] * len(groups)
    finally:
        cgroup.remove(groups)


def test_a_group_that_cannot_be_joined_is_left_to_the_supervisor(started: Started, own: Path) -> None:
    assert told(started, own, tasks=["/nonexistent/tasks", "/proc/self/tasks"])["groups"] == []


@pytest.mark.parametrize(
    ("owner", "path", "what"),
    [
        (("0", "0"), "/nonexistent", "open_tree `/nonexistent`"),
        (("0", "0"), "/proc", "id-mapped mount of `/proc`"),
    ],
)
def test_what_the_kernel_refuses_ends_it(started: Started, owner: tuple[str, str], path: str, what: str) -> None:
    done = started(*owner, "", path, "", "/usr/bin/touch", "touch", "/tmp/never")
    assert done.returncode != 0
    assert what in done.stderr
    assert not os.path.exists("/tmp/never")


def test_without_the_power_nothing_is_executed(started: Started, own: Path) -> None:
    without = ("/usr/sbin/capsh", "--drop=cap_sys_admin", "--", "-c", 'exec "$@"', "sh")
    requirements.require(without[0])
    done = started("0", "0", "", str(own), "", "/bin/echo", "echo", "executed", prefix=without)
    assert done.returncode != 0
    assert "executed" not in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("0", "0"),
        ("0", "0", ""),
        ("0", "0", "", "", "/bin/echo"),
        ("0", "x", "", "", "/bin/echo", "echo"),
        ("-1", "0", "", "/", "", "/bin/echo", "echo"),
        ("0", "0", "/a", "/b", "/bin/echo", "echo", "executed"),
    ],
)
def test_words_that_are_cut_off_or_no_numbers_execute_nothing(started: Started, words: tuple[str, ...]) -> None:
    done = started(*words)
    assert done.returncode != 0
    assert done.stdout == ""


def test_a_program_that_cannot_be_executed_is_said(started: Started, own: Path) -> None:
    done = started("0", "0", "", str(own), "", "/nonexistent/program", "program", "word")
    assert done.returncode != 0
    assert "No such file or directory" in done.stderr
