"""P3: outliving the run: daemons, SIGTERM ignored, the supervisor killed."""

import contextlib
import os
import signal
import time
from collections.abc import Callable

from tests.attacks.arena import Arena, Ran, command_line, process_ids
from tests.attacks.attack import Attack, cases

DAEMON = (
    "import os, signal, time\nMARK = '@mark@'\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    for number in range(1, 32):\n"
    "        if number not in (9, 19): signal.signal(number, signal.SIG_IGN)\n"
    "    if os.fork() == 0:\n"
    "        for fd in (0, 1, 2): os.close(fd)\n"
    "        time.sleep(60)\n"
    "    os._exit(0)\n"
    "os.wait()\nprint('started', flush=True)\n"
)


def marked(arena: Arena) -> list[int]:
    """List the living processes that carry the arena's mark, the supervisor's own among them."""
    return [pid for pid in process_ids() if arena.values["mark"].encode() in command_line(pid)]


def survivors(arena: Arena, ran: Ran) -> bool:
    """Tell whether anything of the script is still alive, after a while in which the kernel may finish; end it."""
    deadline = time.monotonic() + 0.5
    while (left := marked(arena)) and time.monotonic() < deadline:
        time.sleep(0.02)  # there is no event for the end of somebody else's child
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(left)


@cases(
    Attack(
        name="daemon",
        script=DAEMON,
        evidence=survivors,
        unseen="ending with the run is what every process does; nothing is refused",
    ),
)
def test_daemon(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)


# A child that ignores what can be ignored; killing its parent is what ends a shell's job.
STUBBORN = (
    "import os, signal, time\nMARK = '@mark@'\n"
    "for number in range(1, 32):\n"
    "    if number not in (9, 17, 19): signal.signal(number, signal.SIG_IGN)\n"
    "if os.fork() == 0:\n"
    "    print('ready', flush=True)\n"
    "    time.sleep(60)\n"
    "os.wait()\n"
)
GRACE_S = 8.0  # supervise.GRACE_S and some time to spare


def struck_with(number: int) -> Callable[[Arena, Ran], bool]:
    """Evidence taken while the script is held: end whoever was started, and see whether something stays."""

    def look(arena: Arena, ran: Ran) -> bool:
        os.kill(ran.started, number)
        deadline = time.monotonic() + (GRACE_S if ran.confined else 0.2)  # unconfined nobody ends it
        while (left := set(marked(arena)) - {ran.started}) and time.monotonic() < deadline:
            time.sleep(0.02)  # there is no event for the end of somebody else's child
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(left)

    return look


@cases(
    Attack(
        name="ignores-SIGTERM",
        script=STUBBORN,
        evidence=struck_with(signal.SIGTERM),
        hold=True,
        unseen="the escalation to SIGKILL shows in the record of the end: killed by 9",
    ),
    Attack(
        name="supervisor-killed",
        script=STUBBORN,
        evidence=struck_with(signal.SIGKILL),
        hold=True,
        cut_off=True,
        unseen="the supervisor is dead; the next run records that this one was lost",
    ),
)
def test_stubborn(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
