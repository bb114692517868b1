"""The client of a container engine, and a stand-in for the engine that listens where the host's would."""

import http.server
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ecosystem.bench import Bench
from tests.ecosystem.checks import Check, one
from tests.utility.confined import said

CONTAINERS = b'[{"Id": "c0ffee", "Names": ["/of-the-host"], "Image": "demo", "Status": "Up", "State": "running"}]'


class Engine(http.server.BaseHTTPRequestHandler):
    """Enough of the engine's API for `docker ps`."""

    def do_HEAD(self) -> None:
        """Answer the handshake."""
        self._answer(b"OK")

    def do_GET(self) -> None:
        """Answer the list of containers."""
        self.wfile.write(self._answer(CONTAINERS))

    def _answer(self, body: bytes) -> bytes:
        self.send_response(200)
        self.send_header("Api-Version", "1.41")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return body

    def log_message(self, *words: object) -> None:
        """Say nothing."""


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An HTTP server on a unix socket."""

    daemon_threads = True


@pytest.fixture
def engine() -> Iterator[Path]:
    """Give the socket of an engine, in a place where a host's services listen."""
    with tempfile.TemporaryDirectory(prefix="ringfence-test-", dir="/tmp") as directory:
        place = Path(directory) / "docker.sock"
        with Server(str(place), Engine) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield place
            finally:
                server.shutdown()
                thread.join()


def client(engine: Path) -> list[str]:
    """The command that lists the engine's containers."""
    return ["docker", "-H", f"unix://{engine}", "ps", "--format", "{{.Names}}"]


@pytest.mark.parametrize("check", [one("containers", "docker")], ids=str)
def test_the_engine_of_the_host_is_not_reached(check: Check, bench: Bench, engine: Path) -> None:
    assert bench.on_host(client(engine)).stdout == b"of-the-host\n"
    state = bench.state()
    done = bench.run(client(engine), ["-v"])
    assert done.returncode == 1 and b"of-the-host" not in done.stdout, said(done)
    assert check.says in said(done)
    state.unchanged_but(check.changes)
    bench.record(check)


@pytest.mark.parametrize("check", [one("containers", "docker-with-a-socket")], ids=str)
def test_an_engine_that_is_handed_over_is(check: Check, bench: Bench, engine: Path) -> None:
    state = bench.state()
    done = bench.run(client(engine), ["--read", str(engine)])
    assert done.stdout == b"of-the-host\n", said(done)
    state.unchanged_but(check.changes)
    bench.record(check)
