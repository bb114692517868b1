"""A boundary that was built ahead serves a request only if nothing has changed that it was built from."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ringfence.audit.read import read
from ringfence.workspace.removal import remove_tree
from tests import paths
from tests.house.sources import ROOT
from tests.integration.resident_runs import TIMEOUT_S, TRIES, Installation
from tests.trees import let_a_tick_pass

pytestmark = [pytest.mark.require("bubblewrap", "userns", "peer-pidfd"), pytest.mark.timeout(300)]
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
ASK = ("--apply", "ask")
POSTURE = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "status": {name: status[name].strip() for name in "CapEff CapPrm CapBnd CapAmb NoNewPrivs Seccomp Uid".split()},
    "descriptors": sorted(os.listdir("/proc/self/fd")),
    "mounts": sorted(line.split()[4] + " " + line.split()[5] for line in open("/proc/self/mountinfo")),
    "environment": sorted(os.environ),
    "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
    "limits": open("/proc/self/limits").read(),
    "session": [os.getpgid(0) == os.getpid(), os.umask(0)],
}))
"""


@pytest.fixture
def box(open_path: Path, home: Path) -> Iterator[Installation]:
    workspace = open_path / "workspace"
    workspace.mkdir()
    (workspace / "file").write_text("old\n")
    found = Installation(workspace, home, "pooled")
    with paths.ended(found.state):
        yield found


def stands(box: Installation, *options: str) -> set[tuple[int, int]]:
    """Have boundaries for these options, on the path that has them; give what marks their directories."""
    if box.taken == "pooled":
        box.stand_ready(options)
    else:
        box.make_ready(options)
    return set(paths.waiting(box.state))


def taken(box: Installation, before: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Which of those boundaries have become runs that were kept."""
    return before & kept(box)


def kept(box: Installation) -> set[tuple[int, int]]:
    """What marks the runs that there are."""
    found = set()
    for path in (box.state / "runs").iterdir():
        with suppress(FileNotFoundError):  # what a run leaves goes after its answer
            found.add(paths.mark(path))
    return found


def policy(box: Installation, text: str) -> None:
    place = box.home / ".config/ringfence"
    place.mkdir(parents=True, exist_ok=True)
    (place / "policy.toml").write_text("version = 1\n" + text)


def test_a_boundary_that_stands_becomes_the_run(box: Installation) -> None:
    used: set[tuple[int, int]] = set()
    for _ in range(TRIES):  # one that is asked as soon as it is done may not have said so, or may not be heard in time
        before = stands(box, *ASK)
        assert len(before) == 2
        assert box.run(["sh", "-c", "cat file; test ! -e new; echo x >new"], ASK).stdout == b"old\n"
        used |= taken(box, before)
        if len(used) > 1:
            break
    assert len(used) > 1  # and each is used once: what one run writes the next one does not see


def test_it_looks_like_any_other_from_inside(box: Installation) -> None:
    stands(box)
    found = json.loads(box.run([*PYTHON, POSTURE]).stdout)
    box.taken = "cold"
    assert found == json.loads(box.run([*PYTHON, POSTURE]).stdout)
    assert found["status"]["CapEff"] == "0000000000000000" and found["status"]["Seccomp"] == "2"


def test_what_waits_is_no_run(box: Installation) -> None:
    assert stands(box)
    assert paths.wait_until(lambda: not kept(box))  # those that made it ready go after their answers
    begun, ended = ({one.run for one in read(str(box.state / "audit"), kind=kind)} for kind in ("launch", "exit"))
    assert begun == ended


@pytest.mark.parametrize(
    "options", [["--workspace", "direct"], ["--apply", "live"], ["--network", "off", "--workspace", "direct"]]
)
def test_what_is_never_built_ahead(box: Installation, options: list[str]) -> None:
    box.make_ready(options)
    assert not paths.waiting(box.state)
    assert box.run(["true"], options).returncode == 0


def test_policy_that_has_changed_meanwhile_holds(box: Installation) -> None:
    before = stands(box, *ASK)
    assert box.run(["cat", "file"], ASK).stdout == b"old\n"
    policy(box, '[filesystem]\ndeny-read = ["./file"]\n')
    assert box.run(["cat", "file"], ASK).returncode == 1
    assert not taken(box, before)


def test_a_denied_name_that_has_appeared_meanwhile_is_denied(box: Installation) -> None:
    policy(box, '[filesystem]\ndeny-read = ["./.env"]\n')
    stands(box)
    (box.workspace / ".env").write_text("canary\n")
    assert b"canary" not in box.run(["cat", ".env"]).stdout


def test_a_workspace_that_was_replaced_meanwhile_is_the_new_one(box: Installation) -> None:
    before = stands(box, *ASK)
    box.workspace.rename(box.workspace.with_name("elsewhere"))
    box.workspace.mkdir()
    (box.workspace / "file").write_text("new\n")
    assert box.run(["cat", "file"], ASK).stdout == b"new\n"
    assert not taken(box, before)


def test_a_directory_beside_that_was_replaced_meanwhile_is_the_new_one(box: Installation, open_path: Path) -> None:
    beside = open_path / "beside"
    beside.mkdir()
    (beside / "file").write_text("old\n")
    options = [*ASK, "--read", str(beside)]
    before = stands(box, *options)
    beside.rename(open_path / "elsewhere")
    beside.mkdir()
    (beside / "file").write_text("new\n")
    assert box.run(["cat", str(beside / "file")], options).stdout == b"new\n"
    assert not taken(box, before)


MOUNTED_MEANWHILE = """
import subprocess, sys
from pathlib import Path
from tests import paths
from tests.integration.resident_runs import Installation
from tests.integration.test_pool import kept
workspace, home, beside = map(Path, sys.argv[1:])
box = Installation(workspace, home, "pooled")
options = ["--apply", "ask", "--read", str(beside)]
with paths.ended(box.state):
    box.stand_ready(options)
    before = set(paths.waiting(box.state))
    subprocess.run(["mount", "-t", "tmpfs", "none", beside / "below"], check=True)
    (beside / "below/file").write_text("new")
    done = box.run(["sh", "-c", 'cat "$0"; echo x >new', str(beside / "below/file")], options)
    paths.wait_until(lambda: len(kept(box)) == 1)  # those that made it ready go after their answers
    print(len(before), len(before & kept(box)), len(kept(box)), done.returncode)
"""


@pytest.mark.require("root")
def test_what_was_mounted_meanwhile_is_looked_at(box: Installation, open_path: Path) -> None:
    """Nothing but the host's table of mounts tells: no directory that the boundary was built from is another."""
    beside = open_path / "beside"
    (beside / "below").mkdir(parents=True)
    (beside / "below/file").write_text("old")
    place = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", MOUNTED_MEANWHILE]
    words = [*place, str(box.workspace), str(box.home), str(beside)]
    environment = box.environment(PYTHONPATH=f"{ROOT}/src:{ROOT}")
    done = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=250)
    assert done.stdout.split() == [b"2", b"0", b"1", b"0"], done.stderr


def test_changes_of_the_host_before_the_run_are_no_conflict(box: Installation) -> None:
    stands(box)
    (box.workspace / "file").write_text("of the host\n")
    assert box.run(["sh", "-c", "cat file; echo inside >>file"]).stdout == b"of the host\n"
    assert (box.workspace / "file").read_text() == "of the host\ninside\n"


def test_changes_of_the_host_during_the_run_are_a_conflict(box: Installation) -> None:
    stands(box)
    with box.begin(["sh", "-c", "echo inside >>file; echo ready; read x"], stdin=subprocess.PIPE) as process:
        let_a_tick_pass()
        (box.workspace / "file").write_text("of the host\n")
        process.communicate(b"\n", timeout=TIMEOUT_S)
    assert (box.workspace / "file").read_text() == "of the host\n"


def test_its_time_begins_with_the_run(box: Installation) -> None:
    policy(box, '[limits]\nwall-time = "6s"\n')
    stands(box)
    ready = time.monotonic()
    paths.wait_until(lambda: time.monotonic() - ready > 6.1)
    assert box.run(["sh", "-c", "sleep 0.5; echo done"]).stdout == b"done\n"
    assert box.run(["sleep", "300"]).returncode == 128 + signal.SIGTERM


def test_a_limit_that_leaves_no_room_for_the_command_is_said(box: Installation) -> None:
    policy(box, "[limits]\nopen-files = 4\n")
    assert len(stands(box)) == 2
    done = box.run(["true"])
    assert done.returncode == 125 and b"Too many open files" in done.stderr


def test_another_environment_is_that_of_the_run(box: Installation) -> None:
    stands(box, "--env", "MINE")
    assert box.run(["printenv", "MINE"], ["--env", "MINE"], env=box.environment(MINE="1")).stdout == b"1\n"
    assert box.run(["printenv", "MINE"], ["--env", "MINE"]).returncode == 1


def test_another_home_is_never_served_by_it(box: Installation, tmp_path: Path) -> None:
    before = stands(box, *ASK)
    other = tmp_path / "other"
    other.mkdir()
    environment = box.environment(HOME=str(other))  # the state directory, and so the supervisor, is the same
    done = box.run(["sh", "-c", "echo $HOME; echo >new"], ASK, env=environment)
    assert done.stdout.decode().strip() == str(other)
    assert not taken(box, before)


@pytest.mark.parametrize("taken", ["cold", "supervised", "pooled"])
def test_no_signal_is_blocked_or_ignored(box: Installation, taken: str) -> None:
    box.taken = taken
    stands(box)
    found = box.run(["sed", "-n", "s/^Sig[BI].*:.//p", "/proc/self/status"]).stdout.split()
    assert [int(mask, 16) for mask in found] == [0, 0]  # 32 and 33, which are the C library's, included


def test_a_boundary_that_was_killed_is_passed_over(box: Installation) -> None:
    stands(box)
    left = paths.waiting(box.state)
    for pid in paths.children(paths.server(box.state)):
        with suppress(ProcessLookupError):  # a run's that has ended
            os.kill(pid, signal.SIGKILL)
    assert box.run(["echo", "fine"]).stdout == b"fine\n"
    for path in left.values():
        remove_tree(str(path))  # as the next one would in time; see below


def below(pids: list[int], depth: int) -> list[int]:
    """The processes that these have started, or those that they have."""
    for _ in range(depth):
        pids = [child for pid in pids for child in paths.children(pid)]
    return pids


@pytest.mark.parametrize("depth", [1, 2], ids=["bubblewrap", "first-process"])
def test_a_boundary_whose_processes_were_killed_is_passed_over(box: Installation, depth: int) -> None:
    stands(box)
    server = paths.server(box.state)
    assert paths.wait_until(lambda: len(below([server], 1)) == 2)  # the runs that made them ready have ended
    members = below([server], 1)
    found = below(members, depth)
    assert len(found) == 2
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    paths.wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in members))
    done = box.run(["echo", "fine"])
    assert (done.returncode, done.stdout, done.stderr) == (0, b"fine\n", b"")


def test_what_killed_ones_leave_is_removed_in_time(box: Installation) -> None:
    left = box.state / "runs-waiting" / "left"
    left.mkdir(parents=True)
    (left / "file").write_text("x")
    os.utime(left, (1, 1))
    stands(box)
    assert paths.wait_until(lambda: not left.exists())


def test_what_was_asked_for_and_has_no_effect_is_said(box: Installation) -> None:
    options = ["-v", "--env", "NOT_SET_HERE", *ASK]
    used: set[tuple[int, int]] = set()
    while not used:  # as above
        before = stands(box, *options)
        done = box.run(["sh", "-c", "echo begun >&2; echo x >new"], options)
        said = b"ringfence: `--env NOT_SET_HERE` passes nothing: it is not set here\nbegun\n"
        assert done.stderr.startswith(said), done.stderr
        used = taken(box, before)
