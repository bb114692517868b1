"""The dialer as the supervisor uses it: rules, names, several addresses, a parent proxy, limits and its end.

Longer than 400 lines: one dialer, and every way in which a connection may come about or fail.
"""

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from ringfence.model.decision import Verdict
from ringfence.model.egress import HOST_LOOPBACK, Egress
from ringfence.network import dialer as subject
from ringfence.network.dialer import Dialer
from ringfence.network.messages import Dial, Dialed
from tests.descriptors import open_descriptors
from tests.paths import wait_until
from tests.unit.network.loopback import HERE, THERE, Clock, closed, full, listening, rule

WAIT_S = 60
NAME = "example.com"
ANY = Egress(rules=(rule("example.com"), rule("*.example.com")))

Answers = SimpleQueue[tuple[Dialed, socket.socket | None]]


class Names:
    """What names resolve to; those that begin with `hang` do not, until `released`."""

    def __init__(self, **addresses: str | list[str]) -> None:
        self.addresses = addresses
        self.asked: list[str] = []
        self.hanging: SimpleQueue[str] = SimpleQueue()
        self.released = threading.Event()

    def __call__(self, host: str) -> Iterable[str]:
        self.asked.append(host)
        if host.startswith("hang"):
            self.hanging.put(host)
            assert self.released.wait(WAIT_S)
        found = self.addresses.get(host.partition(".")[0], HERE)
        return [found] if isinstance(found, str) else found


class Caller:
    """A dialer, and the supervisor that waits for its answers."""

    def __init__(self, egress: Egress, names: Names, clock: Clock) -> None:
        self.clock = clock
        self.dialer = Dialer(egress, resolve=names, clock=clock)
        self.answers: Answers = SimpleQueue()

    def submit(self, host: str = NAME, port: int = 443, *, request: int = 1) -> None:
        """Ask for a connection."""
        dial = Dial(request=request, connection=1, host=host, port=port)
        self.dialer.submit(dial, lambda told, made: self.answers.put((told, adopted(made))))

    def answer(self) -> tuple[Dialed, socket.socket | None]:
        """Wait for an answer."""
        return self.answers.get(timeout=WAIT_S)

    def dial(self, host: str = NAME, port: int = 443) -> Dialed:
        """Ask for a connection, wait for the answer and close what came with it."""
        self.submit(host, port)
        told, made = self.answer()
        assert (made is None) == bool(told.code)
        if made:
            made.close()
        return told

    def pass_time(self, seconds: float) -> None:
        """Move the clock and let the dialer see it."""
        self.clock.now += seconds
        self.submit("nobody.invalid", 1, request=999)
        told, _ = self.answer()
        while told.request != 999:
            self.answers.put((told, None))
            told, _ = self.answer()


def adopted(made: object) -> socket.socket | None:
    """Take a connection over, as one of this process's sockets."""
    return socket.socket(fileno=made.detach()) if hasattr(made, "detach") else None


def threads() -> set[str]:
    return set(os.listdir("/proc/self/task"))


@pytest.fixture
def names() -> Iterator[Names]:
    found = Names()
    yield found
    found.released.set()


Make = Callable[..., Caller]


@pytest.fixture
def make(names: Names) -> Iterator[Make]:
    """Give a function that makes a dialer; afterwards no thread and no descriptor of it may be left."""
    files, before = open_descriptors(), threads()
    made: list[Caller] = []

    def build(egress: Egress = ANY, *, with_names: Names = names) -> Caller:
        made.append(Caller(egress, with_names, Clock()))
        return made[-1]

    yield build
    for caller in made:
        caller.dialer.close()
        while not caller.answers.empty():
            connected = caller.answers.get()[1]
            if connected:
                connected.close()
    names.released.set()
    assert wait_until(lambda: threads() <= before, WAIT_S)
    assert open_descriptors() <= files


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with listening() as found:
        yield found


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def test_a_connection_that_policy_allows(make: Make, server: socket.socket) -> None:
    caller = make()
    caller.submit(port=port_of(server), request=7)
    told, made = caller.answer()
    assert told == Dialed(request=7, address=HERE)
    assert made is not None
    accepted, _ = server.accept()
    with made, accepted:
        accepted.sendall(b"hello")
        made.setblocking(True)
        assert made.recv(5) == b"hello"


def test_what_policy_denies_is_not_even_looked_up(make: Make, names: Names) -> None:
    caller = make(Egress(rules=(rule(NAME, port=443), rule("denied.example.com", Verdict.DENY))))
    for host, port in [("other.test", 443), (NAME, 80), ("denied.example.com", 443), ("EXAMPLE.com", 443)]:
        assert caller.dial(host, port).code == "egress-denied"
    assert names.asked == []


def test_a_question_needs_the_operator_s_yes(make: Make, server: socket.socket) -> None:
    caller = make(Egress(rules=(rule(NAME, Verdict.ASK),)))
    assert caller.dial(port=port_of(server)).code == "egress-denied"
    caller.dialer.grant(NAME, port_of(server))
    assert caller.dial(port=port_of(server)).code == ""
    assert caller.dial(port=1).code == "egress-denied"


def test_a_name_that_leads_to_loopback_is_refused(make: Make, server: socket.socket) -> None:
    told = make(Egress(rules=(rule(NAME, addresses=()),))).dial(port=port_of(server))
    assert (told.code, told.reason) == ("address-denied", "example.com resolved to a loopback address")
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.accept()


def test_only_the_addresses_that_policy_allows_are_connected_to(make: Make, server: socket.socket) -> None:
    egress = Egress(rules=(rule(NAME, addresses=(f"{THERE}/32",)),))
    with listening(THERE, port=port_of(server)):
        caller = make(egress, with_names=Names(example=["10.1.1.1", HERE, THERE, "169.254.169.254"]))
        assert caller.dial(port=port_of(server)).address == THERE
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.accept()


def test_a_name_is_resolved_once(make: Make, server: socket.socket) -> None:
    names = Names(example=THERE)
    caller = make(Egress(rules=(rule(NAME, addresses=(f"{THERE}/32",)),)), with_names=names)
    with listening(THERE, port=port_of(server)):
        assert caller.dial(port=port_of(server)).address == THERE
        names.addresses["example"] = HERE
        caller.clock.now += 29
        assert caller.dial(port=port_of(server)).address == THERE
        assert names.asked == [NAME]
        caller.clock.now += 2
        assert caller.dial(port=port_of(server)).code == "address-denied"
    assert names.asked == [NAME, NAME]


def test_a_name_without_addresses(make: Make) -> None:
    assert make(with_names=Names(example=[])).dial().code == "not-found"


def test_an_address_that_refuses_gives_way_to_the_next(make: Make, server: socket.socket) -> None:
    caller = make(with_names=Names(example=[THERE, "127.0.0.4", HERE]))
    assert caller.dial(port=port_of(server)).address == HERE


def test_every_address_refuses(make: Make, server: socket.socket) -> None:
    told = make(with_names=Names(example=[THERE, "127.0.0.4"])).dial(port=port_of(server))
    assert (told.code, told.reason) == ("unreachable", "connection refused")


def test_a_silent_address_is_joined_by_the_next_when_the_clock_says_so(make: Make, server: socket.socket) -> None:
    silent, fillers = full(THERE, port=port_of(server))
    caller = make(with_names=Names(example=[THERE, HERE]))
    before = open_descriptors()
    caller.submit(port=port_of(server))
    assert wait_until(lambda: bool(open_descriptors() - before), WAIT_S)
    caller.pass_time(0)  # what is under way has looked at the clock
    caller.pass_time(0.2)
    assert caller.answers.empty()
    caller.pass_time(0.06)
    told, made = caller.answer()
    assert told.address == HERE
    for each in (made, silent, *fillers):
        if each:
            each.close()


def test_nobody_waits_longer_than_twenty_seconds(make: Make) -> None:
    silent, fillers = full()
    caller = make()
    caller.submit(port=port_of(silent))
    caller.pass_time(19.9)
    assert caller.answers.empty()
    caller.pass_time(0.2)
    assert caller.answer()[0].code == "timed-out"
    for each in (silent, *fillers):
        each.close()


def test_names_that_hang_hold_up_nobody_else(make: Make, names: Names, server: socket.socket) -> None:
    caller = make()
    for number in range(7):
        caller.submit(f"hang{number}.example.com", port_of(server), request=100 + number)
        names.hanging.get(timeout=WAIT_S)
    assert caller.dial(port=port_of(server)).code == ""
    caller.submit("hang7.example.com", port_of(server), request=107)
    names.hanging.get(timeout=WAIT_S)
    caller.submit("last.example.com", port_of(server))
    assert caller.dial(port=port_of(server)).code == ""  # its address is known
    caller.pass_time(25)
    assert {caller.answer()[0].code for _ in range(9)} == {"timed-out"}
    names.released.set()
    assert caller.dial("last.example.com", port_of(server)).code == ""


def test_an_address_is_connected_to_without_being_looked_up(make: Make, names: Names, server: socket.socket) -> None:
    caller = make(Egress(rules=(rule(HERE, addresses=()),), unknown=Verdict.ALLOW))
    assert caller.dial(HERE, port_of(server)) == Dialed(request=1, address=HERE)
    told = caller.dial(THERE, port_of(server))
    assert (told.code, told.reason) == ("address-denied", f"{THERE} is a loopback address")
    assert names.asked == []


def test_the_host_s_own_services_need_a_rule_with_their_port(make: Make, names: Names) -> None:
    with listening("127.0.0.1") as server:
        caller = make(Egress(rules=(rule(HOST_LOOPBACK, addresses=(), port=port_of(server)),)))
        assert caller.dial(HOST_LOOPBACK, port_of(server)).address == "127.0.0.1"
        assert caller.dial(HOST_LOOPBACK, port_of(server) - 1).code == "egress-denied"
        learning = make(Egress(unknown=Verdict.ALLOW))
        assert learning.dial(HOST_LOOPBACK, port_of(server)).code == "address-denied"
    assert names.asked == []


def test_the_host_s_own_services_over_ipv6(make: Make) -> None:
    with closed("127.0.0.1") as other, listening("::1", port=port_of(other)) as server:
        caller = make(Egress(rules=(rule(HOST_LOOPBACK, addresses=()),)))
        assert caller.dial(HOST_LOOPBACK, port_of(server)).address == "::1"


def test_other_rules_hold_at_once_for_what_is_under_way(make: Make, names: Names) -> None:
    silent, fillers = full()
    caller = make()
    caller.submit(port=port_of(silent), request=1)
    caller.submit("hang.example.com", request=2)
    names.hanging.get(timeout=WAIT_S)
    caller.dialer.replace(Egress(rules=(rule(NAME, addresses=()), rule("*.example.com", Verdict.DENY))))
    told = {answer.request: answer.code for answer, _ in (caller.answer(), caller.answer())}
    assert told == {1: "address-denied", 2: "egress-denied"}
    for each in (silent, *fillers):
        each.close()


def test_what_other_rules_still_allow_goes_on_without_another_question(
    make: Make, names: Names, server: socket.socket
) -> None:
    caller = make()
    caller.submit("hang.example.com", port_of(server))
    names.hanging.get(timeout=WAIT_S)
    caller.dialer.replace(Egress(rules=(rule("hang.example.com"),)))
    names.released.set()
    told, made = caller.answer()
    assert (told.code, names.asked) == ("", ["hang.example.com"])
    if made:
        made.close()


def test_a_thousand_at_once_are_served_in_turn(make: Make) -> None:
    silent, fillers = full()
    caller = make()
    before = open_descriptors()
    for number in range(1000):
        caller.submit(port=port_of(silent), request=number)
    assert wait_until(lambda: len(open_descriptors() - before) >= subject.MAX_CONNECTING, WAIT_S)
    assert len(open_descriptors() - before) <= subject.MAX_CONNECTING
    for filler in fillers:
        filler.close()
    silent.close()  # those that wait are reset, the others refused
    caller.pass_time(subject.TIMEOUT_S)
    assert len({caller.answer()[0].request for _ in range(1000)}) == 1000


def test_too_many_are_turned_away_at_once(make: Make, names: Names) -> None:
    caller = make()
    for number in range(subject.MAX_PENDING - 1):
        caller.submit("hang.example.com", request=number)
    caller.submit("hang-too.example.com")
    while names.hanging.get(timeout=WAIT_S) != "hang-too.example.com":
        pass  # when it is looked up, all are waiting and none is on its way
    for number in range(52):
        caller.submit("hang.example.com", request=number)
    answers = [caller.answer()[0] for _ in range(52)]
    assert {told.code for told in answers} == {"busy"}
    caller.dialer.close()
    assert {caller.answer()[0].code for _ in range(subject.MAX_PENDING)} == {"unreachable"}


def test_a_thousand_connections_leave_nothing_behind(make: Make, server: socket.socket) -> None:
    caller = make()

    def accept() -> None:
        for _ in range(1000):
            server.accept()[0].close()

    accepting = threading.Thread(target=accept)
    accepting.start()
    for number in range(1000):
        caller.submit(port=port_of(server), request=number)
    for _ in range(1000):
        told, made = caller.answer()
        assert told.code == ""
        assert made is not None
        made.close()
    accepting.join()


def test_the_end_answers_whoever_still_waits(make: Make, names: Names) -> None:
    silent, fillers = full()
    caller = make()
    caller.submit(port=port_of(silent))
    caller.submit("hang.example.com")
    names.hanging.get(timeout=WAIT_S)
    caller.dialer.close()
    caller.dialer.close()
    caller.submit()
    answers = [caller.answer() for _ in range(3)]
    assert {(told.code, told.reason, made) for told, made in answers} == {
        ("unreachable", "the session has ended", None)
    }
    for each in (silent, *fillers):
        each.close()


def test_there_is_no_thread_before_the_first_connection(make: Make) -> None:
    before = threads()
    caller = make()
    assert threads() <= before
    caller.dialer.close()


def test_it_may_be_closed_by_the_one_it_answers(make: Make) -> None:
    caller = make()
    closed = threading.Event()

    def close(told: Dialed, made: object) -> None:
        caller.dialer.close()
        closed.set()

    caller.dialer.submit(Dial(request=1, connection=1, host="denied.test", port=443), close)
    assert closed.wait(WAIT_S)


# ---- a parent proxy


class Parent:
    """A parent proxy for one client after the other; it says what it is told to."""

    def __init__(self, reply: bytes) -> None:
        self.listener = listening()
        self.reply = reply
        self.requests: list[bytes] = []
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://{HERE}:{port_of(self.listener)}"

    def serve(self) -> None:
        while True:
            client, _ = self.listener.accept()
            with client:
                request = client.recv(4096)
                if not request:
                    return
                self.requests.append(request)
                client.sendall(self.reply)  # its end is the end of the reply

    def close(self) -> None:
        socket.create_connection(self.listener.getsockname()).close()
        self.thread.join()
        self.listener.close()


@pytest.fixture
def parent() -> Iterator[Parent]:
    made = Parent(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 parent\r\n\r\n220 banner\r\n")
    yield made
    made.close()


def test_a_parent_proxy_is_given_the_name(make: Make, names: Names, parent: Parent) -> None:
    caller = make(Egress(rules=(rule(NAME, addresses=()),), parent_proxy=parent.url))
    caller.submit(port=25)
    told, made = caller.answer()
    assert told == Dialed(request=1)
    assert made is not None
    with made:
        made.setblocking(True)
        assert made.recv(100) == b"220 banner\r\n"
    assert parent.requests == [b"CONNECT example.com:25 HTTP/1.1\r\nHost: example.com:25\r\n\r\n"]
    assert names.asked == []


def test_a_parent_proxy_may_have_a_name(make: Make, names: Names, parent: Parent) -> None:
    url = f"http://proxy.corp.test:{port_of(parent.listener)}"
    assert make(Egress(rules=(rule(NAME),), parent_proxy=url)).dial().code == ""
    assert names.asked == ["proxy.corp.test"]


def test_policy_still_decides_before_a_parent_proxy(make: Make, parent: Parent) -> None:
    egress = Egress(rules=(rule(NAME),), unknown=Verdict.ALLOW, denied_addresses=("93.184.0.0/16",))
    caller = make(Egress(rules=egress.rules, parent_proxy=parent.url))
    assert caller.dial("other.test").code == "egress-denied"
    learning = make(Egress(unknown=Verdict.ALLOW, denied_addresses=egress.denied_addresses, parent_proxy=parent.url))
    assert learning.dial("93.184.216.34").code == "address-denied"
    assert learning.dial("10.1.2.3").code == "address-denied"
    assert learning.dial("127.0.0.1").code == "address-denied"
    assert parent.requests == []
    assert learning.dial("93.185.216.34").code == ""
    assert parent.requests[0].startswith(b"CONNECT 93.185.216.34:443 ")


def test_what_is_here_is_reached_past_a_parent_proxy(make: Make, parent: Parent, server: socket.socket) -> None:
    rules = (rule(HOST_LOOPBACK, addresses=()), rule(HERE))
    caller = make(Egress(rules=rules, parent_proxy=parent.url))
    assert caller.dial(HERE, port_of(server)).address == HERE
    with closed("127.0.0.1") as nobody:
        assert caller.dial(HOST_LOOPBACK, port_of(nobody)).code == "unreachable"
    assert parent.requests == []


@pytest.mark.parametrize("reply", [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"", b"220 mail\r\n\r\n", b"HTTP/1.1 200 OK\r\n"])
def test_a_parent_proxy_that_refuses(make: Make, parent: Parent, reply: bytes) -> None:
    parent.reply = reply
    assert make(Egress(rules=(rule(NAME),), parent_proxy=parent.url)).dial().code == "unreachable"


def test_a_parent_proxy_that_says_nothing_is_left_after_a_while(make: Make) -> None:
    with listening() as silent:
        caller = make(Egress(rules=(rule(NAME),), parent_proxy=f"http://{HERE}:{port_of(silent)}"))
        caller.submit()
        accepted, _ = silent.accept()
        with accepted:
            assert accepted.recv(100).startswith(b"CONNECT")
            caller.pass_time(21)
            assert caller.answer()[0].code == "timed-out"
            assert accepted.recv(1) == b""


def test_a_parent_proxy_that_cannot_be_used_is_refused_at_once(make: Make) -> None:
    egress = Egress(parent_proxy="https://proxy.corp.test:3128")
    with pytest.raises(ValueError, match="http://HOST:PORT"):
        Dialer(egress)
    with pytest.raises(ValueError, match="http://HOST:PORT"):
        make().dialer.replace(egress)


# ---- what it costs to have it


def test_importing_it_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    text = "import sys, ringfence.network.dialer; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", text],
        env={"PYTHONPATH": str(Path(subject.__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert not loaded & {"asyncio", "ssl", "socket", "threading", "selectors", "h11", "h2", "idna", "subprocess"}


def test_an_error_nobody_foresaw_ends_the_thread_and_is_told(monkeypatch: pytest.MonkeyPatch, names: Names) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda found: None)
    failed: list[str] = []
    its_thread: list[str] = []
    dialer = Dialer(Egress(), resolve=names, failed=lambda error: failed.append(type(error).__name__))

    def done(answer: Dialed, made: object) -> None:
        its_thread.append(str(threading.get_native_id()))
        raise ZeroDivisionError

    dialer.submit(Dial(request=1, connection=1, host="a.example", port=80), done)
    assert wait_until(lambda: bool(its_thread) and its_thread[0] not in threads(), WAIT_S)
    assert failed == ["ZeroDivisionError"]
    answers: list[Dialed] = []
    dialer.submit(Dial(request=2, connection=1, host="a.example", port=80), lambda answer, made: answers.append(answer))
    assert [answer.code for answer in answers] == ["unreachable"]
    dialer.close()
