"""What the supervisor records of connections: nothing of those that reach the proxy, names for synthetic addresses."""

import _socket
import _thread
import os
from types import SimpleNamespace

import msgspec
import pytest

from ringfence.model.errors import SandboxError
from ringfence.session.egress import Way

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ringfence.session.egress import Report


def way(names: dict[str, str] | None) -> Way:
    made = Way.__new__(Way)
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
    made.channel, other = _socket.socketpair()
    made.ended = _thread.allocate_lock()
    made.ended.acquire()
    with pytest.raises(msgspec.DecodeError):
        made.answer(os.open("/dev/null", os.O_RDONLY))
    assert other.recv(1) == b"" and not made.ended.locked()  # the proxy ends with the thread
    made.channel.close()
    other.close()
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
