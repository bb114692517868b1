"""Who speaks to a live run waits for nobody who is silent, and not for ever where descriptors have run out."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from ringfence.model.egress import Egress
from ringfence.session.control import SILENT_AT_MOST, Answer, Control, Pending
from ringfence.session.questions import Questions

PATIENCE_S = 60.0
PLACE = "control"


class Way:
    """What a run shows, as far as its ear asks."""

    def __init__(self) -> None:
        self.shown = os.memfd_create("shown")


class Answering:
    """Stands in for `answering.Answering`: a run in which nothing is being asked."""

    def __init__(self) -> None:
        self.egress = Egress()
        self.changing = threading.Lock()
        self.questions = Questions(PATIENCE_S, lambda _: None)
        self.way = Way()
        self.records: list[str] = []

    def report(self, kind: str, code: str, fields: dict[str, object]) -> None:
        self.records.append(code)


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    """Give a run that listens at `PLACE`."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(PLACE)
        listener.listen(2 * SILENT_AT_MOST)  # with a time limit, connect(2) does not wait for room
        found = Answering()
        control = Control(listener, found)  # type: ignore[arg-type] # all that it uses of one
        yield found
        control.close()
        control.close()
        control.thread.join(PATIENCE_S)
        assert not control.thread.is_alive() and control.listener.fileno() < 0
        os.close(found.way.shown)


def connected() -> socket.socket:
    """Give a client that has said nothing yet."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.settimeout(PATIENCE_S)
    client.connect(PLACE)
    return client


def ask(client: socket.socket, answering: Answering) -> Answer:
    """Ask what is being asked."""
    socket.send_fds(client, [msgspec.json.encode(Pending())], [answering.way.shown])
    return msgspec.json.decode(client.recv(4096), type=Answer)


@pytest.mark.parametrize("count", [30, SILENT_AT_MOST + 20])
def test_nobody_waits_for_the_silent(answering: Answering, count: int) -> None:
    """One after the other these would take 5 s each: those who can wait for 30 are not waited for at all."""
    with ExitStack() as stack:
        silent = [stack.enter_context(connected()) for _ in range(count)]
        with connected() as operator:
            assert ask(operator, answering) == Answer()
        for client in silent:
            assert client.recv(1) == b"", "it is let go of in the end"
    assert answering.records == []


def test_one_that_speaks_late_is_heard(answering: Answering) -> None:
    with connected() as late:
        with connected() as operator:
            assert ask(operator, answering) == Answer()
        assert ask(late, answering) == Answer()


SCARCE = """
import os, resource, sys, time
from tests.integration import test_control_turns as turns
with turns.socket.socket(turns.socket.AF_UNIX, turns.socket.SOCK_SEQPACKET) as listener:
    listener.bind(turns.PLACE)
    listener.listen(8)
    answering = turns.Answering()
    control = turns.Control(listener, answering)
    client = turns.socket.socket(turns.socket.AF_UNIX, turns.socket.SOCK_SEQPACKET)
    client.settimeout(turns.PATIENCE_S)
    free = os.dup(0)
    os.close(free)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, most[1]))
    client.connect(turns.PLACE)
    time.sleep(0.5)  # it cannot be taken in now
    resource.setrlimit(resource.RLIMIT_NOFILE, most)
    print(turns.ask(client, answering))
"""


def test_too_few_descriptors_do_not_end_it(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{root}/src:{root}"}
    words = [sys.executable, "-c", SCARCE]
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False
    )
    assert done.stdout == f"{Answer()}\n", done.stderr
