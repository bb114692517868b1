"""Who is given somebody who stands by in the shared room, as long as there is nobody."""

import errno
import socket
import threading
import time
from collections.abc import Iterator
from types import TracebackType

import pytest

from ringfence.sandbox import command
from ringfence.sandbox.command import Command, Room
from ringfence.sandbox.warm import WarmSupervisor


class Refusing:
    """Stands in for a room inside that answers each `more` with an error number; `asked` counts them."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.asked = 0
        self.room = Room(ours.detach(), 1)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        while self.theirs.recv(16):
            self.asked += 1
            self.theirs.send(b"refused %d" % errno.ETOOMANYREFS)

    def refused(self, came: float | None = None) -> int:
        """Ask, and give how often that was done; nobody is to be had."""
        before = self.asked
        with pytest.raises(OSError, match=r"nobody stands by|many references") as raised:
            self.room.spare(came)
        assert raised.value.errno == errno.ETOOMANYREFS
        return self.asked - before


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    found = Refusing()
    yield found
    found.room.close()
    found.thread.join()
    found.theirs.close()


def test_what_took_long_in_vain_is_not_tried_again_for_those_who_waited(
    refusing: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "IN_VAIN_S", -1.0)  # however short it was
    came = time.monotonic()
    assert refusing.refused(came) == 1
    assert refusing.refused(came) == 0
    assert refusing.refused(time.monotonic()) == 1, "who has come since then has not waited"
    assert refusing.refused() == 1


def test_what_was_refused_at_once_is(refusing: Refusing) -> None:
    came = time.monotonic()
    assert [refusing.refused(came) for _ in range(3)] == [1, 1, 1]


class Turn:
    """A lock that notes when it was taken."""

    def __enter__(self) -> None:
        self.taken = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass


class Noting(Room):
    """A room that notes since when it is waited for."""

    def __init__(self) -> None:
        self.came = 0.0

    def spare(self, came: float | None = None) -> Command:
        assert came is not None
        self.came = came
        return Command(0, command.FRESH)


def test_a_turn_is_waited_for_from_the_call_on() -> None:
    supervisor = WarmSupervisor.__new__(WarmSupervisor)
    turn, room = Turn(), Noting()
    supervisor.opening, supervisor.room = turn, room  # type: ignore[assignment] # all that `spare` uses
    before = time.monotonic()
    supervisor.spare(lambda: b"").close()
    assert before <= room.came <= turn.taken
