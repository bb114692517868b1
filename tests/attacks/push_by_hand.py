"""Pushes as a client makes them that is not git: bytes by hand, sent through the proxy's own code."""

import contextlib
import http.client
import socket
import subprocess
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from ringfence.model.git import GitRemote, Pushes
from tests.attacks.git_cases import FILE, Case
from tests.integration.git_bench import Bench
from tests.integration.git_proxy import HERE, HOST, egress, proxying

REPOSITORY = "/o/p.git"
RECEIVE = f"{REPOSITORY}/git-receive-pack"
TYPE = "application/x-git-receive-pack-request"
FLUSH, ZERO = b"0000", "0" * 40
TIMEOUT_S = 60
CAPABILITIES = "report-status side-band-64k"


def remote(case: Case) -> GitRemote:
    """The rule of a case."""
    pushes: dict[str, object] = {"refs": ("refs/heads/agent/**",), **case.rule}
    return GitRemote(host=HOST, repositories=("o/*",), source=HERE, push=Pushes(**pushes))  # type: ignore[arg-type]  # as the table has it


def packet(text: str | bytes) -> bytes:
    """Frame a line."""
    data = text.encode() if isinstance(text, str) else text
    return b"%04x%b" % (len(data) + 4, data)


def command(old: str, new: str, ref: str, capabilities: str = CAPABILITIES) -> bytes:
    """Frame the first command of a push."""
    return packet(f"{old or ZERO} {new or ZERO} {ref}\0 {capabilities}")


def packed(bench: Bench, wanted: str, *options: str) -> bytes:
    """Make a pack in the clone."""
    argv = ["git", "-C", str(bench.place / "work"), "pack-objects", "--stdout", "--revs", "-q", *options]
    return subprocess.run(argv, input=wanted.encode(), capture_output=True, check=True).stdout


def name(bench: Bench, revision: str = "HEAD") -> str:
    """An object's name in the clone."""
    return bench.shell(f"git rev-parse {revision}").stdout.strip()


def send(url: str, body: bytes, headers: Mapping[str, str], path: str = RECEIVE) -> tuple[int, bytes]:
    """Send a push by hand, through a proxy at `url`."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=TIMEOUT_S)
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may be answered before it has all come
            connection.request("POST", f"http://{HOST}{path}", body, {"Content-Type": TYPE, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def connect(url: str) -> socket.socket:
    """A connection to a proxy at `url`."""
    place = urlsplit(url)
    return socket.create_connection((place.hostname or "", place.port or 0), timeout=TIMEOUT_S)


def tried(bench: Bench, body: bytes, headers: Mapping[str, str] = {}, path: str = RECEIVE, **rule: object) -> str:
    """Send by hand what must not reach the server; give what was told."""
    before = bench.refs()
    with proxying(egress([remote(Case(name="", rule=rule))]), ("127.0.0.1", bench.server.port)) as (url, supervisor):
        status, told = send(url, body, headers, path)
    assert bench.refs() == before
    assert not any(method == "POST" and "receive" in target.lower() for method, target, _ in bench.server.seen)
    assert status >= 400 or b"ng refs/" in told
    assert len(supervisor.of("denial")) == 1
    return told.decode("latin-1")


def good(bench: Bench) -> bytes:
    """A push that its rule would allow by its ref, if it were one of git's."""
    bench.shell(FILE)
    return command("", name(bench), "refs/heads/main2") + FLUSH + packed(bench, "HEAD\n^origin/main\n")


def lines(*parts: bytes) -> Sequence[bytes]:
    """Chunks of a body."""
    return [b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b"")]
