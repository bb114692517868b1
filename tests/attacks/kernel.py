"""Kernel calls for scripts, and what the host sees of a process that made them."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ringfence.sandbox.refused_syscalls import ABSENT, REFUSED
from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Evidence

_COLUMN = {"x86_64": 1, "aarch64": 2}[os.uname().machine]
NUMBERS: dict[str, int | None] = {str(row[0]): row[_COLUMN] for row in (*REFUSED, *ABSENT)}  # type: ignore[misc]  # mypy loses the tuple's columns

# Names for scripts: `call("bpf", ...)` makes a system call and returns its result, or minus the error number.
PRELUDE = f"""
import ctypes, os, struct, sys
MARK = "@mark@"
numbers = {NUMBERS!r}
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    number = numbers[name] if isinstance(name, str) else name
    found = libc.syscall(ctypes.c_long(number), *wide)
    return found if found >= 0 else -ctypes.get_errno()
def show(found):
    print("result", found, flush=True)
    return found
def hold():
    print("ready", flush=True)
    sys.stdin.read()
"""


def held(body: str) -> str:
    """Make a script that does `body` and then waits to be looked at."""
    return f"{PRELUDE}\n{body}\nhold()\n"


def links(pids: tuple[int, ...], kind: str) -> Iterator[str]:
    """Yield what the entries of /proc/PID/`kind` point to."""
    for pid in pids:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/{kind}"):
                with contextlib.suppress(OSError):
                    yield os.readlink(f"/proc/{pid}/{kind}/{name}")


def descriptor(text: str) -> Evidence:
    """Evidence that the script holds a descriptor of the kernel object `text`."""
    return lambda arena, ran: any(text in link for link in links(ran.pids, "fd"))


def socket_held(arena: Arena, ran: Ran) -> bool:
    """Tell whether the script holds a socket; it makes no other than the one it is about."""
    return any(link.startswith("socket:") for link in links(ran.pids, "fd"))


def namespaces(kind: str) -> Evidence:
    """Evidence that the script's processes live in more than one namespace of `kind`."""

    def look(arena: Arena, ran: Ran) -> bool:
        found = set()
        for pid in ran.pids:
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
        return len(found) > 1

    return look


def mounted(text: str) -> Evidence:
    """Evidence that `text` stands in the mount table of one of the script's processes."""

    def look(arena: Arena, ran: Ran) -> bool:
        for pid in ran.pids:
            with contextlib.suppress(OSError):
                if arena.fill(text) in Path(f"/proc/{pid}/mountinfo").read_text("utf-8"):
                    return True
        return False

    return look


def status_field(pid: int, name: str) -> str:
    """Read one field of /proc/PID/status; empty once the process has gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
            if line.startswith(f"{name}:"):
                return line.partition(":")[2].strip()
    return ""
