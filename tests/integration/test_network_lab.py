"""Positive controls: in the lab, a client without any boundary reaches everything, and all of it is seen."""

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.house.sources import ROOT
from tests.integration.lab import accounts, repositories, world
from tests.lab import Lab
from tests.paths import PATIENCE_S, wait_until

pytestmark = [pytest.mark.require("network-lab")]
LIMIT = "-m50"


def curl(lab: Lab, *words: str) -> str:
    """Give the body of a response."""
    done = lab.run(["curl", "-sS", LIMIT, "--cacert", f"{lab.place}/ca.crt", *words])
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(lab: Lab, argv: Sequence[str]) -> str:
    done = lab.run(argv)
    assert done.returncode != 0, done.stdout
    return done.stderr


def python(lab: Lab, code: str) -> str:
    done = lab.run(["python3", "-c", code])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.require("curl")
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://allowed.example.com/p", "OK remote80 GET /p body=0"),
        ("http://denied.example.com:8443/", "OK remote8443 GET / body=0"),
        ("https://allowed.example.com/p?q", "OK remote443 GET /p?q body=0"),
        ("https://deep.er.wild.example.org/", "OK remote443"),
        ("https://198.51.100.10/", "OK remote443"),
        ("https://www.public.example.net/", "OK remote443"),
        ("http://meta.example.com/", "METADATA"),
        ("http://169.254.169.254/", "METADATA"),
        ("http://lan.example.com/", "OK LAN"),
        ("http://rebind.example.com:8080/", "HOST-LOOPBACK"),
        ("http://localhost:8080/", "HOST-LOOPBACK"),
        ("http://self.example.com:8080/", "HOST-LOOPBACK"),
        ("http://alias.example.com/", "OK remote80"),
        ("http://mixed.example.com/", "OK remote80"),
        ("http://9.9.9.9/", "OK remote80"),
        ("http://chunked.public.example.net/chunked", "one two three"),
        ("http://public.example.net/sse", "data: event 2"),
        ("http://public.example.net/close", "until close"),
        ("http://public.example.net/simple/labpackage/", "labpackage-1.0-py3-none-any.whl"),
        ("http://public.example.net/npm/lab-package", "sha512-"),
        ("http://slow.dns.example.com/", "OK remote80"),
        ("http://big.dns.example.com/", "OK remote80"),
    ],
)
def test_every_server_answers(lab: Lab, url: str, expected: str) -> None:
    assert expected in curl(lab, url)


@pytest.mark.require("curl")
@pytest.mark.parametrize("name", ["wrong-name", "self-signed", "expired", "other-ca"])
def test_faulty_certificates_are_refused(lab: Lab, name: str) -> None:
    assert "SSL" in fails(
        lab, ["curl", "-sS", LIMIT, "--cacert", f"{lab.place}/ca.crt", f"https://{name}.example.com/"]
    )
    assert "OK remote443" in curl(lab, "-k", f"https://{name}.example.com/")


@pytest.mark.require("curl")
def test_http2_is_spoken_where_names_ask_for_it(lab: Lab) -> None:
    version = ["-o", "/dev/null", "-w", "%{http_version} %{size_download}"]
    assert curl(lab, *version, "https://h2.example.com/big") == "2 52428800"
    assert curl(lab, *version, "https://allowed.example.com/bytes/1000") == "1.1 1000"
    assert curl(lab, *version, "--http2-prior-knowledge", "http://allowed.example.com/") == "2 25"
    call = ["-H", "content-type: application/grpc", "--data-binary", "message", "-i", "https://grpc.example.com/a.B/C"]
    answer = curl(lab, *call)
    assert "message" in answer and "grpc-status: 0" in answer


@pytest.mark.require("curl")
def test_uploads_arrive_whole(lab: Lab, open_path: Path) -> None:
    file = open_path / "data"
    file.write_bytes(os.urandom(1 << 20))
    found = json.loads(curl(lab, "-T", str(file), "http://public.example.net/upload"))
    chunked = json.loads(
        curl(lab, "-H", "Transfer-Encoding: chunked", "-T", str(file), "http://public.example.net/upload")
    )
    assert found == chunked and found["bytes"] == 1 << 20


@pytest.mark.require("curl")
def test_redirects_lead_elsewhere(lab: Lab) -> None:
    mark = lab.mark()
    assert "OK remote80 GET /x" in curl(lab, "-L", "http://allowed.example.com/redirect/denied.example.com/x")
    assert [entry["host"] for entry in lab.since(mark, "http")] == ["allowed.example.com", "denied.example.com"]


@pytest.mark.require("curl")
def test_unix_socket_of_the_host_answers(lab: Lab) -> None:
    assert "HOST-UNIX" in curl(lab, "--unix-socket", f"{lab.place}/host.sock", "http://x/")


@pytest.mark.parametrize(("host", "port"), [(world.REMOTE, 9000), ("denied.example.com", 22), ("127.0.0.1", 5432)])
def test_tcp_echoes(lab: Lab, host: str, port: int) -> None:
    code = f"import socket; s = socket.create_connection(({host!r}, {port}), 50); print(s.makefile().readline())"
    assert python(lab, code) == "HELLO"


def test_udp_echoes_and_is_seen(lab: Lab) -> None:
    mark = lab.mark()
    code = "import socket; s = socket.socket(2, 2); s.settimeout(50); s.sendto(b'ping', ('198.51.100.10', 9001)); "
    assert python(lab, code + "print(s.recv(9))") == "b'ping'"
    assert {"kind": "udp", "port": 9001, "bytes": 4} in lab.since(mark)


def test_whatever_leaves_is_seen_wherever_it_goes(lab: Lab) -> None:
    mark = lab.mark()
    python(lab, "import socket; s = socket.socket(2, 2); s.sendto(b'x', ('8.8.8.8', 4242))")
    python(lab, "import socket; s = socket.socket(); s.settimeout(1); print(s.connect_ex(('203.0.113.9', 4243)))")
    flows = [
        {"kind": "flow", "protocol": 17, "address": "8.8.8.8", "port": 4242},
        {"kind": "flow", "protocol": 6, "address": "203.0.113.9", "port": 4243},
    ]
    # Nothing of the lab's answers these, so it may not have seen them yet.
    assert wait_until(lambda: all(flow in lab.since(mark, "flow") for flow in flows)), lab.since(mark, "flow")


def test_queries_are_seen_even_for_names_that_do_not_exist(lab: Lab) -> None:
    mark = lab.mark()
    fails(lab, ["getent", "hosts", "lookup.attacker.example.net"])
    assert {entry["name"] for entry in lab.since(mark, "dns")} == {"lookup.attacker.example.net"}


def test_names_resolve_to_every_class_of_address(lab: Lab) -> None:
    code = "import socket, sys\nfor name in sys.argv[1:]: print(socket.getaddrinfo(name, 1, type=1)[0][4][0])"
    names = [f"special-{name}.example.com" for name in world.SPECIAL]
    found = lab.run(["python3", "-c", code, *names]).stdout.split()
    assert dict(zip(world.SPECIAL, found, strict=True)) == world.SPECIAL


def test_a_rebinding_name_alternates(lab: Lab) -> None:
    code = "import socket; print([socket.gethostbyname('alternate.example.com') for _ in range(4)])"
    assert sorted(set(json.loads(python(lab, code).replace("'", '"')))) == [world.PUBLIC, "127.0.0.1"]


def test_unreachable_and_silent_hosts_are_that(lab: Lab) -> None:
    code = """
import socket
s = socket.socket()
s.settimeout(%r)
try:
    s.connect((%r, 80))
except OSError as error:
    print(error)
"""
    assert "No route to host" in python(lab, code % (50, world.UNREACHABLE))
    assert "timed out" in python(lab, code % (0.5, world.SILENT))


@pytest.mark.require("git")
def test_git_is_served(lab: Lab, open_path: Path) -> None:
    environment = {"GIT_SSL_CAINFO": f"{lab.place}/ca.crt", "GIT_CONFIG_NOSYSTEM": "1"}
    url = "https://git.example.com/git/project.git"
    done = lab.run(["git", "clone", "-q", url, "copy"], cwd=open_path, environment=environment)
    assert done.returncode == 0, done.stderr
    done = lab.run(["git", "push", "-q", "origin", "HEAD:other"], cwd=open_path / "copy", environment=environment)
    assert done.returncode == 0, done.stderr


def test_websockets_echo(lab: Lab) -> None:
    code = """
import socket
s = socket.create_connection(("public.example.net", 80), 50)
def read(end):
    found = b""
    while not found.endswith(end):
        assert (part := s.recv(4096)), found
        found += part
    return found
s.sendall(b"GET /ws HTTP/1.1\\r\\nHost: x\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n"
          b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n")
head = read(b"\\r\\n\\r\\n")
assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head, head
s.sendall(b"\\x81\\x82\\0\\0\\0\\0hi")
print(read(b"hi"))
"""
    assert python(lab, code) == r"b'\x81\x02hi'"


def test_the_machine_itself_is_left_alone(lab: Lab) -> None:
    assert Path("/etc/resolv.conf").read_text() != (lab.place / "resolv.conf").read_text()
    assert "lab0" not in [name for _, name in socket.if_nameindex()]


def test_a_command_keeps_its_user_and_its_directory(lab: Lab, open_path: Path) -> None:
    done = lab.run(["sh", "-c", "id -u; pwd; grep CapEff /proc/self/status"], cwd=open_path)
    uid, where, capabilities = done.stdout.split("\n")[:3]
    assert (uid, where) == (str(os.getuid()), str(open_path))
    assert os.getuid() == 0 or capabilities.split()[1] == "0" * 16


def test_as_root_a_command_may_be_another_users(lab: Lab, ordinary_user: str) -> None:
    assert lab.run(["id", "-un"], user=ordinary_user).stdout.strip() == ordinary_user


def test_it_ends_with_its_owner_and_leaves_nothing() -> None:
    owner = (
        "import sys; from tests.lab import Lab; lab = Lab(); print(lab.place, lab.pid, flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", owner]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        place, pid = process.stdout.readline().split()
        assert Path(place, "ca.crt").is_file()
        holder = os.pidfd_open(int(pid))
        process.kill()
    # A pidfd can be read when its process has ended.
    assert select.select([holder], [], [], PATIENCE_S)[0]
    os.close(holder)
    assert not Path(place).exists()


def bearer(token: str) -> list[str]:
    return ["-H", f"Authorization: Bearer {token}"]


@pytest.mark.require("curl")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["https://api.github.com/user"], "Bad credentials"),
        ([*bearer(accounts.GITHUB_TOKEN), "https://api.github.com/user"], '"login": "lab"'),
        ([*bearer(accounts.NARROW_TOKEN), "-XPUT", "https://git.example.com/gh/repos/a/b/pulls/1/merge"], "merged"),
        (["-u", f"x:{accounts.PYPI_TOKEN}", "-Fa=b", "https://upload.pypi.org/legacy/"], "uploaded"),
        ([*bearer(accounts.NPM_TOKEN), "-XPUT", "https://registry.npmjs.org/lab-package"], "success"),
        ([*bearer("nobody's"), "-XPUT", "https://registry.npmjs.org/lab-package"], "unauthorized"),
        (
            [
                "-dgrant_type=refresh_token",
                f"-drefresh_token={accounts.REFRESH_TOKEN}",
                "https://git.example.com/oauth/token",
            ],
            "lab-access-",
        ),
        (["-dgrant_type=refresh_token", "https://git.example.com/oauth/token"], "invalid_grant"),
    ],
)
def test_credentials_are_checked(lab: Lab, words: list[str], expected: str) -> None:
    assert expected in curl(lab, *words)


@pytest.mark.require("curl")
@pytest.mark.parametrize(("secret", "expected"), [(accounts.AWS_SECRET, '"signed"'), ("another", "does not match")])
def test_signatures_are_checked(lab: Lab, secret: str, expected: str) -> None:
    words = ["--aws-sigv4", "aws:amz:us-east-1:sts", "--user", f"{accounts.AWS_KEY_ID}:{secret}"]
    assert expected in curl(lab, *words, "-dAction=GetCallerIdentity", "https://sts.us-east-1.amazonaws.com/?a=b%20c")


@pytest.mark.require("curl")
@pytest.mark.parametrize("encoding", ["raw", "gzip", "deflate", "split", "split-gzip", "close", "location", "header"])
def test_credentials_are_given_back(lab: Lab, encoding: str) -> None:
    url = f"https://public.example.net/echo-in/{encoding}"
    assert "a-token" in curl(lab, "-i", "--compressed", *bearer("a-token"), url)


@pytest.mark.require("curl")
def test_bodies_are_seen_where_one_asks_for_it(lab: Lab) -> None:
    mark = lab.mark()
    curl(lab, "-H", "X-One: 1", "-dtwo=2", "https://public.example.net/seen/there")
    (head,), (body,) = lab.since(mark, "http"), lab.since(mark, "body")
    assert ["X-One", "1"] in head["headers"]
    assert (body["text"], body["path"]) == ("two=2", "/seen/there")


@pytest.mark.require("git")
def test_git_wants_a_token_where_it_is_guarded(lab: Lab, open_path: Path) -> None:
    project = repositories.make(lab.place / "gitauth", "guarded")
    environment = {"GIT_SSL_CAINFO": f"{lab.place}/ca.crt", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    for password, status in (("wrong", 128), (accounts.GITHUB_TOKEN, 0)):
        url = f"https://x:{password}@github.com/gitauth/guarded.git"
        assert lab.run(["git", "clone", "-q", url, "copy"], cwd=open_path, environment=environment).returncode == status
    (open_path / "copy/large").write_bytes(os.urandom(3 << 20))
    for words in (("add", "."), (*repositories.AUTHOR, "commit", "-qm", "large"), ("push", "-q", "origin", "HEAD:new")):
        done = lab.run(["git", *words], cwd=open_path / "copy", environment=environment)
        assert done.returncode == 0, done.stderr
    assert set(repositories.refs(project)) == {"refs/heads/main", "refs/heads/new"}
