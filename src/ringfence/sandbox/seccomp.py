"""Generate the system-call filter and explain its answers: pure, from tables.

Rules of this file
- Policy is data (`allowed_syscalls`, `refused_syscalls`, `argument_rules`); here it is only translated, twice:
  `build` to classic BPF for the kernel, `answer` to a look-up for the supervisor that receives notifications.
  INVARIANT: both say the same of every call (tests/unit/sandbox/test_seccomp.py), and libseccomp, given the same
  policy by another hand, agrees (tests/integration/test_seccomp_oracle.py).
- Whatever stands in no table is answered with ENOSYS, as by a kernel that does not have it.

Theory of operation
The numbers are cut into ranges with one outcome each, and a balanced tree of `>=` comparisons finds the range.
Classic BPF only jumps forward, so the program is emitted backwards: when an instruction is placed, everything it
may jump to is already there, and a label is simply the distance from the end. Calls let through by number alone
cost nothing: the kernel finds them when the filter is loaded and skips the program (action cache, Linux 5.11).
"""

from __future__ import annotations

import struct

from .allowed_syscalls import ALLOWED
from .argument_rules import ABSENT, ALLOW, FOREIGN_ABI, NARROWED, RULES, UNIX, Match
from .refused_syscalls import ABSENT as ABSENT_SYSCALLS
from .refused_syscalls import GRANTS, REFUSED

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, which costs an import of its own
if TYPE_CHECKING:
    from .argument_rules import Verdict

    Node = Match | Verdict

PROFILES = tuple(GRANTS)

# linux/bpf_common.h
LOAD, AND, JUMP_EQUAL, JUMP_GREATER_EQUAL, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
# struct seccomp_data, seccomp(2)
NUMBER_OFFSET, ARCH_OFFSET, ARGUMENTS_OFFSET = 0, 4, 16
# linux/seccomp.h; the low 16 bits of SECCOMP_RET_ERRNO are the errno
RET_KILL_PROCESS, RET_ERRNO, RET_USER_NOTIF, RET_ALLOW = 0x80000000, 0x00050000, 0x7FC00000, 0x7FFF0000
# linux/audit.h, and the column of the tables. i386, x32's own vector and 32-bit Arm have other values.
_MACHINES = {"x86_64": (0xC000003E, 1), "aarch64": (0xC00000B7, 2)}
# asm/unistd.h: x32 shares x86_64's audit value and sets this bit. The highest number is no call at all: a tracer
# writes it to skip one.
X32_BIT, NO_SYSCALL = 0x40000000, 0xFFFFFFFF

_tables: dict[tuple[str, str], dict[int, tuple[str, Node]]] = {}


def build(profile: str, *, notify: bool, machine: str = "x86_64") -> bytes:
    """Return the filter as `struct sock_filter[]`, for seccomp(2).

    `notify`: refused and watched calls are reported to the listener, which answers them as `answer` says; without
    it refused calls fail at once and watched ones go ahead. Raises ValueError for an unknown profile or machine.
    """
    return _compile(_table(profile, machine), notify=notify, machine=machine)


def _compile(table: dict[int, tuple[str, Node]], *, notify: bool, machine: str) -> bytes:
    """Translate a table for the kernel."""
    program = _Program(notify)
    starts: list[tuple[int, int]] = []
    for number, node in _ranges(table, x32=machine == "x86_64"):
        label = program.place(node)
        if not starts or starts[-1][1] != label:
            starts.append((number, label))
    program.tree(starts)
    program.prologue(_MACHINES[machine][0])
    return program.bytecode()


def build_list(names: dict[str, str], *, machine: str = "x86_64") -> bytes:
    """Return a filter that allows the calls of `names`, which come with their reasons, and nothing else.

    Raises ValueError for a name that stands in no table.
    """
    rows: dict[str, int | None] = {row[0]: row[1] if machine == "x86_64" else row[2] for row in ALLOWED}
    rows |= {row[0]: row[1] if machine == "x86_64" else row[2] for row in REFUSED}
    if unknown := sorted(set(names) - set(rows)):
        raise ValueError(f"no such system call: {', '.join(unknown)}")
    table: dict[int, tuple[str, Node]] = {}
    for name in names:
        if (number := rows[name]) is not None:
            table[number] = (name, ALLOW)
    return _compile(table, notify=False, machine=machine)


def answer(nr: int, args: tuple[int, ...], *, profile: str, machine: str = "x86_64") -> tuple[int, str, str]:
    """Say what becomes of a call: errno (0: it goes ahead), the code to record it under, the call's name.

    `nr` and the six `args` are unsigned, as in `struct seccomp_notif`. The code is empty for a call that is
    allowed and not watched. Raises ValueError for an unknown profile or machine.
    """
    table = _table(profile, machine)
    if machine == "x86_64" and X32_BIT <= nr < NO_SYSCALL:
        return (*FOREIGN_ABI, f"x32-{nr - X32_BIT}")
    name, node = table.get(nr, (f"syscall-{nr}", ABSENT))
    while isinstance(node, Match):
        word = args[node.argument] >> (32 if node.high else 0) & node.mask
        node = node.cases.get(word, node.otherwise)
    return (*node, name)


def _table(profile: str, machine: str) -> dict[int, tuple[str, Node]]:
    """Return number -> (name, node) for every call that stands in a table."""
    key = (profile, machine)
    if key not in _tables:
        if profile not in GRANTS and profile not in NARROWED:
            raise ValueError(f"unknown seccomp profile `{profile}`")
        if machine not in _MACHINES:
            raise ValueError(f"no system-call table for machine `{machine}`")
        _tables[key] = _read_tables(profile, _MACHINES[machine][1])
    return _tables[key]


def _read_tables(profile: str, column: int) -> dict[int, tuple[str, Node]]:
    granted = GRANTS.get(profile, {})
    rules = RULES | NARROWED.get(profile, {})
    table: dict[int, tuple[str, Node]] = {}

    def enter(row: tuple[str, int | None, int | None, *tuple[object, ...]], node: Node) -> None:
        number = row[1] if column == 1 else row[2]
        if number is not None:
            table[number] = (row[0], ALLOW if row[0] in granted else node)

    for allowed in ALLOWED:
        enter(allowed, rules[allowed[0]][0] if allowed[0] in rules else ALLOW)
    for refused in REFUSED:
        enter(refused, (refused[3], refused[4]))
    for absent in ABSENT_SYSCALLS:
        enter(absent, ABSENT)
    return table


def _ranges(table: dict[int, tuple[str, Node]], *, x32: bool) -> list[tuple[int, Node]]:
    """Return the first number of each range and the range's node; the last range is open."""
    ranges = [(number, table[number][1] if number in table else ABSENT) for number in range(max(table) + 2)]
    if x32:
        ranges += [(X32_BIT, FOREIGN_ABI), (NO_SYSCALL, ABSENT)]
    return ranges


class _Program:
    """A BPF program that grows from its last instruction to its first; a label is a distance from the end."""

    def __init__(self, notify: bool) -> None:
        self._notify = notify
        self._code: list[bytes] = []
        self._labels: dict[int | Match, int] = {}

    def bytecode(self) -> bytes:
        return b"".join(reversed(self._code))

    def place(self, node: Node) -> int:
        """Return the label of the instructions for `node`, emitting them the first time."""
        key = node if isinstance(node, Match) else self._action(node)
        if key not in self._labels:
            self._labels[key] = self._match(key) if isinstance(key, Match) else self._emit(RETURN, key)
        return self._labels[key]

    def tree(self, starts: list[tuple[int, int]]) -> int:
        """Emit the search for the last of `starts`, (number, label), that is not above the number."""
        if len(starts) == 1:
            return starts[0][1]
        middle = len(starts) // 2
        above = self.tree(starts[middle:])
        below = self.tree(starts[:middle])
        return self._emit(JUMP_GREATER_EQUAL, starts[middle][0], above, below)

    def prologue(self, audit_arch: int) -> None:
        """Emit what runs first: another architecture's calls end the process, then the number is loaded."""
        number = self._emit(LOAD, NUMBER_OFFSET)
        # SECURITY: the numbers of another architecture mean other calls (i386's 11 is execve): never interpret them.
        kill = self._emit(RETURN, RET_KILL_PROCESS)
        self._emit(JUMP_EQUAL, audit_arch, number, kill)
        self._emit(LOAD, ARCH_OFFSET)

    def _action(self, verdict: Verdict) -> int:
        if self._notify and verdict not in (ALLOW, ABSENT, UNIX):  # every getpwnam(3) asks for nscd's socket
            return RET_USER_NOTIF
        return RET_ERRNO | verdict[0] if verdict[0] else RET_ALLOW

    def _match(self, match: Match) -> int:
        otherwise = self.place(match.otherwise)
        targets = [(value, self.place(node)) for value, node in match.cases.items()]
        if all(target == otherwise for _, target in targets):
            return otherwise
        label = otherwise
        for value, target in reversed(targets):
            label = self._emit(JUMP_EQUAL, value, target, label)
        if match.mask != 0xFFFFFFFF:
            self._emit(AND, match.mask)
        return self._emit(LOAD, ARGUMENTS_OFFSET + 8 * match.argument + 4 * match.high)

    def _emit(self, code: int, operand: int, true: int | None = None, false: int | None = None) -> int:
        """Emit one instruction before all others and return its label.

        Jump offsets have 8 bits. A program that outgrew them would fail here, in `pack`, and in the tests, which
        build every one; today's have some 200 instructions.
        """
        end = len(self._code)
        jump_true = 0 if true is None else end - true
        jump_false = 0 if false is None else end - false
        self._code.append(struct.pack("<HBBI", code, jump_true, jump_false, operand))
        return end + 1
