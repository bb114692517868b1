"""E4: ringfence's own way out: the ear for the operator, the standby, the way of another run, a taken-over proxy.

Each test first does from outside what must fail inside; there is no such thing as an unconfined command here. Sandboxes
of another make are asked as well: of them nothing keeps the state directory from view.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import requirements
from tests.attacks.crossing import EVIL, GOOD, settle, settled
from tests.integration.egress_runs import wait_for
from tests.lab import Lab

pytestmark = pytest.mark.require("bubblewrap", "overlay", "network-lab")
READY = "print('ready', flush=True); import sys; sys.stdin.read()"
TIMEOUT_S = 60

# Connects to every socket that can be found, and speaks to it as `ringfence allow` does; prints what was answered. What
# the supervisor shows is looked for by hand: every file that can be opened there is sent.
KNOCK = """
import os, socket, struct, sys
def shown(link):
    server, = struct.unpack("i8x", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    found = [os.memfd_create("ringfence-x")]
    try:
        for name in os.listdir(f"/proc/{server}/fd"):
            if "memfd:ringfence-" in os.readlink(f"/proc/{server}/fd/{name}"):
                found.append(os.open(f"/proc/{server}/fd/{name}", os.O_RDONLY))
    except OSError:
        pass
    return found[-1:]
request = b'{"type":"change","verb":"allow","hosts":["git.example.com"]}'
pids = filter(str.isdigit, os.listdir("/proc"))
tops = [sys.argv[1]]
if sys.argv[2:] == ["everywhere"]:
    tops += ["/run", "/tmp", *(f"/proc/{pid}/root{sys.argv[1]}" for pid in pids)]
for top in tops:
    for folder, _, names in os.walk(top):
        for name in names:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            link.settimeout(20)
            try:
                os.chdir(folder)
                link.connect(name)
                print("connected", name, flush=True)
                socket.send_fds(link, [request], shown(link))
                print("answered", link.recv(9999), flush=True)
            except OSError:
                pass
"""
FETCH = """
import socket, sys
for target in sys.argv[2:]:
    host, _, port = target.partition(":")
    try:
        link = socket.create_connection((host, int(port)), 20)
        link.sendall(f"CONNECT {sys.argv[1]}:80 HTTP/1.1\\r\\nHost: {sys.argv[1]}:80\\r\\n\\r\\n".encode())
        print(link.recv(99)[:12], flush=True)
    except OSError as error:
        print(error, flush=True)
"""


@contextmanager
def living(lab: Lab, place: Path, *options: str, standby: str = "0") -> Iterator["subprocess.Popen[str]"]:
    """A run that goes on."""
    argv = ["ringfence", "run", *options, "--", "python3", "-c", READY]
    environment = lab.environment() | {"RINGFENCE_STANDBY": standby}
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    run = lab.popen(argv, cwd=place, env=environment, **streams)
    try:
        assert run.stdout is not None and run.stdout.readline() == "ready\n"
        yield run
    finally:
        run.communicate(timeout=TIMEOUT_S)


def state(home: Path) -> Path:
    return home / ".local/state/ringfence"


def test_nothing_inside_speaks_as_the_operator(lab: Lab, open_path: Path, home: Path) -> None:
    with living(lab, open_path, "--allow", GOOD, standby="1"):
        wait_for(lambda: [path for path in (state(home) / "standby").glob("*") if path.is_socket()])
        knock = ["python3", "-I", "-c", KNOCK, str(state(home))]
        inside = lab.run(["ringfence", "run", "--allow", GOOD, "--", *knock, "everywhere"], cwd=open_path)
        assert inside.returncode == 0 and inside.stdout == "", inside
        control = {path.parent for path in state(home).glob("runs/*/control")}
        assert len(control) == 1
        changed = '"egress-changed"'
        audit = state(home) / "audit/audit.jsonl"
        assert changed not in audit.read_text()
        outside = lab.run(knock).stdout
        names = set(outside.split()) & {"control", *(path.name for path in (state(home) / "standby").glob("*"))}
        assert len(names) == 2 and "answered b'{" in outside and "walls" not in outside, outside
        assert changed in audit.read_text()
    shutil.rmtree(state(home) / "standby")  # which ends it


# A domain in which nothing may be made: as root it needs no `NoNewPrivs`, and nothing in /proc tells of it.
LANDLOCK = """
import ctypes, os, struct, sys
library = ctypes.CDLL(None, use_errno=True)
if os.getuid():
    library.prctl(38, 1, 0, 0, 0)
ruleset = library.syscall(444, struct.pack("QQ", 0x1FD2, 0), 8, 0)
if ruleset < 0 or library.syscall(446, ruleset, 0):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[1], sys.argv[1:])
"""
USER = ("unshare", "--user", "--map-current-user")


@pytest.mark.require("landlock", "userns")
@pytest.mark.parametrize(
    "walls",
    [
        (),
        ("setpriv", "--no-new-privs"),
        ("/usr/bin/python3", "-c", LANDLOCK),
        USER,
        (*USER, "--net"),
        (*USER, "--mount", "--pid", "--fork"),
        ("{bubblewrap}", "--dev-bind", "/", "/", "--unshare-pid", "--"),
        ("{bubblewrap}", "--dev-bind", "/", "/", "--"),
    ],
    ids=["none", "no-new-privs", "landlock", "user", "net", "pid", "bubblewrap-pid", "bubblewrap"],
)
def test_nothing_in_a_sandbox_of_another_make_speaks_as_the_operator(
    lab: Lab, open_path: Path, home: Path, walls: tuple[str, ...]
) -> None:
    """Nor has it commands executed outside, as `secrets reload` would with the PATH of whoever asks."""
    before = [word.format(bubblewrap=requirements.bubblewrap()) if word[0] == "{" else word for word in walls]
    with living(lab, open_path, "--allow", GOOD):
        said = lab.run([*before, "python3", "-I", "-c", KNOCK, str(state(home) / "runs")], cwd=open_path)
        assert said.returncode == 0 and "answered" in said.stdout, said
        records = (state(home) / "audit/audit.jsonl").read_text()
    changed, refused = '"egress-changed"' in records, '"control-denied"' in records
    assert (changed, refused) == ((False, True) if walls else (True, False)), said


def test_a_run_cannot_use_the_way_of_another(lab: Lab, open_path: Path) -> None:
    places = ("127.0.0.1:3128", "198.18.0.1:3128", "198.18.0.2:3128", "198.51.100.1:3128")
    fetch = ["python3", "-I", "-c", FETCH, EVIL, *places]
    with living(lab, open_path, "--allow", EVIL):
        assert "200" in lab.run(["ringfence", "run", "--allow", EVIL, "--", *fetch], cwd=open_path).stdout
        settle(lab)
        mark = lab.mark()
        inside = lab.run(["ringfence", "run", "--allow", GOOD, "--", *fetch], cwd=open_path)
        assert "403" in inside.stdout and "200" not in inside.stdout, inside
        assert settled(lab, mark) == []
    assert "200" not in lab.run(fetch).stdout  # no port on the host's side


def test_the_listening_sockets_are_none_of_the_inside_s(lab: Lab, open_path: Path) -> None:
    """They belong to a process that is not there: no descriptor of them can be taken or opened anew."""
    code = """
import os
rows = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
listening = {row[9] for row in rows if row[3] == "0A"}
held = set()
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        held |= {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    except OSError:
        pass
print(len(listening), [inode for inode in listening if f"socket:[{inode}]" in held])
"""
    inside = lab.run(["ringfence", "run", "--allow", GOOD, "--", "python3", "-I", "-c", code], cwd=open_path)
    assert inside.stdout == "4 []\n", inside


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ({"type": "dial", "request": 1, "connection": 1, "host": EVIL, "port": 80}, "egress-denied"),
        ({"type": "dial", "request": 1, "connection": 1, "host": GOOD, "port": 22}, "egress-denied"),
        ({"type": "dial", "request": 1, "connection": 1, "host": "127.0.0.1", "port": 8080}, "egress-denied"),
        ({"type": "dial", "request": 1, "connection": 1, "host": "2130706433", "port": 80}, "egress-denied"),
        ({"type": "dial", "request": 1, "connection": 1, "host": GOOD + ".", "port": 80}, "egress-denied"),
        ({"type": "dial", "request": 1, "connection": 1, "host": "/etc/passwd", "port": 80}, "egress-denied"),
        ({"type": "dial", "request": 1, "connection": 1, "host": GOOD, "port": 65536 + 80}, "egress-denied"),
        (
            {"type": "dial", "request": 1, "connection": 1, "host": "special-metadata.example.com", "port": 80},
            "address",
        ),
        ({"type": "dial", "request": 1, "connection": 1, "host": "rebind.example.com", "port": 8080}, "address-denied"),
    ],
)
def test_a_proxy_that_was_taken_over_reaches_no_more(
    lab: Lab, open_path: Path, message: dict[str, object], answer: str
) -> None:
    """The other end of the proxy's conversation, asked by somebody who may say anything."""
    program = f"""
import threading
from ringfence.model.egress import Egress
from ringfence.network import messages
from ringfence.network.dialer import Dialer
from ringfence.session import control
hosts = [({GOOD!r}, ((80, 80), (443, 443))), ("rebind.example.com", ((8080, 8080),)),
         ("special-metadata.example.com", ((80, 80),))]
rules = control.rules("allow", [f"{{host}}:{{ports[0][0]}}" for host, ports in hosts])
told = []
done = threading.Event()
def finished(answer, connected):
    told.append((answer.code, connected is not None))
    done.set()
dialer = Dialer(Egress(rules=rules))
dialer.submit(messages.from_proxy.decode({json.dumps(message).encode()!r}), finished)
done.wait(50)
dialer.close()
print(told)
"""
    settle(lab)
    mark = lab.mark()
    done = lab.run([sys.executable, "-c", program], cwd=open_path)
    assert answer in done.stdout and "True" not in done.stdout, done
    assert not [entry for entry in settled(lab, mark) if entry["kind"] != "dns" and entry.get("port") != 53]
