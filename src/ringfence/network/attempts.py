"""Attempts to connect: several addresses side by side (RFC 8305, Happy Eyeballs), the first that answers is taken.

The functions that wait are generators: what they yield says which sockets they wait for and until when, what they are
sent is those that are ready, and closing one closes all of its sockets. So they need neither thread nor clock of
their own.
"""

import _socket
import errno
import math
import os
import select
from collections import deque
from collections.abc import Callable, Generator, Iterable

import msgspec

STAGGER_S = 0.25  # RFC 8305, section 8: Connection Attempt Delay
MAX_ADDRESSES = 6  # each may hold a descriptor
WITHOUT_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Wait(msgspec.Struct, frozen=True):
    """What is waited for: an event of poll(2) on sockets, a point in time, the answer on a name."""

    sockets: tuple[_socket.socket, ...] = ()
    event: int = 0
    until: float = math.inf
    name: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """A connection and the address it goes to; or, as in `messages.Dialed`, why there is none."""

    connected: _socket.socket | None = None
    address: str = ""
    code: str = ""
    reason: str = ""


Steps = Generator[Wait, "tuple[_socket.socket, ...] | None", Outcome]


def connect(addresses: Iterable[str], port: int, clock: Callable[[], float]) -> Steps:
    """Try addresses, best first: the families in turn, each `STAGGER_S` after the one before or when that failed."""
    untried = deque(interleaved(addresses)[:MAX_ADDRESSES])
    under_way: dict[_socket.socket, str] = {}
    error = 0
    try:
        while untried or under_way:
            if untried:
                address = untried.popleft()
                try:
                    under_way[begin(address, port)] = address
                except OSError as failed:
                    error = error or failed.errno or 0
                    continue
            ready = yield Wait(tuple(under_way), select.POLLOUT, clock() + STAGGER_S if untried else math.inf)
            for made in ready or ():
                found = under_way.pop(made)
                if not (failed_with := made.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)):
                    return Outcome(made, found)
                made.close()
                error = error or failed_with
    finally:
        for made in under_way:
            made.close()
    return failure(error)


def interleaved(addresses: Iterable[str]) -> list[str]:
    """Order addresses as RFC 8305, section 4, does: the families in turn, beginning with the first one's."""
    listed = list(dict.fromkeys(addresses))
    own = [address for address in listed if (":" in address) == (":" in listed[0])]
    other = [address for address in listed if (":" in address) != (":" in listed[0])]
    count = min(len(own), len(other))
    pairs = [address for pair in zip(own, other, strict=False) for address in pair]
    return [*pairs, *own[count:], *other[count:]]


def begin(address: str, port: int) -> _socket.socket:
    """Give a non-blocking socket on its way to `address`; raise OSError if it cannot even begin."""
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    _socket.inet_pton(family, address)  # SECURITY: connect() of Python would look up whatever is not an address
    made = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        if (error := made.connect_ex((address, port))) not in (0, errno.EINPROGRESS):
            raise OSError(error, os.strerror(error))
    except OSError:
        made.close()
        raise
    return made


def failure(error: int) -> Outcome:
    """Word the error of the first attempt: the system puts the best address first."""
    if error in WITHOUT_RESOURCES:
        return Outcome(code="busy", reason="this host has no socket left")
    code = "timed-out" if error == errno.ETIMEDOUT else "unreachable"
    return Outcome(code=code, reason=os.strerror(error).lower())
