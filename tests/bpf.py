"""A second reader of seccomp programs: runs classic BPF over a `struct seccomp_data`, sharing no code with ours.

Written from the kernel's Documentation/networking/filter.rst and seccomp(2). Anything that the kernel's own checker
(seccomp_check_filter, bpf_check_classic) would refuse raises ValueError here.
"""

import struct
from collections.abc import Callable, Iterable

ALLOW, KILL_PROCESS, USER_NOTIF, ERRNO = 0x7FFF0000, 0x80000000, 0x7FC00000, 0x00050000
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i386": 0x40000003, "arm": 0x40000028}

_TESTS: dict[int, Callable[[int, int], bool]] = {
    0x15: lambda a, k: a == k,
    0x25: lambda a, k: a > k,
    0x35: lambda a, k: a >= k,
    0x45: lambda a, k: bool(a & k),
}
_LOAD, _AND, _RETURN, _JUMP = 0x20, 0x54, 0x06, 0x05


class Program:
    """A loaded program. `last_steps` is how many instructions the last run took."""

    def __init__(self, code: bytes) -> None:
        self.instructions = list(struct.iter_unpack("<HBBI", code))
        self.last_steps = 0
        self._check()

    def _check(self) -> None:
        if not 0 < len(self.instructions) <= 4096:
            raise ValueError(f"{len(self.instructions)} instructions")
        for place, (code, true, false, operand) in enumerate(self.instructions):
            if code not in (*_TESTS, _LOAD, _AND, _RETURN, _JUMP):
                raise ValueError(f"unknown code {code:#x} at {place}")
            if code == _LOAD and (operand % 4 or operand > 60):
                raise ValueError(f"load beyond seccomp_data at {place}")
            far = max(true, false) if code in _TESTS else operand if code == _JUMP else 0
            if place + 1 + far >= len(self.instructions) and code != _RETURN:
                raise ValueError(f"runs off the end at {place}")

    def run(self, arch: int, number: int, arguments: Iterable[int] = ()) -> int:
        """Return the action for one system call; missing arguments are 0."""
        padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
        words = struct.unpack("<16I", struct.pack("<IIQ6Q", number, arch, 0, *padded))
        accumulator = place = steps = 0
        while True:
            code, true, false, operand = self.instructions[place]
            place += 1
            steps += 1
            if code == _RETURN:
                self.last_steps = steps
                return int(operand)
            if code == _LOAD:
                accumulator = words[operand // 4]
            elif code == _AND:
                accumulator &= operand
            elif code == _JUMP:
                place += operand
            else:
                place += true if _TESTS[code](accumulator, operand) else false
