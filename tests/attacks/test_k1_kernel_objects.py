"""K1: kernel interfaces with a record of exploits, which no contained program needs."""

from collections.abc import Callable

from tests.attacks.attack import Attack, cases
from tests.attacks.kernel import descriptor, held

IO_URING = held('show(call("io_uring_setup", 4, ctypes.create_string_buffer(256)))')
PERF = held(
    # struct perf_event_attr: software CPU clock, user space only, which perf_event_paranoid=2 allows to everybody
    'attr = struct.pack("IIQQQQQ", 1, 112, 0, 100, 0, 0, 1 << 5 | 1 << 6).ljust(112, b"\\0")\n'
    'show(call("perf_event_open", attr, 0, -1, -1, 0))'
)
BPF_MAP = held('show(call("bpf", 0, struct.pack("IIIII", 2, 4, 8, 1, 0).ljust(128, b"\\0"), 128))')
BPF_PROGRAM = held(
    'code = struct.pack("BBhi", 0xb7, 0, 0, 0) + struct.pack("BBhi", 0x95, 0, 0, 0)\n'
    "text, gpl = ctypes.create_string_buffer(code, 16), ctypes.create_string_buffer(b'GPL')\n"
    'attr = struct.pack("IIQQ", 1, 2, ctypes.addressof(text), ctypes.addressof(gpl)).ljust(128, b"\\0")\n'
    'show(call("bpf", 5, attr, 128))'
)
USERFAULTFD = held('show(call("userfaultfd", 1))')
FANOTIFY = held('show(call("fanotify_init", 0x200, 0))')


@cases(
    Attack(name="io_uring", script=IO_URING, evidence=descriptor("[io_uring]"), code="io-uring", hold=True),
    Attack(name="perf", script=PERF, evidence=descriptor("[perf_event]"), code="kernel-surface", hold=True),
    Attack(
        name="bpf-map",
        script=BPF_MAP,
        evidence=descriptor("bpf-map"),
        code="kernel-surface",
        hold=True,
        refused="kernel.unprivileged_bpf_disabled",
    ),
    Attack(
        name="bpf-program",
        script=BPF_PROGRAM,
        evidence=descriptor("bpf-prog"),
        code="kernel-surface",
        hold=True,
        refused="kernel.unprivileged_bpf_disabled",
    ),
    Attack(
        name="userfaultfd", script=USERFAULTFD, evidence=descriptor("[userfaultfd]"), code="kernel-surface", hold=True
    ),
    Attack(name="fanotify", script=FANOTIFY, evidence=descriptor("[fanotify]"), code="kernel-surface", hold=True),
)
def test_kernel_object(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
