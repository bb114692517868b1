"""P3: outliving the run: daemons, SIGTERM ignored, the supervisor killed."""

import contextlib
import os
import signal
from collections.abc import Callable

from tests import paths
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
    return left_over(lambda: set(marked(arena)), paths.PATIENCE_S if ran.confined else 0.2)


def left_over(look: Callable[[], set[int]], patience_s: float) -> bool:
    """Wait until no process is left, or patience is over; tell whether there are, and end those."""
    paths.wait_until(lambda: not look(), patience_s)  # there is no event for the end of somebody else's child
    left = look()
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


def struck_with(number: int) -> Callable[[Arena, Ran], bool]:
    """Evidence taken while the script is held: end whoever was started, and see whether something stays."""

    def look(arena: Arena, ran: Ran) -> bool:
        os.kill(ran.started, number)
        # Unconfined nobody ends it.
        return left_over(lambda: set(marked(arena)) - {ran.started}, paths.PATIENCE_S if ran.confined else 0.2)

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
