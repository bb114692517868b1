"""P7: the resident supervisor is made to do something outside: by what it runs, by other sandboxes, by other users."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ringfence.session import resident
from ringfence.session.unix_sockets import at_short_path
from tests import paths, requirements
from tests.integration.resident_runs import ASK, UNANSWERED, Installation

pytestmark = pytest.mark.require("bubblewrap", "userns", "peer-pidfd")
TRIES = 20
STANDING_S = 90.0  # a kind that could not be built is not tried again for a minute
# What an attacker would send: the whole conversation, by hand, wherever the socket is found. Whoever is too slow, on a
# busy machine, is hung up on without a word, and asks again.
ATTACK = f"""
import glob, os, socket, struct, sys
marked = sys.argv[1]
said = []
place = os.open(sys.argv[2], os.O_PATH)  # sun_path has room for 108 characters
def ask(path):
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.settimeout(25)
    try:
        peer.connect(f"/proc/self/fd/{{place}}/" + os.path.basename(path))
        told = os.memfd_create("x")
        own = " ".join(open("/proc/self/" + name).read().strip() for name in ("personality", "timerslack_ns")) + " 0"
        words = ["run", "--workspace", "direct", "--", "touch", marked]
        parts = ["3", own, str(len(words)), *words, *(f"{{k}}={{v}}" for k, v in os.environ.items())]
        os.write(told, b"".join(part.encode() + b"\\0" for part in parts))
        here = os.open(".", os.O_PATH)
        server, = struct.unpack("i8x", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        try:
            look = os.open(f"/proc/{{server}}/fd/9", os.O_RDONLY)
        except OSError:
            look = told  # what else is there
        socket.send_fds(peer, [b"run"], [told, here, look])
        said.append(peer.recv(32).decode())
        if said[-1] == "ready":
            socket.send_fds(peer, [b"go"], [0, 1, 2])
            said.append(peer.recv(32).decode())
    except OSError as error:
        said.append(type(error).__name__)
    return said[-1] not in ("", "BrokenPipeError", "ConnectionResetError")
for path in glob.glob(sys.argv[2] + "/*"):
    any(ask(path) for _ in range({TRIES}))
print(*said or ["nothing there"])
"""


@pytest.fixture
def box(open_path: Path, home: Path) -> Iterator[Installation]:
    workspace = open_path / "workspace"
    workspace.mkdir()
    found = Installation(workspace, home, "supervised")
    with paths.ended(found.state):
        found.make_ready()
        yield found


def attack(box: Installation, marked: Path, before: tuple[str, ...] = ()) -> str:
    """Carry the attack out on the host, by way of other programs; give what the supervisor said."""
    words = [*before, "/usr/bin/python3", "-c", ATTACK, str(marked), str(box.state / "resident")]
    done = subprocess.run(words, cwd=box.workspace, env=box.environment(), capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def connect(peer: socket.socket, box: Installation) -> None:
    """Connect to the supervisor, wherever the home lies."""
    lock = next((box.state / "resident").glob("*.lock"))
    at_short_path(str(lock.parent), lock.stem, peer.connect)


def asked(words: list[str], environment: dict[str, str]) -> bytes:
    """What a client's file holds."""
    parts = [resident.PROTOCOL, resident.own_state(), str(len(words)), *words]
    parts += [f"{name}={value}" for name, value in environment.items()]
    return b"".join(os.fsencode(part) + b"\0" for part in parts)


def test_positive_control(box: Installation) -> None:
    assert "ready exit 0" in attack(box, box.workspace / "marked")
    assert (box.workspace / "marked").exists()


@pytest.mark.parametrize("options", [[], ["--read", "{state}"], ["--read", "{home}"]], ids=["default", "state", "home"])
@pytest.mark.parametrize("taken", ["cold", "supervised", "pooled"])
def test_what_it_runs_cannot_have_anything_run(box: Installation, options: list[str], taken: str) -> None:
    marked = box.workspace / "marked"
    given = [word.format(state=box.state, home=box.home) for word in options]
    box.taken = taken
    box.make_ready(given)
    done = box.run(["/usr/bin/python3", "-c", ATTACK, str(marked), str(box.state / "resident")], given)
    assert b"ready" not in done.stdout, done.stdout
    assert not marked.exists()


@pytest.mark.parametrize(
    "before",
    [
        ("setpriv", "--no-new-privs"),
        ("unshare", "--user", "--map-current-user"),
        ("unshare", "--user", "--map-current-user", "--net"),
        ("unshare", "--user", "--map-current-user", "--mount", "--fork"),
        ("unshare", "--user", "--map-current-user", "--pid", "--fork"),
    ],
    ids=["no-new-privs", "user", "net", "mount", "pid"],
)
def test_a_process_of_another_sandbox_is_told_no(box: Installation, before: tuple[str, ...]) -> None:
    marked = box.workspace / "marked"
    said = attack(box, marked, before)
    assert "ready" not in said, said
    assert not marked.exists()


def test_another_sandbox_that_shares_the_home_is_told_no(box: Installation) -> None:
    marked = box.workspace / "marked"
    bubblewrap = str(requirements.bubblewrap())
    assert "ready" not in attack(box, marked, (bubblewrap, "--dev-bind", "/", "/", "--unshare-pid", "--"))
    assert not marked.exists()


# A domain in which nothing may be written, and nothing else is refused; as root it needs no `NoNewPrivs`.
LANDLOCK = """
import ctypes, os, struct, sys
library = ctypes.CDLL(None, use_errno=True)
ruleset = library.syscall(444, struct.pack("Q", 1 << 1 | 1 << 8), 8, 0)
if ruleset < 0 or library.syscall(446, ruleset, 0):
    sys.exit(os.strerror(ctypes.get_errno()))
try:
    open(sys.argv[1], "w")
    sys.exit("it may be written to")
except PermissionError:
    os.execvp(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.require("landlock", "root")
@pytest.mark.parametrize("path", ["by-hand", "client"])
def test_a_process_in_a_landlock_domain_is_told_no(box: Installation, path: str) -> None:
    marked = box.workspace / "marked"
    before = ("/usr/bin/python3", "-c", LANDLOCK, str(marked))
    if path == "by-hand":
        assert "ready" not in attack(box, marked, before)
    else:
        words = [*before, *box.words(["touch", str(marked)], ["--workspace", "direct"])]
        done = subprocess.run(words, cwd=box.workspace, env=box.environment(), stdin=subprocess.DEVNULL, timeout=60)
        assert done.returncode == UNANSWERED
    assert not marked.exists()


def test_a_client_that_says_what_is_not_understood_has_ended(box: Installation) -> None:
    read, write = os.pipe()
    # A run that cannot end by itself: without its HOME it would, where the account has no directory.
    with asking(box, ["run", "--", "sleep", "600"]) as peer:
        with suppress(BrokenPipeError):  # where this took us so long that nobody waits for it any more
            socket.send_fds(peer, [b"go"], [read, write, write])
            peer.send(b"signal none")
        os.close(write)
        assert peer.recv(10) == b""
    assert os.read(read, 100) == b""  # nobody holds its streams any more
    os.close(read)


@contextmanager
def asking(box: Installation, words: list[str], told: int = -1, **more: str) -> Iterator[socket.socket]:
    """A client whose request, written to `told`, is answered with `ready`, and who has not said `go` yet.

    That has to be said within two seconds (resident_request.BEGIN_TIMEOUT_S).
    """
    told = os.memfd_create("x") if told < 0 else os.dup(told)
    here = os.open(box.workspace, os.O_PATH)
    look = os.open(f"/proc/{paths.server(box.state)}/fd/9", os.O_RDONLY)
    with ExitStack() as closing:
        for descriptor in (told, here, look):
            closing.callback(os.close, descriptor)
        os.write(told, asked(words, box.environment(**more)))
        peer, answer = answered(box, (told, here, look))
        with peer:
            assert answer == b"ready"
            yield peer


def answered(box: Installation, given: Sequence[int]) -> tuple[socket.socket, bytes]:
    """Ask for a run, and again where we were too slow for its supervisor, on a busy machine: nothing was begun then."""
    for _ in range(TRIES):
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer.settimeout(paths.PATIENCE_S)
        with suppress(BrokenPipeError, ConnectionResetError):
            connect(peer, box)
            socket.send_fds(peer, [b"run"], given)
            if answer := peer.recv(10):
                return peer, answer
        peer.close()
    raise AssertionError("nobody answers")


def stands(box: Installation, options: Sequence[str] = (), **more: Any) -> set[tuple[int, int]]:
    """Have boundaries for these options, however busy the machine is; give what marks their directories."""
    end = time.monotonic() + STANDING_S
    while time.monotonic() < end:
        box.make_ready(options, **more)
        if paths.members(box.state) == 2:
            return set(paths.waiting(box.state))
    raise AssertionError("no boundary was built ahead")


def leave(peer: socket.socket) -> None:
    peer.close()


def say_no(peer: socket.socket) -> None:
    with suppress(BrokenPipeError):  # it has had enough of us already
        peer.send(b"no")


def say_nothing(peer: socket.socket) -> None:
    assert peer.recv(10) == b""  # until it has had enough of us


def inside_of(pid: int) -> list[int]:
    """A process and those that stand below it, each the child of the one before."""
    return [pid, *(one for child in paths.children(pid) for one in inside_of(child))]


@pytest.mark.parametrize("fail", [leave, say_no, say_nothing])
def test_a_boundary_that_was_handed_over_in_vain_serves_nobody(
    box: Installation, fail: Callable[[socket.socket], None]
) -> None:
    """What stood ready and was given a client's environment, streams and words ends with that client."""
    box.taken = "pooled"
    words = ["run", "--workspace", "overlay", "--", "sh", "-c", "echo canary >left; sleep 60"]
    for _ in range(TRIES):
        stands(box, words[1:3])
        standing = {pid: inside_of(pid) for pid in paths.pool(box.state)}
        assert [len(inside) for inside in standing.values()] == [4, 4]
        with asking(box, words, CANARY="canary") as peer:
            given = [pid for pid in standing if paths.name_of(pid) == "ringfence" or paths.has_ended(pid)]
            if not given:
                continue  # it stood, and had not said so yet
            fail(peer)
            assert paths.wait_for_end(one for pid in given for one in standing[pid]) == []
        break
    else:
        raise AssertionError("no boundary was handed over")
    done = box.run(["sh", "-c", "env; cat left"], words[1:3])
    assert b"canary" not in done.stdout and b"PATH=" in done.stdout
    assert not (box.workspace / "left").exists()


@pytest.mark.require("ordinary-user")
def test_another_user_does_not_reach_it(box: Installation) -> None:
    account = requirements.ordinary_user()
    assert account
    for place in (box.state / "resident", *(box.state / "resident").iterdir()):
        assert not place.stat().st_mode & 0o077
    with pytest.raises(PermissionError):
        list_as(account.pw_uid, box.state / "resident")


def list_as(uid: int, place: Path) -> None:
    """List a directory as another user, in a process of its own; raise PermissionError."""
    child = os.fork()
    if child == 0:
        try:
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.listdir(place)
            os._exit(0)
        except PermissionError:
            os._exit(13)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 13:
        raise PermissionError


@pytest.mark.require("ordinary-user")
def test_a_socket_that_another_user_listens_with_gets_nothing(box: Installation, open_path: Path) -> None:
    account = requirements.ordinary_user()
    assert account
    state = open_path / "state"
    place = state / "ringfence/resident"
    place.mkdir(parents=True)
    (state / "ringfence").chmod(0o755)
    name = next((box.state / "resident").glob("*.lock")).stem
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(place / name))
        os.seteuid(account.pw_uid)  # SO_PEERCRED names who listened
        try:
            listener.listen(4)
        finally:
            os.seteuid(0)
        environment = box.environment(XDG_STATE_HOME=str(state))
        words = [sys.executable, "-P", "-c", ASK, "run", "--", "true"]
        done = subprocess.run(words, cwd=box.workspace, env=environment, stdin=subprocess.DEVNULL, timeout=60)
        assert done.returncode == UNANSWERED
        peer, _ = listener.accept()
        with peer:
            assert peer.recv(100) == b""  # not a word, no descriptor


def test_the_environment_of_one_client_is_not_seen_by_the_next(box: Installation) -> None:
    box.taken = "pooled"
    options = ["--env", "SECRET_OF_ONE"]
    box.make_ready(options, env=box.environment(SECRET_OF_ONE="canary"))
    for _ in range(3):
        assert b"canary" not in box.run(["env"], options).stdout


def test_a_client_that_lies_about_its_words_changes_nothing_for_others(box: Installation) -> None:
    garbage = (
        b"",
        b"3",
        b"3\0\0" + b"9" * 30 + b"\0run\0",
        b"1\0\0" + b"1\0run\0",
        b"\xff" * 100,
        b"3\0\0-1\0run\0true\0",
        b"3\0\0000\0",
    )
    server = paths.server(box.state)
    for data in garbage:
        told = os.memfd_create("x")
        os.write(told, data)
        here = os.open(".", os.O_PATH)
        null = os.open(os.devnull, os.O_RDWR)
        peer, answer = answered(box, (told, here, null))
        peer.close()
        for descriptor in (told, here, null):
            os.close(descriptor)
        assert answer == b"no"
    assert box.run(["true"]).returncode == 0
    assert paths.server(box.state) == server  # none of it has ended the one that serves everybody


def test_one_that_says_nothing_does_not_hold_others_up(box: Installation) -> None:
    with ExitStack() as silent:
        for _ in range(3):
            peer = silent.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            connect(peer, box)
        assert box.run(["true"]).returncode == 0


def test_it_is_started_only_from_a_directory_of_ones_own(open_path: Path, home: Path) -> None:
    state = open_path / "state"
    (state / "ringfence/resident").mkdir(parents=True, mode=0o777)
    (state / "ringfence/resident").chmod(0o777)
    workspace = open_path / "workspace"
    workspace.mkdir()
    box = Installation(workspace, home, "supervised")
    words = [*box.command(), "run", "--", "true"]
    done = subprocess.run(
        words,
        cwd=workspace,
        env=box.environment(XDG_STATE_HOME=str(state)),
        stdin=subprocess.DEVNULL,
        timeout=60,
        capture_output=True,
    )
    assert done.returncode == 0
    assert not list((state / "ringfence/resident").iterdir())
