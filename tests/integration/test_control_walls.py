"""Who may speak to a live run: its operator, within no more walls than its supervisor; nobody of another sandbox."""

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from tests import requirements

RUN = "20260101-000000-abcdef"
# The ear of a run without the run: what it is told is printed, and what it records.
SERVE = """
import os, socket, sys, threading
walls, place = sys.argv[1:]
from ringfence.session.control import Control, rules
from ringfence.session.questions import Questions
from ringfence.session.unix_sockets import at_short_path, shown_name
from ringfence.model.egress import Egress
class Way:
    shown = os.memfd_create(shown_name(os.path.basename(place)))
class Answering:
    egress = Egress(rules=rules("allow", ["a.example"]))
    questions = Questions(60, print)
    changing = threading.Lock()
    way = Way()
    class vaults:
        def reload(environment):
            return (os.read(environment, 99).decode(),)
    def replace(self, egress):
        print("changed", flush=True)
    def report(self, kind, code, fields):
        print(kind, code, fields.get("reason", ""), flush=True)
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
at_short_path(place, "control", listener.bind)
listener.listen(8)
exec(walls)
control = Control(listener, Answering())
print("ready", flush=True)
sys.stdin.read()
"""
ASK = """
import os, sys
walls, place = sys.argv[1:]
exec(walls)
from ringfence.session import control
environment = os.memfd_create("environment")
os.pwrite(environment, b"TOKEN=new", 0)
said = [control.tell(place, control.Change(verb="allow", hosts=("b.example",)))]
said += [control.tell(place, control.Reload(), [environment]), control.tell(place, control.Pending())]
print(*(one.error or one.reloaded or "done" for one in said), sep="\\n")
"""
CALLS = """
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
def no_new_privileges():
    assert libc.prctl(38, 1, 0, 0, 0) == 0
def landlock():  # in which no file can be made or written
    if os.getuid():
        no_new_privileges()
    ruleset = libc.syscall(444, struct.pack("QQ", 0x1FD2, 0), 8, 0)
    assert ruleset >= 0 and libc.syscall(446, ruleset, 0) == 0
def seccomp():  # a filter that allows everything
    no_new_privileges()
    code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(code)))
    assert libc.prctl(22, 2, program, 0, 0) == 0
def user_namespace():
    uid, gid = os.getuid(), os.getgid()
    assert libc.unshare(0x10000000) == 0
    open("/proc/self/setgroups", "w").write("deny")
    open("/proc/self/uid_map", "w").write(f"{uid} {uid} 1")
    open("/proc/self/gid_map", "w").write(f"{gid} {gid} 1")
def network():
    user_namespace()
    assert libc.unshare(0x40000000) == 0
def hidden():  # what cannot be looked at
    no_new_privileges()
    assert libc.prctl(4, 0, 0, 0, 0) == 0
def nothing():
    pass
"""
HELD = ("landlock", "no_new_privileges", "seccomp", "user_namespace", "network", "hidden")


class Ear:
    """A process that listens as a run does; `said` is what it has printed."""

    def __init__(self, process: "subprocess.Popen[str]", place: Path) -> None:
        self.process = process
        self.place = place

    def ask(self, walls: str, before: tuple[str, ...] = ()) -> list[str]:
        """What somebody within walls is answered: to a change, to a reload, to what is being asked."""
        words = [*before, sys.executable, "-c", ASK, f"{CALLS}\n{walls}()", str(self.place)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def end(self) -> list[str]:
        """End it; what it was told to do, and has recorded."""
        return self.process.communicate(timeout=60)[0].splitlines()


def listening(place: Path, walls: str, before: tuple[str, ...] = ()) -> Iterator[Ear]:
    """An ear within walls."""
    (place / RUN).mkdir(mode=0o700)
    os.chown(place / RUN, place.stat().st_uid, place.stat().st_gid)
    words = [*before, sys.executable, "-c", SERVE, f"{CALLS}\n{walls}()", str(place / RUN)]
    with subprocess.Popen(words, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield Ear(process, place / RUN)
        process.kill()


@pytest.fixture
def ear(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Ear]:
    """One within the walls that the test names, by default none."""
    yield from listening(tmp_path, getattr(request, "param", "nothing"))


SERVED = ["done", "('TOKEN=new',)", "done"]


def test_its_operator_is_heard(ear: Ear) -> None:
    assert ear.ask("nothing") == SERVED
    assert ear.end() == ["changed", "decision egress-changed "]


@pytest.mark.require("landlock", "userns")
@pytest.mark.parametrize("walls", HELD)
def test_nobody_within_walls_is(ear: Ear, walls: str) -> None:
    said = ear.ask(walls)
    assert len(said) == 3 and all("walls" in line for line in said), said
    told = ear.end()
    assert len(told) == 3 and all(line.startswith("denial control-denied ") for line in told), told


@pytest.mark.require("landlock", "userns")
@pytest.mark.parametrize(("ear", "walls"), [(walls, walls) for walls in HELD[:4]], indirect=["ear"])
def test_nobody_within_others_that_are_alike_is(ear: Ear, walls: str) -> None:
    """Walls of one's own, of the same kind as the supervisor's: only those that show no difference pass."""
    passes = walls in ("no_new_privileges", "seccomp")
    assert (ear.ask(walls) == SERVED) == passes


@pytest.mark.require("landlock", "userns")
@pytest.mark.parametrize("ear", [*HELD[:5], "user_namespace(); landlock"], indirect=True)
def test_an_operator_with_fewer_walls_is_heard(ear: Ear) -> None:
    """Who has started a run from an editor's terminal speaks to it from a plain one."""
    assert ear.ask("nothing") == SERVED


@pytest.mark.require("bubblewrap", "userns")
def test_an_operator_outside_of_the_container_is_heard(tmp_path: Path) -> None:
    """It has no number where the run is; and nobody in the container speaks to a run outside."""
    bubblewrap = str(requirements.bubblewrap())
    boxed = (bubblewrap, "--dev-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "--die-with-parent", "--")
    for place in ("within", "outside"):
        (tmp_path / place).mkdir()
    for ear in listening(tmp_path / "within", "nothing", boxed):
        assert ear.ask("nothing") == SERVED
    for ear in listening(tmp_path / "outside", "nothing"):
        assert all("walls" in line for line in ear.ask("nothing", boxed))


@pytest.mark.require("root", "ordinary-user")
def test_root_is_heard_by_a_run_of_somebody_else(open_path: Path, ordinary_user: str) -> None:
    account = pwd.getpwnam(ordinary_user)
    become = ("setpriv", f"--reuid={ordinary_user}", f"--regid={ordinary_user}", "--init-groups", "--")
    (open_path / "place").mkdir()
    os.chown(open_path / "place", account.pw_uid, account.pw_gid)
    for ear in listening(open_path / "place", "nothing", become):
        assert ear.ask("nothing") == SERVED
        assert "walls" in ear.ask("landlock")[0]


@pytest.mark.require("root")
def test_root_may_be_in_another_network(ear: Ear) -> None:
    assert ear.ask("nothing", ("unshare", "--net")) == SERVED
    boxed = ("setpriv", "--bounding-set=-sys_admin", "--")
    assert "walls" in ear.ask("nothing", ("unshare", "--net", *boxed))[0]
