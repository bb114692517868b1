"""Rules, listeners and clocks for tests of what connects: everything stays on this machine's loopback."""

import socket

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import EgressRule

EVERY_PORT = ((1, 65535),)
LOOPBACK = ("127.0.0.0/8", "::1/128")
HERE = "127.0.0.2"
THERE = "127.0.0.3"


class Clock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def rule(
    host: str, verdict: Verdict = Verdict.ALLOW, *, addresses: tuple[str, ...] = LOOPBACK, port: int = 0
) -> EgressRule:
    """Give a rule about every port, or one, that lets the host resolve to loopback addresses."""
    return EgressRule(
        host=host,
        verdict=verdict,
        source=Source(scope="user"),
        ports=((port, port),) if port else EVERY_PORT,
        addresses=addresses,
    )


def listening(address: str = HERE, *, port: int = 0, backlog: int = 128) -> socket.socket:
    """Open a listening socket."""
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    made.bind((address, port))
    made.listen(backlog)
    made.settimeout(60)
    return made


def closed(address: str) -> socket.socket:
    """Give a socket on whose port nobody listens, and which nobody else can get as long as it is open."""
    made = socket.socket()
    made.bind((address, 0))
    return made


def full(address: str = HERE, *, port: int = 0) -> tuple[socket.socket, list[socket.socket]]:
    """Open a listening socket that takes no further connection: whoever tries is not answered.

    Linux drops a SYN while the queue of established connections is full (listen(2)); the sockets returned fill it.
    """
    listener = listening(address, port=port, backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    return listener, fillers
