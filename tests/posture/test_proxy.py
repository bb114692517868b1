"""The egress proxy of a live sandbox, read from /proc on the host, and what is left of the network inside.

The sandbox runs in the network lab; `box` is shared by every test that only looks.
"""

import dataclasses
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import paths
from tests.lab import Lab
from tests.posture.live import ARGV, CANARY, TIMEOUT_S, Live, Place, children, links, started, status

GOOD = "www.public.example.net"
AS_ROOT = os.geteuid() == 0
EMPTY = ["0000000000000000"]
PTRACE_ATTACH = 16  # ptrace(2)
OPTIONS = ("--allow", GOOD, "--allow", f"{GOOD}:8080", "--ask", "git.example.com")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Proxied(Live):
    """A live sandbox with its proxy, which is a child of its supervisor's."""

    proxy: int

    @property
    def directory(self) -> Path:
        """The directory of the run."""
        (found,) = (self.place.home / ".local/state/ringfence/runs").iterdir()
        return found


@contextmanager
def proxied(lab: Lab | None) -> Iterator[Proxied]:
    """Start a sandbox with rules for the network; without a lab nothing may be reached from it."""
    root = Path(tempfile.mkdtemp(prefix="ringfence-posture-", dir="/tmp")).resolve()
    root.chmod(0o755)
    place = Place(root, "overlay")
    environment = place.environment() | {"RINGFENCE_STANDBY": "0"}
    if lab:
        environment["SSL_CERT_FILE"] = str(lab.place / "ca.crt")

    def words(*argv: str) -> list[str]:
        found = place.words("run", argv, *OPTIONS)
        return lab.words(found, cwd=place.workspace) if lab else found

    try:
        with paths.ended(place.state):
            place.make_ready(words("true"), environment)
            with started(place, words(*ARGV), environment) as (client, found):
                paths.wait_until(lambda: len(children(found.supervisor)) == 2)  # but for what has just helped to begin
                (proxy,) = set(children(found.supervisor)) - {found.monitor}
                yield Proxied(place=place, plan=place.plan(), client=client, tree=found, proxy=proxy)
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def box(lab: Lab) -> Iterator[Proxied]:
    with proxied(lab) as found:
        code = f"import urllib.request; result = urllib.request.urlopen('https://{GOOD}/', timeout=60).status"
        assert found.inside(code) == 200  # it has served, and holds on to nothing that it needed for that
        yield found


# ---- the process


@pytest.mark.require("bubblewrap", "userns", "network-lab")
def test_the_proxy_has_given_everything_up(box: Proxied) -> None:
    found = status(box.proxy)
    assert found["Seccomp"] == ["2"] and found["NoNewPrivs"] == ["1"]
    assert [found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [EMPTY] * 4
    limits = Path(f"/proc/{box.proxy}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)


def test_the_proxy_of_root_is_another_user(box: Proxied) -> None:
    found = status(box.proxy)
    ids = {int(word) for name in ("Uid", "Gid") for word in found[name]}
    if AS_ROOT:
        assert min(ids) > 1000 and found["Groups"] == []
        assert not ids & {int(word) for name in ("Uid", "Gid") for word in status(box.supervisor)[name]}
    else:
        assert ids <= {os.getuid(), os.getgid()}


@pytest.mark.require("root")  # nobody else may look: see test_the_same_user_cannot_look_into_the_proxy
def test_the_proxy_holds_no_file_but_its_log(box: Proxied) -> None:
    kinds = ("socket:[", "pipe:[", "anon_inode:[eventpoll]", "/memfd:")
    others = {link for link in links(box.proxy) if not link.startswith(kinds)}
    assert others <= {"/dev/null", f"{box.directory}/proxy.log"}
    flags = Path(f"/proc/{box.proxy}/fdinfo/2").read_text()
    mode = int(re.search(r"flags:\s+(\d+)", flags)[1], 8)  # type: ignore[index]  # every kernel says them
    assert mode & (os.O_APPEND | os.O_WRONLY | os.O_RDWR) == os.O_APPEND | os.O_WRONLY


@pytest.mark.require("root")  # nobody else may look: see test_the_same_user_cannot_look_into_the_proxy
def test_the_proxy_was_told_no_secret(box: Proxied, lab: Lab) -> None:
    environment = Path(f"/proc/{box.proxy}/environ").read_bytes().split(b"\0")[:-1]
    assert environment == [f"SSL_CERT_FILE={lab.place}/ca.crt".encode()]
    words = Path(f"/proc/{box.proxy}/cmdline").read_text()
    assert CANARY not in words and GOOD not in words


def test_the_proxy_is_in_no_namespace_of_the_sandbox(box: Proxied) -> None:
    """It lives on the host's side, where it may do nothing; what connects it to the inside is descriptors alone."""
    names = ("net", "mnt", "pid", "user", "ipc")
    inside = {os.readlink(f"/proc/{box.command}/ns/{name}") for name in names}
    assert not inside & {os.readlink(f"/proc/{box.proxy}/ns/{name}") for name in names}


@pytest.mark.require("bubblewrap", "userns")
def test_the_same_user_cannot_look_into_the_proxy() -> None:
    with proxied(None) as found:
        code = f"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for name in ("environ", "mem", "maps", "fd", "auxv"):
    try:
        place = "/proc/{found.proxy}/" + name
        os.listdir(place) if name == "fd" else open(place, "rb").read(1)
        print("opened", name)
    except PermissionError:
        pass
if libc.ptrace({PTRACE_ATTACH}, {found.proxy}, 0, 0) == 0:
    print("attached")
"""
        uid = status(found.proxy)["Uid"][0]
        become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if AS_ROOT else []
        words = [*become, "/usr/bin/python3", "-I", "-c", code]
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S)
        assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_the_key_of_the_authority_is_in_no_file(box: Proxied) -> None:
    files = [path for path in box.directory.rglob("*") if path.is_file() and os.access(path, os.R_OK)]
    assert any(b"BEGIN CERTIFICATE" in path.read_bytes() for path in files)
    assert not [path for path in files if b"PRIVATE KEY" in path.read_bytes()]
    code = """
import os
result = []
for top in ("/run", "/tmp", "/etc/ssl", "/var/tmp", os.path.expanduser("~")):
    for folder, _, names in os.walk(top):
        for name in names:
            try:
                with open(os.path.join(folder, name), "rb") as file:
                    if b"PRIVATE KEY" in file.read():
                        result.append(os.path.join(folder, name))
            except OSError:
                pass
"""
    assert box.inside(code) == []
    assert box.inside("import os; result = [name for name in os.environ.values() if 'PRIVATE' in name]") == []


# ---- the network that is left inside


def test_inside_is_nothing_but_lo(box: Proxied) -> None:
    assert box.inside("import socket; result = [name for _, name in socket.if_nameindex()]") == ["lo"]
    assert box.inside("result = open('/proc/net/route').read().splitlines()[1:]") == []
    code = "result = [line.split()[0] for line in open('/proc/net/ipv6_route') if line.split()[9] != 'lo']"
    assert box.inside(code) == []


def test_the_command_has_no_power_over_its_network(box: Proxied) -> None:
    found = status(box.command)
    assert [found[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")] == [EMPTY] * 4
    owner = os.stat(f"/proc/{box.init}/ns/user")
    own = os.stat(f"/proc/{box.command}/ns/user")
    assert owner.st_ino != own.st_ino  # the network namespace belongs to the first process's user namespace
    code = """
import fcntl, socket, struct
result = []
plain = socket.socket()
for name, number, request in (("down", 0x8914, struct.pack("16sh22x", b"lo", 0)),
                              ("address", 0x8916, struct.pack("16sHHI8x", b"lo:1", 2, 0, 0x0A000001))):
    try:
        fcntl.ioctl(plain, number, request)
        result.append(name)
    except OSError as error:
        result.append(error.errno)
"""
    assert box.inside(code) == [1, 1]


@pytest.mark.parametrize(
    ("kind", "address", "port"),
    [
        ("SOCK_DGRAM", "198.18.0.2", 53),
        ("SOCK_DGRAM", "0.0.0.0", 53),
        ("SOCK_STREAM", "198.18.0.2", 53),
        ("SOCK_STREAM", "127.0.0.1", 3128),
        ("SOCK_STREAM", "0.0.0.0", 8080),
        ("SOCK_STREAM", "198.18.0.5", 443),
        ("SOCK_STREAM", "127.0.0.1", 80),
    ],
)
def test_captured_sockets_cannot_be_bound_again(box: Proxied, kind: str, address: str, port: int) -> None:
    code = f"""
import socket
result = "bound"
link = socket.socket(type=socket.{kind})
for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
    link.setsockopt(socket.SOL_SOCKET, option, 1)
try:
    link.bind(({address!r}, {port}))
    if {kind == "SOCK_STREAM"}:
        link.listen()
except OSError as error:
    result = error.errno
link.close()
"""
    assert box.inside(code) in (13, 98)  # EACCES, EADDRINUSE


def test_the_proxy_is_no_process_of_the_inside(box: Proxied) -> None:
    code = "import os; result = [open(f'/proc/{n}/cmdline').read() for n in os.listdir('/proc') if n.isdigit()]"
    found = box.inside(code)
    assert isinstance(found, list) and not [words for words in found if "egress" in words or "bwrap" in words]
    assert box.inside("import os; result = sorted(os.listdir('/proc/self/fd'))") == ["0", "1", "2", "3"]


def test_the_ear_for_the_operator_is_its_user_s_alone(box: Proxied) -> None:
    place = box.directory / "control"
    assert place.is_socket() and place.stat().st_mode & 0o777 == 0o600
    assert box.directory.stat().st_mode & 0o077 == 0
    assert box.inside(f"import os; result = os.path.lexists({str(place)!r})") is False
