"""A WebSocket echo (RFC 6455), unfragmented frames only."""

import asyncio
import base64
import hashlib
import struct

from tests.integration.lab.accounts import shown
from tests.integration.lab.http1 import Response

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, CLOSE, PING, PONG = 0, 1, 8, 9, 10


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one frame: its opcode and its payload, unmasked."""
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack(">H", await reader.readexactly(2))
    elif length == 127:
        (length,) = struct.unpack(">Q", await reader.readexactly(8))
    mask = await reader.readexactly(4) if second & 0x80 else bytes(4)
    data = await reader.readexactly(length)
    repeated = (mask * (length // 4 + 1))[:length]
    return first & 0x0F, bytes(a ^ b for a, b in zip(data, repeated, strict=True))


def frame(opcode: int, data: bytes) -> bytes:
    """Give a frame as servers send them, without a mask."""
    size = len(data)
    length = bytes([size]) if size < 126 else struct.pack(">BH", 126, size)
    return bytes([0x80 | opcode]) + (length if size < 65536 else struct.pack(">BQ", 127, size)) + data


async def serve(response: Response, reader: asyncio.StreamReader) -> None:
    """Accept and echo until the client closes; `?greet` and `?greet-in-two` (frames) have the credential said first."""
    key = response.request.header("sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1((key + _MAGIC).encode()).digest()).decode()
    response.persistent = True
    response.head(101, {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept})
    response.persistent = False
    told = b"you are " + shown(response.request).encode("latin-1")
    if response.request.target.endswith("?greet"):
        response.writer.write(frame(TEXT, told))
    if response.request.target.endswith("?greet-in-two"):
        first, rest = frame(TEXT, told[:15]), frame(CONTINUATION, told[15:])
        response.writer.write(bytes([TEXT]) + first[1:] + rest)
    opcode = 0
    while opcode != CLOSE:
        opcode, data = await read_frame(reader)
        response.writer.write(frame(PONG if opcode == PING else opcode, data))
        await response.writer.drain()
