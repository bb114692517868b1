"""Servers inside and the operator's clients outside: what is published is reached, everything else is not."""

import random
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest

from tests.ecosystem.bench import Bench
from tests.ecosystem.checks import Check, one

SERVER = "/usr/bin/python3 -u -m http.server --bind 127.0.0.1"
END_S = 60


def free_port() -> int:
    """Find a port of this host's loopback that nobody listens on, and that is given to nobody who wants any."""
    while True:
        port = random.randrange(20_000, 30_000)  # net.ipv4.ip_local_port_range begins at 32,768
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextmanager
def serving(bench: Bench, port: int, options: Sequence[str]) -> Iterator[None]:
    """Keep a server of the workspace running inside until the block ends."""
    running = bench.start([*SERVER.split(), str(port)], options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert running.stdout
    try:
        first = running.stdout.readline()
        assert first.startswith(b"Serving HTTP"), first + running.stdout.read()
        yield
    finally:
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=END_S)


def fetched(port: int) -> bytes:
    """Ask as the operator's browser would."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/page", timeout=END_S) as answer:
        content: bytes = answer.read()
        return content


@pytest.mark.parametrize("check", [one("servers", "published")], ids=str)
def test_a_published_server_is_reached(check: Check, bench: Bench) -> None:
    bench.host("echo hello >ws/page")
    state = bench.state()
    outside, inside = free_port(), free_port()
    with serving(bench, inside, ["--publish", f"{outside}:{inside}"]):
        assert fetched(outside) == b"hello\n"
    state.unchanged_but(check.changes)
    bench.record(check)


@pytest.mark.parametrize("check", [one("servers", "not-published")], ids=str)
def test_another_server_is_not(check: Check, bench: Bench) -> None:
    bench.host("echo hello >ws/page")
    state = bench.state()
    port = free_port()
    with serving(bench, port, []), pytest.raises(urllib.error.URLError, match=check.says):
        fetched(port)
    state.unchanged_but(check.changes)
    bench.record(check)
