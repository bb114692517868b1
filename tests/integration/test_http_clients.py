"""Unmodified clients against the proxy's HTTP core on loopback: what they send is understood, what they get is whole.

The proxy runs here as it runs in its process, but for the supervisor: a dial is answered with a connection to the
stand-in for the upstream host. Clients speak to it as to an explicit proxy, or connect as captured ones do.

Longer than 400 lines: each real client with what it needs to be driven, and the stand-ins that all of them share.
"""

import asyncio
import contextlib
import hashlib
import http.server
import itertools
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress, EgressRule
from ringfence.network import explicit, tls, transparent
from ringfence.network.ca import SessionAuthority
from ringfence.network.channel import Channel
from ringfence.network.messages import Dial, Dialed, encode, from_proxy
from ringfence.network.session import Connection, Session
from ringfence.network.stream import Stream
from ringfence.network.synthetic import SyntheticAddresses

HOST = "api.test"
PATIENCE_S = 100
SIZE = 30 << 20
LARGE = os.urandom(1 << 20) * 30
DIGEST = hashlib.sha256(LARGE).hexdigest()
HOST_AUTHORITY = SessionAuthority.create()

tls.prepare()
for offered in (False, True):
    tls.upstream_context(http2=offered).load_verify_locations(cadata=HOST_AUTHORITY.certificate_pem)


class Origin(http.server.BaseHTTPRequestHandler):
    """Gives `/large`, digests what is posted."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""

    def reply(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, SIZE, 100_000):
                piece = LARGE[start : start + 100_000]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.reply(LARGE if self.path == "/large" else self.path.encode())

    def do_POST(self) -> None:
        digest, count = hashlib.sha256(), 0
        for piece in self.pieces():
            digest.update(piece)
            count += len(piece)
        self.reply(json.dumps({"sha256": digest.hexdigest(), "bytes": count}).encode())

    def pieces(self) -> Iterator[bytes]:
        if self.headers["Transfer-Encoding"] != "chunked":
            yield self.rfile.read(int(self.headers["Content-Length"]))
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that left


class Proxy:
    """The HTTP core in a thread of its own."""

    def __init__(self, egress: Egress, upstream: dict[int, int]) -> None:
        self.authority = SessionAuthority.create()
        self.dialled: list[tuple[str, int]] = []
        self._egress, self._upstream = egress, upstream
        self.captured = socket.create_server(("127.0.0.1", 0))
        self.explicit = socket.create_server(("127.0.0.1", 0))
        self._stop: Callable[[], object] = lambda: None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._thread.join(PATIENCE_S)
        self.captured.close()
        self.explicit.close()

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        supervisor, own = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel = Channel((await Stream.over(own)).socket)
        session = Session(self._egress, channel, self.authority)
        names = SyntheticAddresses()

        async def captured(client: Stream, connection: Connection) -> None:
            connection.local = (names.address_of(HOST) or "", 443)
            await transparent.serve(client, session, connection, names)

        tasks = {
            asyncio.create_task(work)
            for work in (
                self._supervise(await Stream.over(supervisor)),
                self._listen(channel),
                self._accept(self.captured, captured),
                self._accept(self.explicit, lambda client, known: explicit.serve(client, session, known, names)),
            )
        }
        self._ready.set()
        await stopped.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        channel.close()
        supervisor.close()

    async def _supervise(self, supervisor: Stream) -> None:
        while True:
            await supervisor.wait_until_readable()
            message = from_proxy.decode(supervisor.socket.recv(1 << 16))
            if isinstance(message, Dial):
                self.dialled.append((message.host, message.port))
                with socket.create_connection(("127.0.0.1", self._upstream[message.port])) as made:
                    answer = encode(Dialed(request=message.request, address="127.0.0.1"))
                    socket.send_fds(supervisor.socket, [answer], [made.fileno()])

    async def _listen(self, channel: Channel) -> None:
        while (packet := await channel.receive()) is not None:
            assert isinstance(packet.message, Dialed)
            channel.answer(packet.message, packet.descriptors)

    async def _accept(self, listener: socket.socket, serve: Callable[[Stream, Connection], object]) -> None:
        listener.setblocking(False)
        numbers, tasks = itertools.count(1), set[asyncio.Task[None]]()

        async def one(client: Stream) -> None:
            connection = Connection(next(numbers), ("", 0), ("", 0), time.monotonic())
            try:
                await serve(client, connection)  # type: ignore[misc]  # one of the two above
                await client.close()
            except OSError:
                pass
            finally:
                client.abort()

        try:
            while True:
                accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
                task = asyncio.create_task(one(await Stream.over(accepted)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)


def rules(*, http2: bool = False) -> Egress:
    rule = EgressRule(
        host=HOST, verdict=Verdict.ALLOW, source=Source(scope="user"), ports=((1, 65535),), http2=http2, paths=("/**",)
    )
    return Egress(rules=(rule,))


@contextlib.contextmanager
def origin(*, secure: bool) -> Iterator[int]:
    """Run the stand-in for the upstream host; give its port."""
    server = Server(("127.0.0.1", 0), Origin)
    if secure:
        server.socket = HOST_AUTHORITY.context_for(HOST).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Table:
    """Where a client finds the proxy, and what it must trust."""

    def __init__(self, proxy: Proxy, bundle: Path) -> None:
        self.proxy = proxy
        self.bundle = bundle
        self.captured = proxy.captured.getsockname()[1]
        self.url = f"http://127.0.0.1:{proxy.explicit.getsockname()[1]}"

    def run(self, *argv: str, stdin: bytes = b"") -> bytes:
        """Run a client as a program inside would be run."""
        kept: dict[str, str] = {
            name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ
        }
        trust = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"), str(self.bundle))
        proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "http_proxy"), self.url)
        done = subprocess.run(argv, input=stdin, capture_output=True, timeout=PATIENCE_S, env=kept | trust | proxies)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        return done.stdout


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    bundle = tmp_path / "bundle.pem"
    with contextlib.ExitStack() as stack:
        ports = {443: stack.enter_context(origin(secure=True)), 80: stack.enter_context(origin(secure=False))}
        proxy = stack.enter_context(Proxy(rules(), ports))
        bundle.write_text(proxy.authority.certificate_pem)
        yield Table(proxy, bundle)


CURL = ("curl", "-sS", "--fail-with-body", "--max-time", "90")


@pytest.mark.require("curl")
@pytest.mark.parametrize("path", ["/large", "/chunked"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_curl_downloads(table: Table, scheme: str, path: str) -> None:
    assert hashlib.sha256(table.run(*CURL, f"{scheme}://{HOST}{path}")).hexdigest() == DIGEST


@pytest.mark.require("curl")
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"])
def test_curl_uploads(table: Table, tmp_path: Path, chunked: bool, expect: str) -> None:
    file = tmp_path / "large"
    file.write_bytes(LARGE)
    options = ("-X", "POST", "-H", expect, "-T", "-" if chunked else str(file))
    answer = json.loads(table.run(*CURL, *options, f"https://{HOST}/", stdin=LARGE if chunked else b""))
    assert answer == {"sha256": DIGEST, "bytes": SIZE}


@pytest.mark.require("curl")
def test_curl_captured_keeps_its_connection(table: Table) -> None:
    aimed = ("--noproxy", "*", "--connect-to", f"{HOST}:443:127.0.0.1:{table.captured}")
    answer = table.run(*CURL, *aimed, f"https://{HOST}/1", f"https://{HOST}/2", f"https://{HOST}/3")
    assert answer == b"/1/2/3"
    assert table.proxy.dialled == [(HOST, 443)]


@pytest.mark.require("curl")
def test_curl_can_read_why_it_is_refused(table: Table) -> None:
    done = subprocess.run(
        [*CURL, "-x", table.url, "--cacert", table.bundle, "-X", "TRACE", f"https://{HOST}/"],
        capture_output=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout.startswith(b"ringfence: bad-request: ")


PYTHON = {
    "requests": (
        "import requests, sys, hashlib; s = requests.Session();"
        "print(hashlib.sha256(s.get('https://api.test/large').content).hexdigest());"
        "print(s.post('https://api.test/', data=sys.stdin.buffer).json()['sha256'])"
    ),
    "httpx": (
        "import httpx, sys, hashlib; s = httpx.Client(timeout=90);"
        "print(hashlib.sha256(s.get('https://api.test/large').content).hexdigest());"
        "print(s.post('https://api.test/', content=sys.stdin.buffer.read()).json()['sha256'])"
    ),
    "urllib": (
        "import urllib.request as u, sys, hashlib, json;"
        "print(hashlib.sha256(u.urlopen('https://api.test/large').read()).hexdigest());"
        "print(json.load(u.urlopen('https://api.test/', data=sys.stdin.buffer.read()))['sha256'])"
    ),
}


@pytest.mark.parametrize("library", PYTHON)
def test_python_downloads_and_uploads(table: Table, library: str) -> None:
    if library != "urllib":
        pytest.importorskip(library)
    assert table.run(sys.executable, "-c", PYTHON[library], stdin=LARGE).decode().split() == [DIGEST, DIGEST]


NODE = """
const https = require('https'), crypto = require('crypto');
const agent = new https.Agent({keepAlive: true, maxSockets: 1});
const body = require('fs').readFileSync(0);
const ask = (method, path, data) => new Promise((resolve, reject) => {
  const headers = {Host: 'api.test'}, servername = 'api.test';
  const options = {host: '127.0.0.1', port: PORT, servername, method, path, agent, headers};
  const request = https.request(options, response => {
    const hash = crypto.createHash('sha256'), parts = [];
    response.on('data', part => { hash.update(part); if (parts.length < 9) parts.push(part) });
    response.on('end', () => resolve(method == 'GET' ? hash.digest('hex') : JSON.parse(Buffer.concat(parts)).sha256));
    response.on('error', reject);
  });
  request.on('error', reject);
  request.end(data);
});
(async () => { console.log(await ask('GET', '/large')); console.log(await ask('POST', '/', body)); agent.destroy() })();
"""


@pytest.mark.require("node")
def test_node_downloads_and_uploads(table: Table) -> None:
    assert (
        table.run("node", "-e", NODE.replace("PORT", str(table.captured)), stdin=LARGE).decode().split() == [DIGEST] * 2
    )
    assert table.proxy.dialled == [(HOST, 443)]


NODE_ORIGIN = """
const fs = require('fs'), crypto = require('crypto');
const server = require('http2').createSecureServer({key: fs.readFileSync(0), cert: fs.readFileSync(process.argv[1])});
const large = Buffer.alloc(SIZE, 'abcdefgh');
server.on('stream', (stream, headers) => {
  stream.on('error', () => {});
  if (headers[':path'] == '/early') { stream.respond({':status': 413}); stream.end('early'); return }
  if (headers[':method'] == 'GET') { stream.respond({':status': 200}); stream.end(large); return }
  const hash = crypto.createHash('sha256');
  stream.on('data', part => hash.update(part));
  stream.on('end', () => {
    stream.respond({':status': 200}, {waitForTrailers: true});
    stream.on('wantTrailers', () => stream.sendTrailers({'x-sum': 'yes'}));
    stream.end(hash.digest('hex'));
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit());
"""


@pytest.fixture
def http2_table(tmp_path: Path) -> Iterator[Table]:
    """The upstream host is Node's implementation of HTTP/2."""
    (tmp_path / "cert.pem").write_bytes(HOST_AUTHORITY._leaf(HOST).public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(HOST_AUTHORITY._leaf_key_pem)
    script = NODE_ORIGIN.replace("SIZE", str(SIZE)).replace("readFileSync(0)", f"readFileSync('{tmp_path}/key.pem')")
    with subprocess.Popen(
        ["node", "-e", script, str(tmp_path / "cert.pem")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as node:
        assert node.stdout is not None
        port = int(node.stdout.readline())
        bundle = tmp_path / "bundle.pem"
        try:
            with Proxy(rules(http2=True), {443: port}) as proxy:
                bundle.write_text(proxy.authority.certificate_pem)
                yield Table(proxy, bundle)
        finally:
            node.kill()


@pytest.mark.require("curl", "node")
def test_http2_from_curl_to_node(http2_table: Table) -> None:
    answer = http2_table.run(*CURL, "--http2", "-w", "%{http_version}", f"https://{HOST}/large")
    assert answer[-1:] == b"2"
    assert answer[:-1] == b"abcdefgh" * (SIZE // 8)
    answer = http2_table.run(*CURL, "--http2", "-T", "-", "-X", "POST", f"https://{HOST}/", stdin=LARGE)
    assert answer.decode() == DIGEST


@pytest.mark.require("curl", "node")
def test_http2_early_answers_to_large_uploads(http2_table: Table) -> None:
    for _ in range(3):
        options = ("--http2", "-T", "-", "-X", "POST", "-w", "%{http_code}")
        argv = ["curl", "-sS", "--max-time", "90", "-x", http2_table.url, "--cacert", str(http2_table.bundle), *options]
        done = subprocess.run([*argv, f"https://{HOST}/early"], input=LARGE, capture_output=True, timeout=PATIENCE_S)
        assert done.stdout == b"early413"


def test_a_captured_client_that_trusts_nobody_is_told_by_a_failed_handshake(table: Table) -> None:
    context = ssl.create_default_context()
    plain = socket.create_connection(("127.0.0.1", table.captured), timeout=PATIENCE_S)
    with plain, pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(plain, server_hostname=HOST)
    assert table.proxy.dialled == []
