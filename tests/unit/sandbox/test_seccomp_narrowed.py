"""Profile `no-unix`: like `default`, but for unix sockets that could reach the host's."""

import pytest

from ringfence.sandbox import seccomp
from tests import bpf

NUMBERS = {"x86_64": {"socket": 41, "socketpair": 53}, "aarch64": {"socket": 198, "socketpair": 199}}
UNIX, INET, STREAM, DGRAM, SEQPACKET, FLAGS = 1, 2, 1, 2, 5, 0o2004000
CASES = [
    ("socket", UNIX, STREAM, "unix-socket"),
    ("socket", UNIX, DGRAM | FLAGS, "unix-socket"),
    ("socket", INET, STREAM, ""),
    ("socketpair", UNIX, STREAM | FLAGS, ""),
    ("socketpair", UNIX, SEQPACKET, ""),
    ("socketpair", UNIX, DGRAM | FLAGS, "unix-socket"),
    ("socketpair", INET, STREAM, "socket-family"),
]


@pytest.mark.parametrize("machine", NUMBERS)
@pytest.mark.parametrize(("name", "family", "kind", "code"), CASES)
def test_answers(machine: str, name: str, family: int, kind: int, code: str) -> None:
    arguments = (family, kind, 0, 0, 0, 0)
    number = NUMBERS[machine][name]
    error, found, _ = seccomp.answer(number, arguments, profile="no-unix", machine=machine)
    assert found == code
    assert bool(error) == bool(code)
    program = bpf.Program(seccomp.build("no-unix", notify=False, machine=machine))
    assert program.run(bpf.ARCH[machine], number, arguments) == (bpf.ERRNO | error if error else bpf.ALLOW)


@pytest.mark.parametrize("machine", NUMBERS)
def test_a_refused_unix_socket_is_not_reported(machine: str) -> None:
    """Every look-up of a user asks for nscd's socket; the call has no path that would make a record worth it."""
    program = bpf.Program(seccomp.build("no-unix", notify=True, machine=machine))
    assert program.run(bpf.ARCH[machine], NUMBERS[machine]["socket"], (UNIX, STREAM, 0, 0, 0, 0)) == bpf.ERRNO | 1
