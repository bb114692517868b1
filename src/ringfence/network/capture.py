"""Take hold of a sandbox's network: an address that stands for every host, and the sockets that answer for it.

Theory of operation. The sandbox's network namespace holds nothing but `lo`, and the user namespace that owns it is the
first process's, not the command's. A short-lived child of the supervisor enters both, gives `lo` the addresses
198.18.0.0/15 (set aside for benchmarks by RFC 2544, so no real host has one) and opens listening sockets there. A
socket belongs to the namespace it was made in for as long as it lives: handed out, it accepts on the host what a
program inside connects to, and `getsockname` of each accepted socket tells the address and port that was wanted.

No relay, socket file, TUN device or capability is inside, and whoever holds the descriptor needs no other proof of
which sandbox speaks. The command can neither bind these ports (most are below 1024, and none is shared: SECURITY: no
SO_REUSEADDR on the resolver's socket, or it could be bound again from inside) nor change addresses or routes.

Numbers: rtnetlink(7), <linux/rtnetlink.h>, <linux/if_addr.h>.
"""

import _socket
import ctypes
import fcntl
import os
import struct

from ringfence.model.guest_network import GATEWAYS, PROXY, RESOLVER, SYNTHETIC_NETWORK

BACKLOG = 1024
CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWNS = 0x10000000, 0x40000000, 0x00020000  # <linux/sched.h>
NAMES = {CLONE_NEWUSER: "user", CLONE_NEWNET: "net", CLONE_NEWNS: "mnt"}  # namespaces(7)
RTM_NEWADDR, NLMSG_ERROR = 20, 2
NETLINK_SOCK_DIAG = 4
NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE = 1, 4, 0x400, 0x100
IFA_ADDRESS, IFA_LOCAL = 1, 2
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
LOOPBACK_INDEX = 1  # the first interface of every network namespace

_libc = ctypes.CDLL(None, use_errno=True)  # loaded before the fork: a child must not wait for the import lock


def open_sockets(pid: int, ports: list[int], literals: list[str]) -> list[tuple[str, int]]:
    """In a child process of its own: enter the namespaces of `pid`, return (kind, descriptor) of what listens there.

    `ports` are captured, on the synthetic addresses and on `literals`. Kinds as in `messages.Serve`, in that order, and
    last `diagnosis`, which tells of the sockets in there (sandbox/peers.py). Raises OSError naming the step that
    failed. The caller never leaves the namespaces.
    """
    enter(pid)
    return sockets(ports, literals)


def open_more(pid: int, ports: list[int], literals: list[str]) -> list[tuple[str, int]]:
    """In a child process of its own: capture further ports, of the synthetic addresses and of further `literals`."""
    enter(pid)
    for literal in literals:
        add_address(literal, 128 if ":" in literal else 32)
    return [("tcp", listen("0.0.0.0", port)) for port in ports]


def rehearse(ports: list[int]) -> list[tuple[str, int]]:
    """In a child process of its own: the same in a network namespace of our own; raise OSError naming what fails."""
    if _libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")
    raise_loopback()
    return sockets(ports, [])


def raise_loopback() -> None:
    """Set `lo` up, as bubblewrap has done in a sandbox (netdevice(7), SIOCSIFFLAGS)."""
    any_socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    fcntl.ioctl(any_socket.fileno(), SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    any_socket.close()


def sockets(ports: list[int], literals: list[str]) -> list[tuple[str, int]]:
    """Make this network namespace's `lo` stand for every host, and listen."""
    add_address(*SYNTHETIC_NETWORK)
    for literal in literals:
        add_address(literal, 128 if ":" in literal else 32)
    six = any(":" in literal for literal in literals)
    found = [("tcp", listen("::" if six else "0.0.0.0", port)) for port in ports]
    found.append(("dns-udp", bound(RESOLVER, 53, _socket.SOCK_DGRAM).detach()))
    found.append(("dns-tcp", listen(RESOLVER, 53)))
    found.append(("proxy", listen(*PROXY)))
    found.append(("diagnosis", _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, NETLINK_SOCK_DIAG).detach()))
    return found


def open_gateways(pid: int, names: list[str]) -> list[tuple[str, int]]:
    """In a child process of its own: the descriptors of unix sockets that listen at their paths in the view of `pid`.

    Preconditions: nothing contained has run in there yet, so nothing has laid out where these paths lead.
    """
    enter(pid, CLONE_NEWUSER, CLONE_NEWNS)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)  # whoever that is outside: as root we are nobody in there, and nobody owns no file
    os.makedirs(GATEWAYS, 0o755, exist_ok=True)
    found = []
    for name in names:
        made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        path = f"{GATEWAYS}/{name}.sock"
        made.bind(path)
        os.chmod(path, 0o666)  # noqa: S103 - whoever is inside may connect, under whatever user
        made.listen(BACKLOG)
        found.append(("gateway", made.detach()))
    return found


def kinds(ports: int) -> tuple[str, ...]:
    """The kinds of sockets that `open_sockets` returns for so many ports."""
    return (*(["tcp"] * ports), "dns-udp", "dns-tcp", "proxy")


def enter(pid: int, *kinds: int) -> None:
    """Move this process into namespaces of `pid`, else those of users and network; raise OSError if it may not."""
    wanted = kinds or (CLONE_NEWUSER, CLONE_NEWNET)
    opened = [(os.open(f"/proc/{pid}/ns/{NAMES[kind]}", os.O_RDONLY | os.O_CLOEXEC), kind) for kind in wanted]
    for descriptor, kind in opened:
        if _libc.setns(descriptor, kind):
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}")
        os.close(descriptor)


def add_address(address: str, prefix: int) -> None:
    """Give `lo` an address; the kernel then takes every address of that network for its own."""
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    packed = _socket.inet_pton(family, address)
    attributes = b"".join(struct.pack("HH", 4 + len(packed), kind) + packed for kind in (IFA_LOCAL, IFA_ADDRESS))
    body = struct.pack("BBBBI", family, prefix, 0, 0, LOOPBACK_INDEX) + attributes
    flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE
    route = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)
    try:
        route.send(struct.pack("IHHII", 16 + len(body), RTM_NEWADDR, flags, 1, 0) + body)
        answer = route.recv(4096)
    finally:
        route.close()
    kind, error = struct.unpack_from("H", answer, 4)[0], struct.unpack_from("i", answer, 16)[0]
    if kind != NLMSG_ERROR or error:
        raise OSError(-error, f"address {address}: {os.strerror(-error)}")


def bound(address: str, port: int, kind: int) -> "_socket.socket":
    """A socket on `address` and `port`; one on `::` takes IPv4 as well."""
    made = _socket.socket(_socket.AF_INET6 if ":" in address else _socket.AF_INET, kind | _socket.SOCK_CLOEXEC)
    try:
        made.bind((address, port))
    except OSError as error:
        raise OSError(error.errno, f"port {port}: {error.strerror}") from error
    return made


def listen(address: str, port: int) -> int:
    """The descriptor of a listening TCP socket."""
    made = bound(address, port, _socket.SOCK_STREAM)
    made.listen(BACKLOG)
    return made.detach()


def listen_inside(pid: int, address: str, port: int) -> int:
    """In a child process of its own: the descriptor of a socket that listens in the network namespace of `pid`."""
    enter(pid)
    return listen(address, port)


def connect_inside(pid: int, port: int) -> int:
    """In a child process of its own: the descriptor of a socket connected to `port` of the sandbox's own loopback.

    Servers listen on 127.0.0.1 or, as some of Node's do, on ::1 alone. Raises OSError where none does.
    """
    enter(pid)
    refused = OSError()
    for family, address in ((_socket.AF_INET, "127.0.0.1"), (_socket.AF_INET6, "::1")):
        made = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        made.settimeout(5)
        try:
            made.connect((address, port))
        except OSError as error:
            refused = error
        else:
            made.setblocking(False)
            return made.detach()
    raise refused
