"""What the supervisor records of connections: nothing of those that reach the proxy, names for synthetic addresses."""

import _socket
import _thread
import os
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from ringfence.model.errors import SandboxError
from ringfence.session import egress
from ringfence.session.egress import Way

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ringfence.session.egress import Report


def way(names: dict[str, str] | None) -> Way:
    made = Way.__new__(Way)
    made.run, made.shown = "run", -1
    made.artefact = SimpleNamespace(ports=[80, 443], literals=["10.0.0.1", "fd00::1"])  # type: ignore[assignment] # all it asks
    made.answering = SimpleNamespace(names=names) if names is not None else None  # type: ignore[assignment] # likewise
    return made


@pytest.mark.parametrize(
    ("target", "recorded"),
    [
        ("198.18.0.2:53", ""),
        ("198.18.0.2:54", "198.18.0.2:54"),
        ("198.18.1.0:443", ""),
        ("[::ffff:198.18.1.0]:80", ""),
        ("198.18.1.0:22", "a.example:22"),
        ("198.19.9.9:22", "198.19.9.9:22"),
        ("10.0.0.1:80", ""),
        ("10.0.0.1:81", "10.0.0.1:81"),
        ("[fd00::1]:443", ""),
        ("192.0.2.1:80", "192.0.2.1:80"),
        ("unix:/run/x", "unix:/run/x"),
    ],
)
def test_what_is_recorded(target: str, recorded: str) -> None:
    assert way({"198.18.1.0": "a.example"}).outward(target) == recorded


def test_a_name_that_is_not_known_yet_is_an_address() -> None:
    assert way(None).outward("198.18.1.0:22") == "198.18.1.0:22"


def answered(report: "Report", stopped: list[int]) -> Way:
    """A way whose answering meets what nobody foresaw: rules that cannot be read."""
    made = way(None)
    made.artefact = SimpleNamespace(egress=b"{")  # type: ignore[assignment] # all it asks
    made.report, made.stop = report, lambda: stopped.append(1)
    made.closing, made.failure = False, None
    made.own_proxy, made.over, made.vault, made.listener = False, False, None, None
    made.directory = ""
    made.wake = os.eventfd(1)
    made.channel, other = _socket.socketpair()
    made.ended, made.loading, made.claim = (_thread.allocate_lock() for _ in range(3))
    for lock in (made.ended, made.loading, made.claim):
        lock.acquire()
    with pytest.raises(msgspec.DecodeError):
        made.answer(os.open("/dev/null", os.O_RDONLY))
    assert other.recv(1) == b"" and not made.ended.locked()  # the proxy ends with the thread
    made.channel.close()
    other.close()
    os.close(made.wake)
    return made


def test_a_thread_that_ends_by_an_error_nobody_foresaw_leaves_a_record() -> None:
    told: list[tuple[object, ...]] = []
    stopped: list[int] = []
    made = answered(lambda *event: told.append(event), stopped)
    assert told == [("lost", "egress-supervisor", {"reason": "answering: DecodeError"})]
    assert made.failure is None and stopped == []


def test_and_where_there_can_be_no_record_the_run_ends() -> None:
    def report(*event: object) -> None:
        raise SandboxError("the disk is full")

    stopped: list[int] = []
    assert isinstance(answered(report, stopped).failure, SandboxError)
    assert stopped == [1]


def test_secrets_without_a_value_are_in_the_record() -> None:
    told: list[tuple[object, ...]] = []
    made = way(None)
    made.report = lambda *event: told.append(event)
    made.tell_missing([("b", "it is not set")])
    assert told == [("secret", "missing", {"secret": "b", "reason": "it is not set"})]


class Ended:
    """A way that is closed while `said` is all that the proxy has told; whether anything answered it."""

    def __init__(self, said: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.heard: list[bytes] = []
        told = self.heard

        class Answering:
            def __init__(self, way: Way, diagnosis: int) -> None:
                self.way = way

            def serve(self) -> None:
                while data := self.way.channel.recv(64):
                    told.append(data)

            def refuse_questions(self) -> None:
                pass

            close = refuse_questions

        monkeypatch.setattr("ringfence.session.answering.Answering", Answering)
        monkeypatch.setattr(egress, "END_TIMEOUT_S", 60.0)
        made = way(None)
        made.directory, made.published, made.vault, made.proxy, made.own_proxy = str(tmp_path), None, None, -1, False
        made.closing = made.over = False
        made.report = lambda *told: None  # its end may be seen before it is wanted
        monkeypatch.setattr(Way, "reap", lambda self: 0)
        made.wake = os.eventfd(0)
        made.channel, other = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        made.ended, made.loading, made.claim = (_thread.allocate_lock() for _ in range(3))
        for lock in (made.ended, made.loading, made.claim):
            lock.acquire()
        made.listen()
        _thread.start_new_thread(made.answer, (os.open("/dev/null", os.O_RDONLY),))
        if said:
            other.send(said)
        other.close()
        made.closing = not said
        made.close()
        self.way = made


def test_the_last_word_of_a_proxy_is_heard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Ended(b"a record", monkeypatch, tmp_path).heard == [b"a record"]


def test_and_for_one_that_has_said_nothing_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended = Ended(b"", monkeypatch, tmp_path)
    assert ended.way.answering is None and not (tmp_path / "control").exists()
