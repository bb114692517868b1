"""Names: asked for once, kept for a while, each question on a thread of its own."""

import _socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import SimpleQueue

import pytest

from ringfence.network import resolver
from ringfence.network.resolver import Answer, Resolver, hosts_file
from tests.unit.network.loopback import Clock

WAIT_S = 60


class Zone:
    """Names and their addresses, as the system might give them; a name can be made to hang until `release`."""

    def __init__(self) -> None:
        self.questions: list[str] = []
        self.addresses: dict[str, list[str]] = {}
        self.errors: dict[str, OSError] = {}
        self.hanging = threading.Event()
        self.hanging.set()

    def __call__(self, host: str) -> Iterable[str]:
        self.questions.append(host)
        assert self.hanging.wait(WAIT_S)
        if host in self.errors:
            raise self.errors[host]
        return self.addresses.get(host, [])


class Owner:
    """The thread of the one who made the resolver: here the test itself."""

    def __init__(self, zone: Zone) -> None:
        self.clock = Clock()
        self.posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.answered: list[str] = []
        self.names = Resolver(zone, clock=self.clock, post=self.post, answered=self.answered.append)

    def post(self, action: Callable[[], None]) -> bool:
        self.posted.put(action)
        return True

    def find(self, host: str) -> Answer:
        """Find a name, waiting for its answer."""
        while (answer := self.names.find(host)) is None:
            self.posted.get(timeout=WAIT_S)()
        return answer


@pytest.fixture
def zone() -> Zone:
    return Zone()


@pytest.fixture
def owner(zone: Zone) -> Owner:
    return Owner(zone)


def test_an_answer_is_kept_for_half_a_minute(zone: Zone, owner: Owner) -> None:
    zone.addresses["example.com"] = ["192.0.2.1"]
    assert owner.find("example.com").addresses == ("192.0.2.1",)
    zone.addresses["example.com"] = ["127.0.0.1"]
    owner.clock.now += resolver.KEPT_S - 0.1
    assert owner.find("example.com").addresses == ("192.0.2.1",)
    owner.clock.now += 0.2
    assert owner.find("example.com").addresses == ("127.0.0.1",)
    assert zone.questions == ["example.com"] * 2


def test_a_failure_is_kept_for_two_seconds(zone: Zone, owner: Owner) -> None:
    assert owner.find("example.com").code == "not-found"
    zone.addresses["example.com"] = ["192.0.2.1"]
    owner.clock.now += resolver.FAILURE_KEPT_S - 0.1
    assert owner.find("example.com").code == "not-found"
    owner.clock.now += 0.2
    assert owner.find("example.com").addresses == ("192.0.2.1",)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (_socket.EAI_NONAME, "not-found"),
        (_socket.EAI_NODATA, "not-found"),
        (_socket.EAI_AGAIN, "unreachable"),
        (_socket.EAI_FAIL, "unreachable"),
    ],
)
def test_errors_of_the_library_have_codes(zone: Zone, owner: Owner, number: int, code: str) -> None:
    zone.errors["example.com"] = _socket.gaierror(number, "the library's words")
    found = owner.find("example.com")
    assert (found.addresses, found.code) == ((), code)


def test_who_asks_for_the_same_name_shares_the_question(zone: Zone, owner: Owner) -> None:
    zone.addresses["example.com"] = ["192.0.2.1"]
    zone.hanging.clear()
    assert [owner.names.find("example.com") for _ in range(50)] == [None] * 50
    zone.hanging.set()
    owner.find("example.com")
    assert zone.questions == ["example.com"]
    assert owner.answered == ["example.com"]


def test_only_so_many_questions_are_under_way_and_every_one_is_answered(zone: Zone, owner: Owner) -> None:
    zone.hanging.clear()
    before = threading.active_count()
    names = [f"n{number}.example.com" for number in range(resolver.MAX_QUESTIONS)]
    assert [owner.names.find(name) for name in names] == [None] * len(names)
    assert len(zone.questions) <= resolver.WORKERS
    assert owner.names.find("one-more.example.com") == resolver.BUSY
    zone.hanging.set()
    assert {owner.find(name).code for name in names} == {"not-found"}
    assert sorted(zone.questions) == sorted(names)
    assert sorted(owner.answered) == sorted(names)
    assert threading.active_count() <= before


def test_a_long_answer_is_cut(zone: Zone, owner: Owner) -> None:
    zone.addresses["example.com"] = [f"192.0.2.{number}" for number in range(1, 200)]
    assert len(owner.find("example.com").addresses) == resolver.MAX_ADDRESSES


def test_old_answers_make_room(zone: Zone, owner: Owner) -> None:
    for number in range(resolver.MAX_KEPT + 1):
        owner.find(f"n{number}.example.com")
    owner.find("n0.example.com")
    owner.find(f"n{resolver.MAX_KEPT}.example.com")
    assert zone.questions.count("n0.example.com") == 2
    assert zone.questions.count(f"n{resolver.MAX_KEPT}.example.com") == 1


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("192.0.2.1 db.example.com db\n2001:DB8::1 DB.example.com # here\n", ["192.0.2.1", "2001:db8::1"]),
        ("192.0.2.1 other\n#192.0.2.2 db.example.com\n\n192.0.2.3\n", []),
        ("127.1 db.example.com\n", []),
        ("name db.example.com\n192.0.2.1 db.example.com\n", []),
        ("192.0.2.1 d\xe4.example.com db.example.com\n", ["192.0.2.1"]),
    ],
)
def test_the_hosts_file(tmp_path: Path, text: str, addresses: list[str]) -> None:
    file = tmp_path / "hosts"
    file.write_bytes(text.encode("latin-1"))
    assert hosts_file("db.example.com", str(file)) == addresses


def test_a_machine_without_a_hosts_file(tmp_path: Path) -> None:
    assert hosts_file("db.example.com", str(tmp_path / "none")) == []
