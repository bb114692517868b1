"""P2: reading or steering processes outside: ptrace, their memory, descriptors and kernel objects."""

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.attacks.arena import PYTHON, Arena, Ran
from tests.attacks.attack import Attack, cases
from tests.attacks.kernel import PRELUDE, held, status_field

# The victim tells the address of its canary, holds a descriptor of a secret file and a pattern of equal descriptors.
VICTIM = """
import ctypes, os, sys
canary = ctypes.create_string_buffer(sys.argv[1].encode())
secret = os.open(sys.argv[2], os.O_RDONLY)
base = os.open("/dev/null", os.O_RDONLY)
for number, bit in enumerate(sys.argv[3]):
    os.dup2(base if bit == "1" else os.open("/dev/null", os.O_RDONLY), 100 + number)
print(ctypes.addressof(canary), secret, base, flush=True)
sys.stdin.read()
"""
PATTERN = 24


def victim(arena: Arena) -> None:
    """Start a process of the same user that holds a canary."""
    pattern = "".join(random.choice("01") for _ in range(PATTERN))
    secret = str(arena.root / "outside/secret.txt")
    process = subprocess.Popen(
        [PYTHON, "-I", "-S", "-c", VICTIM, arena.canary, secret, pattern],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    arena.closing.enter_context(process)
    arena.closing.callback(process.kill)
    assert process.stdout is not None
    address, descriptor, base = process.stdout.readline().split()
    arena.values |= {"victim": str(process.pid), "address": address, "descriptor": descriptor, "base": base}
    arena.root.joinpath("pattern").write_text(pattern, "utf-8")


def traced(arena: Arena, ran: Ran) -> bool:
    return status_field(int(arena.values["victim"]), "TracerPid") not in ("", "0")


def pattern_learnt(arena: Arena, ran: Ran) -> bool:
    return f"pattern {(arena.root / 'pattern').read_text('utf-8')}" in ran.output


def written(arena: Arena, ran: Ran) -> bool:
    with open(f"/proc/{arena.values['victim']}/mem", "rb", buffering=0) as memory:
        memory.seek(int(arena.values["address"]))
        return memory.read(5) == b"pwned"


YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")


def yama() -> bool:
    """Tell whether Yama lets an ordinary process attach only to its children."""
    return YAMA.exists() and YAMA.read_text("ascii").strip() != "0" and os.geteuid() != 0


VECTORS = (
    "buffer = ctypes.create_string_buffer(b'pwned', 64)\n"
    "here = struct.pack('QQ', ctypes.addressof(buffer), {size})\nthere = struct.pack('QQ', @address@, {size})\n"
)


def against(name: str, body: str, **more: object) -> Attack:
    return Attack(
        name=name,
        script=f"{PRELUDE}\n{body}",
        prepare=victim,
        code="process-access",
        refused_here=yama,
        **more,  # type: ignore[arg-type]  # the fields of Attack
    )


@cases(
    Attack(
        name="ptrace",
        script=held("show(call('ptrace', 0x4206, @victim@, 0, 0))"),
        evidence=traced,
        hold=True,
        prepare=victim,
        code="process-access",
        refused_here=yama,
    ),
    against(
        "read-memory",
        VECTORS.format(size=60) + "show(call('process_vm_readv', @victim@, here, 1, there, 1, 0))\nprint(buffer.raw)",
    ),
    against(
        "write-memory",
        VECTORS.format(size=5) + "show(call('process_vm_writev', @victim@, here, 1, there, 1, 0))",
        evidence=written,
    ),
    against(
        "take-a-descriptor",
        "show(process := call(434, @victim@, 0))\nshow(taken := call('pidfd_getfd', process, @descriptor@, 0))\n"
        "print(os.pread(taken, 99, 0))",
    ),
    against(
        "compare-descriptors",
        "print('pattern', ''.join('1' if call('kcmp', @victim@, @victim@, 0, @base@, 100 + n) == 0 else '0' "
        f"for n in range({PATTERN})))",
        evidence=pattern_learnt,
    ),
    Attack(
        name="memory-file",
        script="memory = open('/proc/@victim@/mem', 'rb', 0); memory.seek(@address@); print(memory.read(60))",
        prepare=victim,
        refused_here=yama,
        unseen="the number does not exist in the sandbox's own /proc: ENOENT",
    ),
    Attack(
        name="descriptor-file",
        script="cat /proc/@victim@/fd/@descriptor@",
        shell=True,
        prepare=victim,
        unseen="the number does not exist in the sandbox's own /proc: ENOENT",
    ),
    Attack(
        name="arguments",
        script="cat /proc/[0-9]*/cmdline | tr '\\0' ' '",
        shell=True,
        prepare=victim,
        unseen="/proc shows only the sandbox; reading what is there is no attempt at anything",
    ),
)
def test_process(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
