"""Published ports, with a server on this machine's loopback in place of the one inside."""

import os
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from ringfence.network import publish
from ringfence.network.publish import Publisher
from tests.descriptors import open_descriptors
from tests.paths import wait_until
from tests.unit.network.loopback import HERE, closed, listening

WAIT_S = 60


def connected_to(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), WAIT_S)


class Inside:
    """The server inside, and how a connection to it is opened."""

    def __init__(self) -> None:
        self.listener = listening(HERE)
        self.asked: list[int] = []

    def open(self, port: int) -> socket.socket:
        self.asked.append(port)
        made = socket.create_connection(self.listener.getsockname())
        made.setblocking(False)
        return made

    def accept(self) -> socket.socket:
        client, _ = self.listener.accept()
        client.settimeout(WAIT_S)
        return client


@pytest.fixture
def inside() -> Iterator[Inside]:
    found = Inside()
    yield found
    found.listener.close()


@pytest.fixture
def publisher(inside: Inside) -> Iterator[Publisher]:
    """Publish two ports; afterwards no thread and no descriptor may be left."""
    files, threads = open_descriptors(), set(threading.enumerate())
    made = Publisher([(0, 3000), (0, 8080)], inside.open)
    yield made
    made.close()
    made.close()
    # A thread takes itself off the list of those that are waited for just before it is over.
    assert wait_until(lambda: set(threading.enumerate()) <= threads and open_descriptors() <= files, WAIT_S)


def test_each_port_leads_to_its_own(publisher: Publisher, inside: Inside) -> None:
    for port in publisher.ports:
        with connected_to(port) as client, inside.accept() as server:
            client.sendall(b"ping")
            assert server.recv(10) == b"ping"
            server.sendall(b"pong")
            assert client.recv(10) == b"pong"
    assert inside.asked == [3000, 8080]


def test_the_end_of_one_direction_leaves_the_other_open(publisher: Publisher, inside: Inside) -> None:
    with connected_to(publisher.ports[0]) as client, inside.accept() as server:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert server.recv(100) == b"question"
        assert server.recv(100) == b""
        server.sendall(b"answer")
        server.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b"answer"
        assert client.recv(100) == b""


def test_bytes_arrive_as_they_were_sent(publisher: Publisher, inside: Inside) -> None:
    data = os.urandom(1 << 20) * 4
    with connected_to(publisher.ports[0]) as client, inside.accept() as server:

        def send() -> None:
            server.sendall(data)
            server.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=send)
        sending.start()
        found = bytearray()
        while part := client.recv(1 << 16):
            found += part
        sending.join()
    assert found == data


def test_a_server_that_breaks_off_is_told_to_the_client(publisher: Publisher, inside: Inside) -> None:
    with connected_to(publisher.ports[0]) as client:
        server = inside.accept()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close sends a reset
        server.close()
        assert client.recv(1) == b""


def test_a_client_that_breaks_off_is_told_to_the_server(publisher: Publisher, inside: Inside) -> None:
    client = connected_to(publisher.ports[0])
    with inside.accept() as server:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert server.recv(1) == b""


def test_nothing_listens_inside(publisher: Publisher, inside: Inside) -> None:
    with closed(HERE) as nobody:
        other = Publisher([(0, 3000)], lambda port: socket.create_connection(nobody.getsockname()))
        with connected_to(other.ports[0]) as client:
            assert client.recv(1) == b""
        other.close()


def test_only_so_many_connections_are_served(publisher: Publisher, inside: Inside) -> None:
    clients = [connected_to(publisher.ports[0]) for _ in range(publish.MAX_CONNECTIONS)]
    servers = [inside.accept() for _ in clients]
    with connected_to(publisher.ports[0]) as one_more:
        assert one_more.recv(1) == b""
    clients.pop().close()
    ((its_server,), _, _) = select.select(servers, [], [], WAIT_S)
    servers.remove(its_server)
    its_server.close()

    def served() -> bool:
        with connected_to(publisher.ports[0]) as client:
            client.settimeout(0.2)
            try:
                return client.recv(1) != b""
            except TimeoutError:
                return True

    assert wait_until(served, WAIT_S)
    for each in (*clients, *servers):
        each.close()


def test_the_end_breaks_off_what_is_open(inside: Inside) -> None:
    made = Publisher([(0, 3000)], inside.open)
    (port,) = made.ports
    with connected_to(port) as client, inside.accept() as server:
        made.close()
        assert client.recv(1) == b""
        assert server.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            connected_to(port)


def test_a_port_that_is_taken_is_named(inside: Inside) -> None:
    before = open_descriptors()
    with listening("127.0.0.1") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port}: Address already in use"):
            Publisher([(0, 3000), (port, 3001)], inside.open)
    assert open_descriptors() <= before
