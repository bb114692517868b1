"""P7: the moment in which a boundary that waits becomes somebody's run, as an adversary would use it.

What stood is looked at again, and the host may have been rearranged meanwhile; whoever asks may be somebody who is told
no, or may not keep to the conversation; whoever serves may be killed at any time.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ringfence.session.outlook import SETTLED_NS
from ringfence.workspace import removal
from tests import paths
from tests.attacks.test_p7_resident import asking, stands
from tests.integration.resident_runs import Installation

pytestmark = pytest.mark.require("bubblewrap", "userns", "peer-pidfd")
ASK = ("--apply", "ask")
LOOK = "cat away/private/key sub/private/key sub/plain; find . | sort; echo x >made"


@pytest.fixture
def box(open_path: Path, home: Path) -> Iterator[Installation]:
    workspace = open_path / "workspace"
    workspace.mkdir()
    found = Installation(workspace, home, "pooled")
    with paths.ended(found.state):
        yield found


def policy(box: Installation, text: str) -> Path:
    place = box.home / ".config/ringfence/policy.toml"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("version = 1\n" + text)
    return place


def launches(box: Installation) -> int:
    """How many runs have begun according to the audit."""
    lines = (box.state / "audit/audit.jsonl").read_text().splitlines(keepends=True)
    return sum(json.loads(line)["kind"] == "launch" for line in lines if line.endswith("\n"))


def with_secret(workspace: Path) -> None:
    (workspace / "sub/private").mkdir(parents=True)
    (workspace / "sub/private/key").write_text("canary\n")
    (workspace / "sub/plain").write_text("old\n")


def without_secret(workspace: Path) -> None:
    (workspace / "sub").mkdir()
    (workspace / "sub/plain").write_text("old\n")


def link_in_its_place(workspace: Path) -> None:
    """The denied path leads to the same directory as before, which has another name now."""
    (workspace / "sub").rename(workspace / "away")
    (workspace / "sub").symlink_to("away")


def another_parent(workspace: Path) -> None:
    """The denied directory is the same and has the same name, in a parent that is another."""
    (workspace / "sub").rename(workspace / "away")
    (workspace / "sub").mkdir()
    (workspace / "away/private").rename(workspace / "sub/private")
    (workspace / "sub/plain").write_text("new\n")


def anew(workspace: Path) -> None:
    """The parent of what is denied and not there is another."""
    shutil.rmtree(workspace / "sub")
    without_secret(workspace)
    (workspace / "sub/plain").write_text("new\n")


@pytest.mark.parametrize(
    ("before", "change"),
    [(with_secret, link_in_its_place), (with_secret, another_parent), (without_secret, anew)],
    ids=["link-in-its-place", "another-parent", "anew"],
)
def test_a_denied_place_that_was_moved_meanwhile(
    box: Installation, before: Callable[[Path], None], change: Callable[[Path], None]
) -> None:
    policy(box, '[filesystem]\ndeny-read = ["./sub/private"]\n')
    before(box.workspace)
    stands(box, ASK)
    change(box.workspace)
    pooled = box.run(["sh", "-c", LOOK], ASK)
    box.taken = "cold"
    cold = box.run(["sh", "-c", LOOK], ASK)
    assert b"canary" not in pooled.stdout and pooled.stdout == cold.stdout


def moved_in(place: Path, kept: Path) -> None:
    before = place.parent.stat()
    kept.rename(place)
    os.utime(place.parent, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if nothing had happened


def led_to(place: Path, kept: Path) -> None:
    place.symlink_to(kept)


def linked(place: Path, kept: Path) -> None:
    place.hardlink_to(kept)


@pytest.mark.parametrize(
    ("appears", "how"),
    [(".config", moved_in), (".config", led_to), ("toml", moved_in), ("toml", led_to), ("toml", linked)],
)
def test_policy_that_appears_where_nothing_has_changed_for_long(
    box: Installation, open_path: Path, appears: str, how: Callable[[Path, Path], None]
) -> None:
    """What was missing in a directory that looks as before is not looked up one by one: session/outlook.py."""
    (box.workspace / "key").write_text("canary\n")
    kept = open_path / "kept"
    file = kept if appears == "toml" else kept / "ringfence/policy.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('version = 1\n[filesystem]\ndeny-read = ["./key"]\n')
    place = box.workspace / "ringfence.toml" if appears == "toml" else box.home / ".config"
    stands(box)
    newest = max(path.stat().st_ctime for path in (box.workspace, box.home))
    paths.wait_until(lambda: time.time() - newest > SETTLED_NS / 1e9)
    for _ in range(2):  # those that were built before
        assert box.run(["cat", "key"]).stdout == b"canary\n"
    stands(box)
    how(place, kept)
    assert b"canary" not in box.run(["cat", "key"]).stdout


def test_what_an_earlier_run_has_rearranged_while_they_waited(box: Installation) -> None:
    """The boundaries for the next run stand already when this one's changes are applied below them."""
    policy(box, '[filesystem]\ndeny-read = ["./sub/private"]\n')
    with_secret(box.workspace)
    script = "echo ready; read x; mkdir other; mv sub/plain other; rm -rf sub; ln -s other sub; mkdir -p d/e"
    stands(box)
    with box.begin(["sh", "-c", f"{script}; echo new >d/e/f"], stdin=subprocess.PIPE) as process:
        assert paths.wait_until(lambda: len(paths.waiting(box.state)) == 2)
        process.communicate(b"\n", timeout=60)
    seen = "cat d/e/f; ls -l sub other | wc -l; find . | sort; cat sub/private/key"
    pooled = box.run(["sh", "-c", seen])
    box.taken = "cold"
    assert pooled.stdout == box.run(["sh", "-c", seen]).stdout
    assert pooled.stdout.startswith(b"new\n") and b"canary" not in pooled.stdout


def test_the_directory_to_work_in_was_replaced_meanwhile(box: Installation) -> None:
    (box.workspace / ".git").mkdir()  # the workspace is where this is, not where the run begins
    box.workspace = box.workspace / "sub"
    without_secret(box.workspace.parent)
    stands(box, ASK)
    box.workspace.rename(box.workspace.with_name("away"))
    box.workspace.mkdir()
    (box.workspace / "new").touch()
    assert box.run(["sh", "-c", "ls; echo x >made"], ASK).stdout == b"new\n"


@pytest.mark.parametrize("taken", ["cold", "supervised", "pooled"])
@pytest.mark.parametrize("how", ["user", "named"])
def test_policy_behind_a_link_is_edited(box: Installation, open_path: Path, how: str, taken: str) -> None:
    """Dotfiles are kept elsewhere and linked to their places: nothing changes there but what a link leads to."""
    (box.workspace / "key").write_text("canary\n")
    kept = open_path / "kept.toml"
    kept.write_text("version = 1\n")
    place = policy(box, "") if how == "user" else open_path / "linked.toml"
    place.unlink(missing_ok=True)
    place.symlink_to(kept)
    options = [] if how == "user" else ["--policy", str(place)]
    box.taken = taken
    box.make_ready(options)
    assert box.run(["cat", "key"], options).stdout == b"canary\n"
    kept.write_text('version = 1\n[filesystem]\ndeny-read = ["./key"]\n')
    assert b"canary" not in box.run(["cat", "key"], options).stdout


UNLIKE = {
    "no-new-privs": ("setpriv", "--no-new-privs"),
    "user-namespace": ("unshare", "--user", "--map-current-user"),
    "root-of-another-user-namespace": ("unshare", "--user", "--map-root-user"),
}
# Shows a boundary that waits what is to be done, and is told no only afterwards.
SHOW = """
import os, socket, struct, sys, time
sys.path[:0] = sys.argv[3:]
from tests.attacks.test_p7_resident import asked
place, name = os.path.split(sys.argv[1])
beside = os.open(place, os.O_PATH)
peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
peer.settimeout(50)
peer.connect(f"/proc/self/fd/{beside}/{name}")
told, here = os.memfd_create("x"), os.open(".", os.O_PATH)
os.write(told, asked(["run", "--", "touch", "marked"], dict(os.environ)))
server, = struct.unpack("i8x", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
try:
    look = os.open(f"/proc/{server}/fd/9", os.O_RDONLY)
except OSError:
    look = told
for what, given in (b"run", [told, here, look]), (b"go", [1, 1, 1]):
    if what == b"run" or sys.argv[2] == "at-once":  # whatever the answer
        try:
            socket.send_fds(peer, [what], given)
        except BrokenPipeError:
            pass  # told no already, or hung up on
try:
    print(peer.recv(16).decode(), end="")
except ConnectionResetError:
    pass
"""


def shown(box: Installation, words: list[str]) -> bytes:
    """What SHOW has been told; nothing where it was hung up on."""
    done = subprocess.run(words, cwd=box.workspace, env=box.environment(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("when", ["at-once", "never"])
@pytest.mark.parametrize("before", [(), *UNLIKE.values()], ids=["control", *UNLIKE])
def test_one_that_is_told_no_was_shown_to_a_boundary_for_nothing(
    box: Installation, before: tuple[str, ...], when: str
) -> None:
    stands(box)
    lock = next((box.state / "resident").glob("*.lock"))
    begun = launches(box)
    words = [*before, sys.executable, "-c", SHOW, str(lock.with_suffix("")), when, *sys.path]
    said = shown(box, words)
    if not before:
        while not said:  # it was too slow for the supervisor, on a busy machine
            said = shown(box, words)
        assert said == b"ready"  # where nothing is in its way it is served: SHOW is right
        return
    assert b"ready" not in said
    assert box.run(["echo", "fine"]).stdout == b"fine\n"
    assert launches(box) == begun + 1
    assert not (box.workspace / "marked").exists()


def go(peer: socket.socket, stream: int, count: int = 3) -> None:
    socket.send_fds(peer, [b"go"], [stream] * count)


def say_go_without_streams(peer: socket.socket, stream: int) -> None:
    peer.send(b"go")


def say_go_with_two(peer: socket.socket, stream: int) -> None:
    go(peer, stream, 2)


def say_go_with_four(peer: socket.socket, stream: int) -> None:
    go(peer, stream, 4)


def say_go_with_as_many_as_there_can_be(peer: socket.socket, stream: int) -> None:
    go(peer, stream, 253)


def signal_first(peer: socket.socket, stream: int) -> None:
    peer.send(b"signal 15")
    go(peer, stream)


def ask_again_first(peer: socket.socket, stream: int) -> None:
    socket.send_fds(peer, [b"run"], [stream, stream, stream])
    go(peer, stream)


@pytest.mark.parametrize("taken", ["supervised", "pooled"])
@pytest.mark.parametrize(
    "say",
    [
        say_go_without_streams,
        say_go_with_two,
        say_go_with_four,
        say_go_with_as_many_as_there_can_be,
        signal_first,
        ask_again_first,
    ],
)
def test_nothing_begins_but_by_go_with_three_streams(
    box: Installation, say: Callable[[socket.socket, int], None], taken: str
) -> None:
    box.taken = taken
    box.make_ready()
    begun, server = launches(box), paths.server(box.state)
    read, write = os.pipe()
    with asking(box, ["run", "--", "sh", "-c", "echo begun"]) as peer:
        with suppress(BrokenPipeError):  # it may go at the first word that it does not expect
            say(peer, write)
        os.close(write)
        with suppress(ConnectionResetError):  # it has gone without reading all that was said
            assert peer.recv(16) == b""
    assert os.read(read, 100) == b""  # and has let go of whatever it was given
    os.close(read)
    assert launches(box) == begun
    assert box.run(["echo", "fine"]).stdout == b"fine\n"
    assert paths.server(box.state) == server


def test_a_request_in_a_file_is_not_read(box: Installation, open_path: Path) -> None:
    """Its file system may be the client's own (FUSE), and keep whoever reads it waiting: it serves everybody."""
    stands(box)
    told = os.open(open_path / "request", os.O_RDWR | os.O_CREAT)
    with suppress(AssertionError, ConnectionError), asking(box, ["run", "--", "touch", "marked"], told=told) as peer:
        go(peer, told)
        peer.recv(16)
    assert os.lseek(told, 0, os.SEEK_END) > 0  # what was asked is there
    assert not (box.workspace / "marked").exists()
    assert box.run(["echo", "fine"]).stdout == b"fine\n"


WHO_HOLDS = """
import os
found = []
for name in filter(str.isdigit, os.listdir("/proc")):
    for file in ("environ", "cmdline", "comm"):
        try:
            found.append(open(f"/proc/{name}/{file}", "rb").read())
        except OSError:
            continue
print(b"can" + b"ary" in b"".join(found), len(found) >= 3)
"""


def test_no_process_in_it_holds_the_environment_of_an_earlier_client(box: Installation) -> None:
    """It is built under the environment of the latest client of its kind."""
    options = ["--env", "OF_ANOTHER"]
    stands(box, options, env=box.environment(OF_ANOTHER="canary"))
    members = paths.pool(box.state)
    assert members
    for member in members:
        inside = [below for pid in paths.children(member) for below in (pid, *paths.children(pid))]
        assert inside
        for pid in inside:
            assert b"canary" not in Path(f"/proc/{pid}/environ").read_bytes()
    done = box.run(["/usr/bin/python3", "-I", "-S", "-c", WHO_HOLDS], options)
    assert done.stdout == b"False True\n", done.stderr


def kill(pid: int) -> None:
    """End a process, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("after_ms", [0, 10, 30, 90])
@pytest.mark.parametrize("who", ["server", "members"])
def test_whoever_is_killed_in_whatever_moment_a_run_takes_place_once(
    box: Installation, who: str, after_ms: int
) -> None:
    """What ends with 0 has taken place once, what was lost at most once; the server itself carries nothing out."""
    stands(box)
    server = paths.server(box.state)
    members = paths.children(server)
    targets = [server] if who == "server" else members
    words = [*box.command(), "run", "--", "sh", "-c", "echo x >>count"]
    with subprocess.Popen(words, cwd=box.workspace, env=box.environment(), stdin=subprocess.DEVNULL) as process:
        time.sleep(after_ms / 1000)  # any moment will do
        for pid in targets:
            kill(pid)
        status = process.wait(60)
    count = box.workspace / "count"
    times = len(count.read_text().splitlines()) if count.exists() else 0
    assert (status, times) in ([(0, 1)] if who == "server" else [(0, 1), (125, 0), (125, 1)])
    done = subprocess.run([*words[:-1], "echo fine"], cwd=box.workspace, env=box.environment(), capture_output=True)
    assert done.stdout == b"fine\n", done.stderr
    paths.end(box.state, may_leave=True)
    assert paths.wait_for_end(members) == []
    for left in paths.waiting(box.state, built=False).values():
        removal.remove_tree(str(left))  # nobody else does so soon, and `paths.ended` would wait for it
