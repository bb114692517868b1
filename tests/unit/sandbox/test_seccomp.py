"""The generated filter, run by an interpreter of our own: every number, every rule, every profile, both machines."""

import ast
import inspect
import itertools
from types import ModuleType

import pytest

from ringfence.sandbox import allowed_syscalls, argument_rules, refused_syscalls, seccomp
from ringfence.sandbox.allowed_syscalls import ALLOWED
from ringfence.sandbox.argument_rules import RULES, Match
from ringfence.sandbox.refused_syscalls import ABSENT, EPERM, GRANTS, REFUSED
from tests import bpf

ENOSYS, EPROTONOSUPPORT, EAFNOSUPPORT = 38, 93, 97
MACHINES = ("x86_64", "aarch64")
VARIANTS = list(itertools.product(MACHINES, seccomp.PROFILES))
COLUMN = {"x86_64": 1, "aarch64": 2}
ROWS = [*(row[:3] for row in ALLOWED), *(row[:3] for row in REFUSED), *(row[:3] for row in ABSENT)]
NUMBER = {"x86_64": {row[0]: row[1] for row in ROWS}, "aarch64": {row[0]: row[2] for row in ROWS}}
GARBAGE = 0xDEADBEEF << 32  # what a register may hold above an int
ONES = (1 << 64) - 1
LONGEST = {"socket": 25, "mknod": 20, "mknodat": 20}  # instructions; a call by number alone takes 11, any other rule 17


def numbers(machine: str) -> dict[str, int]:
    return {name: number for name, number in NUMBER[machine].items() if number is not None}


def filters(machine: str, profile: str) -> tuple[bpf.Program, bpf.Program]:
    silent, reporting = (
        bpf.Program(seccomp.build(profile, notify=notify, machine=machine)) for notify in (False, True)
    )
    return silent, reporting


# ------------------------------------------------------------------------------------------------ the tables


def test_every_call_stands_in_one_table() -> None:
    names = [row[0] for row in (*ALLOWED, *REFUSED, *ABSENT)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("machine", MACHINES)
def test_no_number_is_given_twice(machine: str) -> None:
    given = list(numbers(machine).values())
    assert len(given) == len(set(given))


def test_newer_numbers_are_the_same_on_both_machines() -> None:
    shared = numbers("aarch64")
    for name, number in numbers("x86_64").items():
        if number >= 424:
            assert shared[name] == number, name


def test_every_row_has_a_reason() -> None:
    reasons = {row[0]: row[-1] for row in (*ALLOWED, *REFUSED, *ABSENT)}
    reasons |= {f"rule {name}": reason for name, (_, reason) in RULES.items()}
    reasons |= {f"{profile} {name}": why for profile, rows in GRANTS.items() for name, why in rows.items()}
    assert [name for name, reason in reasons.items() if len(str(reason).strip()) < 4] == []


def test_rules_are_about_allowed_calls_and_grants_about_known_ones() -> None:
    allowed = {row[0] for row in ALLOWED}
    assert set(RULES) <= allowed
    for granted in GRANTS.values():
        assert set(granted) <= {row[0] for row in REFUSED} | set(RULES)


def test_no_profile_grants_a_listener() -> None:
    assert all("seccomp" not in granted for granted in GRANTS.values())


@pytest.mark.parametrize("module", [seccomp, allowed_syscalls, refused_syscalls, argument_rules])
def test_only_struct_is_imported(module: ModuleType) -> None:
    tree = ast.parse(inspect.getsource(module))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    siblings = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0}
    assert names | siblings <= {"struct", "__future__"}


# ------------------------------------------------------------------------------------------------ the program


@pytest.mark.parametrize(("machine", "profile"), VARIANTS)
def test_size_and_longest_path(machine: str, profile: str) -> None:
    for program in filters(machine, profile):
        assert len(program.instructions) <= 256
        for name, number in numbers(machine).items():
            bound = LONGEST.get(name, 17 if name in RULES else 11)
            for arguments in interesting(name):
                program.run(bpf.ARCH[machine], number, arguments)
                assert program.last_steps <= bound, name


@pytest.mark.parametrize(("machine", "profile"), VARIANTS)
def test_another_architecture_is_killed(machine: str, profile: str) -> None:
    for program, (name, arch) in itertools.product(filters(machine, profile), bpf.ARCH.items()):
        if name != machine:
            for number in (0, 1, 11, 39, 59, 220, 1023, seccomp.X32_BIT):
                assert program.run(arch, number) == bpf.KILL_PROCESS


@pytest.mark.parametrize("profile", seccomp.PROFILES)
def test_x32_is_refused_and_reported(profile: str) -> None:
    silent, reporting = filters("x86_64", profile)
    for number in (0, 1, 59, 101, 512, 520, 547, 0x3FFFFFFE, 0x7FFFFFFF, 0xBFFFFFFE):
        x32 = seccomp.X32_BIT + number
        assert silent.run(bpf.ARCH["x86_64"], x32) == bpf.ERRNO | ENOSYS
        assert reporting.run(bpf.ARCH["x86_64"], x32) == bpf.USER_NOTIF
        assert seccomp.answer(x32, (0,) * 6, profile=profile) == (ENOSYS, "foreign-abi", f"x32-{number}")


@pytest.mark.parametrize(("machine", "profile"), VARIANTS)
def test_a_call_that_a_tracer_skipped_is_not_reported(machine: str, profile: str) -> None:
    for program in filters(machine, profile):
        assert program.run(bpf.ARCH[machine], 0xFFFFFFFF) == bpf.ERRNO | ENOSYS


@pytest.mark.parametrize(("machine", "profile"), VARIANTS)
def test_unknown_numbers_do_not_exist_and_are_not_reported(machine: str, profile: str) -> None:
    unknown = [number for number in range(1024) if number not in numbers(machine).values()]
    assert len(unknown) > 500
    for program, number in itertools.product(filters(machine, profile), (*unknown, 4096, 0x3FFFFFFF)):
        assert program.run(bpf.ARCH[machine], number, (ONES,) * 6) == bpf.ERRNO | ENOSYS
    expected = (ENOSYS, "syscall-absent", f"syscall-{unknown[0]}")
    assert seccomp.answer(unknown[0], (0,) * 6, profile=profile, machine=machine) == expected


# ------------------------------------------------------------------------------- the filter and `answer` agree


def words_of(node: object, found: dict[tuple[int, bool], set[int]]) -> dict[tuple[int, bool], set[int]]:
    """Collect for each argument half the values at and beside every comparison."""
    if isinstance(node, Match):
        values = found.setdefault((node.argument, node.high), {0, 1, 0xFFFFFFFF})
        for value in node.cases:
            values |= {value, value + 1 & 0xFFFFFFFF, value - 1 & 0xFFFFFFFF, value | ~node.mask & 0xFFFFFFFF}
        if node.mask != 0xFFFFFFFF:
            values |= {1 << bit for bit in range(32) if node.mask >> bit & 1} | {node.mask}
        for branch in (*node.cases.values(), node.otherwise):
            words_of(branch, found)
    return found


def interesting(name: str) -> list[tuple[int, ...]]:
    """Return argument tuples that reach every outcome of the rule for `name`, with rubbish in unread halves too."""
    halves = words_of(RULES[name][0], {}) if name in RULES else {}
    chosen: list[tuple[int, ...]] = [(0,) * 6, (ONES,) * 6]
    for fill in (0, ONES):
        for values in itertools.product(*halves.values()):
            arguments = [fill] * 6
            for (argument, high), value in zip(halves, values, strict=True):
                shift = 32 if high else 0
                arguments[argument] = arguments[argument] & ~(0xFFFFFFFF << shift) | value << shift
            chosen.append(tuple(arguments))
    return chosen


@pytest.mark.parametrize(("machine", "profile"), VARIANTS)
def test_answer_says_what_the_filter_does(machine: str, profile: str) -> None:
    silent, reporting = filters(machine, profile)
    names = {number: name for name, number in numbers(machine).items()}
    for number in range(1024):
        for arguments in interesting(names.get(number, "")):
            errno, code, name = seccomp.answer(number, arguments, profile=profile, machine=machine)
            plain = bpf.ERRNO | errno if errno else bpf.ALLOW
            assert silent.run(bpf.ARCH[machine], number, arguments) == plain, (name, arguments)
            told = bpf.USER_NOTIF if code not in ("", "syscall-absent") else plain
            assert reporting.run(bpf.ARCH[machine], number, arguments) == told, (name, arguments)
            assert name == names.get(number, f"syscall-{number}")
            assert (errno == 0) or code


@pytest.mark.parametrize(("machine", "profile"), VARIANTS)
def test_every_call_does_what_its_table_says(machine: str, profile: str) -> None:
    column, granted = COLUMN[machine], GRANTS[profile]
    expected: dict[object, tuple[int, str]] = {}
    for allowed in ALLOWED:
        if allowed[0] not in RULES:
            expected[allowed[column]] = (0, "")
    for refused in REFUSED:
        expected[refused[column]] = (refused[3], refused[4])
    for absent in ABSENT:
        expected[absent[column]] = (ENOSYS, "syscall-absent")
    for name in granted:
        expected[NUMBER[machine][name]] = (0, "")
    for number, verdict in expected.items():
        if isinstance(number, int):
            assert seccomp.answer(number, (ONES,) * 6, profile=profile, machine=machine)[:2] == verdict


# ------------------------------------------------------------------------------------------- the rules, by hand

OK = (0, "")
CASES: list[tuple[str, tuple[int, ...], tuple[int, str]]] = [
    ("clone", (0x11,), OK),  # fork
    ("clone", (0x3D0F00,), OK),  # pthread_create
    ("clone", (0x91,), OK),  # 0x80 belongs to the exit signal here
    *[("clone", (0x11 | flag | GARBAGE,), (EPERM, "namespace-denied")) for flag in (0x20000, 0x2000000, 0x4000000)],
    *[("clone", (flag,), (EPERM, "namespace-denied")) for flag in (0x8000000, 0x10000000, 0x20000000, 0x40000000)],
    ("unshare", (0,), (EPERM, "namespace-denied")),
    ("setns", (3, 0), (EPERM, "namespace-denied")),
    ("clone3", (0, 88), (ENOSYS, "syscall-absent")),
    ("io_uring_setup", (8, 0), (ENOSYS, "io-uring")),
    ("io_uring_enter", (3,), (ENOSYS, "syscall-absent")),
    ("socket", (1, 1, 0), OK),
    ("socket", (1, 0x80805, 0), OK),  # SEQPACKET|NONBLOCK|CLOEXEC
    ("socket", (2, 0x80801, 6), OK),
    ("socket", (10, 2, 17), OK),
    ("socket", (2, 2, 1), OK),  # ping without privilege
    ("socket", (10, 2, 58), OK),
    ("socket", (2 | GARBAGE, 1 | GARBAGE, GARBAGE), OK),
    ("socket", (16, 0x80003, 0), OK),  # getifaddrs
    ("socket", (16, 3, 4), (EPROTONOSUPPORT, "socket-protocol")),  # SOCK_DIAG
    ("socket", (16, 3, 12), (EPROTONOSUPPORT, "socket-protocol")),  # NETFILTER
    ("socket", (2, 1, 262), (EPROTONOSUPPORT, "socket-protocol")),  # MPTCP
    ("socket", (10, 1, 262 | GARBAGE), (EPROTONOSUPPORT, "socket-protocol")),
    ("socket", (2, 1, 132), (EPROTONOSUPPORT, "socket-protocol")),  # SCTP
    ("socket", (2, 3, 255), (EPERM, "socket-type")),
    ("socket", (10, 0x80003, 58), (EPERM, "socket-type")),
    ("socket", (2, 10, 768), (EPERM, "socket-type")),  # SOCK_PACKET
    ("socket", (2, 6, 0), (EPERM, "socket-type")),  # DCCP
    *[("socket", (family, 3, 0), (EAFNOSUPPORT, "socket-family")) for family in (0, 3, 9, 11, 15, 17, 29, 38, 40, 44)],
    ("socket", (0xFFFFFFFF, 1, 0), (EAFNOSUPPORT, "socket-family")),
    ("socketpair", (1, 1, 0), OK),
    ("socketpair", (30, 1, 0), (EAFNOSUPPORT, "socket-family")),
    ("ioctl", (0, 0x5413), OK),  # TIOCGWINSZ
    ("ioctl", (0, 0x540E), OK),  # TIOCSCTTY
    *[("ioctl", (0, command), (EPERM, "terminal-injection")) for command in (0x5412, 0x541C, 0x5423)],
    ("ioctl", (0, 0x5412 | GARBAGE), (EPERM, "terminal-injection")),  # CVE-2019-7303
    ("prctl", (35, 8), (EPERM, "process-access")),
    ("prctl", (35 | GARBAGE, 8), (EPERM, "process-access")),
    ("prctl", (4, 0), OK),  # PR_SET_DUMPABLE
    ("prctl", (22, 2), OK),  # PR_SET_SECCOMP
    *[("personality", (persona,), OK) for persona in (0, 0x40000, 0xFFFFFFFF, ONES)],
    *[("personality", (persona,), (EPERM, "personality-denied")) for persona in (8, 0x400000, 0x440000, 0x20000)],
    ("seccomp", (1, 1), OK),
    ("seccomp", (1, 8), (EPERM, "seccomp-listener")),
    ("seccomp", (1, 0x19 | GARBAGE), (EPERM, "seccomp-listener")),
    *[(name, (0, 0o2775), OK) for name in ("chmod", "fchmod", "creat")],
    *[(name, (0, 0o4755 | GARBAGE), (EPERM, "setuid-denied")) for name in ("chmod", "fchmod", "creat")],
    *[(name, (0, 0, 0o2775), OK) for name in ("fchmodat", "fchmodat2")],
    *[(name, (0, 0, 0o6755), (EPERM, "setuid-denied")) for name in ("fchmodat", "fchmodat2")],
    ("open", (0, 0, 0o4755), OK),  # creates nothing: the mode is rubbish
    ("open", (0, 0o101, 0o4755), (EPERM, "setuid-denied")),
    ("openat", (0, 0, 0, ONES), OK),
    ("openat", (0, 0, 0o1102, 0o644), OK),
    ("openat", (0, 0, 0o101, 0o4755), (EPERM, "setuid-denied")),
    ("openat", (0, 0, 0o20200002, 0o4755), (EPERM, "setuid-denied")),  # O_TMPFILE
    *[("mknod", (0, kind | 0o644), OK) for kind in (0, 0o100000, 0o010000, 0o140000)],
    *[("mknodat", (0, 0, kind | 0o644), (EPERM, "device-denied")) for kind in (0o020000, 0o060000, 0o040000)],
    ("mknod", (0, 0o020000 | GARBAGE), (EPERM, "device-denied")),
    ("mknodat", (0, 0, 0o104755), (EPERM, "setuid-denied")),
    ("connect", (3, 0, 16), (0, "connect-attempt")),
    ("sendto", (3, 0, 9, 0, 0, 0), OK),
    ("sendto", (3, 0, 9, 0, 1, 16), (0, "send-attempt")),
    ("sendto", (3, 0, 9, 0, 1 << 32, 16), (0, "send-attempt")),
    ("kill", (1, 9), (0, "signal-attempt")),
    ("pidfd_send_signal", (3, 9), (0, "signal-attempt")),
    ("tgkill", (1, 1, 23), OK),
    ("ptrace", (0,), (EPERM, "process-access")),
]


@pytest.mark.parametrize("machine", MACHINES)
def test_the_rules_of_the_default_profile(machine: str) -> None:
    silent, reporting = filters(machine, "default")
    for name, arguments, (errno, code) in CASES:
        number = NUMBER[machine][name]
        if not isinstance(number, int):
            assert machine == "aarch64" and name in ("open", "creat", "chmod", "mknod")
            continue
        plain = bpf.ERRNO | errno if errno else bpf.ALLOW
        told = bpf.USER_NOTIF if code not in ("", "syscall-absent") else plain
        assert silent.run(bpf.ARCH[machine], number, arguments) == plain, (name, arguments)
        assert reporting.run(bpf.ARCH[machine], number, arguments) == told, (name, arguments)
        full = (*arguments, 0, 0, 0, 0, 0)[:6]
        assert seccomp.answer(number, full, profile="default", machine=machine) == (errno, code, name)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("profile", ["debug", "nested"])
def test_a_profile_adds_its_grants_and_nothing_else(machine: str, profile: str) -> None:
    widened = set()
    for name, number in numbers(machine).items():
        for arguments in interesting(name):
            before = seccomp.answer(number, arguments, profile="default", machine=machine)
            after = seccomp.answer(number, arguments, profile=profile, machine=machine)
            if before != after:
                assert after == (0, "", name)
                widened.add(name)
    assert widened == set(GRANTS[profile])


# -------------------------------------------------------------------------------------------------- misuse


def test_an_unknown_profile_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown seccomp profile `none`"):
        seccomp.build("none", notify=False)
    with pytest.raises(ValueError, match="unknown seccomp profile `none`"):
        seccomp.answer(0, (0,) * 6, profile="none")


def test_an_unknown_machine_is_an_error() -> None:
    with pytest.raises(ValueError, match="no system-call table for machine `riscv64`"):
        seccomp.build("default", notify=False, machine="riscv64")


def test_the_same_bytes_every_time() -> None:
    assert seccomp.build("default", notify=True) == seccomp.build("default", notify=True)
