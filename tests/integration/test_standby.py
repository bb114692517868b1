"""The prepared proxy that a run leaves behind: what it is called, when it ends, and whom it gives a vault."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, Popen

import pytest

import ringfence
from ringfence.session import standby, titles
from tests.integration.egress_runs import wait_for

PACKAGE = Path(ringfence.__file__).parent
MANY = 1100
SERVE = """
import os, resource, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
held = [os.open("/dev/null", os.O_RDONLY) for _ in range({held})]
sys.path.insert(0, {tree!r})
from ringfence.session import standby_server
standby_server.launch.detach = lambda: None
standby_server.LOOK_S = 0.2
standby_server.main()
"""


@contextmanager
def serving(tree: Path, place: Path, held: int = 0) -> Iterator["Popen[bytes]"]:
    """A standby of the package in `tree`, in front instead of detached, that looks around often and holds files."""
    place.mkdir()
    words = [sys.executable, "-B", "-E", "-P", "-c", SERVE.format(tree=str(tree), held=held), str(place), "socket"]
    with Popen(words, stdin=DEVNULL, env={}, start_new_session=True) as process:
        try:
            wait_for(lambda: (place / "socket").is_socket() and len(children(process.pid)) == 1)
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def children(pid: int) -> list[str]:
    """The processes that one has started: here its spare."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_it_is_told_from_other_programs_where_processes_are_listed(tmp_path: Path) -> None:
    with serving(PACKAGE.parent, tmp_path / "place") as process:
        assert Path(f"/proc/{process.pid}/comm").read_text().strip() == titles.STANDBY
    assert "ringfence standby_server" in standby.bootstrap("standby_server")[-1]
    compile(standby.bootstrap("standby_server")[-1], "", "exec")


@pytest.mark.parametrize("gone", ["the package", "the socket"])
def test_it_ends_when_it_cannot_be_of_use_any_more(gone: str, tmp_path: Path) -> None:
    tree, place = tmp_path / "tree", tmp_path / "place"
    shutil.copytree(PACKAGE, tree / "ringfence", ignore=shutil.ignore_patterns("__pycache__"))
    with serving(tree, place) as process:
        time.sleep(0.5)
        assert process.poll() is None  # the control
        if gone == "the package":
            shutil.rmtree(tree)
        else:
            (place / "socket").unlink()
        assert process.wait(60) == 0
    assert not (place / "socket").exists()


def is_another(pid: int, before: list[str]) -> bool:
    """Tell whether a process has others than it had before."""
    return children(pid) not in ([], before)


def test_it_serves_whatever_numbers_its_descriptors_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """select(2) takes none from 1,024 on."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2 * MANY:
        pytest.skip("fewer files may be open here at once")
    place = tmp_path / "place"
    with serving(PACKAGE.parent, place, MANY) as process, open(tmp_path / "log", "wb") as log:
        monkeypatch.chdir(place)  # the path of a socket is short
        for _ in range(2):
            first = children(process.pid)
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
                asking.settimeout(60)
                asking.connect("socket")
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with ours, theirs:
                    socket.send_fds(asking, [b"proxy 0.authority"], [theirs.fileno(), log.fileno()])
                    said, given, _, _ = socket.recv_fds(asking, 16, 1)
            assert said == b"1" and len(given) == 1
            os.close(given[0])
            wait_for(partial(is_another, process.pid, first))
        assert process.poll() is None


ASK = """
import ctypes, json, os, socket, struct, sys
from ringfence.session import likeness, standby
def no_new_privileges():
    assert ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) == 0
def landlock():  # in which no file can be made or written
    if os.getuid():
        no_new_privileges()
    call = ctypes.CDLL(None).syscall
    ruleset = call(444, struct.pack("QQ", 0x1FD2, 0), 8, 0)
    assert ruleset >= 0 and call(446, ruleset, 0) == 0
def user_namespace():
    assert ctypes.CDLL(None).unshare(0x10000000) == 0
def nothing():
    pass
place, walls, marked = sys.argv[1:]
standby.directory, standby.name = lambda: place, lambda installed: "socket"
standby.ANSWER_TIMEOUT_S = 60
locals()[walls]()
log = os.memfd_create("log")
found = None
for _ in range(9):  # the first to ask for a kind is told that it is too soon, as is who says nothing for a second
    found = found or standby.take("", "vault", ["65534"], log)
if found:
    link = socket.socket(fileno=found[1])
    source = {"origin": "command", "argv": ["/usr/bin/touch", marked]}
    keep = {"type": "keep", "secrets": {"secrets": [{"name": "x", "variables": ["X"], "source": source}]}}
    environment = os.memfd_create("environment")
    socket.send_fds(link, [json.dumps(keep).encode()], [environment])
    link.recv(9999)
"""


@pytest.mark.require("landlock", "peer-pidfd", "userns")
@pytest.mark.parametrize(
    ("walls", "is_made"),
    [("nothing", True), ("landlock", False), ("no_new_privileges", False), ("user_namespace", False)],
)
def test_whoever_is_within_walls_has_nothing_executed_outside(walls: str, is_made: bool, tmp_path: Path) -> None:
    """A vault executes what it is told to, as no child of the process that asked for it."""
    marked = tmp_path / "marked"
    with serving(PACKAGE.parent, tmp_path / "place") as process:
        words = [sys.executable, "-c", ASK, str(tmp_path / "place"), walls, str(marked)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=110, check=False)
        assert done.returncode == 0, done.stderr
        assert process.poll() is None
    assert marked.exists() == is_made
