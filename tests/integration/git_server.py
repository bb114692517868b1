"""git's own HTTP server (git-http-backend(1)) on the loopback interface, for the repositories in one directory."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

PIECE = 1 << 20
BACKEND = ("git", "http-backend")
Seen = tuple[str, str, int]


class Server(ThreadingHTTPServer):
    """Serves the repositories in `root`; `seen` are method, target and length of the body of each request."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, root: Path, *, credentials: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = root
        self.credentials = credentials
        self.versions = True  # else it does as if it had never heard of newer versions of the protocol
        self.instead: dict[str, bytes] = {}  # bodies that are not git's, by how the target ends
        self.seen: list[Seen] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def pushes(self) -> int:
        """How many pushes have reached it, whatever became of them; what asks for credentials alone is none."""
        return sum(1 for method, target, size in self.seen if target.endswith("/git-receive-pack") and size > 4)


class Handler(BaseHTTPRequestHandler):
    """Hands each request to git; bodies lie in files, so that they may be large."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """Answer GET."""
        self._serve()

    def do_POST(self) -> None:
        """Answer POST."""
        self._serve()

    def do_PUT(self) -> None:
        """Answer PUT."""
        self._serve()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        with TemporaryFile() as body:
            size = self._read_body(body)
            self.server.seen.append((self.command, self.path, size))
            if self.server.credentials and self.headers.get("authorization") != self.server.credentials:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="test"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            for end, said in self.server.instead.items():
                if self.path.endswith(end):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(said)))
                    self.end_headers()
                    self.wfile.write(said)
                    return
            body.seek(0)
            with subprocess.Popen(BACKEND, stdin=body, stdout=subprocess.PIPE, env=self._environment(size)) as git:
                assert git.stdout is not None
                self._answer(git.stdout)

    def _read_body(self, body: IO[bytes]) -> int:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while length := int(self.rfile.readline().split(b";")[0], 16):
                shutil.copyfileobj(Limited(self.rfile, length), body)
                self.rfile.readline()
            self.rfile.readline()
        elif "content-length" in self.headers:
            shutil.copyfileobj(Limited(self.rfile, int(self.headers["content-length"])), body)
        return body.tell()

    def _environment(self, size: int) -> dict[str, str]:
        path, _, query = self.path.partition("?")
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.server.root),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(size),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", "") if self.server.versions else "",
        }

    def _answer(self, output: IO[bytes]) -> None:
        status, headers = 200, []
        while line := output.readline().strip():
            name, _, value = line.decode().partition(": ")
            if name == "Status":
                status = int(value.split(" ")[0])
            else:
                headers.append((name, value))
        self.send_response(status)
        for name, value in [*headers, ("Transfer-Encoding", "chunked")]:
            self.send_header(name, value)
        self.end_headers()
        while data := output.read(PIECE):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")


class Limited:
    """So many bytes of a stream."""

    def __init__(self, stream: BufferedIOBase, left: int) -> None:
        self._stream = stream
        self._left = left

    def read(self, size: int = -1) -> bytes:
        """Give some, at the end none."""
        data = self._stream.read(min(self._left, PIECE if size < 0 else size))
        self._left -= len(data)
        return data


@contextmanager
def serving(root: Path, *, credentials: str = "") -> Iterator[Server]:
    """Serve for as long as the block lasts."""
    with Server(root, credentials=credentials) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
