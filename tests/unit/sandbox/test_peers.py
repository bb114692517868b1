"""Who made a connection: with real sockets of this very process and its children."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from ringfence.sandbox import peers
from ringfence.sandbox.peers import UNKNOWN, Peer, Peers, Place

NOBODY: Place = ("127.0.0.1", 1)
WAIT_S = 60
PROGRAM = """
import os, socket, sys, threading

def connect():
    made = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    made.send(b"%d %d" % (os.getpid(), threading.get_native_id()))
    sys.stdin.read()
    os._exit(0)

if os.fork() == 0:
    threading.Thread(target=connect).start()
else:
    os.wait()
"""


class Connection:
    """A client's socket, and what the other side sees of it."""

    def __init__(self, listen_on: str, connect_to: str, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.listener = socket.socket(socket.AF_INET6 if ":" in listen_on else socket.AF_INET)
        self.listener.bind((listen_on, 0))
        self.listener.listen()
        self.client_socket = socket.socket(family)
        self.client_socket.connect((connect_to, self.listener.getsockname()[1]))
        self.accepted, place = self.listener.accept()
        self.client: Place = place[:2]
        self.server: Place = self.accepted.getsockname()[:2]

    @property
    def inode(self) -> int:
        return os.fstat(self.client_socket.fileno()).st_ino

    def close(self) -> None:
        for each in (self.client_socket, self.accepted, self.listener):
            each.close()


KINDS = {
    "IPv4": ("127.0.0.1", "127.0.0.1", socket.AF_INET),
    "IPv6": ("::1", "::1", socket.AF_INET6),
    "IPv4 seen by a listener for both": ("::", "127.0.0.1", socket.AF_INET),
    "IPv4 by a client for both": ("127.0.0.1", "::ffff:127.0.0.1", socket.AF_INET6),
    "IPv4 between two for both": ("::", "::ffff:127.0.0.1", socket.AF_INET6),
}


@pytest.fixture(params=KINDS, scope="module")
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    made = Connection(*KINDS[request.param])
    yield made
    made.close()


@pytest.fixture
def diagnosis() -> Iterator[int]:
    descriptor = peers.open_diagnosis()
    assert descriptor >= 0
    yield descriptor
    os.close(descriptor)


def test_the_kernel_knows_the_socket(connection: Connection, diagnosis: int) -> None:
    assert peers.diagnosed(diagnosis, *plain(connection)) == connection.inode


def test_the_list_of_sockets_holds_it_too(connection: Connection) -> None:
    assert peers.listed(os.getpid(), *plain(connection)) == connection.inode


def plain(connection: Connection) -> tuple[Place, Place]:
    (client, port), (server, other) = connection.client, connection.server
    return (peers.plain(client), port), (peers.plain(server), other)


def test_this_process_is_found(connection: Connection, diagnosis: int) -> None:
    for found in (
        Peers(os.getpid(), diagnosis).find(connection.client, connection.server),
        Peers(os.getpid()).find(connection.client, connection.server),
    ):
        assert found.pid == os.getpid()
        assert found.executable == os.path.realpath(sys.executable)
        with open("/proc/self/comm") as file:
            assert found.program == file.read().strip()


def test_a_listening_socket_is_nobody_s_connection(connection: Connection, diagnosis: int) -> None:
    _, server = plain(connection)
    stranger = ("::1" if ":" in server[0] else "127.0.0.1", 1)
    assert peers.diagnosed(diagnosis, server, stranger) == 0
    assert peers.listed(os.getpid(), server, stranger) == 0
    assert Peers(os.getpid(), diagnosis).find(server, stranger) == UNKNOWN


@pytest.mark.parametrize(
    ("client", "server"),
    [
        (NOBODY, NOBODY),
        (("", 1), NOBODY),
        (("not an address", 1), NOBODY),
        (("127.0.0.1", -1), NOBODY),
        (("127.0.0.1", 1 << 20), NOBODY),
        (("::1", 1), NOBODY),
        (("fe80::1%lo", 1), ("::1", 2)),
        (("::ffff:", 1), NOBODY),
    ],
)
def test_what_makes_no_sense_is_unknown(client: Place, server: Place, diagnosis: int) -> None:
    assert Peers(os.getpid(), diagnosis).find(client, server) == UNKNOWN
    assert Peers(os.getpid()).find(client, server) == UNKNOWN


@pytest.mark.parametrize("init", [-1, 0, 1 << 22])
def test_a_sandbox_that_is_gone_has_nobody(init: int) -> None:
    assert Peers(init).find(NOBODY, NOBODY) == UNKNOWN
    assert peers.inhabitants(init) == [init]


def test_a_descriptor_that_answers_nothing() -> None:
    with open("/dev/null", "rb") as file:
        assert peers.diagnosed(file.fileno(), NOBODY, NOBODY) == 0
    with open("/dev/zero", "r+b", buffering=0) as file:
        assert peers.diagnosed(file.fileno(), NOBODY, NOBODY) == 0


class Family(NamedTuple):
    """A process that has started another, which has connected and said so."""

    first: int
    client_pid: int
    client_thread: int
    client: Place
    server: Place


@pytest.fixture
def family() -> Iterator[Family]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(WAIT_S)
        words = [sys.executable, "-c", PROGRAM, str(listener.getsockname()[1])]
        first = subprocess.Popen(words, stdin=subprocess.PIPE)
        accepted, client = listener.accept()
        with accepted:
            pid, thread = accepted.recv(100).split()
            yield Family(first.pid, int(pid), int(thread), client, accepted.getsockname())
        first.communicate(timeout=WAIT_S)


def test_a_descendant_is_found(family: Family, diagnosis: int) -> None:
    assert family.client_pid in peers.inhabitants(family.first)
    found = Peers(family.first, diagnosis).find(family.client, family.server)
    assert found.pid == family.client_pid
    assert found.executable == os.path.realpath(sys.executable)


def test_other_processes_of_this_machine_are_not_searched(family: Family, diagnosis: int) -> None:
    assert Peers(family.client_pid, diagnosis).find(family.client, family.server).pid == family.client_pid
    with subprocess.Popen(["sleep", "60"]) as other:
        assert Peers(other.pid, diagnosis).find(family.client, family.server) == UNKNOWN
        other.kill()


def test_a_process_that_was_noted_is_looked_at_first(family: Family, diagnosis: int) -> None:
    elsewhere = Peers(1 << 22, diagnosis)  # whose processes cannot be listed
    assert elsewhere.find(family.client, family.server) == UNKNOWN
    elsewhere.note(1 << 22)
    elsewhere.note(-1)
    elsewhere.note(family.client_thread)
    assert elsewhere.find(family.client, family.server).pid == family.client_pid


def test_who_connected_lately_is_looked_at_first(connection: Connection, diagnosis: int) -> None:
    known = Peers(os.getpid(), diagnosis)
    first = known.find(connection.client, connection.server)
    assert known.find(connection.client, connection.server) == first


def test_a_connection_whose_client_has_closed_it_is_unknown(diagnosis: int) -> None:
    made = Connection("127.0.0.1", "127.0.0.1")
    made.client_socket.close()
    assert Peers(os.getpid(), diagnosis).find(made.client, made.server) == UNKNOWN
    made.close()


def test_once_the_kernel_has_answered_the_list_is_no_longer_read(connection: Connection, diagnosis: int) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours, theirs:
        known = Peers(os.getpid(), ours.fileno())
        assert known.find(connection.client, connection.server).pid == os.getpid()  # from the list
        theirs.send(answer_about(connection, diagnosis))
        assert known.find(connection.client, connection.server).pid == os.getpid()
        assert known.find(connection.client, connection.server) == UNKNOWN


def answer_about(connection: Connection, diagnosis: int) -> bytes:
    """Give the kernel's answer, with the question that a test has caught."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours, theirs:
        assert peers.diagnosed(ours.fileno(), *plain(connection)) == 0
        os.write(diagnosis, theirs.recv(4096))
        return os.read(diagnosis, 4096)


def test_an_answer_to_another_question_is_not_believed(connection: Connection, diagnosis: int) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours, theirs:
        theirs.send(answer_about(connection, diagnosis))
        (client, port), server = plain(connection)
        assert peers.diagnosed(ours.fileno(), (client, port ^ 1), server) == 0


def test_connections_of_one_port_to_two_servers_are_told_apart(diagnosis: int) -> None:
    servers = [socket.create_server((address, 0)) for address in ("127.0.0.1", "127.0.0.2")]
    with servers[0] as one, servers[1] as two, socket.socket() as first, socket.socket() as second:
        for made in (first, second):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(("127.0.0.1", 0))
        client = first.getsockname()
        first.connect(one.getsockname())
        second.bind(client)
        second.connect(two.getsockname())
        for made, server in ((first, one), (second, two)):
            inode = os.fstat(made.fileno()).st_ino
            assert peers.diagnosed(diagnosis, client, server.getsockname()) == inode
            assert peers.listed(os.getpid(), client, server.getsockname()) == inode


def test_a_process_that_has_gone_is_still_named_by_its_pid() -> None:
    assert peers.described(1 << 22) == Peer(pid=1 << 22)
