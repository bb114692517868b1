"""HTTP/1.1 as the lab's servers speak it: plain, lenient, and showing what really arrived.

A reader of requests and a writer of responses; what is answered is decided in web.py.
"""

import asyncio
import hashlib
import tempfile
from dataclasses import dataclass, field
from typing import BinaryIO

KEPT_BYTES = 64 << 20
SPOOLED_BYTES = 1 << 20
CHUNK = bytes(range(256)) * 1024

# Beneath these a body is kept; of the second kind any size, in a file where it is large.
KEPT = ("/echo", "/v1/", "/v1beta/", "/seen", "/oauth/", "/gh/")
SPOOLED = ("/git/", "/gitauth/")

REASONS = {100: "Continue", 101: "Switching Protocols", 200: "OK", 204: "No Content", 206: "Partial Content"}
REASONS |= {201: "Created", 302: "Found", 307: "Temporary Redirect", 401: "Unauthorized", 403: "Forbidden"}
REASONS |= {404: "Not Found", 413: "Content Too Large", 417: "Expectation Failed", 503: "Service Unavailable"}


@dataclass(slots=True)
class Request:
    """One request. `body` is kept up to a limit, its length and digest always; `spool` holds a large one."""

    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    scheme: str
    tag: str
    body: bytes = b""
    length: int = 0
    digest: str = ""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    spool: BinaryIO | None = None

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str, default: str = "") -> str:
        """Give the first header of that name."""
        return next((value for key, value in self.headers if key.lower() == name), default)

    @property
    def persistent(self) -> bool:
        """Whether another request may follow on the connection."""
        asked = self.header("connection").lower()
        return "close" not in asked and (self.version == "HTTP/1.1" or "keep-alive" in asked)


def fields(lines: list[str]) -> list[tuple[str, str]]:
    """Split header lines at their colon."""
    parted = (line.partition(":") for line in lines)
    return [(name, value.strip()) for name, _, value in parted]


async def read_head(reader: asyncio.StreamReader, *, scheme: str, tag: str) -> Request | None:
    """Read a request up to its empty line; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise ConnectionError("half a request") from error
        return None
    first, *lines = head.decode("latin-1")[:-4].split("\r\n")
    method, target, version = [*first.split(" "), "", ""][:3]
    return Request(method, target, version, fields(lines), scheme, tag)


class _Body:
    """Where a body goes as it arrives."""

    def __init__(self, request: Request) -> None:
        self.request, self.digest, self.kept = request, hashlib.sha256(), bytearray()
        self._wanted = request.target.startswith(KEPT)
        self._spooled = request.target.startswith(SPOOLED)

    def take(self, data: bytes) -> None:
        request = self.request
        self.digest.update(data)
        request.length += len(data)
        if self._spooled and request.length > SPOOLED_BYTES:
            if request.spool is None:
                request.spool = tempfile.TemporaryFile()
                request.spool.write(self.kept)
                self.kept.clear()
            request.spool.write(data)
        elif self._spooled or (self._wanted and len(self.kept) < KEPT_BYTES):
            self.kept.extend(data)

    def end(self) -> None:
        self.request.body, self.request.digest = bytes(self.kept), self.digest.hexdigest()
        if self.request.spool:
            self.request.spool.flush()
            self.request.spool.seek(0)


async def read_body(reader: asyncio.StreamReader, request: Request) -> None:
    """Read the body into the request."""
    body = _Body(request)
    if "chunked" in request.header("transfer-encoding").lower():
        while size := int((await reader.readline()).partition(b";")[0], 16):
            body.take(await reader.readexactly(size))
            await reader.readline()
        while line := (await reader.readline()).strip():
            request.trailers += fields([line.decode("latin-1")])
    else:
        left = int(request.header("content-length", "0"))
        while left:
            data = await reader.read(min(left, len(CHUNK)))
            if not data:
                raise ConnectionError("half a body")
            body.take(data)
            left -= len(data)
    body.end()


class Response:
    """Writes one response; `headers` beyond length and date are the caller's."""

    def __init__(self, writer: asyncio.StreamWriter, request: Request) -> None:
        self.writer, self.request, self.persistent = writer, request, request.persistent

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Begin."""
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}", *(f"{k}: {v}" for k, v in headers.items())]
        if not self.persistent:
            lines.append("Connection: close")
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def send(self, status: int, body: str | bytes, kind: str = "text/plain", **more: str) -> None:
        """Send everything at once; keywords are headers, with `_` for `-`."""
        data = body.encode() if isinstance(body, str) else body
        headers = {"Content-Type": kind, "Content-Length": str(len(data))}
        self.head(status, headers | {name.replace("_", "-").title(): value for name, value in more.items()})
        if self.request.method != "HEAD":
            self.writer.write(data)
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        """Send one chunk; an empty one ends the body without trailers."""
        self.writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self.writer.drain()

    async def stream(self, size: int) -> None:
        """Send a body of known size, a piece at a time."""
        self.head(200, {"Content-Type": "application/octet-stream", "Content-Length": str(size)})
        left = size if self.request.method != "HEAD" else 0
        while left:
            self.writer.write(CHUNK if left >= len(CHUNK) else CHUNK[:left])
            left -= min(left, len(CHUNK))
            await self.writer.drain()
