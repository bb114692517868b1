"""P5: inherited descriptors: a directory, our own, a redirected file opened again with more rights."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases, holds

CLOSED = "the descriptor is closed before the command starts, so using its number is EBADF, which nobody is told"
REFUSED = "the kernel's refusal (Landlock: EACCES) is written to the kernel's own audit only, if there is one"


def directory_passed(arena: Arena) -> dict[str, Any]:
    descriptor = os.open(arena.root / "outside", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(descriptor, True)
    arena.closing.callback(os.close, descriptor)
    return {"pass_fds": [descriptor]}


def input_file(arena: Arena) -> dict[str, Any]:
    stream = open(arena.write("@outside@/input", "original\n", mode=0o644))
    arena.closing.callback(stream.close)
    return {"stdin": stream}


def log_file(arena: Arena) -> dict[str, Any]:
    stream = open(arena.write("@outside@/log", f"{arena.canary}\n", mode=0o644), "a")
    arena.closing.callback(stream.close)
    return {"stderr": stream}


def of_ours(arena: Arena, ran: Ran) -> bool:
    """Tell whether the script could write to the lock file of its own run."""
    locks = [Path(folder, "lock") for folder, _, names in os.walk(arena.home / ".local/state") if "lock" in names]
    for lock in locks:
        with contextlib.suppress(FileNotFoundError):  # of a boundary that waited, and has just been removed
            if b"pwned" in lock.read_bytes():
                return True
    return False


def close(name: str, *descriptors: int) -> Attack:
    """Start with descriptors closed, so that whatever ringfence opens first takes their numbers."""

    def redirect(arena: Arena) -> dict[str, Any]:
        def shut() -> None:
            for descriptor in descriptors:
                os.close(descriptor)

        return {"preexec_fn": shut}

    return Attack(
        name=name,
        # Unconfined, the second part does what such a descriptor would allow.
        script="import os\nfor number in (0, 1, 2):\n"
        "    try: os.write(number, b'pwned')\n    except OSError: pass\n"
        "runs = '@home@/.local/state/ringfence/runs'\nos.makedirs(runs, exist_ok=True)\n"
        "open(f'{runs}/lock', 'w').write('pwned')\nopen('.envrc', 'w').write('held back, so that the run is kept')",
        redirect=redirect,
        evidence=of_ours,
        code="auto-load",
    )


@cases(
    Attack(
        name="inherited-directory",
        script="for fd in /proc/self/fd/*; do cat $fd/secret.txt; done 2>/dev/null",
        shell=True,
        redirect=directory_passed,
        unseen=CLOSED,
    ),
    Attack(
        name="input-opened-again-for-writing",
        script="echo pwned > /proc/self/fd/0",
        shell=True,
        redirect=input_file,
        evidence=holds("@outside@/input"),
        unseen=REFUSED,
    ),
    Attack(
        name="log-opened-again-for-reading",
        script="cat < /proc/self/fd/2",
        shell=True,
        redirect=log_file,
        evidence=lambda arena, ran: arena.canary in ran.output,
        unseen=REFUSED,
    ),
    Attack(
        name="log-opened-again-and-emptied",
        script=": > /proc/self/fd/2",
        shell=True,
        redirect=log_file,
        evidence=lambda arena, ran: (arena.root / "outside/log").stat().st_size == 0,
        unseen=REFUSED,
    ),
)
def test_inherited(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)


@cases(
    close("input", 0),
    close("output", 1),
    close("error", 2),
    close("input-and-output", 0, 1),
    close("output-and-error", 1, 2),
    close("all", 0, 1, 2),
)
def test_closed(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
