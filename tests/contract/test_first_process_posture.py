"""What the command finds itself to be, whichever first process started it: no power, nothing inherited."""

import ctypes
import errno
import os
import platform
from pathlib import Path
from typing import Any

import pytest

from ringfence.sandbox import facts
from tests.contract import first_process
from tests.contract.first_process import ALLOW_ALL, STOP_ITSELF, STOPPED, Implementation, Order, Running, ask

KEYCTL = {"x86_64": 250, "aarch64": 219}[platform.machine()]
SESSION_KEYRING_ID = f"libc.syscall({KEYCTL}, 0, -3, 0)"  # KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING

LOOK = """
import json, os, resource
def text(path):
    with open(path, "rb") as file:
        return file.read().decode()
status = dict(line.split(":", 1) for line in text("/proc/self/status").splitlines())
def descriptors():
    return sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}"))
def attempt(path, data):
    try:
        with open(path, "wb", buffering=0) as file:
            file.write(data)
    except OSError as error:
        return error.errno
    return 0
names = ("RLIMIT_NPROC", "RLIMIT_CORE", "RLIMIT_NOFILE", "RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_CPU", "RLIMIT_FSIZE")
print(json.dumps({
    "status": {name: status[name].strip() for name in status if name[:3] in ("Cap", "Sig", "Shd", "NoN", "Sec")},
    "identity": [os.getresuid(), os.getresgid(), os.getpid(), os.getppid(), os.getsid(0)],
    "descriptors": descriptors(),
    "environment": text("/proc/self/environ"),
    "maps": [text(f"/proc/self/{name}").split() for name in ("uid_map", "gid_map", "setgroups")],
    "limits": {name: resource.getrlimit(getattr(resource, name)) for name in names},
    "pid_max": text("/proc/sys/kernel/pid_max").strip(),
    "shmall": text("/proc/sys/kernel/shmall").strip(),
    "sysctl": attempt("/proc/sys/kernel/pid_max", b"4000"),
    "oom": text("/proc/self/oom_score_adj").strip(),
    "umask": status["Umask"].strip(),
    "cwd": os.getcwd(),
    "mounts": [line.split()[4:6] for line in text("/proc/self/mountinfo").splitlines() if " /proc" in line],
}))
"""
MORE = (
    ("pid_max", "320"),
    ("shmall", "7"),
    ("limit", "NPROC=99"),
    ("limit", "CORE=1"),
    ("limit", "NOFILE=64"),
    ("limit", "AS=4000000000"),
    ("limit", "DATA=3000000000"),
    ("limit", "CPU=50"),
    ("limit", "FSIZE=900000"),
)
LIMITS = {"NPROC": 99, "CORE": 1, "NOFILE": 64, "AS": 4_000_000_000, "DATA": 3_000_000_000, "CPU": 50, "FSIZE": 900_000}


def look(implementation: Implementation) -> Any:
    """Ask the command for everything at once."""
    return ask(implementation, LOOK, more=MORE, environment=("PATH=/usr/bin", "A= b=c"), cwd="/tmp")


def test_the_posture_of_the_command(first: Implementation) -> None:
    found = look(first)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "SigBlk", "SigPnd", "ShdPnd"):
        assert int(found["status"][name], 16) == 0, name
    assert (found["status"]["NoNewPrivs"], found["status"]["Seccomp"]) == ("1", "2")
    assert found["status"]["Seccomp_filters"] == str(1 + filters_here())
    assert found["identity"][:2] == [[1000] * 3] * 2
    assert found["descriptors"] == [0, 1, 2]
    assert found["environment"] == "PATH=/usr/bin\0A= b=c\0"
    assert found["maps"] == [["1000", "0", "1"], ["1000", "0", "1"], ["deny"]]
    assert found["limits"] == {f"RLIMIT_{name}": [amount, amount] for name, amount in LIMITS.items()}
    assert (found["shmall"], found["cwd"]) == ("7", "/tmp")
    assert found["sysctl"] == errno.EROFS
    assert ["/proc/sys", "ro,nosuid,nodev,noexec,relatime"] in found["mounts"]
    assert found["oom"] == Path("/proc/self/oom_score_adj").read_text().strip()
    if kernel() >= (6, 14):
        assert found["pid_max"] == "320"


@pytest.mark.require("bubblewrap", "userns", "cc")
def test_both_give_the_same(native_binary: Path) -> None:
    native = look(Implementation((first_process.NATIVE,), native_binary))
    reference = look(first_process.python())
    assert native == reference


def test_a_limit_is_never_raised(first: Implementation) -> None:
    script = "import json, resource; print(json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)))"
    hard = ask(first, script)[1]
    assert ask(first, script, more=(("limit", f"NOFILE={hard + 1}"),)) == [hard, hard]


def kernel() -> tuple[int, ...]:
    """Give the kernel's version."""
    return tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])


def filters_here() -> int:
    """Count the filters that were loaded before us."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("Seccomp_filters:")[2].split()[0])


def test_the_first_process_has_no_power_left_either(first: Implementation) -> None:
    with Running(first, Order(argv=STOP_ITSELF)) as running:
        ready = running.receive()
        running.control.send(b"go")
        assert running.receive().text == b"filter"
        assert running.receive().text == STOPPED
        lines = Path(f"/proc/{ready.pid}/status").read_text().splitlines()
        status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0, name
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        if os.geteuid() == 0:  # nobody else may look: it is not dumpable
            held = {os.readlink(f"/proc/{ready.pid}/fd/{number}") for number in (0, 1, 2)}
            assert held == {"/dev/null"}  # else a pipe would not end when the command closes it


OPAQUE = """
import json, os
def attempt(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0
def read(path):
    with open(path, "rb", buffering=0) as file:
        file.seek(4096 if path.endswith("mem") else 0)
        file.read(1)
names = ("environ", "mem", "maps", "auxv", "stack", "syscall", "personality")
actions = {name: (lambda name=name: read(f"/proc/1/{name}")) for name in names}
links = ("exe", "cwd", "root", "fd/0", "ns/user")
actions.update({name: (lambda name=name: os.readlink(f"/proc/1/{name}")) for name in links})
actions["map_files"] = lambda: os.listdir("/proc/1/map_files")
print(json.dumps({name: attempt(action) for name, action in actions.items()}))
"""


def test_nothing_of_the_first_process_can_be_read(first: Implementation) -> None:
    found = ask(first, OPAQUE)
    assert {name: error for name, error in found.items() if error not in (errno.EACCES, errno.EPERM)} == {}


KILL = """
import json, os
try:
    os.kill(1, 0)
    print(json.dumps(0))
except OSError as error:
    print(json.dumps(error.errno))
"""


def test_the_scope_of_signals(first: Implementation) -> None:
    if facts.landlock_abi() < 6:
        pytest.skip("the kernel has no Landlock scopes")
    assert ask(first, KILL) == 0  # without it nothing stands in between
    assert ask(first, KILL, more=(("scope", "abstract-sockets"),)) == 0
    assert ask(first, KILL, more=(("scope", "abstract-sockets"), ("scope", "signals"))) == errno.EPERM


REOPEN = """
import json, os
def attempt(path, flags):
    try:
        os.close(os.open(path, flags))
    except OSError as error:
        return error.errno
    return 0
print(json.dumps([
    attempt("/proc/self/fd/0", os.O_RDONLY),
    attempt("/proc/self/fd/0", os.O_WRONLY),
    attempt("/proc/self/fd/1", os.O_WRONLY | os.O_APPEND),
    attempt("/proc/self/fd/1", os.O_WRONLY | os.O_TRUNC),
    attempt("/proc/self/fd/1", os.O_RDONLY),
    attempt("/tmp/new", os.O_CREAT | os.O_RDWR),
    attempt("/usr", os.O_RDONLY | os.O_DIRECTORY),
]), file=open("/dev/stderr", "w"))
"""


@pytest.mark.require("landlock")
@pytest.mark.parametrize(
    ("files", "expected"),
    [(False, [0] * 7), (True, [0, errno.EACCES, 0, errno.EACCES, errno.EACCES, 0, 0])],
)
def test_a_stream_gives_no_more_rights_than_it_has(
    first: Implementation, open_path: Path, files: bool, expected: list[int]
) -> None:
    if facts.landlock_abi() < 3:
        pytest.skip("the kernel's Landlock does not know truncation")
    source, log = open_path / "source", open_path / "log"
    source.write_text("original")
    log.write_text("old\n")
    argv = ("/usr/bin/python3", "-I", "-c", REOPEN)
    with source.open("rb") as stdin, log.open("ab") as stdout:
        order = Order(argv=argv, landlock_files=files)
        with Running(first, order, stdin=stdin.fileno(), stdout=stdout.fileno()) as running:
            running.start()
            status, _, error = running.end()
    assert (status, error.decode()) == (0, f"{expected}\n")


def test_the_session_keyring_is_a_fresh_one(first: Implementation) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    mine = libc.syscall(KEYCTL, 0, -3, 0)
    if mine < 0:
        pytest.skip(f"keyctl: {os.strerror(ctypes.get_errno())}")
    script = f"import ctypes; libc = ctypes.CDLL(None); print({SESSION_KEYRING_ID})"
    found = [ask(first, script, program=ALLOW_ALL) for _ in range(2)]
    assert min(found) > 0
    assert len({mine, *found}) == 3


def test_a_nested_sandbox_may_ask_for_unsealed_sysctls(first: Implementation) -> None:
    script = "import json; print(json.dumps([line.split()[4] for line in open('/proc/self/mountinfo')]))"
    assert "/proc/sys" in ask(first, script, more=(("seal", "1"),))
    assert "/proc/sys" not in ask(first, script, more=(("seal", "0"),))
