"""Runs of boundaries that stood, on a disk that is full from some step on, and with one of those who take part killed.

In each case nothing that the command wrote is lost, the audit holds, nothing stays behind, and the next run works.
"""

import errno
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ringfence import Sandbox
from ringfence.audit.verify import verify
from ringfence.model.errors import RingfenceError
from ringfence.session import places, titles
from tests import paths
from tests.integration.resident_runs import TIMEOUT_S, Installation, stand_ready
from tests.integration.test_pool import box, stands

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay"), pytest.mark.timeout(600)]
__all__ = ["box"]  # a fixture

STEPS = 60


class Disk:
    """A disk that has no space from the `full_from`th step on, counted from `begin`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        self.home = str(home)
        self.full_from = STEPS
        self.steps = -1
        for name in ("open", "write", "pwrite", "mkdir", "rename", "link", "fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self.instead_of(name, getattr(os, name)))

    def begin(self, full_from: int) -> None:
        self.steps, self.full_from = 0, full_from

    def instead_of(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*given: Any, **named: Any) -> Any:
            if self.steps >= 0 and self.needs_space(name, *given):
                self.steps += 1
                if self.steps > self.full_from:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*given, **named)

        return step

    def needs_space(self, name: str, where: object, flags: object = 0, *_: object) -> bool:
        """Whether the call may write to what the home is on; not to pipes and memory."""
        if name == "open":
            return isinstance(flags, int) and bool(flags & os.O_CREAT)
        if isinstance(where, int):
            return os.readlink(f"/proc/self/fd/{where}").startswith(self.home)
        return True


@pytest.mark.parametrize("command", ["true", "echo new >made"])
def test_a_disk_that_is_full_from_any_step_on(
    monkeypatch: pytest.MonkeyPatch, open_path: Path, home: Path, command: str
) -> None:
    monkeypatch.setenv("RINGFENCE_SUPERVISOR", "1")
    disk = Disk(monkeypatch, home)
    failed, step = 0, 0
    while True:
        with Sandbox(directory=open_path, apply="ask") as box:
            stand_ready(box)
            before = set(os.listdir(places.runs()))
            disk.begin(step)
            try:
                status = box.run(["sh", "-c", command]).returncode
                assert status == 0
            except RingfenceError:
                failed += 1
            is_over = disk.steps <= disk.full_from
            disk.steps = -1
            assert box.run(["true"]).returncode == 0
        made = [
            run for run in set(os.listdir(places.runs())) - before if os.path.exists(f"{places.runs()}/{run}/upper")
        ]
        if command == "true":
            assert not made
        elif made:
            assert [Path(places.runs(), run, "upper", "made").read_text() for run in made] == ["new\n"]
        else:
            assert failed  # before the command was begun
        assert not os.listdir(places.runs() + "-waiting")
        assert verify(places.audit()).ok
        if is_over:
            break
        step += 1
    assert 5 < step < STEPS and failed


INSIDE = ("run", "bubblewrap", "first-process", "command")


def inside(supervisor: int) -> list[int]:
    """The processes of the one run that goes on, each a child of the one before it; none where there are more runs."""
    found = []
    pids = [pid for pid in paths.children(supervisor) if paths.name_of(pid) == titles.RUN]
    while len(pids) == 1:
        found += pids
        pids = paths.children(pids[0])
    return found


def participants(box: Installation, client: "subprocess.Popen[bytes]") -> dict[str, int]:
    """Who takes part in it, once the runs that made ready for it have ended."""
    supervisor = paths.server(box.state)
    assert paths.wait_until(lambda: len(inside(supervisor)) == len(INSIDE))
    return {"client": client.pid, "supervisor": supervisor, **dict(zip(INSIDE, inside(supervisor), strict=True))}


@pytest.mark.parametrize(
    ("killed", "status"),
    [
        ("client", -signal.SIGKILL),
        ("supervisor", 0),
        ("run", 125),
        ("bubblewrap", 137),
        ("first-process", 137),
        ("command", 137),
    ],
)
def test_one_who_takes_part_is_killed(box: Installation, killed: str, status: int) -> None:
    stands(box, "--apply", "ask")
    words = ["sh", "-c", "echo new >made; echo ready; read x"]
    with box.begin(words, ["--apply", "ask"], stdin=subprocess.PIPE) as client:
        taking_part = participants(box, client)
        os.kill(taking_part[killed], signal.SIGKILL)
        if killed == "supervisor":
            client.communicate(b"\n", timeout=TIMEOUT_S)  # the run goes on without it
        client.wait(TIMEOUT_S)
    assert client.returncode == status
    paths.wait_until(lambda: not any(paths.name_of(taking_part[name]) for name in INSIDE))
    assert (
        subprocess.run(
            [*box.command(), "run", "--", "true"], cwd=box.workspace, env=box.environment(), timeout=60
        ).returncode
        == 0
    )
    kept = [run for run in (box.state / "runs").iterdir() if (run / "upper/made").exists()]
    assert [(run / "upper/made").read_text() for run in kept] == ["new\n"]
    assert verify(str(box.state / "audit")).ok
