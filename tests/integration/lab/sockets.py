"""What else answers in the lab: echoes, the services of the host's own side, and the sniffer at the cable."""

import asyncio
import contextlib
import ctypes
import socket
import struct
from pathlib import Path
from typing import cast

from tests.integration.lab import world
from tests.integration.lab.records import Log
from tests.integration.lab.web import closing

_ETH_P = {4: 0x0800, 6: 0x86DD}
_SO_ATTACH_FILTER, _PACKET_OUTGOING = 26, 4
_TCP, _SYN_ACK, _SYN = 6, 0x12, 0x02


class Echo:
    """TCP: greets, then gives back what it gets."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address, port = writer.get_extra_info("sockname")[:2]
        self._log.add("tcp", address=address, port=port)
        writer.write(b"HELLO\n")
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


class DatagramEcho(asyncio.DatagramProtocol):
    """UDP: gives back each datagram."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The event loop's own class is no subclass of what it implements.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._log.add("udp", port=world.UDP_ECHO_PORT, bytes=len(data))
        assert self._transport is not None
        self._transport.sendto(data, addr)


async def start_remote(log: Log) -> None:
    """Start the echoes."""
    for port in world.ECHO_PORTS:
        await asyncio.start_server(closing(Echo(log).serve), None, port)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: DatagramEcho(log), local_addr=(world.REMOTE, world.UDP_ECHO_PORT))


def _answers(text: str, log: Log) -> asyncio.Protocol:
    """Answer each request with a text, whether it is HTTP or not."""

    class Answers(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._transport = cast(asyncio.Transport, transport)
            log.add("host", service=text)

        def data_received(self, data: bytes) -> None:
            body = f"{text}\n".encode()
            length = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            self._transport.write(length + body if b" HTTP/1." in data else body)

    return Answers()


async def start_host(log: Log, place: Path) -> None:
    """Start the services of the host: HTTP on 8080, an echo on loopback, unix sockets with and without a name."""
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: _answers("HOST-LOOPBACK", log), None, world.HOST_PORT)
    await asyncio.start_server(closing(Echo(log).serve), "127.0.0.1", world.HOST_ECHO_PORT)
    await loop.create_unix_server(lambda: _answers("HOST-UNIX", log), place / "host.sock")
    (place / "host.sock").chmod(0o666)
    await loop.create_unix_server(lambda: _answers("HOST-ABSTRACT", log), f"\0{place}/host.sock")


def _filter(version: int) -> bytes:
    """Give classic BPF that passes the beginnings of connections, and everything that is not TCP.

    From the kernel's Documentation/networking/filter.rst; the packet begins with the IP header. Neighbour discovery
    and multicast groups (ICMPv6, hop-by-hop options) stay out.
    """
    code: list[tuple[int, int, int, int]]
    if version == 4:
        flags = [(0xB1, 0, 0, 0), (0x50, 0, 0, 13)]  # x = header's length; a = flags at x + 13
        code = [(0x30, 0, 0, 9), (0x15, 0, 4, _TCP), *flags]
    else:
        code = [(0x30, 0, 0, 6), (0x15, 6, 0, 58), (0x15, 5, 0, 0), (0x15, 0, 3, _TCP), (0x30, 0, 0, 53)]
    code += [(0x54, 0, 0, _SYN_ACK), (0x15, 0, 1, _SYN), (0x06, 0, 0, 65535), (0x06, 0, 0, 0)]
    return b"".join(struct.pack("HBBI", *each) for each in code)


def sniff(log: Log, interface: str, version: int) -> None:
    """Log each flow that comes in by the cable, in the running loop."""
    found = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
    code = ctypes.create_string_buffer(_filter(version))
    program = struct.pack("HP", (len(code) - 1) // 8, ctypes.addressof(code))
    found.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    found.bind((interface, _ETH_P[version]))
    found.setblocking(False)
    asyncio.get_running_loop().add_reader(found, _sniffed, found, log, version)


def _sniffed(found: socket.socket, log: Log, version: int) -> None:
    """Log all that have come, before whoever waits for an answer to them is given it."""
    with contextlib.suppress(BlockingIOError):
        while True:
            packet, where = found.recvfrom(256)
            if where[2] != _PACKET_OUTGOING:
                _add(log, version, packet)


def _add(log: Log, version: int, packet: bytes) -> None:
    number, address, rest = packet[9], packet[16:20], packet[4 * (packet[0] & 15) :]
    if version == 6:
        number, address, rest = packet[6], packet[24:40], packet[40:]
    if (version, number, rest[:2]) == (4, 1, b"\3\3"):
        return  # the kernel's: nobody waits any more for what we answered too late
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    port = struct.unpack_from(">H", rest, 2)[0] if number in (_TCP, 17) else 0
    log.add("flow", protocol=number, address=socket.inet_ntop(family, address), port=port)
