"""The client of `bench.egress`: standard library only, run inside each sandbox. Usage: egress_client.py JSON.

It connects the way programs do there: to the host by name or, with `proxy`, through what HTTP_PROXY names. Certificates
are not verified: each contender shows its own.
"""

import json
import os
import socket
import ssl
import statistics
import sys
import threading
import time
from urllib.parse import urlsplit

CONTEXT = ssl._create_unverified_context()


class Client:
    """Connections to one host, through a proxy or not."""

    def __init__(self, host: str, *, proxy: bool) -> None:
        self.host = host
        name = os.environ.get("HTTP_PROXY") or os.environ.get("http_proxy") or ""
        self.proxy = urlsplit(name) if proxy and name else None

    def connect(self, scheme: str) -> socket.socket:
        """A connection that is ready for a request."""
        port = 443 if scheme == "https" else 80
        if self.proxy is None:
            made = socket.create_connection((self.host, port), 30)
        else:
            made = socket.create_connection((self.proxy.hostname, self.proxy.port), 30)
            if scheme == "https":
                made.sendall(
                    f"CONNECT {self.host}:443 HTTP/1.1\r\nHost: {self.host}:443\r\n{self.login()}\r\n".encode()
                )
                head(made)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return CONTEXT.wrap_socket(made, server_hostname=self.host) if scheme == "https" else made

    def login(self) -> str:
        """The header that a proxy with a password wants."""
        if self.proxy is None or not self.proxy.username:
            return ""
        import base64

        words = f"{self.proxy.username}:{self.proxy.password}".encode()
        return f"Proxy-Authorization: Basic {base64.b64encode(words).decode()}\r\n"

    def request(self, made: socket.socket, scheme: str, path: str, *, body: int = 0) -> None:
        """Send a request, with `body` bytes."""
        absolute = self.proxy is not None and scheme == "http"
        target = f"http://{self.host}{path}" if absolute else path
        login = self.login() if absolute else ""
        method = "POST" if body else "GET"
        length = f"Content-Length: {body}\r\n" if body else ""
        made.sendall(f"{method} {target} HTTP/1.1\r\nHost: {self.host}\r\n{login}{length}\r\n".encode())
        piece = bytes(1 << 20)
        while body > 0:
            made.sendall(piece[: min(body, len(piece))])
            body -= len(piece)


def head(made: socket.socket) -> tuple[int, bytes]:
    """Status and Content-Length of the answer, and the bytes of the body that came along."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = made.recv(65536)
        if not more:
            raise ConnectionError(f"closed after {data[:200]!r}")
        data += more
    lines, _, rest = data.partition(b"\r\n\r\n")
    if b" 200" not in lines.split(b"\r\n")[0]:
        raise ConnectionError(repr(lines[:200]))
    lengths = [line for line in lines.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(lengths[0].split(b":")[1]) if lengths else 0, rest


def answer(made: socket.socket) -> int:
    """Read one answer; the size of its body."""
    length, rest = head(made)
    left = length - len(rest)
    buffer = bytearray(1 << 20)
    while left > 0:
        count = made.recv_into(buffer, min(left, len(buffer)))
        if not count:
            raise ConnectionError("closed early")
        left -= count
    return length


def new_connections_ms(client: Client, scheme: str, count: int) -> float:
    """Median time of connection, small request and answer."""
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        with client.connect(scheme) as made:
            client.request(made, scheme, "/hello")
            answer(made)
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)


def kept_per_s(client: Client, scheme: str, count: int) -> float:
    """Small requests a second on one connection."""
    with client.connect(scheme) as made:
        start = time.perf_counter()
        for _ in range(count):
            client.request(made, scheme, "/hello")
            answer(made)
        return count / (time.perf_counter() - start)


def parallel_per_s(client: Client, scheme: str, threads: int, count: int) -> float:
    """Small requests a second, each on a connection of its own, `threads` at a time."""
    left = [count]
    lock = threading.Lock()
    failed: list[Exception] = []

    def work() -> None:
        while True:
            with lock:
                if left[0] <= 0 or failed:
                    return
                left[0] -= 1
            try:
                with client.connect(scheme) as made:
                    client.request(made, scheme, "/hello")
                    answer(made)
            except Exception as error:
                failed.append(error)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failed:
        raise failed[0]
    return count / (time.perf_counter() - start)


def download_mb_s(client: Client, scheme: str, size: int) -> float:
    """Megabytes a second of one answer."""
    with client.connect(scheme) as made:
        start = time.perf_counter()
        client.request(made, scheme, f"/bytes/{size}")
        answer(made)
        return size / 1e6 / (time.perf_counter() - start)


def upload_mb_s(client: Client, scheme: str, size: int) -> float:
    """Megabytes a second of one request's body."""
    with client.connect(scheme) as made:
        start = time.perf_counter()
        client.request(made, scheme, "/upload", body=size)
        answer(made)
        return size / 1e6 / (time.perf_counter() - start)


def measure(client: Client, scale: float) -> None:
    """Print every figure as soon as it is there; `scale` makes the counts smaller for a trial."""
    for scheme in ("http", "https"):
        new_connections_ms(client, scheme, 5)
        told(f"{scheme} ms", new_connections_ms(client, scheme, int(150 * scale)))
        told(f"{scheme} kept/s", kept_per_s(client, scheme, int(500 * scale)))
        told(f"{scheme} 10/s", parallel_per_s(client, scheme, 10, int(300 * scale)))
        told(f"{scheme} 100/s", parallel_per_s(client, scheme, 100, int(300 * scale)))
        told(f"{scheme} down MB/s", download_mb_s(client, scheme, int(300e6 * scale)))
        told(f"{scheme} up MB/s", upload_mb_s(client, scheme, int(100e6 * scale)))


def told(name: str, value: float) -> None:
    """One figure, on a line of its own: a contender that gets stuck has shown what came before."""
    print(json.dumps([name, value]), flush=True)


def hold(client: Client, count: int) -> None:
    """Keep connections open until standard input ends."""
    held = [client.connect("https") for _ in range(count)]
    for made in held:
        client.request(made, "https", "/hello")
        answer(made)
    print("holding", flush=True)
    sys.stdin.read()


def main() -> None:
    """Measure and print JSON, or hold connections."""
    wanted = json.loads(sys.argv[1])
    client = Client(wanted["host"], proxy=wanted["proxy"])
    if "hold" in wanted:
        hold(client, wanted["hold"])
    else:
        measure(client, wanted["scale"])


if __name__ == "__main__":
    main()
