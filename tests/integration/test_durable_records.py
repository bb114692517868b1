"""When a run's records are on the disk, what a failure of fsync(2) does, and that no end of a run waits for mounts."""

import errno
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringfence import Sandbox
from ringfence.audit.read import read
from ringfence.audit.verify import verify
from ringfence.audit.writer import AuditWriter
from ringfence.model.errors import SandboxError
from ringfence.sandbox import garbage
from ringfence.session import afterwards, places
from ringfence.session import run as session
from ringfence.session.options import Options
from ringfence.session.resident_server import Child, Face, Server
from tests import paths
from tests.house.sources import ROOT
from tests.integration.resident_runs import stand_ready

pytestmark = pytest.mark.require("bubblewrap", "userns", "overlay")


class Disk:
    """Every file that was forced to disk, in order; from `failing` on none is any more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.forced: list[str] = []
        self.failing = False
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self.instead_of(getattr(os, name)))

    def instead_of(self, call: object) -> object:
        def force(descriptor: int) -> None:
            self.forced.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
            if self.failing:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            call(descriptor)  # type: ignore[operator]  # os.fsync or os.fdatasync

        return force


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def prepared(monkeypatch: pytest.MonkeyPatch, place: Path, fsync: str = "exit", *argv: str) -> session.Run:
    monkeypatch.chdir(place)
    options = Options()
    options.policy_text = f'version = 1\naudit.fsync = "{fsync}"\n'
    run = session.prepared_run(options, list(argv) or ["true"])
    run.own_signals = False
    return run


def kinds(run: str = "") -> list[tuple[str, str]]:
    return [(event.kind, event.code) for event in read(places.audit(), run=run)]


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch, open_path: Path, disk: Disk) -> None:
    """There is an audit already: its first record brings the names in its directory to disk."""
    prepared(monkeypatch, open_path).carry_out()
    disk.forced.clear()


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize(("fsync", "before", "after"), [("exit", 0, 1), ("never", 0, 0)])
def test_an_answer_is_not_kept_waiting_for_the_disk(
    monkeypatch: pytest.MonkeyPatch, open_path: Path, disk: Disk, fsync: str, before: int, after: int
) -> None:
    run = prepared(monkeypatch, open_path, fsync)
    steps: list[Callable[[], object]] = []
    run.put_off = steps
    finished = run.carry_out()
    assert disk.forced.count("audit.jsonl") == before
    assert ("exit", "") in kinds(finished.run)  # written all the same, so the kill of any process loses nothing
    steps.insert(0, lambda: disk.forced.append("the rest"))
    assert afterwards.carry_out(steps)
    assert disk.forced == ["audit.jsonl"] * after + ["the rest"]


@pytest.mark.usefixtures("begun")
def test_nobody_stays_behind_to_force_records_later(
    monkeypatch: pytest.MonkeyPatch, open_path: Path, disk: Disk
) -> None:
    prepared(monkeypatch, open_path).carry_out()
    assert disk.forced == ["audit.jsonl"]


@pytest.mark.usefixtures("begun")
def test_always_is_before_the_answer(monkeypatch: pytest.MonkeyPatch, open_path: Path, disk: Disk) -> None:
    run = prepared(monkeypatch, open_path, "always")
    steps: list[Callable[[], object]] = []
    run.put_off = steps
    run.carry_out()
    assert disk.forced == ["audit.jsonl", "head"] * 2  # launch and exit
    assert afterwards.carry_out(steps)
    assert disk.forced == ["audit.jsonl", "head"] * 2


def test_names_are_on_the_disk_before_the_first_record(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power failure never leaves records beside a head that is not there, which would look like tampering."""
    write = os.write

    def noted(number: int, data: bytes) -> int:
        disk.forced.append("written")
        return write(number, data)

    monkeypatch.setattr(os, "write", noted)
    for policy in ("exit", "always", "exit"):
        writer = AuditWriter(str(tmp_path / "audit"), fsync=policy, rotate_bytes=100)
        writer.record_fields("exit", "r", 1, "", fields={})
        writer.close()
    assert disk.forced[:4] == ["head", "audit", "written", "audit.jsonl"]
    assert disk.forced.count("audit") == 3, disk.forced
    assert verify(str(tmp_path / "audit")).ok


@pytest.mark.usefixtures("begun")
def test_a_failure_after_the_answer_is_recorded_and_told_to_whoever_served(
    monkeypatch: pytest.MonkeyPatch, open_path: Path, disk: Disk
) -> None:
    run = prepared(monkeypatch, open_path)
    steps: list[Callable[[], object]] = []
    run.put_off = steps
    finished = run.carry_out()
    disk.failing = True
    assert finished.status == 0 and not afterwards.carry_out(steps)
    assert kinds(finished.run)[-2:] == [("exit", ""), ("lost", "unsynced")]
    assert run.supervisor and run.supervisor.handle == -1  # the rest was done all the same
    assert not os.listdir(places.runs()) and not os.listdir(places.runs() + "-waiting")
    assert verify(places.audit()).ok


@pytest.mark.usefixtures("begun")
def test_a_failure_before_the_answer_is_the_runs(monkeypatch: pytest.MonkeyPatch, open_path: Path, disk: Disk) -> None:
    disk.failing = True
    with pytest.raises(SandboxError, match="cannot write the audit: Input/output error"):
        prepared(monkeypatch, open_path).carry_out()
    assert kinds()[-2:] == [("exit", ""), ("lost", "unsynced")]
    assert not os.listdir(places.runs())


def test_after_a_failure_nothing_is_answered_early_any_more(
    monkeypatch: pytest.MonkeyPatch, open_path: Path, disk: Disk
) -> None:
    """In a `with` block: the next command is carried out in front of its caller, who is told."""
    monkeypatch.setenv("RINGFENCE_SUPERVISOR", "1")
    with Sandbox(directory=open_path) as box:
        ahead = stand_ready(box)
        disk.failing = True
        assert box.run(["true"]).returncode == 0
        assert paths.wait_until(lambda: ahead.is_closed)
        assert not ahead.standing
        with pytest.raises(SandboxError, match="cannot write the audit"):
            box.run(["true"])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "name").touch()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        face = Face(lambda options, argv: pytest.fail("none"), lambda call: 0, lambda options, run: None)
        yield Server(listener, "name", face)


@pytest.mark.parametrize(("status", "goes_on"), [(0, True), (1, True), (afterwards.UNFINISHED, False)])
def test_the_supervisor_ends_where_a_run_could_not_be_finished(server: Server, status: int, goes_on: bool) -> None:
    with subprocess.Popen(["sh", "-c", f"exit {status}"]) as process:
        child = Child(process.pid, None)
        server.adopt(child)
        server.hear(child.handle)
        assert server.is_current() is goes_on
        process.returncode = status  # `hear` has collected it


def test_a_run_ends_where_its_directory_cannot_be_put_aside(monkeypatch: pytest.MonkeyPatch, open_path: Path) -> None:
    """As on a full disk: it is removed from where it is."""
    run = prepared(monkeypatch, open_path)
    steps: list[Callable[[], object]] = []
    run.put_off = steps
    Path(places.runs() + "-waiting").parent.mkdir(parents=True, exist_ok=True)
    Path(places.runs() + "-waiting").touch()
    finished = run.carry_out()
    assert finished.status == 0
    assert os.listdir(places.runs()) == [finished.run]
    assert afterwards.carry_out(steps)
    assert not os.listdir(places.runs())


def test_what_is_left_to_the_kernel_is_given_up() -> None:
    read_end, write_end = os.pipe()
    held = [read_end]
    garbage.leave(held)
    assert not held
    for end in socket.socketpair():
        end.close()
    watched = select.poll()
    watched.register(write_end, 0)
    assert paths.wait_until(lambda: [(write_end, select.POLLERR)] == watched.poll(0))  # nobody can read any more
    os.close(write_end)


MOUNTED = """
import os, subprocess, sys
from ringfence.session.options import Options
from ringfence.session.run import prepared_run
from tests import paths
place = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", place], check=True)
os.chdir(place)
assert prepared_run(Options(), ["true"]).carry_out().status == 0
os.chdir("/")
assert paths.wait_until(lambda: subprocess.run(["umount", place], capture_output=True).returncode == 0)
"""


@pytest.mark.require("root")
def test_the_workspace_can_be_unmounted_after_a_run(open_path: Path) -> None:
    """In mounts of its own: those of the host are looked at by runs of the tests beside it."""
    words = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", MOUNTED, str(open_path)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_the_end_of_a_run_does_not_unmount(monkeypatch: pytest.MonkeyPatch, open_path: Path) -> None:
    """A run that wrote nothing leaves its mounts to the kernel; one whose changes are applied waits for their end."""
    left: list[list[str]] = []
    leave = garbage.leave

    def noted(held: list[int]) -> None:
        left.append([os.readlink(f"/proc/self/fd/{number}").partition(":")[0] for number in held])
        leave(held)

    monkeypatch.setattr(garbage, "leave", noted)
    prepared(monkeypatch, open_path).carry_out()
    assert ["mnt"] in left
    left.clear()
    prepared(monkeypatch, open_path, "exit", "touch", "made").carry_out()
    assert (open_path / "made").exists()
    assert left and ["mnt"] not in left
