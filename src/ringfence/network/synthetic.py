"""Addresses that stand for names, so that a connection to one of them says which name was asked for.

The rules: addresses are from 198.18.0.0/15 (RFC 2544, not routed on the internet) without its first 256, which are our
own (the loopback's, the name server's), and its last. A name keeps its address as long as it is known. At most `limit`
names are known; then the one longest unused that has no open connection makes room, and where there is none, no address
is given.

Theory of operation: addresses are handed out in turn, so one that was taken from a name is not another name's before
all others have been used. SECURITY: a client that still remembers it reaches nothing, rather than somebody else.
"""

from collections import Counter, OrderedDict
from ipaddress import IPv4Address

LIMIT = 4096

_FIRST = int(IPv4Address("198.18.1.0"))
_COUNT = int(IPv4Address("198.19.255.255")) - _FIRST


class SyntheticAddresses:
    """The names of one session and their addresses, both ways."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._addresses: OrderedDict[str, str] = OrderedDict()  # by name, the longest unused first
        self._names: dict[str, str] = {}
        self._open: Counter[str] = Counter()
        self._next = 0

    def address_of(self, name: str) -> str | None:
        """Return the address of a canonical `name`, a new one where it has none; None where none is to be had."""
        if name not in self._addresses:
            if len(self._addresses) >= self._limit and not self._make_room():
                return None
            address = self._unused()
            self._addresses[name], self._names[address] = address, name
        self._addresses.move_to_end(name)
        return self._addresses[name]

    def name_of(self, address: str) -> str | None:
        """Return the name that `address` stands for, None where it stands for none."""
        return self._names.get(address)

    def hold(self, address: str) -> str | None:
        """Count an open connection to `address` and return its name; None, and nothing counted, where it has none."""
        name = self._names.get(address)
        if name is not None:
            self._open[address] += 1
            self._addresses.move_to_end(name)
        return name

    def release(self, address: str) -> None:
        """Count a connection as closed that `hold` has counted."""
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]

    def _make_room(self) -> bool:
        idle = next((name for name, address in self._addresses.items() if address not in self._open), None)
        if idle is not None:
            del self._names[self._addresses.pop(idle)]
        return idle is not None

    def _unused(self) -> str:
        while True:  # the limit is far below the number of addresses, so one is free
            address = str(IPv4Address(_FIRST + self._next))
            self._next = (self._next + 1) % _COUNT
            if address not in self._names:
                return address
