"""P6: commands of one session against each other and against what serves them.

The positive control is the shared session, where commands share a room by the operator's choice: what one command of it
leaves for the next is not there, or out of reach, where each has namespaces of its own. What is shared even so is
tested as well, and is exactly what docs/sdk.md lists.

Longer than 400 lines: what is left, what is beside and what serves are three tables over one pair of sessions.
"""

import dataclasses
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfence import Policy, Sandbox, SandboxSession
from tests.attacks.arena import PYTHON

pytestmark = pytest.mark.require("bubblewrap", "userns")
both = pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "shared"])
PATIENCE_S = 100


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxSession]:
    """Give an open session on an empty workspace."""
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    with Sandbox(directory=tmp_path) as box, box.session() as found:
        yield found


def python(session: SandboxSession, code: str, *, fresh: bool) -> str:
    """Run Python in a session and give what it printed; it must have come to its end."""
    done = session.run([PYTHON, "-I", "-S", "-c", code], fresh=fresh, timeout_s=PATIENCE_S)
    assert done.returncode == 0, done.stderr.decode()
    return done.text.strip()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leak:
    """Something that one command leaves; `look` prints `found` where the next has it."""

    name: str
    leave: str
    look: str


DAEMON = """
import os
read, write = os.pipe()  # which ends when it is what it is to be
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        os.execlp("sleep", "left" + "-over", "600")
    os._exit(0)
os.close(write)
os.read(read, 1)
"""
FIND = """
import os
def line(pid):
    try:
        return open(f"/proc/{pid}/cmdline").read()
    except OSError:
        return ""
lines = [line(name) for name in os.listdir("/proc") if name.isdigit()]
print("found" if any("left" + "-over" in text for text in lines) else "no")
"""
SYSV = "import ctypes; c = ctypes.CDLL(None, use_errno=True); "
LEAKS = (
    Leak(
        name="a file in /tmp",
        leave="open('/tmp/left', 'w').write('x')",
        look="import os; print('found' if os.path.exists('/tmp/left') else 'no')",
    ),
    Leak(
        name="a file in shared memory",
        leave="open('/dev/shm/left', 'w').write('x')",
        look="import os; print('found' if os.path.exists('/dev/shm/left') else 'no')",
    ),
    Leak(
        name="a file in /run",
        leave="open('/run/lock/left', 'w').write('x')",
        look="import os; print('found' if os.path.exists('/run/lock/left') else 'no')",
    ),
    Leak(
        name="a link in the place of a directory of /run",
        leave="import os; os.rmdir('/run/lock'); os.symlink('/tmp', '/run/lock')",
        look="import os; print('found' if os.path.islink('/run/lock') else 'no')",
    ),
    Leak(
        name="System V memory",
        leave=SYSV + "assert c.shmget(4711, 4096, 0o1666) >= 0",
        look=SYSV + "print('found' if c.shmget(4711, 0, 0) >= 0 else 'no')",
    ),
    Leak(
        name="a message queue",
        leave="import os; os.close(os.open('/dev/mqueue/left', os.O_CREAT | os.O_RDWR))",
        look="import os; print('found' if os.path.exists('/dev/mqueue/left') else 'no')",
    ),
    Leak(
        name="a daemon",
        leave=DAEMON,
        look=FIND,
    ),
)


@pytest.mark.parametrize("leak", LEAKS, ids=[leak.name for leak in LEAKS])
def test_nothing_is_left_for_the_next_command(session: SandboxSession, leak: Leak) -> None:
    python(session, leak.leave, fresh=False)
    assert python(session, leak.look, fresh=False) == "found"  # the positive control
    assert python(session, leak.look, fresh=True) == "no"  # nor does the shared room show to others
    python(session, leak.leave, fresh=True)
    assert python(session, leak.look, fresh=True) == "no"


# What they share, and docs/sdk.md says so: the workspace, the home directory, the loopback network, names of the host.
SHARED = (
    Leak(name="a file of the workspace", leave="open('left', 'w').write('x')", look="print(open('left').read())"),
    Leak(
        name="a start-up file of the home",
        leave="import os; open(os.environ['HOME'] + '/.profile', 'w').write('x')",
        look="import os; print(open(os.environ['HOME'] + '/.profile').read())",
    ),
)


@both
@pytest.mark.parametrize("leak", SHARED, ids=[leak.name for leak in SHARED])
def test_what_is_shared_in_any_case(session: SandboxSession, leak: Leak, fresh: bool) -> None:
    python(session, leak.leave, fresh=fresh)
    assert python(session, leak.look, fresh=True) == "x"


LISTEN = (
    "import socket\ns = socket.socket(socket.AF_INET)\ns.bind(('127.0.0.1', 4711))\ns.listen()\n"
    "print('ready', flush=True)\nc, _ = s.accept()\nc.send(b'here')\n"
)
CONNECT = "import socket; s = socket.create_connection(('127.0.0.1', 4711), 50); print(s.recv(9).decode())"


@both
def test_loopback_is_shared_while_both_run(session: SandboxSession, fresh: bool) -> None:
    with session.start([PYTHON, "-I", "-S", "-c", LISTEN], fresh=fresh) as process:
        assert process.stdout.readline() == b"ready\n"
        assert python(session, CONNECT, fresh=True) == "here"


# ---- a command that runs beside another one

VICTIM = (
    "import os, socket, time\ns = socket.socket(socket.AF_UNIX)\ns.bind('\\0victim')\ns.listen()\n"
    "open('pid', 'w').write(str(os.getpid()))\nprint('ready', flush=True)\ntime.sleep(600)\n"
)
ATTACKS = {
    "signal": "os.kill(victim, 9)",
    "signal to all": "os.kill(-1, 9)",
    "environment": "open(f'/proc/{victim}/environ', 'rb').read(1)",
    "memory": "open(f'/proc/{victim}/mem', 'rb')",
    "descriptors": "os.open(f'/proc/{victim}/fd/0', 0)",
    "links": "os.readlink(f'/proc/{victim}/fd/0')",
    "root": "os.listdir(f'/proc/{victim}/root')",
    "abstract socket": "socket.socket(socket.AF_UNIX).connect('\\0victim')",
    "trace": "check(libc.ptrace(16, victim, 0, 0))",
    "read memory": "check(libc.process_vm_readv(victim, 0, 0, 0, 0, 0))",
    "namespaces": "check(libc.setns(os.open(f'/proc/{victim}/ns/mnt', os.O_RDONLY), 0))",
    "descriptor of a process": "check(libc.syscall(438, os.pidfd_open(victim), 0, 0))",
    "priority": "os.setpriority(os.PRIO_PROCESS, victim, 19)",
}
TRY = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
victim = {victim}
try:
    {attack}
except (OSError, ProcessLookupError) as error:
    print("refused")
else:
    print("done")
"""
HARMLESS_IN_ONE_ROOM = ("priority",)  # a nuisance among commands that the operator has put together


@both
@pytest.mark.parametrize("name", ATTACKS)
def test_another_command_is_out_of_reach(session: SandboxSession, name: str, fresh: bool) -> None:
    with session.start([PYTHON, "-I", "-S", "-c", VICTIM], env={"CANARY": "1"}, fresh=fresh) as victim:
        assert victim.stdout.readline() == b"ready\n"
        pid = python(session, "print(open('pid').read())", fresh=fresh)
        # In a room of one's own the number is the attacker's own: it is taken for a process that must not be there.
        number = "4194000" if fresh else pid
        if name == "abstract socket" or not fresh:
            number = pid
        said = python(session, TRY.format(victim=number, attack=ATTACKS[name]), fresh=fresh)
        if name == "signal to all":
            assert said in ("refused", "done")  # done: to whatever was its own
        elif not (name in HARMLESS_IN_ONE_ROOM and not fresh):
            assert said == "refused"
        assert victim.running


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "signal to all"])
def test_the_attacks_are_ones(tmp_path: Path, name: str) -> None:
    """The positive control: between two programs of one user on the host each of them succeeds."""
    if name == "namespaces" and os.geteuid() != 0:
        pytest.skip("the kernel refuses it to an ordinary user even unconfined")
    own = f"victim-{os.getpid()}"  # abstract names are the whole host's
    code = VICTIM.replace("victim", own)
    victim = subprocess.Popen([PYTHON, "-I", "-S", "-c", code], cwd=tmp_path, stdout=subprocess.PIPE)
    with victim:
        assert victim.stdout is not None and victim.stdout.readline() == b"ready\n"
        attack = TRY.format(victim=victim.pid, attack=ATTACKS[name].replace("\\0victim", f"\\0{own}"))
        done = subprocess.run([PYTHON, "-I", "-S", "-c", attack], cwd=tmp_path, capture_output=True, timeout=PATIENCE_S)
        victim.kill()
    assert done.stdout == b"done\n", done.stderr


def test_other_commands_are_not_even_seen(session: SandboxSession) -> None:
    with session.start(["sleep", "600"]), session.start(["sleep", "600"], fresh=False):
        seen = python(session, "import os; print(sum(p.isdigit() for p in os.listdir('/proc')))", fresh=True)
        assert seen == "2"  # its keeper and itself


TYPIST = """
import os
own, shown = os.openpty()
os.write(own, b"typed\\n")
print(os.ttyname(shown), flush=True)
def shows(text):
    seen = b""
    while not seen.endswith(text):  # it comes in pieces of any size
        seen += os.read(own, 99)
    print(seen.decode().strip(), flush=True)
shows(b"\\n")
shows(b"forged")
"""
EAVESDROP = """
import os
try:
    terminal = os.open({name!r}, os.O_RDWR | os.O_NOCTTY)
    print(os.read(terminal, 99).decode().strip())
    os.write(terminal, b"forged")
except OSError as error:
    print("refused")
"""


@both
def test_what_is_typed_at_another_commands_terminal(session: SandboxSession, fresh: bool) -> None:
    """The positive control: commands of the shared room have the same terminals."""
    with session.start([PYTHON, "-I", "-S", "-c", TYPIST], fresh=fresh) as typist:
        name = typist.stdout.readline().decode().strip()
        assert (name, typist.stdout.readline()) == ("/dev/pts/0", b"typed\n")  # echoed
        assert python(session, EAVESDROP.format(name=name), fresh=fresh) == ("refused" if fresh else "typed")
        if fresh:
            assert python(session, EAVESDROP.format(name=name), fresh=False) == "refused"
            typist.kill()
        else:
            assert typist.stdout.readline() == b"forged\n"


FLOODS = {
    "output that nobody reads": "while True: os.write(1, bytes(1 << 16))",
    "refused calls": "for _ in range(20):\n    if os.fork() == 0: break\n"
    "while True: libc.mount(b'none', b'/x', b'tmpfs', 0, None)",
    "stops": "if os.fork() == 0:\n    while True:\n        os.kill(me, 19); os.kill(me, 18)\nwhile True: pass",
    "orphans": "while True:\n    if os.fork() == 0:\n        os.fork()\n        os._exit(0)\n    os.wait()",
}
FLOOD = "import ctypes, os\nme, libc = os.getpid(), ctypes.CDLL(None)\nprint('on', flush=True)\n"
REFUSALS = "import ctypes\nfor _ in range(50): ctypes.CDLL(None).mount(b'none', b'/x', b'tmpfs', 0, None)\nprint('on')"


@both
@pytest.mark.parametrize("name", FLOODS)
def test_others_go_on_beside_a_flood(session: SandboxSession, name: str, fresh: bool) -> None:
    """They begin, are answered and end; and the one that floods still ends when it is told to."""
    with session.start([PYTHON, "-I", "-S", "-c", FLOOD + FLOODS[name]], fresh=fresh) as flooding:
        assert flooding.stdout.readline() == b"on\n"
        for kind in (True, False):
            assert python(session, REFUSALS, fresh=kind) == "on"
        assert flooding.running
        flooding.kill()
        assert flooding.wait(PATIENCE_S) == 137


@both
def test_what_one_command_was_given_is_not_with_the_next(session: SandboxSession, fresh: bool) -> None:
    """Variables, words, streams and directories; the server holds none of them for longer than it takes."""
    given = [PYTHON, "-I", "-S", "-c", "import sys, os; sys.stdin.read(); print(os.environ['GIVEN'])", "canary"]
    done = session.run(given, fresh=fresh, env={"GIVEN": "canary"}, input=b"canary")
    assert done.text.strip() == "canary"  # the positive control
    look = """
import glob, os
def read(path):
    try:
        return open(path, "rb").read()
    except OSError:
        return b""
held = [os.readlink(path) for path in glob.glob("/proc/self/fd/[3-9]") if os.path.lexists(path)]
seen = [read(path) for kind in ("environ", "cmdline") for path in glob.glob("/proc/[0-9]*/" + kind)]
print(any(b"can" + b"ary" in text for text in seen), held, os.getcwd() == os.environ["PWD"])
"""
    assert python(session, look, fresh=fresh) == "False [] True"


SPINNING = "print('on', flush=True)\nwhile True: pass"
LIMIT = """
import os, resource
found = 0
for number in range(2, 4000):
    try:
        if number != os.getpid():
            resource.prlimit(number, resource.RLIMIT_CPU, (0, 0))
            found += 1
    except ProcessLookupError:
        pass
print(found)
"""


@both
def test_resource_limits_of_another_command(session: SandboxSession, fresh: bool) -> None:
    """Only in the shared room can one command end another by them, as docs/sdk.md says."""
    with session.start([PYTHON, "-I", "-S", "-c", SPINNING], fresh=fresh) as victim:
        assert victim.stdout.readline() == b"on\n"
        found = int(python(session, LIMIT, fresh=fresh))
        if fresh:
            assert (found, victim.running) == (0, True)
            victim.kill()
        else:
            assert found > 0 and victim.wait(PATIENCE_S) == 137


# ---- a command against what serves it

STOP_AND_GO = """
me = os.getpid()
if os.fork() == 0:
    for _ in range(3000):
        os.kill(me, 19)
        os.kill(me, 18)
    os._exit(0)
os.wait()
"""
SERVER = {
    "kill the keeper": "for n in range(1, 65):\n    try: os.kill(1, n)\n    except OSError: pass",
    "kill everybody": "try: os.kill(-1, 9)\nexcept OSError: pass",
    "stop and go on": STOP_AND_GO,
    "close everything": "os.closerange(0, 1000)",
    "mount over what comes next": (
        "libc.mount(b'none', b'/usr', b'tmpfs', 0, None); libc.umount2(b'/proc', 2); libc.unshare(0x20000)"
    ),
    "change the settings": (
        "for name in ('pid_max', 'shmall', 'core_pattern'):\n"
        "    try: open('/proc/sys/kernel/' + name, 'w').write('1')\n    except OSError: pass"
    ),
    "take all descriptors": "kept = []\ntry:\n    while True: kept.append(os.dup(0))\nexcept OSError: pass",
    "fill its places": (
        "for place in ('/tmp', '/run', '/dev/shm'):\n    try:\n        with open(place + '/f', 'wb') as f:\n"
        "            for _ in range(20): f.write(b'x' * (1 << 20))\n    except OSError: pass"
    ),
}


MOUNTED = "import re; print(re.sub('(?m)^[0-9]+ [0-9]+ [0-9:]+', '', open('/proc/self/mountinfo').read()))"


MANY = """
import os, time
number = 0
try:
    while os.fork():
        number += 1
    time.sleep(600)
except OSError:
    print(number + 1, flush=True)
time.sleep(600)
"""


@both
def test_no_command_takes_all_processes_however_many_ran_before(tmp_path: Path, fresh: bool) -> None:
    with Sandbox(Policy({"limits": {"processes": 64}}), directory=tmp_path) as box, box.session() as session:
        for _ in range(8):  # the numbers of processes begin again after the 364th
            with session.start([PYTHON, "-I", "-S", "-c", MANY], fresh=True) as process:
                assert int(process.stdout.readline()) <= 56
                process.kill()
        with session.start([PYTHON, "-I", "-S", "-c", MANY], fresh=fresh) as process:
            assert int(process.stdout.readline()) <= 56
            assert python(session, "print('on')", fresh=True) == "on"
            process.kill()


@both
@pytest.mark.parametrize("name", SERVER)
def test_the_session_goes_on(session: SandboxSession, name: str, fresh: bool) -> None:
    before = python(session, MOUNTED, fresh=True)
    attack = "import ctypes, os\nlibc = ctypes.CDLL(None)\n" + SERVER[name]
    session.run([PYTHON, "-I", "-S", "-c", attack], fresh=fresh, timeout_s=PATIENCE_S)
    assert python(session, "print('on')", fresh=fresh) == "on"
    assert python(session, MOUNTED, fresh=True) == before
    assert python(session, "print(open('/proc/sys/kernel/pid_max').read())", fresh=True) != "1"


BOMB = """
import os, signal
for number in range(1, 32):
    if number not in (9, 17, 19):
        signal.signal(number, signal.SIG_IGN)
print("on", flush=True)
while True:
    try:
        os.fork()
    except OSError:
        pass
"""


@both
def test_a_bomb_is_over_when_its_time_is_up(tmp_path: Path, fresh: bool) -> None:
    with Sandbox(Policy({"limits": {"processes": 64}}), directory=tmp_path) as box, box.session() as session:
        with session.start([PYTHON, "-I", "-S", "-c", BOMB], fresh=fresh) as process:
            assert process.stdout.readline() == b"on\n"
            process.kill()
            assert process.wait(PATIENCE_S) == 137
        assert python(session, "print('on')", fresh=True) == "on"
