"""The lab's DNS server: the zone of world.py over UDP and TCP (RFC 1035), and the mischief that a server may do."""

import asyncio
import itertools
import struct
from ipaddress import ip_address
from typing import cast

from tests.integration.lab import world
from tests.integration.lab.records import Log

TYPES = {1: "A", 5: "CNAME", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 64: "SVCB", 65: "HTTPS", 255: "ANY"}
_A, _CNAME, _AAAA = 1, 5, 28
_NOERROR, _SERVFAIL, _NXDOMAIN, _REFUSED = 0, 2, 3, 5
_RESPONSE, _TRUNCATED = 0x8580, 0x0200
SLOW_S = 1
MANY = 60
UDP_BYTES = 512

Answer = tuple[int, list[bytes]]


def _encoded(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def _record(name: str, kind: int, data: bytes) -> bytes:
    return _encoded(name) + struct.pack(">HHIH", kind, 1, 0, len(data)) + data


def question(query: bytes) -> tuple[str, int, bytes]:
    """Read a query: the name in lower case, its type, the question as it stands."""
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("latin-1"))
        at += 1 + query[at]
    (kind,) = struct.unpack_from(">H", query, at + 1)
    return ".".join(labels).lower(), kind, query[12 : at + 5]


class Names:
    """Answers; `alternating` names remember how often they were asked for."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._rounds = {name: itertools.cycle(addresses) for name, addresses in world.ALTERNATING.items()}

    async def answer(self, query: bytes, transport: str) -> bytes:
        """Give the response to a query; empty where none is to be sent."""
        name, kind, asked = question(query)
        self._log.add("dns", name=name, type=TYPES.get(kind, str(kind)), transport=transport)
        mischief = world.MISCHIEF.get(name, "")
        if mischief == "slow":
            await asyncio.sleep(SLOW_S)
        code, records = self._find(name, kind, mischief)
        flags = _RESPONSE | code
        body = b"".join(records)
        if transport == "udp" and len(body) + len(asked) + 12 > UDP_BYTES:
            flags, body, records = flags | _TRUNCATED, b"", []
        head = query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0)
        return b"" if mischief == "silent" else head + asked + body

    def _find(self, name: str, kind: int, mischief: str) -> Answer:
        if mischief in ("servfail", "refused"):
            return (_SERVFAIL if mischief == "servfail" else _REFUSED), []
        if mischief == "nodata":
            return _NOERROR, []
        if mischief == "big":
            return _NOERROR, self._addresses(name, kind, tuple(f"11.22.34.{last}" for last in range(1, MANY)))
        if mischief == "slow":
            return _NOERROR, self._addresses(name, kind, (world.PUBLIC,))
        if name in world.ALIASES:
            target = world.ALIASES[name]
            code, records = self._find(target, kind, "")
            return code, [_record(name, _CNAME, _encoded(target)), *records]
        if name in self._rounds:
            addresses = (next(self._rounds[name]),) if kind == _A else ()
            return _NOERROR, self._addresses(name, kind, addresses)
        found = world.find(name)
        return (_NXDOMAIN, []) if found is None else (_NOERROR, self._addresses(name, kind, found))

    def _addresses(self, name: str, kind: int, addresses: tuple[str, ...]) -> list[bytes]:
        packed = [ip_address(address).packed for address in addresses]
        length = {_A: 4, _AAAA: 16}.get(kind, 0)
        return [_record(name, kind, data) for data in packed if len(data) == length]

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the queries of one connection, each behind its length (RFC 7766)."""
        while True:
            (length,) = struct.unpack(">H", await reader.readexactly(2))
            response = await self.answer(await reader.readexactly(length), "tcp")
            writer.write(struct.pack(">H", len(response)) + response)
            await writer.drain()


class Datagrams(asyncio.DatagramProtocol):
    """Queries by UDP."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._pending: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The event loop's own class is no subclass of what it implements.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(data, addr))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _answer(self, data: bytes, addr: tuple[str, int]) -> None:
        response = await self._names.answer(data, "udp")
        if response and self._transport:
            self._transport.sendto(response, addr)
