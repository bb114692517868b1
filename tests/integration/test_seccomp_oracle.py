"""libseccomp as oracle: our numbers are its numbers, and a policy written for it by another hand acts alike.

The tables say which calls are allowed, refused or absent; the rules on arguments are stated here once more, in
libseccomp's terms and not from `RULES`. Each rule becomes programs of its own, asked in order: the first that does
not allow decides. Both sides are run by tests/bpf.py.
"""

import ctypes
import functools
import itertools
import os
import platform
from typing import NamedTuple

import pytest

from ringfence.sandbox import seccomp
from ringfence.sandbox.allowed_syscalls import ALLOWED
from ringfence.sandbox.refused_syscalls import ABSENT, GRANTS, REFUSED
from tests import bpf

pytestmark = pytest.mark.require("libseccomp")

MACHINES = ("x86_64", "aarch64")
ROWS = [*(row[:3] for row in ALLOWED), *(row[:3] for row in REFUSED), *(row[:3] for row in ABSENT)]
TABLES = {"x86_64": {row[0]: row[1] for row in ROWS}, "aarch64": {row[0]: row[2] for row in ROWS}}
VARIANTS = list(itertools.product(MACHINES, seccomp.PROFILES, (False, True)))
NEWEST_KNOWN = 449  # libseccomp 2.5.4; a newer one knows more, none knows less
WORD = 0xFFFFFFFF
NE, MASKED_EQ = 1, 7  # enum scmp_compare
ATTR_ACT_BADARCH, ATTR_OPTIMIZE = 2, 8  # enum scmp_filter_attr
EPERM, ENOSYS, EPROTONOSUPPORT, EAFNOSUPPORT = (bpf.ERRNO | errno for errno in (1, 38, 93, 97))


class Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp`."""

    _fields_ = [
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


class Rule(NamedTuple):
    action: int
    comparisons: tuple[tuple[int, int, int, int], ...] = ()


def word(argument: int, value: int) -> tuple[int, int, int, int]:
    return (argument, MASKED_EQ, WORD, value)


def bits(argument: int, mask: int, value: int) -> tuple[int, int, int, int]:
    return (argument, MASKED_EQ, mask, value)


def allow(*comparisons: tuple[int, int, int, int]) -> Rule:
    return Rule(bpf.ALLOW, comparisons)


def no_setuid(refused: int, mode: int) -> tuple[int, list[Rule]]:
    return (bpf.ALLOW, [Rule(refused, (bits(mode, 0o4000, 0o4000),))])


def no_setuid_created(refused: int, flags: int, mode: int) -> tuple[int, list[Rule]]:
    creating = (0o100, 0o20000000)
    return (bpf.ALLOW, [Rule(refused, (bits(flags, bit, bit), bits(mode, 0o4000, 0o4000))) for bit in creating])


def argument_programs(notify: bool) -> dict[str, list[tuple[int, list[Rule]]]]:
    """Return name -> programs, each the default action and the exceptions from it."""

    def refuse(errno: int) -> int:
        return bpf.USER_NOTIF if notify else errno

    perm, family, protocol = refuse(EPERM), refuse(EAFNOSUPPORT), refuse(EPROTONOSUPPORT)
    inet, kinds = (2, 10), (0, 0o100000, 0o010000, 0o140000)
    programs: dict[str, list[tuple[int, list[Rule]]]] = {
        "clone": [
            (bpf.ALLOW, [Rule(perm, (bits(0, bit, bit),)) for bit in (1 << 17, *(1 << n for n in range(25, 31)))])
        ],
        "socket": [
            (family, [allow(word(0, domain)) for domain in (1, 2, 10, 16)]),
            (
                perm,
                [allow(word(0, 1)), allow(word(0, 16))]
                + [allow(word(0, domain), bits(1, 0xF, kind)) for domain in inet for kind in (1, 2)],
            ),
            (
                protocol,
                [allow(word(0, 1)), allow(word(0, 16), word(2, 0))]
                + [allow(word(0, domain), word(2, number)) for domain in inet for number in (0, 1, 6, 17, 58)],
            ),
        ],
        "socketpair": [(family, [allow(word(0, 1))])],
        "ioctl": [(bpf.ALLOW, [Rule(perm, (word(1, command),)) for command in (0x5412, 0x541C, 0x5423)])],
        "prctl": [(bpf.ALLOW, [Rule(perm, (word(0, 35),))])],
        "personality": [(perm, [allow(word(0, persona)) for persona in (0, 0x40000, 0xFFFFFFFF)])],
        "seccomp": [(bpf.ALLOW, [Rule(perm, (bits(1, 8, 8),))])],
        "mknod": [(perm, [allow(bits(1, 0o170000, kind)) for kind in kinds]), no_setuid(perm, 1)],
        "mknodat": [(perm, [allow(bits(2, 0o170000, kind)) for kind in kinds]), no_setuid(perm, 2)],
        "open": [no_setuid_created(perm, 1, 2)],
        "openat": [no_setuid_created(perm, 2, 3)],
    }
    programs |= {name: [no_setuid(perm, 1)] for name in ("chmod", "fchmod", "creat")}
    programs |= {name: [no_setuid(perm, 2)] for name in ("fchmodat", "fchmodat2")}
    if notify:
        programs |= {name: [(bpf.USER_NOTIF, [])] for name in ("connect", "kill", "pidfd_send_signal")}
        programs["sendto"] = [(bpf.ALLOW, [Rule(bpf.USER_NOTIF, ((4, NE, 0, 0),))])]
    return programs


# --------------------------------------------------------------------------------------------- libseccomp itself


@functools.cache
def library() -> ctypes.CDLL:
    libseccomp = ctypes.CDLL("libseccomp.so.2")
    libseccomp.seccomp_init.argtypes = [ctypes.c_uint32]
    libseccomp.seccomp_init.restype = ctypes.c_void_p
    libseccomp.seccomp_release.argtypes = [ctypes.c_void_p]
    libseccomp.seccomp_release.restype = None
    libseccomp.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    libseccomp.seccomp_arch_remove.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    libseccomp.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    libseccomp.seccomp_rule_add_exact_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(Comparison),
    ]
    libseccomp.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    libseccomp.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    return libseccomp


def resolve(machine: str, name: str) -> int | None:
    """Return libseccomp's number; negative pseudo-numbers and unknown names are None."""
    number: int = library().seccomp_syscall_resolve_name_arch(bpf.ARCH[machine], name.encode())
    return number if number >= 0 else None


def compiled(machine: str, default: int, rules: list[tuple[str, Rule]]) -> bpf.Program:
    """Let libseccomp compile `rules`, each for the call named, with `default` for all the others."""
    context = library().seccomp_init(default)
    assert context
    if platform.machine() != machine:
        assert library().seccomp_arch_add(context, bpf.ARCH[machine]) == 0
        assert library().seccomp_arch_remove(context, 0) == 0  # SCMP_ARCH_NATIVE
    if default != bpf.KILL_PROCESS:
        assert library().seccomp_attr_set(context, ATTR_ACT_BADARCH, bpf.KILL_PROCESS) == 0
    assert library().seccomp_attr_set(context, ATTR_OPTIMIZE, 2) == 0
    for name, rule in rules:
        if rule.action == default:
            continue
        # The number is always the native one; libseccomp translates it by name.
        native = library().seccomp_syscall_resolve_name_arch(bpf.ARCH[platform.machine()], name.encode())
        comparisons = (Comparison * len(rule.comparisons))(*(Comparison(*each) for each in rule.comparisons))
        added = library().seccomp_rule_add_exact_array(context, rule.action, native, len(comparisons), comparisons)
        assert added == 0, (name, rule, added)
    code = exported(context)
    library().seccomp_release(context)
    return bpf.Program(code)


def exported(context: int) -> bytes:
    descriptor = os.memfd_create("filter")
    try:
        assert library().seccomp_export_bpf(context, descriptor) == 0
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)


# ------------------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize("machine", MACHINES)
def test_our_numbers_are_libseccomps(machine: str) -> None:
    wrong = []
    for name, ours in TABLES[machine].items():
        theirs = resolve(machine, name)
        newer = ours is not None and (ours > NEWEST_KNOWN or name in ("uretprobe", "uprobe"))
        if ours != theirs and not (newer and theirs is None):
            wrong.append((name, ours, theirs))
    assert wrong == []


@pytest.mark.parametrize("machine", MACHINES)
def test_every_number_that_libseccomp_knows_stands_in_a_table(machine: str) -> None:
    library().seccomp_syscall_resolve_num_arch.argtypes = [ctypes.c_uint32, ctypes.c_int]
    library().seccomp_syscall_resolve_num_arch.restype = ctypes.c_char_p
    ours = set(TABLES[machine].values())
    known = {
        number
        for number in range(NEWEST_KNOWN + 1)
        if library().seccomp_syscall_resolve_num_arch(bpf.ARCH[machine], number) is not None
    }
    assert len(known) > 280
    assert known - ours == set()


# ------------------------------------------------------------------------------------------------------ actions


def main_rules(machine: str, profile: str, notify: bool) -> list[tuple[str, Rule]]:
    """Return the rules that need a number alone; calls with a rule on arguments are allowed here."""
    rules = [(allowed[0], Rule(bpf.ALLOW)) for allowed in ALLOWED]
    for name, _, _, errno, _, _ in REFUSED:
        refused = bpf.USER_NOTIF if notify else bpf.ERRNO | errno
        rules.append((name, Rule(bpf.ALLOW if name in GRANTS[profile] else refused)))
    return [(name, rule) for name, rule in rules if resolve(machine, name) is not None]


def argument_values(name: str, programs: list[tuple[int, list[Rule]]]) -> list[tuple[int, ...]]:
    """Return argument tuples made of the values compared with and their neighbours, with and without high bits."""
    values: dict[int, set[int]] = {}
    for _, rules in programs:
        for argument, _, datum_a, datum_b in itertools.chain.from_iterable(rule.comparisons for rule in rules):
            seen = values.setdefault(argument, {0, 1, 0xFFFFFFFF, 0x5A5A5A5A})
            value = datum_b if datum_a else 1 << 32
            seen |= {value, value + 1, value | 0xABCD << 32, value | ~datum_a & WORD}
    combinations = itertools.product(*values.values())
    return [tuple(dict(zip(values, each, strict=True)).get(place, 7) for place in range(6)) for each in combinations]


@pytest.mark.parametrize(("machine", "profile", "notify"), VARIANTS)
def test_every_number_acts_as_under_libseccomp(machine: str, profile: str, notify: bool) -> None:
    ours = bpf.Program(seccomp.build(profile, notify=notify, machine=machine))
    theirs = compiled(machine, ENOSYS, main_rules(machine, profile, notify))
    ruled = argument_programs(notify).keys() - GRANTS[profile].keys()
    skipped = {resolve(machine, name) for name in ruled}
    # Unknown to this libseccomp: the unit tests hold them to the tables.
    skipped |= {number for name, number in TABLES[machine].items() if resolve(machine, name) is None}
    compared = 0
    for number, fill in itertools.product(range(1024), (0, (1 << 64) - 1)):
        if number not in skipped:
            expected = theirs.run(bpf.ARCH[machine], number, (fill,) * 6)
            assert ours.run(bpf.ARCH[machine], number, (fill,) * 6) == expected, number
            compared += 1
    assert compared > 1900


@pytest.mark.parametrize(("machine", "profile", "notify"), VARIANTS)
def test_every_rule_acts_as_under_libseccomp(machine: str, profile: str, notify: bool) -> None:
    ours = bpf.Program(seccomp.build(profile, notify=notify, machine=machine))
    outcomes = set()
    for name, programs in argument_programs(notify).items():
        number = resolve(machine, name)
        if number is None:
            continue
        oracle = [
            compiled(machine, default, [(name, rule) for rule in rules])
            for default, rules in ([] if name in GRANTS[profile] else programs)
            if rules
        ]
        default = programs[0][0] if not programs[0][1] else bpf.ALLOW
        for arguments in argument_values(name, programs):
            said = [program.run(bpf.ARCH[machine], number, arguments) for program in oracle]
            expected = next((action for action in said if action != bpf.ALLOW), default)
            assert ours.run(bpf.ARCH[machine], number, arguments) == expected, (name, [hex(each) for each in arguments])
            outcomes.add(expected)
    assert {bpf.ALLOW, bpf.USER_NOTIF} <= outcomes if notify else len(outcomes) == 4


@pytest.mark.parametrize("machine", MACHINES)
def test_another_architecture_acts_as_under_libseccomp(machine: str) -> None:
    ours = bpf.Program(seccomp.build("default", notify=False, machine=machine))
    theirs = compiled(machine, ENOSYS, main_rules(machine, "default", False))
    for name, number in itertools.product(bpf.ARCH, range(512)):
        if name != machine:
            assert ours.run(bpf.ARCH[name], number) == theirs.run(bpf.ARCH[name], number) == bpf.KILL_PROCESS


def test_x32_passes_neither() -> None:
    ours = bpf.Program(seccomp.build("default", notify=False, machine="x86_64"))
    theirs = compiled("x86_64", ENOSYS, main_rules("x86_64", "default", False))
    for number in range(seccomp.X32_BIT, seccomp.X32_BIT + 1024):
        # libseccomp takes x32 for another architecture, which would also kill a program that only probes.
        assert theirs.run(bpf.ARCH["x86_64"], number) == bpf.KILL_PROCESS
        assert ours.run(bpf.ARCH["x86_64"], number) == ENOSYS
