"""What listens inside a boundary: one question and one answer for each connection, few at a time, none too large."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ringfence.session import ear as subject
from ringfence.session.ear import CONNECTIONS_AT_MOST, Ear
from tests.paths import wait_until

TIMEOUT_S = 60


@contextmanager
def listening(answer: Callable[[bytes], tuple[int, bytes]], limit: int = 100) -> Iterator[tuple[Ear, tuple[str, int]]]:
    """An ear outside of any boundary."""
    ear = Ear("test", answer, limit)
    ear.listener = socket.create_server(("127.0.0.1", 0))
    place = ear.listener.getsockname()
    serving = threading.Thread(target=ear.serve, args=(ear.listener,))
    serving.start()
    try:
        yield ear, place
    finally:
        ear.close()
        serving.join(TIMEOUT_S)
        assert not serving.is_alive()


def asked(place: tuple[str, int], question: bytes) -> bytes:
    """What is answered."""
    with socket.create_connection(place, TIMEOUT_S) as peer:
        peer.sendall(question)
        peer.shutdown(socket.SHUT_WR)
        said = b""
        while data := peer.recv(4096):
            said += data
    return said


def test_a_question_and_its_answer() -> None:
    with listening(lambda data: (2, data[::-1])) as (_, place):
        assert asked(place, b"abc") == b"2 3\ncba"
        assert asked(place, b"") == b"2 0\n"


def test_a_question_that_is_too_long_is_cut_off() -> None:
    """More than the limit comes in, so that whoever reads it knows, and no more than one read beyond."""
    seen: list[int] = []

    def answer(data: bytes) -> tuple[int, bytes]:
        seen.append(len(data))
        return 0, b""

    with listening(answer) as (_, place):
        try:
            asked(place, b"x" * 5_000_000)
        except OSError:
            pass  # it was not heard to its end
    assert 100 < seen[0] <= 100 + (1 << 16)


def test_who_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "READ_TIMEOUT_S", 0.2)
    with listening(lambda data: (0, data)) as (_, place), socket.create_connection(place, TIMEOUT_S) as silent:
        assert silent.recv(100) == b""
        monkeypatch.setattr(subject, "READ_TIMEOUT_S", TIMEOUT_S)
        assert asked(place, b"next") == b"0 4\nnext"


def test_only_so_many_at_once() -> None:
    going, most, lock, go = 0, 0, threading.Lock(), threading.Event()

    def answer(data: bytes) -> tuple[int, bytes]:
        nonlocal going, most
        with lock:
            going += 1
            most = max(most, going)
        go.wait(TIMEOUT_S)
        with lock:
            going -= 1
        return 0, data

    with listening(answer) as (_, place):
        said: list[bytes] = []
        threads = [threading.Thread(target=lambda: said.append(asked(place, b"x"))) for _ in range(12)]
        for thread in threads:
            thread.start()
        assert wait_until(lambda: most == CONNECTIONS_AT_MOST, TIMEOUT_S)
        go.set()
        for thread in threads:
            thread.join(TIMEOUT_S)
    assert said == [b"0 1\nx"] * 12 and most == CONNECTIONS_AT_MOST


def test_what_never_listened_can_be_closed() -> None:
    Ear("test", lambda data: (0, data), 1).close()
