"""K4: socket families that reach past the network namespace, load kernel modules or pass Landlock's port rules."""

import functools
import socket
from collections.abc import Callable

from tests.attacks.attack import Attack, cases
from tests.attacks.kernel import held, socket_held

STREAM, DGRAM, RAW, SEQPACKET = 1, 2, 3, 5


def lacking(family: int, kind: int, protocol: int) -> bool:
    """Tell whether this kernel has no such socket for this user; then there is nothing to succeed unconfined."""
    try:
        socket.socket(family, kind, protocol).close()
    except OSError:
        return True
    return False


def family(name: str, code: str, number: int, kind: int, protocol: int = 0) -> Attack:
    return Attack(
        name=name,
        script=held(
            "import socket\n"
            f"try: kept = socket.socket({number}, {kind}, {protocol})\nexcept OSError as error: print(error)"
        ),
        evidence=socket_held,
        code=code,
        hold=True,
        refused_here=functools.partial(lacking, number, kind, protocol),
    )


@cases(
    family("vsock", "socket-family", 40, STREAM),  # the hypervisor's control channels
    family("packet", "socket-family", 17, RAW, 3),
    family("alg", "socket-family", 38, SEQPACKET),
    family("xdp", "socket-family", 44, RAW),
    family("bluetooth", "socket-family", 31, RAW),
    family("tipc", "socket-family", 30, STREAM),
    family("rds", "socket-family", 21, SEQPACKET),
    family("can", "socket-family", 29, RAW, 1),
    family("key", "socket-family", 15, RAW, 2),
    family("x25", "socket-family", 9, SEQPACKET),
    family("smc", "socket-family", 43, STREAM),
    family("raw-icmp", "socket-type", 2, RAW, 1),
    family("raw-icmp6", "socket-type", 10, RAW, 58),
    family("mptcp", "socket-protocol", 2, STREAM, 262),
    family("sctp", "socket-protocol", 2, STREAM, 132),
    family("udplite", "socket-protocol", 2, DGRAM, 136),
    family("netlink-audit", "socket-protocol", 16, RAW, 9),
    family("netlink-generic", "socket-protocol", 16, RAW, 16),
    family("netlink-netfilter", "socket-protocol", 16, RAW, 12),
    family("netlink-uevent", "socket-protocol", 16, RAW, 15),
    family("netlink-sock-diag", "socket-protocol", 16, RAW, 4),
)
def test_socket(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
