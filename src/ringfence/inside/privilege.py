"""Giving up power: the few kernel calls between the first process of a sandbox and the command it starts.

Theory of operation. bubblewrap hands us a process that is pid 1 and uid 0 of a user namespace A which owns
the mount, pid, network, IPC and UTS namespaces. Uid 0 of A is an ordinary uid on the host. The command does
not run in A: it runs in a child user namespace B, under the number the user expects, with empty capability
sets. So it holds no capability over any namespace of A, and the kernel refuses it any look into pid 1, whose
credentials belong to A (`__ptrace_may_access` in kernel/ptrace.c asks for CAP_SYS_PTRACE over A).

INVARIANT: once `drop_capabilities` has returned, CapInh, CapPrm, CapEff, CapBnd and CapAmb are zero
(tests/posture/test_process.py reads them from /proc).
"""

import ctypes
import errno
import fcntl
import os
import struct
import time

# <linux/prctl.h>
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

CLONE_NEWUSER = 0x10000000  # <linux/sched.h>
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096  # mount(2)
SECCOMP_SET_MODE_FILTER = 1  # seccomp(2)
SECCOMP_FILTER_FLAG_NEW_LISTENER = 8
KEYCTL_JOIN_SESSION_KEYRING, KEYCTL_REVOKE, SESSION_KEYRING = 1, 3, -3  # keyctl(2)
KEY_TRIES, KEY_PAUSE_S = 200, 0.01
CAP_VERSION_3 = 0x20080522  # capset(2)
LAST_CAPABILITY = 63  # the kernel answers EINVAL past the last one it knows

# Syscall numbers: x86_64 from asm/unistd_64.h, aarch64 from asm-generic/unistd.h.
NUMBERS = {
    "x86_64": {"seccomp": 317, "keyctl": 250, "capset": 126, "clone": 56, "rt_sigaction": 13},
    "aarch64": {"seccomp": 277, "keyctl": 219, "capset": 91, "clone": 220, "rt_sigaction": 134},
}[os.uname().machine]

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(number: int, *arguments: object) -> int:
    """Make one system call; raise OSError on failure. Pointers are passed as bytes or ctypes arrays."""
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _check(_libc.syscall(ctypes.c_long(number), *wide), f"syscall {number}")


def call(name: str, *arguments: object) -> int:
    """Call a function of the C library; raise OSError on failure."""
    return _check(getattr(_libc, name)(*arguments), name)


def descriptor_flags(descriptor: int) -> int:
    """The open file description's flags: access mode, O_APPEND (fcntl(2), F_GETFL)."""
    return fcntl.fcntl(descriptor, fcntl.F_GETFL)


def prctl(option: int, argument: int = 0, *, second: int = 0) -> int:
    """prctl(2) with the unused arguments zero, as the kernel demands."""
    zero = ctypes.c_ulong(0)
    return _check(_libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(second), zero, zero), f"prctl {option}")


def handle_by_default(signal_number: int) -> None:
    """Reset a signal, also 32 and 33, which the C library keeps to itself and posix_spawn(3) ignores."""
    syscall(NUMBERS["rt_sigaction"], signal_number, bytes(32), None, 8)  # its first member is SIG_DFL


def make_opaque() -> None:
    """Leave no core dump and let nobody without privilege over us read our memory or environment."""
    prctl(PR_SET_DUMPABLE, 0)


def die_with_parent(signal_number: int) -> None:
    """Arm the parent-death signal; executing a program with other capabilities had cleared it (prctl(2))."""
    prctl(PR_SET_PDEATHSIG, signal_number)


def seal_sysctls() -> None:
    """Make /proc/sys read-only for everybody in this mount namespace.

    SECURITY: where the command's kernel uid owns files of /proc/sys (uid 0 without id-mapped mounts), only the
    mount stands between it and kernel.core_pattern (docs/threats.md, K3).
    """
    path = b"/proc/sys"
    _check(_libc.mount(path, path, None, ctypes.c_ulong(MS_BIND), None), "bind /proc/sys")
    flags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
    _check(_libc.mount(None, path, None, ctypes.c_ulong(flags), None), "seal /proc/sys")


def leave_session_keyring(*, sealed: bool) -> None:
    """Replace the inherited session keyring by a fresh, empty one; with `sealed` by one that nobody can use.

    A kernel without keyrings has none to leave (ENOSYS); in a sandbox within a sandbox the outer filter refuses the
    call (EPERM), and the outer keyring is fresh already. An ordinary user has 200 keys (kernel.keys.maxkeys), one of
    them in each boundary that stands: where there are none left (EDQUOT) the next to end gives one back.
    """
    for left in range(KEY_TRIES, -1, -1):
        try:
            syscall(NUMBERS["keyctl"], KEYCTL_JOIN_SESSION_KEYRING, None)
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EPERM):
                return
            if error.errno != errno.EDQUOT or not left:
                raise
            time.sleep(KEY_PAUSE_S)
        else:
            if sealed:
                syscall(NUMBERS["keyctl"], KEYCTL_REVOKE, SESSION_KEYRING)
            return


def enter_user_namespace(uid: int, gid: int) -> None:
    """Move into a child user namespace in which our only identity is `uid`:`gid`."""
    _check(_libc.unshare(CLONE_NEWUSER), "unshare user namespace")
    for name, text in (("setgroups", "deny"), ("gid_map", f"{gid} 0 1"), ("uid_map", f"{uid} 0 1")):
        descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def drop_capabilities() -> None:
    """Empty every capability set, bounding and ambient included, and forbid regaining any by execve."""
    for capability in range(LAST_CAPABILITY + 1):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            break
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = struct.pack("Ii", CAP_VERSION_3, 0)
    syscall(NUMBERS["capset"], header, bytes(24))
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def install_filter(program: bytes, *, listen: bool) -> int:
    """Load a seccomp program; with `listen` return the descriptor on which refused calls are reported."""
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
    flags = SECCOMP_FILTER_FLAG_NEW_LISTENER if listen else 0
    return syscall(NUMBERS["seccomp"], SECCOMP_SET_MODE_FILTER, flags, header)
