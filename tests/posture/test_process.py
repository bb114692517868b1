"""Processes of a live sandbox, read from /proc on the host and from inside: identity, power, descriptors, limits."""

import ctypes
import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests import paths
from tests.posture.live import ARGV, CANARY, SERVER, TIMEOUT_S, WORKSPACE_OWNER, Live, links, only_child, status

CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
KERNEL_NAMES = {"mount": "mnt"}  # /proc/PID/ns says `mnt`
SANDBOX_UID = 0x70000000  # the lowest kernel uid that a root-launched sandbox runs as
AS_ROOT = os.geteuid() == 0


def link(pid: int, name: str) -> str:
    return os.readlink(f"/proc/{pid}/{name}")


def environment(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")[:-1]
    return dict(entry.decode().split("=", 1) for entry in entries)


def command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]


def maps(pid: int, name: str) -> list[str]:
    return Path(f"/proc/{pid}/{name}_map").read_text().split()


# ---- who the command is


@pytest.mark.parametrize("name", ["uid", "gid"])
def test_the_command_sees_the_promised_id_and_no_other(box: Live, name: str) -> None:
    promised = getattr(box.plan.identity, name)
    inside, outside, count = maps(box.command, name)
    kernel_ids = set(status(box.command)[f"{name.title()}"])
    assert (inside, count) == (str(promised), "1")
    assert kernel_ids == {outside}
    assert box.inside(f"import os; result = set(os.getres{name}()) == {{{promised}}}")


@pytest.mark.parametrize("who", ["monitor", "init", "command"])
def test_no_process_runs_as_a_kernel_id_with_power(box: Live, who: str) -> None:
    ids = {int(word) for name in ("Uid", "Gid") for word in status(getattr(box, who))[name]}
    if AS_ROOT:
        assert box.plan.identity.idmap and min(ids) >= SANDBOX_UID
    else:
        assert ids <= {os.getuid(), os.getgid()}


@pytest.mark.parametrize("who", ["init", "command"])
def test_no_process_keeps_a_group(box: Live, who: str) -> None:
    """Those of a root session would open what they may read; a user cannot drop its own in a namespace."""
    if AS_ROOT:
        assert status(getattr(box, who))["Groups"] == []


def test_the_account_has_the_promised_name_and_home(box: Live) -> None:
    who = box.plan.identity
    found = box.inside("import os, pwd; result = list(pwd.getpwuid(os.getuid()))")
    assert isinstance(found, list)
    assert [found[0], *found[2:4], found[5]] == [who.user, who.uid, who.gid, who.home]


def test_files_written_in_the_workspace_keep_its_owner_on_disk(box: Live) -> None:
    code = "import os; open('made', 'w').close(); result = os.stat('made').st_uid"
    if box.plan.workspace.mode == "readonly":
        code = "try:\n    open('made', 'w')\nexcept OSError as error:\n    result = error.errno"
        assert box.inside(code) == 30  # EROFS
        return
    assert box.inside(code) == box.plan.identity.uid
    (uppers := box.place.home / ".local/state/ringfence/runs").exists()
    place = box.place.workspace if box.plan.workspace.mode == "direct" else next(uppers.glob("*/upper"))
    found = (place / "made").stat()
    owner = WORKSPACE_OWNER if AS_ROOT else os.getuid()
    assert found.st_uid == owner == box.place.workspace.stat().st_uid
    if AS_ROOT:
        assert (box.plan.identity.owner_uid, box.plan.identity.owner_gid) == (owner, owner)


# ---- what it may do


@pytest.mark.parametrize("name", CAPABILITY_SETS)
@pytest.mark.parametrize("who", ["init", "command"])
def test_every_capability_set_is_empty(box: Live, who: str, name: str) -> None:
    assert int(status(getattr(box, who))[name][0], 16) == 0


def test_the_monitor_has_nothing_in_effect(box: Live) -> None:
    found = status(box.monitor)
    assert int(found["CapEff"][0], 16) == int(found["CapPrm"][0], 16) == 0


@pytest.mark.parametrize("who", ["monitor", "init", "command"])
def test_no_process_can_gain_privileges(box: Live, who: str) -> None:
    assert status(getattr(box, who))["NoNewPrivs"] == ["1"]


@pytest.mark.parametrize("who", ["init", "command"])
def test_seccomp_filters_every_process_inside(box: Live, who: str) -> None:
    found = status(getattr(box, who))
    assert box.plan.seccomp == "default"
    assert (found["Seccomp"], found["Seccomp_filters"]) == (["2"], ["1"])


@pytest.mark.parametrize("name", ["user", "mount", "pid", "ipc", "uts", "net", "cgroup"])
def test_each_promised_namespace_is_the_sandboxs_own(box: Live, name: str) -> None:
    assert name in box.plan.namespaces
    kernel_name = f"ns/{KERNEL_NAMES.get(name, name)}"
    assert link(box.command, kernel_name) != link(os.getpid(), kernel_name)


def test_the_plan_promises_no_other_namespaces(box: Live) -> None:
    assert sorted(box.plan.namespaces) == sorted(["user", "mount", "pid", "ipc", "uts", "net", "cgroup"])


def test_the_command_has_no_power_over_its_own_namespaces(box: Live) -> None:
    """They belong to the first process's user namespace; the command's own is a child without any."""
    assert link(box.command, "ns/user") != link(box.init, "ns/user")
    for name in ("mnt", "pid", "ipc", "uts", "net", "cgroup"):
        assert link(box.command, f"ns/{name}") == link(box.init, f"ns/{name}")


def test_the_first_process_is_pid_one(box: Live) -> None:
    assert status(box.init)["NSpid"][-1] == "1"
    assert box.inside("import os; result = [os.getppid(), os.getpid()]") == [1, int(status(box.command)["NSpid"][-1])]


# ---- Landlock scopes, by what they stop


def test_the_plan_promises_the_scopes_that_the_kernel_has(box: Live) -> None:
    abi = ctypes.CDLL(None).syscall(444, None, 0, 1)
    assert set(box.plan.landlock_scopes) == ({"signals", "abstract-sockets"} if abi >= 6 else set())


SIGNAL = """
import os, subprocess, signal
def attempt(pid):
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno
    return 0
child = os.fork()
if child == 0:
    signal.pause()
result = [attempt(child), attempt(1)]
os.kill(child, 9)
os.waitpid(child, 0)
"""


def test_the_signal_scope_holds(box: Live) -> None:
    """The first process has the same kernel uid, so that only the scope refuses; a child can be signalled."""
    if "signals" not in box.plan.landlock_scopes:
        pytest.skip("the kernel has no Landlock scopes")
    assert box.inside(SIGNAL) == [0, 1]  # EPERM


CONNECT = """
import socket
def attempt(name):
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(name)
        except OSError as error:
            return error.errno
    return 0
with socket.socket(socket.AF_UNIX) as own:
    own.bind(chr(0) + "own")
    own.listen()
    result = [attempt(chr(0) + "own"), attempt(chr(0) + "outside"), attempt(chr(0) + "nobody")]
"""
LISTEN = """
import socket, sys
with socket.socket(socket.AF_UNIX) as s, socket.socket(socket.AF_UNIX) as c:
    s.bind(chr(0) + "outside")
    s.listen()
    c.connect(chr(0) + "outside")
    print("listening", flush=True)
    sys.stdin.read()
"""


@pytest.mark.require("nsenter")
def test_the_abstract_socket_scope_holds(box: Live) -> None:
    """A listener that joined the network namespace from the host is outside the command's Landlock domain."""
    if "abstract-sockets" not in box.plan.landlock_scopes:
        pytest.skip("the kernel has no Landlock scopes")
    enter = ["nsenter", "--target", str(box.init), "--user", "--net", "--preserve-credentials"]
    words = [*enter, "/usr/bin/python3", "-I", "-c", LISTEN]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdin is not None and listener.stdout is not None
        assert listener.stdout.readline() == "listening\n"
        assert box.inside(CONNECT) == [0, 1, 111]  # EPERM where somebody listens, ECONNREFUSED where nobody does
        listener.stdin.close()
        assert listener.wait(TIMEOUT_S) == 0


REOPEN = """
import os
def attempt(flags):
    try:
        os.close(os.open("/proc/self/fd/0", flags))
    except OSError as error:
        return error.errno
    return 0
print(os.read(0, 5).decode(), [attempt(flags) for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)])
"""


def test_a_redirected_file_cannot_be_opened_anew(box: Live) -> None:
    """A descriptor that was handed in stays what it is; what it leads to is not in the view."""
    if not box.plan.landlock_files:
        pytest.skip("the kernel's Landlock cannot hold this")
    given = box.place.root / "given"
    given.write_text("given")
    given.chmod(0o666)
    words = box.place.words("run", ["/usr/bin/python3", "-I", "-c", REOPEN])
    with given.open() as file:
        done = subprocess.run(
            words,
            cwd=box.place.workspace,
            env=box.place.environment(),
            stdin=file,
            capture_output=True,
            timeout=TIMEOUT_S,
        )
    assert done.stdout.decode() == "given [0, 13, 13]\n", done  # as it was given; otherwise EACCES
    assert given.read_text() == "given"


# ---- what it was handed


def test_the_command_line_is_the_promised_one(box: Live) -> None:
    assert tuple(command_line(box.command)) == box.plan.argv == ARGV


def test_the_command_holds_its_standard_streams_and_nothing_else(box: Live) -> None:
    assert sorted(os.listdir(f"/proc/{box.command}/fd")) == ["0", "1", "2"]
    assert box.client.stdin is not None
    assert link(box.command, "fd/0") == link(os.getpid(), f"fd/{box.client.stdin.fileno()}")


def test_the_first_process_holds_only_its_own_conversation(box: Live) -> None:
    # It may be just closing what it has begun with.
    paths.wait_until(lambda: sum(target.startswith("socket") for target in links(box.init)) == 1)
    targets = links(box.init)
    assert {target.partition(":")[0] for target in targets} <= {"/dev/null", "pipe", "socket"}
    assert len([target for target in targets if target.startswith("socket")]) == 1


def test_the_environment_is_the_promised_one(box: Live) -> None:
    launched_with = box.place.environment()
    promised = {}
    for variable in box.plan.environment:
        if variable.value is not None:
            promised[variable.name] = variable.value
        elif variable.name.endswith("*"):
            promised |= {k: v for k, v in launched_with.items() if k.startswith(variable.name[:-1])}
        elif variable.name in launched_with:
            promised[variable.name] = launched_with[variable.name]
    assert environment(box.command) == promised
    assert promised["FIXED"] == "value" and promised["PASSED"] == "passed" and promised["GROUP_ONE"] == "1"


@pytest.mark.parametrize("who", ["monitor", "init"])
def test_the_processes_before_the_command_have_no_environment(box: Live, who: str) -> None:
    """bubblewrap sets PWD to where it starts the first process, and nothing else is there."""
    assert environment(getattr(box, who)) in ({}, {"PWD": "/"})


def test_the_secret_of_the_launching_environment_is_in_no_process_inside(box: Live) -> None:
    assert environment(box.client.pid)["AWS_SECRET_ACCESS_KEY"] == CANARY  # positive control
    code = """
import glob
others = [path for path in glob.glob("/proc/[0-9]*/environ") if path != "/proc/1/environ"]
result = [open(path, "rb").read().decode() for path in others]
"""
    found = box.inside(code)
    assert isinstance(found, list) and found and not any(CANARY in text for text in found)


@pytest.mark.parametrize("who", ["monitor", "init"])
def test_no_command_line_carries_a_path_or_policy(box: Live, who: str) -> None:
    words = command_line(getattr(box, who))
    if who == "monitor":
        assert words[:2] == ["bwrap", "--args"] and words[2].isdecimal() and words[3] == "--"
    assert all(word.isdecimal() for word in words[-3:])
    for text in (str(box.place.root), CANARY, SERVER, "settings.toml", ".env", box.plan.hostname + " "):
        assert text not in " ".join(words)


LOOK = """
import os
def attempt(act):
    try:
        act()
    except OSError as error:
        return error.errno
    return 0
names = ["environ", "mem", "maps", "stack", "syscall", "auxv"]
result = {name: attempt(lambda: open(f"/proc/1/{name}", "rb").read(1)) for name in names}
result |= {name: attempt(lambda: os.readlink(f"/proc/1/{name}")) for name in ("exe", "cwd", "root", "ns/user")}
result |= {f"fd/{n}": attempt(lambda: os.readlink(f"/proc/1/fd/{n}")) for n in range(8)}
result["own"] = attempt(lambda: open("/proc/self/environ").read())
"""


def test_the_first_process_is_closed_to_the_command(box: Live) -> None:
    found = box.inside(LOOK)
    assert isinstance(found, dict) and found.pop("own") == 0
    assert set(found.values()) <= {1, 2, 13}, found  # EPERM, ENOENT (no such descriptor), EACCES
    assert 13 in (found["environ"], found["mem"], found["fd/0"])


def test_nothing_of_the_supervisor_is_to_be_seen(box: Live) -> None:
    """Only the sandbox's own processes are in its /proc."""
    assert box.inside("import os; result = sorted(int(n) for n in os.listdir('/proc') if n.isdigit())") == [1, 2]
    assert only_child(box.monitor) == box.first


# ---- its surroundings


def test_the_host_name_is_the_promised_one(box: Live) -> None:
    assert box.inside("import socket; result = socket.gethostname()") == box.plan.hostname
    assert socket.gethostname() != box.plan.hostname


def test_the_working_directory_is_the_promised_one(box: Live) -> None:
    assert box.inside("import os; result = os.getcwd()") == box.plan.cwd == str(box.place.workspace)


def test_the_network_is_off(box: Live) -> None:
    assert box.plan.network == "off"
    assert box.inside("import socket; result = [name for _, name in socket.if_nameindex()]") == ["lo"]
    assert Path(f"/proc/{box.command}/net/route").read_text().count("\n") == 1  # the heading


def test_the_session_keyring_is_not_the_launching_one(box: Live) -> None:
    """/proc/keys shows what the reader possesses; a session keyring of its own holds nothing of the host's."""
    try:
        host = Path("/proc/keys").read_text().splitlines()
    except OSError:
        pytest.skip("the kernel shows no keys")
    mine = {line.split()[0] for line in host if "_ses" in line or "_uid" in line}
    read = """
try:
    result = [line.split()[0] for line in open("/proc/keys") if "_ses" in line]
except OSError:
    result = []
"""
    theirs = box.inside(read)
    assert isinstance(theirs, list) and not mine & set(theirs)
