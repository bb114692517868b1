"""The egress proxy's system calls: few, known, and none by which it could reach anything by itself."""

import pytest

from ringfence.sandbox.allowed_syscalls import ALLOWED
from ringfence.sandbox.proxy_syscalls import PROXY
from ringfence.sandbox.refused_syscalls import REFUSED
from ringfence.sandbox.seccomp import RET_ALLOW, RET_ERRNO, build_list
from tests.bpf import Program

REACHING = (
    "socket socketpair connect bind listen clone clone3 fork vfork execve execveat kill tkill tgkill ptrace "
    "process_vm_readv pidfd_open pidfd_getfd unshare setns mount io_uring_setup bpf keyctl prctl"
).split()


def test_each_has_its_reason_and_none_reaches_out() -> None:
    assert all(PROXY.values())
    assert not set(PROXY) & set(REACHING)


@pytest.mark.parametrize(("machine", "arch"), [("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)])
def test_the_filter_lets_through_what_is_listed(machine: str, arch: int) -> None:
    program = Program(build_list(PROXY, machine=machine))
    numbers = {row[0]: row[1] if machine == "x86_64" else row[2] for row in ALLOWED}
    numbers |= {row[0]: row[1] if machine == "x86_64" else row[2] for row in REFUSED}
    verdicts = {name: program.run(arch, number) for name, number in numbers.items() if number is not None}
    assert {name for name, verdict in verdicts.items() if verdict == RET_ALLOW} <= set(PROXY)
    assert all(verdict & 0xFFFF0000 == RET_ERRNO for name, verdict in verdicts.items() if name not in PROXY)


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="no such system call: teleport"):
        build_list({"read": "why", "teleport": "why"})
