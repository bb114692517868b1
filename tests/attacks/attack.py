"""What an attack is, and the rule by which it is judged.

An attack is a script and a look at the host. It is carried out twice, each time in a fresh arena: first unconfined,
where it must succeed (else the test would prove nothing), then through the command line, where it must not, and where
the audit must show it. The script's own words never count: `evidence` looks at the host, or for a canary that the
script could not have guessed.
"""

import dataclasses
import os
import select
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import paths
from tests.attacks import trail
from tests.attacks.arena import PYTHON, Arena, Ran

if TYPE_CHECKING:
    from tests.lab import Lab

Evidence = Callable[[Arena, Ran], bool]
STOPPED_S = 30.0


def leaked(arena: Arena, ran: Ran) -> bool:
    """Tell whether the arena's canary got out: printed, or brought into the host's workspace."""
    return arena.canary in ran.output or arena.canary in arena.workspace_text()


def created(name: str) -> Evidence:
    """Evidence that something exists on the host at `name`, written as in a script (`@home@/x`)."""
    return lambda arena, ran: Path(arena.fill(name)).is_symlink() or Path(arena.fill(name)).exists()


def gone(name: str) -> Evidence:
    """Evidence that the host's `name` is no longer there."""
    return lambda arena, ran: not Path(arena.fill(name)).exists()


def holds(name: str, text: str = "pwned") -> Evidence:
    """Evidence that the host's file `name` contains `text`."""

    def look(arena: Arena, ran: Ran) -> bool:
        path = Path(arena.fill(name))
        return path.is_file() and arena.fill(text) in path.read_text("utf-8", "replace")

    return look


def present(name: str, text: str = "original\n", mode: int = 0o644) -> Callable[[Arena], None]:
    """Prepare one file on the host; `@canary@` in its text is the arena's canary."""

    def make(arena: Arena) -> None:
        arena.write(name, text.replace("@canary@", arena.canary), mode=mode)

    return make


def nothing(arena: Arena) -> None:
    """Prepare nothing."""


def to_be_stopped(arena: Arena, ran: Ran) -> None:
    """Leave a boundary the time to end a script that waits; unconfined nobody would."""
    if ran.confined:
        handle = os.pidfd_open(ran.started)
        select.select([handle], [], [], STOPPED_S)
        os.close(handle)


def here(arena: Arena) -> list[str]:
    """Run the unconfined script where the test runs."""
    return []


def no_redirection(arena: Arena) -> dict[str, Any]:
    """Leave standard input to the arena."""
    return {}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Attack:
    """One attack as data.

    `code` is what the audit must say of it; where the kernel tells nobody, `unseen` says why, and the record of the
    launch and of the end must do. `tainted`: the audit must also say that the run was tainted. `hold`: the script
    prints `ready` and waits for the end of its input, and the evidence is taken meanwhile. `meanwhile` is what happens
    on the host while it waits so; the evidence is taken at the end. `refused` says why the kernel refuses the attack to
    an ordinary user even unconfined; `only` is `root` or `user` where the other has no such attack. `options` and
    `policy` are the operator's. `cut_off`: the supervisor does not live to record the end; the next run must. `world`
    is a command that runs the unconfined script where it can do no harm. `not_on` says on which path the attack has no
    meaning, and why (tests/paths.py).
    """

    name: str
    script: str
    evidence: Evidence = leaked
    code: str = ""
    unseen: str = ""
    tainted: bool = False
    shell: bool = False
    hold: bool = False
    meanwhile: Callable[[Arena, Ran], None] | None = None
    options: tuple[str, ...] = ()
    policy: str = ""
    prepare: Callable[[Arena], None] = nothing
    redirect: Callable[[Arena], dict[str, Any]] = no_redirection
    refused: str = ""
    refused_here: Callable[[], bool] = lambda: False
    only: str = ""
    cut_off: bool = False
    world: Callable[[Arena], list[str]] = here
    not_on: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def argv(self, arena: Arena) -> list[str]:
        """Give the command line of the script, with every place filled in."""
        text = arena.fill(self.script)
        return ["sh", "-c", text] if self.shell else [PYTHON, "-I", "-S", "-c", text]


def cases(*attacks: Attack) -> pytest.MarkDecorator:
    """Make each attack a test of its own."""
    return pytest.mark.parametrize("attack", attacks, ids=[attack.name for attack in attacks])


def check(attack: Attack, *, root: bool, lab: "Lab | None" = None) -> None:
    """Carry out one attack twice and judge it; with a lab, on the host side of that."""
    assert bool(attack.code) != bool(attack.unseen), "an attack is seen under a code, or says why it is not"
    if paths.TAKEN in attack.not_on:
        pytest.skip(paths.NOT_ON + attack.not_on[paths.TAKEN])
    if attack.only and attack.only != ("root" if root else "user"):
        pytest.skip(f"an attack of {attack.only} only")
    if not attack.refused_here() and (root or not attack.refused):
        with Arena.open(attack.prepare, lab) as arena:
            ran = arena.unconfined(attack)
            assert ran.achieved, f"the attack fails even unconfined: {ran.status}\n{ran.output[-2000:]}"
    with Arena.open(attack.prepare, lab) as arena:
        plan = arena.plan(attack) if attack.unseen else ""
        ran = arena.confined(attack)
        assert not ran.achieved, f"THE ATTACK GOT THROUGH\n{ran.output[-2000:]}"
        records = trail.of_one_run(arena, ran.output)
        trail.check_launch(records, plan or None)
        if attack.cut_off:
            trail.check_lost(arena)
        else:
            trail.check_end(records, ran.output)
        if attack.code:
            trail.check_seen(records, attack.code, ran.output)
        if attack.tainted:
            trail.check_tainted(records, ran.output)
