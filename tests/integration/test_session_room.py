"""The shared room of a session: who hears of a command's end and how, what stays of it, and what it is refused for."""

import errno
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringfence import CommandTimeoutError, Sandbox, SandboxError, SandboxSession
from ringfence.sandbox import command as commands
from ringfence.sandbox import launch
from ringfence.sandbox.command import Command
from ringfence.session.exchange import Exchange
from tests.integration.test_sdk_session import records

pytestmark = pytest.mark.require("bubblewrap", "userns")
PATIENCE_S = 60.0
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
# The first thread ends before the one that decides how the whole process ends.
LEADER_FIRST = """
import ctypes, os, threading, time
def end():
    while open(f"/proc/{os.getpid()}/task/{os.getpid()}/stat").read().split()[2] != "Z":
        time.sleep(0.01)
    os._exit(3)
threading.Thread(target=end).start()
ctypes.CDLL(None).syscall(ctypes.c_long({"x86_64": 60, "aarch64": 93}[os.uname().machine]), 0)
"""
# Another thread becomes the program, which takes the place of all of them.
THREAD_EXECUTES = """
import os, threading, time
threading.Thread(target=os.execv, args=("/bin/sh", ["sh", "-c", "sleep 0.2; exit 6"])).start()
time.sleep(60)
"""


@pytest.fixture(params=["by the kernel", "by the room", "without handles"])
def session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[SandboxSession]:
    """Give an open session whose commands' ends are told by either, or where the kernel has no pidfds for us."""
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    if request.param == "by the room":
        monkeypatch.setattr(commands, "wait_status", lambda handle: None)
    if request.param == "without handles":
        monkeypatch.setattr(commands, "SO_PASSPIDFD", 9999)  # no option, as before Linux 6.5
    place = tmp_path / "workspace"
    place.mkdir()
    with Sandbox(directory=place) as box, box.session() as found:
        found.run(["true"], fresh=False)
        yield found


def shell(session: SandboxSession, text: str) -> int:
    """The status of a command in the shared room."""
    return session.run(["sh", "-c", text], fresh=False).returncode


def wait_until(found: Callable[[], object]) -> None:
    """Wait until a function gives something true."""
    deadline = time.monotonic() + PATIENCE_S
    while not found() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found()


def test_the_status_is_that_of_the_whole_process(session: SandboxSession) -> None:
    assert [shell(session, f"exit {number}") for number in (0, 7, 255)] == [0, 7, 255]
    assert shell(session, "kill -9 $$") == 137
    assert shell(session, "ulimit -c 0; kill -SEGV $$") == 139
    assert session.run([*PYTHON, LEADER_FIRST], fresh=False).returncode == 3
    assert session.run([*PYTHON, THREAD_EXECUTES], fresh=False).returncode == 6


def test_the_kernel_tells_where_it_can(session: SandboxSession, request: pytest.FixtureRequest) -> None:
    room = session._session.supervisor.room
    assert room is not None
    release = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    assert room.handles_tell == ("by the kernel" in request.node.name and release >= (6, 15))


def test_what_a_command_leaves_running_goes_on(session: SandboxSession) -> None:
    """Whoever has seen the end ends the conversation at once; that must not be taken for the wish to end the group."""
    for number in range(20):
        assert shell(session, f"sleep 300 >/dev/null 2>&1 & echo $! > /tmp/left-{number}") == 0
    assert shell(session, "for name in /tmp/left-*; do test -e /proc/$(cat $name) || exit 9; done") == 0


def test_one_that_is_started_is_heard_by_several(session: SandboxSession) -> None:
    with session.start(["sh", "-c", "cat; exit 4"], fresh=False) as process:
        waiting = threading.Thread(target=process.wait)
        waiting.start()
        assert process.communicate(b"text").stdout == b"text"
        waiting.join(PATIENCE_S)
        assert not waiting.is_alive() and process.wait() == process.poll() == 4


def test_one_that_nobody_asks_about_is_recorded(session: SandboxSession, home: Path) -> None:
    process = session.start(["sh", "-c", "exit 5"], fresh=False)
    wait_until(lambda: [one for one in records(home, "command") if one.get("exit") == 5])
    process.close()


def test_a_signal_reaches_one_that_is_started(session: SandboxSession) -> None:
    with session.start(["sleep", "300"], fresh=False) as process:
        assert process.running and process.poll() is None
        process.send_signal(signal.SIGUSR1)
        assert process.wait(PATIENCE_S) == 138


def test_every_descriptor_is_given_back(session: SandboxSession) -> None:
    def held() -> int:
        return len(os.listdir("/proc/self/fd"))

    def use() -> None:
        for _ in range(20):
            session.run(["true"], fresh=False)
            session.start(["true"], fresh=False).communicate()
        with pytest.raises(CommandTimeoutError):
            session.run(["sleep", "300"], fresh=False, timeout_s=0.05)

    use()
    before = held()
    use()
    wait_until(lambda: held() <= before + 10)  # who stands by has five, and may have been counted or not


def test_an_interrupted_caller_leaves_nothing(session: SandboxSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is not waited for any more; the session ends it, and records that."""
    monkeypatch.setattr(Exchange, "carry_out", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        session.run(["sh", "-c", "while echo; do :; done"], fresh=False)
    wait_until(lambda: not session._session.supervisor.commands)  # it writes to a pipe that nobody reads any more


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "shared"])
def test_too_many_descriptors_on_their_way(
    session: SandboxSession, monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    """A user may have so many on the way, and any program of theirs may use them up for a while."""
    sent, refusals = launch.send_descriptors, [errno.ETOOMANYREFS] * 3

    def send(channel: socket.socket, data: bytes, descriptors: list[int]) -> None:
        if refusals:
            raise OSError(refusals.pop(), "")
        sent(channel, data, descriptors)

    monkeypatch.setattr(commands, "PAUSE_S", 0.001)
    monkeypatch.setattr(launch, "send_descriptors", send)
    assert session.run(["echo"] + ["x" * 100] * 400, fresh=fresh).returncode == 0 and not refusals
    refusals.extend([errno.ETOOMANYREFS] * 1000)
    with pytest.raises(SandboxError, match="too many references") as raised:
        session.run(["echo"] + ["x" * 100] * 400, fresh=fresh)
    assert "on their way" in raised.value.hint
    refusals.clear()
    assert session.run(["true"], fresh=fresh).returncode == 0


def test_one_that_stood_by_was_killed(session: SandboxSession) -> None:
    """A command may end it by a limit; whoever gets it is told, and the next one has another."""
    supervisor = session._session.supervisor

    def standing() -> Command | None:
        supervisor.look_ahead()
        return supervisor.room.next if supervisor.room else None

    shell(session, "exit 0")  # the Python one makes nobody stand by until it is asked
    if supervisor.room and not standing():
        supervisor.room.next = supervisor.room.spare()
    found = standing()
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    poller = select.poll()
    poller.register(found.control.fileno(), 0)
    assert poller.poll(PATIENCE_S * 1000) == [(found.control.fileno(), select.POLLHUP)]  # the room has let it go
    with pytest.raises(SandboxError, match="could not be begun"):
        session.run(["true"], fresh=False)
    assert shell(session, "exit 6") == 6
