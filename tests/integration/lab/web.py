"""The lab's web servers: what each path answers. `OK TAG METHOD PATH body=N` where nothing else stands below."""

import asyncio
import collections
import functools
import gzip
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.integration.lab import echoes, models, registries, repositories, sites, websocket, world
from tests.integration.lab.accounts import Accounts, shown
from tests.integration.lab.apis import Apis
from tests.integration.lab.http1 import Request, Response, read_body, read_head
from tests.integration.lab.http2 import PREFACE_REST, serve_http2
from tests.integration.lab.records import Log

BIG_BYTES = 50 << 20
SLOW_S = 3
EVENTS = 3
EVENT_S = 0.2
STREAM_LIMIT = 1 << 20  # of a request's head, too
LOGGED_BYTES = 1 << 18
OAUTH = ("/v1/oauth/token", "/oauth/token")

# Responses that no server should give: a client, or a proxy, that reads them in two ways can be led astray.
EVIL = {
    "both-framings": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "two-lengths": "Content-Length: 2\r\nContent-Length: 5\r\n\r\nhello",
    "bad-chunk": "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "folded": "X-One: a\r\n  b\r\nContent-Length: 2\r\n\r\nok",
    "short": "Content-Length: 50\r\n\r\nhello",
    "upgrade-h2": "Alt-Svc: h3=\":443\"\r\nContent-Length: 2\r\n\r\nok",
}  # fmt: skip

Handler = Callable[[Response], Awaitable[None]]
_released: dict[str, asyncio.Event] = collections.defaultdict(asyncio.Event)


async def headers(response: Response) -> None:
    """Echo the headers."""
    await response.send(200, "".join(f"{name}: {value}\n" for name, value in response.request.headers))


async def big(response: Response) -> None:
    await response.stream(BIG_BYTES)


async def sized(response: Response) -> None:
    """`/bytes/N`."""
    await response.stream(int(response.request.path.rpartition("/")[2]))


@functools.cache
def _text(size: int, *, packed: bool) -> bytes:
    line = b'{"name": "value of some length", "number": 1234567, "url": "https://example.com/a/b?c=d&e=f"}\n'
    data = (line * (size // len(line) + 1))[:size]
    return gzip.compress(data, 6) if packed else data


async def text(response: Response) -> None:
    """`/text/N`, and `/text-gzip/N`, which is that many bytes once it is unpacked."""
    path = response.request.path
    packed = path.startswith("/text-gzip/")
    more = {"content_encoding": "gzip"} if packed else {}
    await response.send(200, _text(int(path.rpartition("/")[2]), packed=packed), "application/json", **more)


async def slow(response: Response) -> None:
    await asyncio.sleep(SLOW_S)
    await plain(response)


async def upload(response: Response) -> None:
    """What arrived: how much, and its digest."""
    request = response.request
    found = {"bytes": request.length, "sha256": request.digest, "trailers": dict(request.trailers)}
    await response.send(200, json.dumps(found), "application/json")


async def echo(response: Response) -> None:
    await response.send(200, response.request.body, "application/octet-stream")


async def status(response: Response) -> None:
    """`/status/N`."""
    await response.send(int(response.request.path.rpartition("/")[2]), "")


async def chunked(response: Response) -> None:
    """Three chunks and a trailer."""
    response.head(200, {"Transfer-Encoding": "chunked", "Trailer": "X-Trailer"})
    for part in (b"one ", b"two ", b"three"):
        await response.chunk(part)
    response.writer.write(b"0\r\nX-Trailer: at-the-end\r\n\r\n")
    await response.writer.drain()


async def events(response: Response) -> None:
    """Server-sent events with pauses between them; a client that sees the first at once is not buffered."""
    response.head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
    for number in range(EVENTS):
        await response.chunk(f"data: event {number}\n\n".encode())
        await asyncio.sleep(EVENT_S)
    await response.chunk(b"")


async def held(response: Response) -> None:
    """`/held/NAME`: an event, and another one when somebody has asked for `/release/NAME`."""
    response.head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
    await response.chunk(b"data: first\n\n")
    await _released[response.request.path.rpartition("/")[2]].wait()
    await response.chunk(b"data: second\n\n")
    await response.chunk(b"")


async def release(response: Response) -> None:
    """`/release/NAME`."""
    _released[response.request.path.rpartition("/")[2]].set()
    await plain(response)


async def until_close(response: Response) -> None:
    """A body that ends with the connection."""
    response.persistent = False
    response.head(200, {"Content-Type": "text/plain"})
    response.writer.write(b"until close")
    await response.writer.drain()


async def redirect(response: Response) -> None:
    """`/redirect/HOST/PATH`: elsewhere, by the same scheme."""
    place = response.request.target.removeprefix("/redirect/")
    await response.send(302, "", location=f"{response.request.scheme}://{place}")


async def hang(response: Response) -> None:
    """Never answer."""
    await asyncio.sleep(3600)


async def reset(response: Response) -> None:
    """Break the connection off with a TCP reset, in the middle of a body."""
    response.persistent = False
    response.head(200, {"Content-Length": "1000"})
    response.writer.write(b"some")
    await response.writer.drain()
    found = response.writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    response.writer.transport.abort()


async def evil(response: Response) -> None:
    """`/evil/NAME`: see EVIL."""
    response.persistent = False
    response.writer.write(b"HTTP/1.1 200 OK\r\n" + EVIL[response.request.path.rpartition("/")[2]].encode())
    await response.writer.drain()


async def flood(response: Response) -> None:
    """`/flood/N`: so many informational answers, each with the credential of the request, and then one."""
    said = b"HTTP/1.1 103 Early Hints\r\nX-Told: %b\r\n\r\n" % shown(response.request).encode("latin-1")
    for _ in range(int(response.request.path.rpartition("/")[2])):
        if response.writer.is_closing():
            return
        response.writer.write(said)
        await response.writer.drain()
        await asyncio.sleep(0)  # else nobody notices that the client has gone
    await plain(response)


async def protected(response: Response) -> None:
    """Basic authentication as `user` with `password`."""
    if response.request.header("authorization") == "Basic dXNlcjpwYXNzd29yZA==":
        await plain(response)
    else:
        await response.send(401, "", www_authenticate='Basic realm="lab"')


async def plain(response: Response) -> None:
    request = response.request
    if request.tag == "METADATA":
        return await response.send(200, "METADATA\n")
    return await response.send(200, f"OK {request.tag} {request.method} {request.target} body={request.length}\n")


ROUTES: dict[str, Handler] = {"/hdr": headers, "/big": big, "/slow": slow, "/upload": upload, "/echo": echo}
ROUTES |= {"/chunked": chunked, "/sse": events, "/close": until_close, "/hang": hang, "/reset": reset}
ROUTES |= {"/auth": protected}
BELOW: dict[str, Handler] = {
    "/bytes/": sized,
    "/text/": text,
    "/text-gzip/": text,
    "/status/": status,
    "/redirect/": redirect,
    "/evil/": evil,
    "/flood/": flood,
    "/held/": held,
    "/release/": release,
}
BELOW |= {
    "/echo-in/": echoes.serve,
    "/simple/": registries.python_index,
    "/files/": registries.python_file,
    "/npm/": registries.node,
}


class Web:
    """The servers of every port; what they see goes to the log."""

    def __init__(self, log: Log, place: Path, *, quiet: bool) -> None:
        self._log, self._quiet = log, quiet
        accounts = Accounts(place)
        self._git, self._apis = repositories.Git(place, accounts), Apis(accounts)
        self._models, self._last = models.Models(place), "nobody"
        self._sites = sites.Sites(place)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        address, port = writer.get_extra_info("sockname")[:2]
        inside: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
        scheme = "https" if inside else "http"
        tag = {world.LAN: "LAN", world.METADATA: "METADATA"}.get(address, f"remote{port}")
        if inside and inside.selected_alpn_protocol() == "h2":
            return await serve_http2(reader, writer, tag=tag, seen=self.seen(scheme, address, port))
        while request := await read_head(reader, scheme=scheme, tag=tag):
            if request.method == "PRI":
                await reader.readexactly(len(PREFACE_REST))
                return await serve_http2(reader, writer, tag=tag, seen=self.seen(scheme, address, port), begun=True)
            self.seen(scheme, address, port)(request)
            response = Response(writer, request)
            await self._respond(reader, response)
            if not response.persistent:
                return None
        return None

    def seen(self, scheme: str, address: str, port: int) -> Callable[[Request], None]:
        """Give what logs a request."""

        def add(request: Request) -> None:
            if not self._quiet:
                where = {"scheme": scheme, "address": address, "port": port, "host": request.header("host")}
                what = {"method": request.method, "path": request.target, "version": request.version}
                self._log.add("http", **where, **what, headers=request.headers)

        return add

    async def _respond(self, reader: asyncio.StreamReader, response: Response) -> None:
        request = response.request
        if request.path == "/early":
            # An answer before the body has come; the rest of it is not read.
            response.persistent = False
            return await response.send(413, "too much\n")
        if request.header("expect").lower() == "100-continue":
            if request.path == "/no-continue":
                response.persistent = False
                return await response.send(417, "no\n")
            response.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.path == "/ws":
            return await websocket.serve(response, reader)
        await read_body(reader, request)
        if request.path.startswith("/seen"):
            self._body(request)
        return await self._handler(request)(response)

    def _body(self, request: Request) -> None:
        """Log the body and the trailers of a request beneath `/seen`."""
        if not self._quiet:
            text = request.body[:LOGGED_BYTES].decode("latin-1")
            what = {"host": request.header("host"), "path": request.target, "trailers": request.trailers}
            self._log.add("body", **what, bytes=request.length, text=text)

    def _handler(self, request: Request) -> Handler:
        """By the whole path, by how it begins, by the host."""
        path, host = request.path, request.header("host").partition(":")[0].lower()
        if file := self._sites.find(request, host):
            return functools.partial(sites.serve, data=file.read_bytes(), suffix=file.suffix)
        if path.startswith((repositories.OPEN, repositories.GUARDED)):
            return self._git.serve
        if path == "/echo-last":
            return self._remember
        self._last = request.header("authorization", self._last)
        if models.speaks(path):
            return self._models.serve
        if path in OAUTH:
            return self._apis.oauth
        if host == "api.github.com" or path.startswith("/gh/"):
            return self._apis.github
        if host.endswith(".amazonaws.com") or path.startswith("/aws/"):
            return self._apis.aws
        if path == "/legacy/":
            return self._apis.legacy
        if (path.startswith("/npm/") or host == "registry.npmjs.org") and (request.method == "PUT" or "/-/w" in path):
            return self._apis.node
        return sites.missing if self._sites.has(host) else _handler(path)

    async def _remember(self, response: Response) -> None:
        """`/echo-last` on every host: what the latest request that had an Authorization said there; `?gzip`: so."""
        said = f"was {self._last}\n".encode()
        packed = response.request.target.endswith("?gzip")
        more = {"content_encoding": "gzip"} if packed else {}
        await response.send(200, gzip.compress(said) if packed else said, **more)


def _handler(path: str) -> Handler:
    below = (handler for prefix, handler in BELOW.items() if path.startswith(prefix))
    return ROUTES.get(path) or next(below, plain)


async def start(web: Web, context: ssl.SSLContext) -> None:
    """Listen on the ports of world.py, on every address."""
    for port in world.HTTP_PORTS:
        await asyncio.start_server(closing(web.serve), None, port, limit=STREAM_LIMIT, backlog=1024)
    for port in world.HTTPS_PORTS:
        server = closing(web.serve)
        await asyncio.start_server(server, None, port, ssl=context, limit=STREAM_LIMIT, backlog=1024)


def closing(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Serve a connection and close it, however it ends: what a client does wrong is its own affair."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    return handle
