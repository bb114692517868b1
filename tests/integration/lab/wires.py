"""The lab's two machines: namespaces, and the cable between them, by system calls and rtnetlink(7).

No program is started for it: an ordinary user's capabilities in a user namespace would not survive execve(2).
"""

import ctypes
import os
import signal
import socket
import struct
from collections.abc import Callable
from ipaddress import ip_address, ip_network

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1

_RTM_NEWLINK, _RTM_NEWADDR, _RTM_NEWROUTE = 16, 20, 24
_REQUEST_ACK, _CREATE_EXCL = 0x5, 0x600
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_PID = 3, 18, 19
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_F_NODAD = 1, 2, 2
_RTA_DST, _RTA_INTERFACE, _RTA_GATEWAY = 1, 4, 5
_MAIN_TABLE, _STATIC, _HOST_SCOPE = 254, 4, 254
ROUTE_KINDS = {"unicast": 1, "local": 2, "blackhole": 6, "unreachable": 7}

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def die_with_parent(number: signal.Signals) -> None:
    """Get a signal when the parent ends; what changes credentials clears it, so it comes after that."""
    _call("prctl", PR_SET_PDEATHSIG, number, 0, 0, 0)


def leave_host() -> None:
    """Enter a network and a mount namespace of our own, as an ordinary user in a user namespace that owns them.

    The user stays the user: its uid is mapped to itself.
    """
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        _call("unshare", CLONE_NEWNET | CLONE_NEWNS)
    else:
        _call("unshare", CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    _call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)


def leave_network() -> None:
    """Enter another network namespace."""
    _call("unshare", CLONE_NEWNET)


def cover(path: str, by: str) -> None:
    """Show the file `by` in place of `path`, through links; nothing where that does not exist."""
    target = os.path.realpath(path)
    if os.path.exists(target):
        _call("mount", os.fsencode(by), os.fsencode(target), None, MS_BIND, None)


def _attribute(kind: int, data: bytes) -> bytes:
    length = 4 + len(data)
    return struct.pack("=HH", length, kind) + data + bytes(-length % 4)


def _send(kind: int, flags: int, body: bytes) -> None:
    """Make one rtnetlink request and wait for its acknowledgement; raise OSError as the kernel says."""
    header = struct.pack("=IHHII", 16 + len(body), kind, _REQUEST_ACK | flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as link:
        link.sendto(header + body, (0, 0))
        answer = link.recv(65536)
    (error,) = struct.unpack_from("=i", answer, 16)
    if error:
        raise OSError(-error, f"rtnetlink: {os.strerror(-error)}")


def connect(name: str, other: str, other_pid: int) -> None:
    """Lay a cable: `name` here, `other` in the network namespace of a process."""
    nobody = struct.pack("=BxHiII", 0, 0, 0, 0, 0)
    end = nobody + _attribute(_IFLA_IFNAME, other.encode() + b"\0")
    end += _attribute(_IFLA_NET_NS_PID, struct.pack("=I", other_pid))
    info = _attribute(_IFLA_INFO_KIND, b"veth") + _attribute(_IFLA_INFO_DATA, _attribute(_VETH_INFO_PEER, end))
    body = nobody + _attribute(_IFLA_IFNAME, name.encode() + b"\0") + _attribute(_IFLA_LINKINFO, info)
    _send(_RTM_NEWLINK, _CREATE_EXCL, body)


def switch_on(name: str) -> None:
    """Bring an interface up."""
    up = 1
    _send(_RTM_NEWLINK, 0, struct.pack("=BxHiII", 0, 0, socket.if_nametoindex(name), up, up))


def add_address(name: str, address: str, prefix: int) -> None:
    """Give an interface an address; an IPv6 one is usable at once."""
    packed = ip_address(address).packed
    family = socket.AF_INET6 if len(packed) == 16 else socket.AF_INET
    body = struct.pack("=BBBBI", family, prefix, _IFA_F_NODAD, 0, socket.if_nametoindex(name))
    _send(_RTM_NEWADDR, _CREATE_EXCL, body + _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed))


def add_route(network: str, *, kind: str = "unicast", via: str = "", name: str = "") -> None:
    """Add a route to the main table."""
    target = ip_network(network)
    family = socket.AF_INET6 if target.version == 6 else socket.AF_INET
    scope = _HOST_SCOPE if kind == "local" else 0
    body = struct.pack("=BBBBBBBBI", family, target.prefixlen, 0, 0, _MAIN_TABLE, _STATIC, scope, ROUTE_KINDS[kind], 0)
    body += _attribute(_RTA_DST, target.network_address.packed)
    if via:
        body += _attribute(_RTA_GATEWAY, ip_address(via).packed)
    if name:
        body += _attribute(_RTA_INTERFACE, struct.pack("=i", socket.if_nametoindex(name)))
    _send(_RTM_NEWROUTE, _CREATE_EXCL, body)


def where_there_is_ipv6(*steps: Callable[[], None]) -> bool:
    """Do steps that a kernel without IPv6 refuses; tell whether it has it."""
    try:
        for step in steps:
            step()
    except OSError:
        return False
    return True
