"""Attacks on the rules of the network: what their scripts share, and what counts as having got out.

They run in the network lab (tests/lab.py). Policy allows the name GOOD; EVIL has the same public address, so that only
its name stands in the way. Unconfined a script goes straight to what it aims at; inside it tries every way in which
the aim can be named to the proxy. What arrived outside is judged, from the lab's log.
"""

import json
import socket

from tests import paths
from tests.attacks.arena import PYTHON, Arena, Ran
from tests.attacks.attack import Attack, Evidence
from tests.integration.lab import world
from tests.lab import Entry, Lab

GOOD = "www.public.example.net"
EVIL = "git.example.com"
ALLOW = ("--allow", GOOD)
TCP, UDP = 6, 17

PRELUDE = rf"""
import os, socket, ssl, struct, sys
GOOD, EVIL, PUBLIC, MARK = {GOOD!r}, {EVIL!r}, {world.PUBLIC!r}, "@mark@"
INSIDE = "HTTPS_PROXY" in os.environ
socket.setdefaulttimeout(20)
QUIET = 10 if INSIDE else 1  # seconds; what was sent outside has arrived, whether it is answered or not

def attempt(step):
    # One way of several: what goes wrong with it says nothing of the others.
    try:
        print(repr(step())[:200], flush=True)
    except (OSError, ValueError) as error:
        print(repr(error)[:200], flush=True)

def direct(host, port):
    return socket.create_connection((host, port))

def is_loopback(data):
    return b"LOOPBACK" in data  # the lab's service of the host does not end

def heard(link, is_all=is_loopback):
    data = b""
    link.settimeout(QUIET)
    try:
        while not is_all(data) and (part := link.recv(65536)):
            data += part
    except OSError:
        pass
    return data

def tell(link, data, is_all=is_loopback):
    link.sendall(data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape"))
    return heard(link, is_all)

def proxy(host, port):
    # Outside of a sandbox no proxy is between us and whom we want.
    return direct("127.0.0.1", 3128) if INSIDE else direct(host, port)

def connect(authority, host, port):
    link = proxy(host, port)
    if INSIDE:
        link.sendall(b"CONNECT " + authority + b" HTTP/1.1\r\nHost: " + authority + b"\r\n\r\n")
        if b" 200 " not in (answer := link.recv(65536)):
            raise OSError(answer)
    return link

def socks(kind, name, host, port, command=1):
    link = proxy(host, port)
    if INSIDE:
        link.sendall(b"\5\1\0")
        link.recv(2)
        link.sendall(bytes((5, command, 0, kind)) + name + port.to_bytes(2, "big"))
        if (answer := link.recv(64))[1:2] != b"\0":
            raise OSError(answer)
    return link

def named(name):
    return bytes((len(name),)) + name

def ways(name, port):
    # Every way to ask for a connection to a name.
    text = name.encode()
    return (lambda: direct(name, port), lambda: connect(text + b":%d" % port, name, port),
            lambda: socks(3, named(text), name, port))

def get(link, host, path="/" + MARK, more=""):
    return tell(link, f"GET {{path}} HTTP/1.1\r\nHost: {{host}}\r\n{{more}}Connection: close\r\n\r\n")

def secure(link, name, *protocols):
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(list(protocols))
    return context.wrap_socket(link, server_hostname=name)

def spelled(text, host, port=80):
    # Wherever a host can be named, name it as `text`, which somebody might read as `host`.
    raw = text.encode()
    whole = raw + b":%d" % port
    attempt(lambda: get(connect(whole, host, port), text))
    attempt(lambda: get(connect(GOOD.encode() + b":%d" % port, host, port), text))
    attempt(lambda: tell(proxy(host, port), b"GET http://" + whole + b"/" + MARK.encode() + b" HTTP/1.1\r\nHost: "
                         + whole + b"\r\nConnection: close\r\n\r\n"))
    attempt(lambda: get(socks(3, named(raw), host, port), text))
    attempt(lambda: get(direct(text.strip("[]"), port), text))
    attempt(lambda: get(direct(GOOD if INSIDE else host, port), text))
"""

# Round trips to the lab's echo: each turn of its loop takes one more of the packets that came before.
TURNS = 10
FENCE = f"""
import socket
link = socket.socket(type=socket.SOCK_DGRAM)
link.settimeout(30)
for number in range({TURNS}):
    link.sendto(b"fence", ("{world.REMOTE}", {world.UDP_ECHO_PORT}))
    link.recv(9)
"""


def settle(lab: Lab) -> None:
    """Wait until all that was sent before is on the lab's log: both its sides answer us behind it, and log us, too."""
    began = lab.mark()
    done = lab.run([PYTHON, "-I", "-S", "-c", FENCE])
    assert done.returncode == 0, done.stderr
    assert paths.wait_until(lambda: len([one for one in lab.since(began, "flow") if is_fence(one)]) >= TURNS)
    with socket.socket(socket.AF_UNIX) as host:
        host.settimeout(30)
        host.connect(str(lab.place / "host.sock"))
        host.sendall(b"fence")
        host.recv(99)


def is_fence(entry: Entry) -> bool:
    """Whether it is of `settle`, and not of an attack."""
    return entry.get("port") == world.UDP_ECHO_PORT or entry.get("service") == "HOST-UNIX"


def settled(lab: Lab, mark: int) -> list[Entry]:
    """What the lab saw since, to the end of it."""
    settle(lab)
    return [entry for entry in lab.since(mark) if not is_fence(entry)]


def entries(arena: Arena) -> list[Entry]:
    """What the lab saw of this arena, to the end of it."""
    assert arena.lab is not None
    return settled(arena.lab, arena.began)


def arrives(*names: str) -> Evidence:
    """Evidence that somebody was spoken to who is not one of `names`, or that the arena's mark came out."""

    def look(arena: Arena, ran: Ran) -> bool:
        found = entries(arena)
        own = names or (GOOD,)
        got_out = any(is_forbidden(entry, own, arena.values["mark"]) for entry in found)
        return got_out or (ran.confined and any(is_beyond(entry, own) for entry in found))

    return look


def is_forbidden(entry: Entry, names: tuple[str, ...], mark: str) -> bool:
    """Whether this alone is what an attack wants: a service of the host, another host, the mark."""
    if entry["kind"] in ("host", "tcp", "udp") or mark in json.dumps(entry):
        return True
    return entry["kind"] == "http" and entry["host"].rpartition(":")[0] not in names and entry["host"] not in names


def is_beyond(entry: Entry, names: tuple[str, ...]) -> bool:
    """Whether it should not happen either: a question about another name, a packet to where no name leads."""
    if entry["kind"] == "dns":
        return entry["name"] not in names
    if entry["kind"] == "flow":
        dns = (entry["address"], entry["port"]) == (world.REMOTE, 53)
        return not dns and (entry["protocol"] != TCP or entry["address"] not in (world.PUBLIC, world.PUBLIC6))
    return False


def flows(arena: Arena, ran: Ran) -> bool:
    """Evidence that a packet left that is no question about an allowed name."""
    asked = [entry for entry in entries(arena) if entry["kind"] in ("flow", "dns")]
    own = {"address": world.REMOTE, "port": 53, "name": GOOD}
    return any(any(entry.get(key, value) != value for key, value in own.items()) for entry in asked)


def crossing(
    name: str, body: str, *, code: str, evidence: Evidence | None = None, rules: str = "", refused: str = ""
) -> Attack:
    """An attack whose script is `body` after PRELUDE; `rules` stand in place of ALLOW."""
    return Attack(
        name=name,
        script=PRELUDE + body,
        evidence=evidence or arrives(),
        code=code,
        options=() if rules else ALLOW,
        policy=f"[network]\n{rules}\n" if rules else "",
        refused=refused,
    )
