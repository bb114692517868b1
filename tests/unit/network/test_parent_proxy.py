"""The conversation with a parent proxy: its URL, its reply, and what follows the reply."""

import select
import socket
from collections.abc import Iterator

import pytest

from ringfence.network import attempts, parent_proxy

OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("http://proxy.example.com:3128", ("proxy.example.com", 3128)),
        ("http://Proxy.Example.com:3128/", ("proxy.example.com", 3128)),
        ("http://192.0.2.1:8080", ("192.0.2.1", 8080)),
        ("http://[2001:db8::1]:8080", ("2001:db8::1", 8080)),
        ("http://proxy", ("proxy", 80)),
    ],
)
def test_urls(url: str, endpoint: tuple[str, int]) -> None:
    assert parent_proxy.endpoint(url) == endpoint


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy:3128",
        "https://proxy:3128",
        "socks5://proxy:1080",
        "http://user:password@proxy:3128",
        "http://proxy:0",
        "http://proxy:65536",
        "http://proxy:",
        "http://proxy:80:80",
        "http://proxy:3128/path",
        "http://proxy?query",
        "http://",
        "http://2001:db8::1:80",
        "http://[]:80",
        "http://127.1:80",
        "http://proxy:3128\n",
        "http://proxy:\uff13128",
    ],
)
def test_what_is_no_url_of_a_proxy(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parent_proxy.endpoint(url)


@pytest.mark.parametrize("head", [OK, b"HTTP/1.0 200 OK\r\nVia: 1.1 p\r\nX-Y:\r\n\r\n", b"HTTP/1.1 204\r\n\r\n"])
def test_success(head: bytes) -> None:
    assert parent_proxy.verdict(head).code == ""


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "unreachable"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n", "unreachable"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "unreachable"),
        (b"HTTP/1.1 504 Gateway Timeout\r\n\r\n", "timed-out"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "unreachable"),
        (b"HTTP/1.1 301 Moved\r\n\r\n", "unreachable"),
        (b"HTTP/2 200\r\n\r\n", "unreachable"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "unreachable"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "unreachable"),
        (b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n\r\n", "unreachable"),
        (b" HTTP/1.1 200 OK\r\n\r\n", "unreachable"),
        (b"HTTP/1.1 200 OK\nX: y\r\n\r\n", "unreachable"),
        (b"HTTP/1.1 200 OK\r\nno field\r\n\r\n", "unreachable"),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "unreachable"),
        (b"HTTP/1.1 200 OK\r\n folded: b\r\n\r\n", "unreachable"),
        (b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", "unreachable"),
        (b"\r\n\r\n", "unreachable"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "unreachable"),
    ],
)
def test_everything_else_is_no_connection(head: bytes, code: str) -> None:
    found = parent_proxy.verdict(head)
    assert (found.code, found.connected) == (code, None)
    assert found.reason


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give our end of a connection, non-blocking, and the parent's."""
    ours, parents = socket.socketpair()
    ours.setblocking(False)
    with ours, parents:
        yield ours, parents


def converse(ours: socket.socket, parents: socket.socket, *said: bytes, ends: bool = False) -> attempts.Outcome:
    """Let the parent say something, part after part, each of which is read before the next."""
    steps = parent_proxy.converse(ours, "example.com", 443)
    wait = next(steps)
    assert wait.event == select.POLLIN
    assert parents.recv(4096) == b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"
    try:
        for part in said:
            parents.sendall(part)
            steps.send((ours,))
        if ends:
            parents.close()
            steps.send((ours,))
    except StopIteration as end:
        outcome: attempts.Outcome = end.value
        return outcome
    raise AssertionError("still waiting")


def test_what_follows_the_reply_is_left_to_the_client(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, parents = ends
    assert converse(ours, parents, OK + b"SSH-2.0-hello\r\n\r\n").connected is ours
    assert ours.recv(100) == b"SSH-2.0-hello\r\n\r\n"


def test_a_reply_may_come_in_any_pieces(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, parents = ends
    pieces = [OK[at : at + 1] for at in range(len(OK) - 1)]
    assert converse(ours, parents, *pieces, OK[-1:] + b"more").connected is ours
    assert ours.recv(100) == b"more"


def test_an_address_of_ipv6_is_asked_for_in_brackets(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, parents = ends
    next(steps := parent_proxy.converse(ours, "2606:2800::1", 443))
    assert parents.recv(100).startswith(b"CONNECT [2606:2800::1]:443 HTTP/1.1\r\nHost: [2606:2800::1]:443\r\n")
    steps.close()


@pytest.mark.parametrize(
    "said",
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9000 + b"\r\n\r\n",),
        (b"x" * 8192, b"y"),
        (b"HTTP/1.1 200 OK\r\n",),
        (),
    ],
)
def test_a_parent_that_does_not_connect_us_is_left(
    ends: tuple[socket.socket, socket.socket], said: tuple[bytes]
) -> None:
    ours, parents = ends
    assert converse(ours, parents, *said, ends=True).code == "unreachable"
    assert ours.fileno() == -1


def test_a_parent_that_is_gone_before_it_is_asked(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, parents = ends
    parents.close()
    with pytest.raises(StopIteration) as end:
        next(parent_proxy.converse(ours, "example.com", 443))
    assert end.value.value.code == "unreachable"
    assert ours.fileno() == -1


def test_who_stops_waiting_closes_the_connection(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = ends
    next(steps := parent_proxy.converse(ours, "example.com", 443))
    steps.close()
    assert ours.fileno() == -1
