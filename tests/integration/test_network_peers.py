"""Who made a connection in a sandbox's own namespaces, as its supervisor sees it from the host."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from ringfence.network import capture
from ringfence.sandbox import launch, peers
from ringfence.sandbox.peers import UNKNOWN, Peers

PROCESS_TIMEOUT_S = 60

# The first process of a pid namespace: it brings `lo` up, listens, and starts one process that connects, twice.
PROGRAM = r"""
import fcntl, json, os, socket, struct, sys

SIOCSIFFLAGS, IFF_UP = 0x8914, 1
fcntl.ioctl(socket.socket(), SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
if os.fork() == 0:
    four = socket.create_connection(("127.0.0.1", port))
    six = socket.socket(socket.AF_INET6)
    six.connect(("::ffff:127.0.0.1", port))
    sys.stdin.read()
    os._exit(0)
held = [listener.accept() for _ in range(2)]
places = [(client, connected.getsockname()) for connected, client in held]
print(json.dumps({"places": places}), flush=True)
os.wait()
"""


class Told(msgspec.Struct):
    """Both ends of each connection."""

    places: list[tuple[tuple[str, int], tuple[str, int]]]


class Sandbox(NamedTuple):
    """The first process, by its pid on the host, and the connections in it."""

    init: int
    told: Told


def first_process(monitor: int) -> int:
    """The child that `unshare --fork` has started."""
    (init,) = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
    return int(init)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    words = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with subprocess.Popen(
        [*words, sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as monitor:
        assert monitor.stdout is not None
        told = msgspec.json.decode(monitor.stdout.readline(), type=Told)
        yield Sandbox(first_process(monitor.pid), told)
        monitor.communicate(timeout=PROCESS_TIMEOUT_S)


@pytest.fixture
def diagnosis(sandbox: Sandbox) -> Iterator[int]:
    def make() -> list[tuple[str, int]]:
        capture.enter(sandbox.init)
        return [("diagnosis", peers.open_diagnosis())]

    ((_, descriptor),) = launch.borrow(make)
    yield descriptor
    os.close(descriptor)


pytestmark = pytest.mark.require("unshare", "userns")


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("by", ["kernel", "list"])
def test_the_process_that_connected_is_found(sandbox: Sandbox, diagnosis: int, number: int, by: str) -> None:
    client, server = sandbox.told.places[number]
    known = Peers(sandbox.init, diagnosis if by == "kernel" else -1)
    found = known.find(client, server)
    (child,) = peers.children(sandbox.init)
    assert found.pid == child
    assert found.executable == os.path.realpath(sys.executable)
    status = Path(f"/proc/{found.pid}/status").read_text()
    assert "NSpid:" in status
    assert status.split("NSpid:")[1].split("\n")[0].split()[0] == str(child)


def test_the_socket_of_another_network_namespace_knows_nothing_of_it(sandbox: Sandbox) -> None:
    ours = peers.open_diagnosis()
    assert peers.diagnosed(ours, *sandbox.told.places[0]) == 0
    os.close(ours)


def test_the_other_end_is_held_by_the_first_process(sandbox: Sandbox, diagnosis: int) -> None:
    client, server = sandbox.told.places[0]
    assert Peers(sandbox.init, diagnosis).find(server, client).pid == sandbox.init
    assert Peers(sandbox.init, diagnosis).find(client, client) == UNKNOWN
