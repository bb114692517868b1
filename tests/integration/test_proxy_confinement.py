"""What a process may still do confined as the egress proxy or the vault is; each step succeeds before."""

import json
import os
import subprocess
import sys

import pytest

from tests.house.sources import ROOT

PROGRAM = """
import ctypes, json, os, socket, sys
from ringfence.network import confinement
from ringfence.sandbox import proxy_syscalls, seccomp

listening = socket.create_server(("127.0.0.1", 0))
place = sys.argv[1]
held_socket = socket.socket()
held = os.open(place, os.O_RDWR)
parent = os.getppid()
pair = socket.socketpair()
libc = ctypes.CDLL(None, use_errno=True)
UNSHARE = 272 if os.uname().machine == "x86_64" else 97


def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def connect():
    with socket.socket() as made:
        made.connect(listening.getsockname())


def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


STEPS = {
    "open-a-file": lambda: os.close(os.open("/etc/passwd", os.O_RDONLY)),
    "list-a-directory": lambda: os.listdir("/"),
    "write-a-file": lambda: os.close(os.open(place, os.O_WRONLY)),
    "reopen-a-descriptor": lambda: os.close(os.open(f"/proc/self/fd/{held}", os.O_RDWR)),
    "read-another-process": lambda: open(f"/proc/{parent}/status").read(),
    "make-a-socket": lambda: socket.socket().close(),
    "make-a-unix-socket": lambda: socket.socket(socket.AF_UNIX).close(),
    "connect": connect,
    "connect-a-held-socket": lambda: held_socket.connect(listening.getsockname()),
    "fork": fork,
    "execute": lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
    "signal": lambda: os.kill(os.getpid(), 0),
    "leave-a-namespace": lambda: call(UNSHARE, 0),
    "use-io-uring": lambda: call(425, 1, ctypes.create_string_buffer(120)),
}
KEPT = {
    "speak": lambda: (pair[0].send(b"x"), pair[1].recv(1)),
    "open-a-memfd": lambda: os.close(os.open(f"/proc/self/fd/{os.memfd_create('m')}", os.O_RDONLY)),
    "allocate": lambda: bytearray(64 << 20),
    "write-to-its-log": lambda: os.pwrite(log, b"x", 0),
    "fill-its-log": lambda: os.pwrite(log, b"x", 2 << 20),
}


def outcomes(steps):
    found = {}
    for name, step in steps.items():
        try:
            step()
            found[name] = "done"
        except OSError as error:
            found[name] = f"errno {error.errno}"
    return found


log = os.memfd_create("log")
before = outcomes(STEPS) | outcomes(KEPT)
program = seccomp.build_list(getattr(proxy_syscalls, sys.argv[2]), machine=os.uname().machine)
confinement.confine(program, identifier=1_879_048_192, file_bytes=1 << 20)
print(json.dumps([before, outcomes(STEPS) | outcomes(KEPT)]), flush=True)
"""


def outcomes(tmp_path_factory: pytest.TempPathFactory, program: str) -> list[dict[str, str]]:
    """What each step led to, before and after, under one of the lists of system calls."""
    place = tmp_path_factory.mktemp("confined") / "file"
    place.write_text("content")
    place.chmod(0o666)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(place), program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The egress proxy's."""
    return outcomes(tmp_path_factory, "PROXY")


@pytest.fixture(scope="module")
def told_of_the_vault(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The vault's."""
    return outcomes(tmp_path_factory, "VAULT")


GONE = (
    "open-a-file list-a-directory write-a-file reopen-a-descriptor read-another-process make-a-socket "
    "make-a-unix-socket connect connect-a-held-socket fork execute signal leave-a-namespace use-io-uring"
).split()


@pytest.mark.parametrize("step", GONE)
def test_what_parsing_does_not_need_is_gone(told: list[dict[str, str]], step: str) -> None:
    before, after = told
    assert before[step] == "done"
    assert after[step] in ("errno 1", "errno 13", "errno 38")


def test_no_file_grows_beyond_what_was_said(
    told: list[dict[str, str]], told_of_the_vault: list[dict[str, str]]
) -> None:
    """EFBIG, where a process that has been taken over would fill the memory or the disk of the host."""
    for before, after in (told, told_of_the_vault):
        assert (before["fill-its-log"], after["fill-its-log"]) == ("done", "errno 27")
        assert after["write-to-its-log"] == "done"


@pytest.mark.parametrize("step", ["speak", "open-a-memfd", "allocate"])
def test_what_serving_needs_stays(told: list[dict[str, str]], step: str) -> None:
    assert [outcome[step] for outcome in told] == ["done", "done"]


@pytest.mark.parametrize("step", [*GONE, "open-a-memfd"])
def test_the_vault_has_even_less(told_of_the_vault: list[dict[str, str]], step: str) -> None:
    before, after = told_of_the_vault
    assert before[step] == "done"
    assert after[step] in ("errno 1", "errno 13", "errno 38")


@pytest.mark.parametrize("step", ["speak", "allocate"])
def test_what_the_vault_needs_stays(told_of_the_vault: list[dict[str, str]], step: str) -> None:
    assert [outcome[step] for outcome in told_of_the_vault] == ["done", "done"]
