"""What leaves this machine when a name is looked up, and which addresses are its own: in a network of its own."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import ringfence

PROCESS_TIMEOUT_S = 60


class Lookup(msgspec.Struct):
    """What a name resolved to, and the names that its resolution asked for."""

    found: list[str | int]
    asked: list[str]


class Told(msgspec.Struct):
    """What the program found out."""

    lookups: dict[str, Lookup]
    own: dict[str, bool]


# Runs as root of new user, mount and network namespaces. The name server knows one name and notes every question.
PROGRAM = r"""
import ctypes, fcntl, json, socket, struct, subprocess, sys, threading

from ringfence.network import capture
from ringfence.network.resolver import system_addresses
from ringfence.network.routes import leads_here

SIOCSIFFLAGS, IFF_UP = 0x8914, 1
control = socket.socket()
fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
subprocess.run(["mount", "--bind", sys.argv[1], "/etc/resolv.conf"], check=True)

asked = []
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))

def serve():
    while True:
        query, client = server.recvfrom(512)
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        question = query[12 : at + 5]
        name, kind = ".".join(labels), int.from_bytes(query[at + 1 : at + 3], "big")
        asked.append(name)
        known = name in ("db", "db.example.test", "db.search.test")
        found = known and kind == 1
        head = query[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, int(found), 0, 0)
        record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes((192, 0, 2, 7)) if found else b""
        server.sendto(head + question + record, client)

threading.Thread(target=serve, daemon=True).start()

def tell(name, resolve):
    asked.clear()
    try:
        found = sorted(resolve(name))
    except OSError as error:
        found = [error.errno]
    return {"found": found, "asked": sorted(set(asked))}

def plainly(name):
    return [place[4][0] for place in socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)]

lookups = {
    "control": tell("missing", plainly),
    "full": tell("db.example.test", system_addresses),
    "short": tell("db", system_addresses),
    "missing": tell("missing", system_addresses),
    "missing dots": tell("missing.example.test", system_addresses),
    "localhost": tell("localhost", system_addresses),
}
own = {"before": leads_here("93.184.216.34")}
capture.add_address("93.184.216.34", 32)
capture.add_address("2606:2800:220:1::1", 128)
own["IPv4"] = leads_here("93.184.216.34")
for _ in range(1000):  # the kernel sets the route of an IPv6 address a moment later
    own["IPv6"] = leads_here("2606:2800:220:1::1")
    if own["IPv6"]:
        break
    threading.Event().wait(0.01)
own["neighbour"] = leads_here("93.184.216.35")
print(json.dumps({"lookups": lookups, "own": own}))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Run the program once."""
    file = tmp_path_factory.mktemp("resolver") / "resolv.conf"
    file.write_text("nameserver 127.0.0.1\nsearch search.test\noptions ndots:5 timeout:30 attempts:1\n")
    source = str(Path(ringfence.__file__).parents[1])
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "--net", sys.executable, "-c", PROGRAM, str(file)],
        env={"PYTHONPATH": source, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        timeout=PROCESS_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=Told)


pytestmark = pytest.mark.require("unshare", "mount", "userns")


def test_the_machine_would_append_its_search_domains(told: Told) -> None:
    assert "missing.search.test" in told.lookups["control"].asked


@pytest.mark.parametrize(
    ("case", "asked"),
    [
        ("full", ["db.example.test"]),
        ("short", ["db"]),
        ("missing", ["missing"]),
        ("missing dots", ["missing.example.test"]),
        ("localhost", []),
    ],
)
def test_only_the_very_name_is_asked_for(told: Told, case: str, asked: list[str]) -> None:
    assert told.lookups[case].asked == asked


def test_answers_come_from_the_name_server_and_the_hosts_file(told: Told) -> None:
    assert told.lookups["full"].found == told.lookups["short"].found == ["192.0.2.7"]
    assert "127.0.0.1" in told.lookups["localhost"].found


def test_public_addresses_of_this_host_are_its_own(told: Told) -> None:
    assert told.own == {"before": False, "IPv4": True, "IPv6": True, "neighbour": False}
