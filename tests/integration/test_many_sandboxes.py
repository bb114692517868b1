"""Many sandboxes in one process: what they share on the host, and that no event of one is told as another's."""

import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from ringfence import Policy, Sandbox, SandboxSession
from ringfence.sandbox import watch
from tests.lab import Lab

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay")]
COUNT = 12
HELD = 1100
FULL = """
import os, resource, sys
from ringfence import Sandbox
count = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
fetch = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-m", "50", "https://www.public.example.net/"]
with Sandbox(allow=["www.public.example.net"]) as box:
    with box.session() as session:
        first = session.run(fetch)
    second = box.run(fetch)
print(first.stdout.decode(), second.stdout.decode(), first.denials, second.denials)
"""
SECRET = Policy({"filesystem": {"deny-read": ["private.txt"]}})


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "workspace"
    place.mkdir()
    (place / "private.txt").write_text("canary")
    return place


@pytest.fixture
def sessions(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[SandboxSession]]:
    """Open sessions of one workspace that share two instances of inotify."""
    monkeypatch.setattr(watch, "INSTANCES", 2)
    with ExitStack() as stack:
        box = stack.enter_context(Sandbox(SECRET, directory=workspace))
        yield [box.session() for _ in range(COUNT)]


def instances() -> int:
    """How many instances of inotify this process has."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own, and what a thread has just closed
            found += os.readlink(f"/proc/self/fd/{name}") == "anon_inode:inotify"
    return found


def attempts(session: SandboxSession) -> list[str]:
    """What a session recorded of the denied path."""
    return [target for code, target in session.denials if target.endswith("private.txt")]


def test_each_is_told_of_what_happens_in_it(sessions: list[SandboxSession], workspace: Path) -> None:
    """All at once, some of them not at all: the same path, which each of them has for itself."""
    assert instances() == 2
    done = {}

    def reach(number: int) -> None:
        done[number] = [sessions[number].run(["cat", "private.txt"], timeout_s=60) for _ in range(number % 3)]

    threads = [threading.Thread(target=reach, args=(number,)) for number in range(COUNT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for session in sessions:
        session.close()
    assert not any(b"canary" in one.stdout for completed in done.values() for one in completed)
    found = [len(attempts(session)) for session in sessions]
    assert found == [number % 3 for number in range(COUNT)]


def test_those_that_stay_are_watched_after_others_have_gone(sessions: list[SandboxSession]) -> None:
    for session in sessions[1:]:
        session.close()
    sessions[0].run(["cat", "private.txt"], timeout_s=60)
    sessions[0].close()
    assert len(attempts(sessions[0])) == 1


def test_nothing_is_kept_when_all_have_gone(sessions: list[SandboxSession]) -> None:
    for session in sessions:
        session.close()
    assert instances() == 0


@pytest.mark.require("network-lab")
def test_a_process_may_hold_more_than_a_thousand_descriptors(lab: Lab, open_path: Path) -> None:
    """select(2) takes no number from 1,024 on, and a hundred sandboxes with a way out have more."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < HELD + 200:
        pytest.skip("this process may not open so many files")
    done = lab.run([sys.executable, "-c", FULL, str(HELD)], cwd=open_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "200 200 () ()\n"
