"""The filter in the running kernel: each refusal has gone further without it first; reports reach a listener.

Every call is made by a process of its own, in user, mount, network, IPC and UTS namespaces of its own: what succeeds
without the filter, even for root, touches nothing that outlives it.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import platform
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ringfence.sandbox import seccomp
from ringfence.sandbox.allowed_syscalls import ALLOWED
from ringfence.sandbox.refused_syscalls import ABSENT, REFUSED
from tests.paths import PATIENCE_S

MACHINE = platform.machine()
pytestmark = [
    pytest.mark.require("userns"),
    pytest.mark.skipif(MACHINE not in ("x86_64", "aarch64"), reason="the filter knows x86_64 and aarch64"),
]
ROWS = [*(row[:3] for row in ALLOWED), *(row[:3] for row in REFUSED), *(row[:3] for row in ABSENT)]
NUMBER = {row[0]: row[1] if MACHINE == "x86_64" else row[2] for row in ROWS}

PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER, NEW_LISTENER = 38, 1, 8
CLONE_NEWUSER, CLONE_NEWUTS = 0x10000000, 0x04000000
THROW_AWAY = CLONE_NEWUSER | CLONE_NEWUTS | 0x00020000 | 0x08000000 | 0x40000000  # and NEWNS, NEWIPC, NEWNET
AT_FDCWD = -100
NOTIF_RECV, NOTIF_SEND, CONTINUE = 0xC0502100, 0xC0182101, 1  # seccomp_unotify(2)

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def call(number: int | str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make a system call; return its result, or the negative errno."""
    code = NUMBER[number] if isinstance(number, str) else number
    assert code is not None, number
    words = [ctypes.c_ulong(each & (1 << 64) - 1) if isinstance(each, int) else each for each in arguments]
    ctypes.set_errno(0)
    result: int = libc.syscall(ctypes.c_long(code), *words)
    return -ctypes.get_errno() if result == -1 else result


def load(code: bytes, *, listen: bool = False) -> int:
    """Load a filter into this process; return the listener."""
    buffer = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer)))
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    result = call("seccomp", SECCOMP_SET_MODE_FILTER, NEW_LISTENER if listen else 0, header)
    assert result >= 0, os.strerror(-result)
    return result


def enter_throw_away_namespaces() -> None:
    uid, gid = os.getuid(), os.getgid()
    assert libc.unshare(THROW_AWAY) == 0
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def outcome(probe: Callable[[], int], code: bytes | None) -> int:
    """What `attempt` gives once others of this user leave room: there are few keys and instances of inotify."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := attempt(probe, code)) in (errno.EDQUOT, errno.EMFILE) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def attempt(probe: Callable[[], int], code: bytes | None) -> int:
    """Run `probe` in a child, with the filter if there is one; return 0, an errno, or the negative signal."""
    child = os.fork()
    if child == 0:
        status = 255
        try:
            enter_throw_away_namespaces()
            if code is not None:
                load(code)
            status = -min(probe(), 0)
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an own, empty working directory to name files in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --------------------------------------------------------------------------------------------------- refusals


class Refusal(NamedTuple):
    """A call that must fail with `refused`, and ends with `native` where nothing stops it."""

    name: str
    probe: Callable[[], int]
    refused: int = errno.EPERM
    native: int = 0


def own_memory() -> int:
    text = ctypes.create_string_buffer(b"canary")
    vector = ctypes.create_string_buffer(struct.pack("PL", ctypes.addressof(text), 6))
    return call("process_vm_readv", os.getpid(), vector, 1, vector, 1, 0)


def child_in_namespace() -> int:
    result = call("clone", CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    if result == 0:
        os._exit(0)
    return result


def other_namespace() -> int:
    return call("setns", os.open("/proc/self/ns/uts", os.O_RDONLY), CLONE_NEWUTS)


def unmounted() -> int:
    """Unmount a tmpfs if it could be mounted; without the filter both succeed."""
    mounted()
    return call("umount2", b"/tmp", 2)


def mounted() -> int:
    return call("mount", b"none", b"/tmp", b"tmpfs", 0, None)


def on_file(name: str, *arguments: int | bytes | None) -> int:
    Path("file").touch()
    return call(name, *arguments)


def changed(mode: int) -> int:
    return on_file("fchmodat", AT_FDCWD, b"file", mode)


def changed_by_descriptor() -> int:
    return call("fchmod", os.open("file", os.O_CREAT | os.O_RDWR, 0o644), 0o6755)


def listener() -> int:
    allow_all = struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000)
    buffer = ctypes.create_string_buffer(allow_all, 8)
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 1, ctypes.addressof(buffer)))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return call("seccomp", SECCOMP_SET_MODE_FILTER, NEW_LISTENER, header)


def space(size: int) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(size)


O_CREAT, O_TMPFILE = os.O_CREAT | os.O_WRONLY, os.O_TMPFILE | os.O_WRONLY
REFUSALS = [
    Refusal("new user namespace", lambda: call("unshare", CLONE_NEWUSER)),
    Refusal("child in a new namespace", child_in_namespace),
    Refusal("another namespace", other_namespace),
    Refusal("clone3", lambda: call("clone3", 0, 0), errno.ENOSYS, errno.EINVAL),
    Refusal("mount", mounted),
    Refusal("unmount", unmounted),
    Refusal("chroot", lambda: call("chroot", b".")),
    Refusal("pivot_root", lambda: call("pivot_root", b".", b"."), native=errno.EINVAL),
    Refusal("fsopen", lambda: call("fsopen", b"tmpfs", 0)),
    Refusal("fsmount", lambda: call("fsmount", -1, 0, 0), native=errno.EBADF),
    Refusal("open_tree", lambda: call("open_tree", AT_FDCWD, b"/", 0)),
    Refusal("move_mount", lambda: call("move_mount", -1, b"", -1, b"", 0x44), native=errno.EBADF),
    Refusal("mount_setattr", lambda: call("mount_setattr", AT_FDCWD, b"/", 0, space(32), 0), native=errno.EINVAL),
    Refusal("host name", lambda: call("sethostname", b"x", 1)),
    Refusal("ptrace", lambda: call("ptrace", 0, 0, 0, 0)),
    Refusal("memory of a process", own_memory),
    Refusal("descriptor of a process", lambda: call("pidfd_getfd", os.pidfd_open(os.getpid()), 0, 0)),
    Refusal("process_madvise", lambda: call("process_madvise", -1, 0, 0, 4, 0), native=errno.EBADF),
    Refusal("move_pages", lambda: call("move_pages", 0, 0, 0, 0, 0, 0)),
    Refusal("session keyring", lambda: call("keyctl", 0, -3, 1)),
    Refusal("new key", lambda: call("add_key", b"user", b"ringfence-probe", b"x", 1, -2)),
    Refusal("sought key", lambda: call("request_key", b"user", b"ringfence-none", 0, 0), native=errno.ENOKEY),
    Refusal("userfaultfd", lambda: call("userfaultfd", 1)),
    Refusal("perf", lambda: call("perf_event_open", 0, 0, -1, -1, 0), native=errno.EFAULT),
    Refusal("io_uring", lambda: call("io_uring_setup", 1, space(120)), errno.ENOSYS),
    Refusal("file handle", lambda: call("name_to_handle_at", AT_FDCWD, b"/", 0, 0, 0), native=errno.EFAULT),
    Refusal("clock", lambda: call("adjtimex", space(208))),
    Refusal("personality", lambda: call("personality", 0x0400000)),
    Refusal("disguise", lambda: call("prctl", 35, 15, space(4), 0, 0)),
    Refusal("typing for the user", lambda: call("ioctl", -1, 0x5412, b"x"), native=errno.EBADF),
    Refusal("the same, high bits set", lambda: call("ioctl", -1, 0x5412 | 1 << 40, b"x"), native=errno.EBADF),
    Refusal("pasting for the user", lambda: call("ioctl", -1, 0x541C, b"x"), native=errno.EBADF),
    Refusal("line discipline", lambda: call("ioctl", -1, 0x5423, space(4)), native=errno.EBADF),
    Refusal("packet socket", lambda: call("socket", 17, 3, 0), errno.EAFNOSUPPORT),
    Refusal("raw socket", lambda: call("socket", 2, 3, 1)),
    Refusal("raw IPv6 socket", lambda: call("socket", 10, 3, 58)),
    Refusal("MPTCP", lambda: call("socket", 2, 1, 262), errno.EPROTONOSUPPORT),
    Refusal("netlink beyond ROUTE", lambda: call("socket", 16, 3, 15), errno.EPROTONOSUPPORT),
    Refusal("socketpair", lambda: call("socketpair", 2, 1, 0, space(8)), errno.EAFNOSUPPORT, errno.EOPNOTSUPP),
    Refusal("setuid", lambda: changed(0o4755)),
    Refusal("setuid with flags", lambda: on_file("fchmodat2", AT_FDCWD, b"file", 0o4755, 0)),
    Refusal("setuid by descriptor", changed_by_descriptor),
    Refusal("created setuid", lambda: call("openat", AT_FDCWD, b"made", O_CREAT, 0o4755)),
    Refusal("unnamed setuid", lambda: call("openat", AT_FDCWD, b".", O_TMPFILE, 0o4755)),
    Refusal("whiteout", lambda: call("mknodat", AT_FDCWD, b"device", 0o020644, 0)),
    Refusal("listener of one's own", listener),
]
if MACHINE == "x86_64":
    REFUSALS += [
        Refusal("iopl", lambda: call("iopl", 0)),
        Refusal("modify_ldt", lambda: call("modify_ldt", 0, space(8), 8)),
        Refusal("chmod", lambda: on_file("chmod", b"file", 0o4755)),
        Refusal("open", lambda: call("open", b"made", O_CREAT, 0o4755)),
        Refusal("creat", lambda: call("creat", b"made", 0o4755)),
        Refusal("mknod", lambda: call("mknod", b"device", 0o020644, 0)),
    ]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_refused_by_the_filter_and_by_nothing_else(case: Refusal, here: Path) -> None:
    without = outcome(case.probe, None)
    if without in (errno.ENOSYS, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT):
        pytest.skip(f"this kernel has it not: {errno.errorcode[without]}")
    for left in here.iterdir():
        left.unlink()
    assert without == case.native
    assert outcome(case.probe, seccomp.build("default", notify=False, machine=MACHINE)) == case.refused


ALLOWANCES: list[tuple[str, Callable[[], int]]] = [
    ("unix socket", lambda: call("socket", 1, 2, 0)),
    ("tcp", lambda: call("socket", 2, 1, 6)),
    ("udp over IPv6", lambda: call("socket", 10, 2 | os.O_CLOEXEC, 0)),
    ("netlink route", lambda: call("socket", 16, 3, 0)),
    ("socketpair", lambda: call("socketpair", 1, 1, 0, space(8))),
    ("setgid for a shared repository", lambda: changed(0o2775)),
    ("fifo", lambda: call("mknodat", AT_FDCWD, b"fifo", 0o010644, 0)),
    ("unnamed file", lambda: call("openat", AT_FDCWD, b".", O_TMPFILE, 0o600)),
    ("memfd", lambda: call("memfd_create", b"x", 0)),
    ("pidfd", lambda: call("pidfd_open", os.getpid(), 0)),
    ("signal by pidfd", lambda: call("pidfd_send_signal", os.pidfd_open(os.getpid()), 0, 0, 0)),
    ("inotify", lambda: call("inotify_init1", 0)),
    ("no address randomisation", lambda: call("personality", 0x0040000)),
    ("System V shared memory", lambda: call("shmget", 0, 4096, 0o1600)),
    ("message queue", lambda: call("msgget", 0, 0o1600)),
    ("attribute", lambda: on_file("getxattr", b"file", b"user.x", 0, 0) + errno.ENODATA),
    ("own limits", lambda: call("prlimit64", 0, 7, 0, space(16))),
    ("another filter on top", lambda: load(struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000))),
]


@pytest.mark.parametrize("profile", seccomp.PROFILES)
@pytest.mark.parametrize("case", ALLOWANCES, ids=lambda case: case[0])
def test_allowed(case: tuple[str, Callable[[], int]], profile: str, here: Path) -> None:
    assert outcome(case[1], None) == 0
    for left in here.iterdir():
        left.unlink()
    assert outcome(case[1], seccomp.build(profile, notify=False, machine=MACHINE)) == 0


NESTED_ONLY = ("new user namespace", "child in a new namespace", "another namespace", "mount", "unmount", "chroot")


@pytest.mark.parametrize("case", [case for case in REFUSALS if case.name in NESTED_ONLY], ids=lambda case: case.name)
def test_nested_builds_namespaces_and_views(case: Refusal, here: Path) -> None:
    assert outcome(case.probe, seccomp.build("nested", notify=False, machine=MACHINE)) == 0


@pytest.mark.parametrize("name", ["ptrace", "memory of a process"])
def test_debug_reaches_processes(name: str, here: Path) -> None:
    (case,) = (case for case in REFUSALS if case.name == name)
    assert outcome(case.probe, seccomp.build("debug", notify=False, machine=MACHINE)) == 0


@pytest.mark.skipif(MACHINE != "x86_64", reason="int 0x80 is x86")
def test_a_call_by_the_i386_gate_ends_the_process() -> None:
    def getpid_of_i386() -> int:
        code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20; int 0x80; ret
        address = ctypes.addressof(ctypes.c_char.from_buffer(code))
        return 0 if ctypes.CFUNCTYPE(ctypes.c_int)(address)() == os.getpid() else -errno.EINVAL

    if outcome(getpid_of_i386, None) != 0:
        pytest.skip("this kernel runs no i386 code")
    assert outcome(getpid_of_i386, seccomp.build("default", notify=False, machine=MACHINE)) == -signal.SIGSYS


# ----------------------------------------------------------------------------------------------- notifications


def supervise(child: int, listener_fd: int, profile: str) -> tuple[int, list[tuple[str, str]]]:
    """Answer as `seccomp.answer` says until the child ends; return its exit code and what was recorded."""
    seen: list[tuple[str, str]] = []
    poller = select.poll()
    poller.register(listener_fd, select.POLLIN)
    while True:
        (_, events), *_ = poller.poll(PATIENCE_S * 1000)
        if not events & select.POLLIN:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), seen
        notification = bytearray(80)
        fcntl.ioctl(listener_fd, NOTIF_RECV, notification)
        identity, _, _, nr, _, _, *args = struct.unpack("<QIIIIQ6Q", notification)
        refused, code, name = seccomp.answer(nr, tuple(args), profile=profile, machine=MACHINE)
        seen.append((name, code))
        response = bytearray(struct.pack("<QqiI", identity, 0, -refused, 0 if refused else CONTINUE))
        fcntl.ioctl(listener_fd, NOTIF_SEND, response)


def supervised(body: Callable[[], int], profile: str = "default") -> tuple[int, list[tuple[str, str]]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = os.fork()
        if child == 0:
            status = 255
            try:
                listener_fd = load(seccomp.build(profile, notify=True, machine=MACHINE), listen=True)
                socket.send_fds(theirs, [b"listener"], [listener_fd])
                os.close(listener_fd)
                status = body()
            finally:
                os._exit(status)
        _, (listener_fd,), _, _ = socket.recv_fds(ours, 16, 1)
        try:
            return supervise(child, listener_fd, profile)
        finally:
            os.close(listener_fd)


def test_refused_calls_are_reported_and_answered() -> None:
    def body() -> int:
        results = [
            call("unshare", CLONE_NEWUSER),
            call("socket", 40, 1, 0),
            call("socket", 2, 1, 262),
            call("ioctl", 0, 0x5412, b"x"),
            call("io_uring_setup", 1, space(120)),
            call("keyctl", 0, -3, 1),
            call("seccomp", SECCOMP_SET_MODE_FILTER, NEW_LISTENER, space(16)),
            call("clone3", 0, 0),  # not reported: libc asks on every thread
            call(999),
        ]
        codes = [-each for each in results]
        expected = [1, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, 1, errno.ENOSYS, 1, 1, errno.ENOSYS, errno.ENOSYS]
        return 0 if codes == expected else 1

    status, seen = supervised(body)
    assert seen == [
        ("unshare", "namespace-denied"),
        ("socket", "socket-family"),
        ("socket", "socket-protocol"),
        ("ioctl", "terminal-injection"),
        ("io_uring_setup", "io-uring"),
        ("keyctl", "keyring-denied"),
        ("seccomp", "seccomp-listener"),
    ]
    assert status == 0


def test_watched_calls_are_reported_and_go_ahead() -> None:
    def body() -> int:
        os.kill(os.getpid(), 0)
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        left.send(b"no address: not reported")
        refused = socket.socket(socket.AF_UNIX).connect_ex("/nonexistent/socket")
        return 0 if right.recv(64) and refused == errno.ENOENT else 1

    assert supervised(body) == (0, [("kill", "signal-attempt"), ("connect", "connect-attempt")])


@pytest.mark.skipif(MACHINE != "x86_64", reason="x32 is x86")
def test_x32_is_reported() -> None:
    def body() -> int:
        return 0 if call(seccomp.X32_BIT | 39) == -errno.ENOSYS else 1

    assert supervised(body) == (0, [("x32-39", "foreign-abi")])


def test_a_refusal_outlives_its_supervisor() -> None:
    """SECURITY: with the listener closed the kernel answers ENOSYS; what is refused never goes ahead."""

    def probe() -> int:
        os.close(load(seccomp.build("default", notify=True, machine=MACHINE), listen=True))
        return call("unshare", CLONE_NEWUSER)

    assert outcome(probe, None) == errno.ENOSYS
