"""P5: descriptors that the command inherits: a directory, our own, or a redirected file opened again with more rights."""

import os
from collections.abc import Callable
from typing import Any

from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases, holds
from tests.attacks.kernel import links

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


def closed(*descriptors: int) -> Callable[[Arena], dict[str, Any]]:
    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return lambda arena: {"preexec_fn": close}


def of_ours(arena: Arena, ran: Ran) -> bool:
    """Tell whether the script holds a descriptor of the run's own directory or a socket of the supervisor's."""
    state = str(arena.home / ".local/state")
    return any(link.startswith("socket:") or state in link for link in links(ran.pids, "fd"))


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


OURS_PASSED = "script"


@pytest.mark.parametrize("descriptors", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2)], ids=str)
def test_closed_standard_descriptors(descriptors: tuple[int, ...]) -> None:
    """What the user closed is not replaced by something of ours; there is no such attack without a sandbox."""
