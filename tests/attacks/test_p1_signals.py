"""P1: signals to processes outside: by number, to everybody, to the process group shared through a terminal."""

import subprocess
import sys
from collections.abc import Callable

from tests import paths
from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases
from tests.attacks.kernel import PRELUDE, status_field


def victim(arena: Arena) -> None:
    """Start a process of the same user that the attack is after; it holds a canary in its memory."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; kept = sys.stdin.read()"], stdin=subprocess.PIPE, start_new_session=True
    )
    arena.closing.enter_context(process)
    arena.closing.callback(process.kill)
    arena.values["victim"] = str(process.pid)


def struck(arena: Arena, ran: Ran) -> bool:
    """Tell whether the victim was stopped or ended, after a while; unconfined it is, however slow the machine."""
    victim = int(arena.values["victim"])
    return paths.wait_until(
        lambda: status_field(victim, "State")[:1] in ("", "T", "Z", "X"), 0.2 if ran.confined else paths.PATIENCE_S
    )


def sends(name: str, how: str, *, code: str = "signal-denied", unseen: str = "") -> Attack:
    return Attack(
        name=name,
        script=f"{PRELUDE}\nimport signal\n{how}",
        evidence=struck,
        prepare=victim,
        code="" if unseen else code,
        unseen=unseen,
    )


NOT_ASKED = "tgkill is not observed: language runtimes preempt their threads with it, thousands of times a second"
NO_SUCH = "pidfd_open cannot find a number that does not exist in the sandbox, so there is nothing to send to"


@cases(
    sends("kill", "try: os.kill(@victim@, signal.SIGKILL)\nexcept OSError as error: print(error)"),
    sends("stop", "try: os.kill(@victim@, signal.SIGSTOP)\nexcept OSError as error: print(error)"),
    sends("group", "try: os.killpg(@victim@, signal.SIGKILL)\nexcept OSError as error: print(error)"),
    sends(
        "pidfd",
        "try: signal.pidfd_send_signal(os.pidfd_open(@victim@), signal.SIGKILL)\nexcept OSError as error: print(error)",
        unseen=NO_SUCH,
    ),
    sends(
        "tgkill", "show(call(234 if os.uname().machine == 'x86_64' else 131, @victim@, @victim@, 9))", unseen=NOT_ASKED
    ),
    sends(
        "queued-with-a-forged-sender",
        "show(call(129 if os.uname().machine == 'x86_64' else 138, @victim@, 9, "
        "struct.pack('iii', 9, 0, -1).ljust(128, b'\\0')))",
        unseen="rt_sigqueueinfo is not observed; the number does not exist in the sandbox",
    ),
    sends(
        "every-number",
        # Unconfined, where others live as well, it is the victim's alone; inside it would be everybody's.
        "numbers = [@victim@]\n"
        "if (os.getpid(), os.getppid()) == (2, 1):\n"
        "    numbers = [*range(1, 1000), *range(max(1000, @victim@ - 1000), @victim@ + 1000)]\n"
        "for number in numbers:\n"
        "    if number == os.getpid(): continue\n"
        "    try: os.kill(number, 9)\n    except OSError: pass",
    ),
    sends(
        "owner-of-a-descriptor",
        "import fcntl, socket\na, b = socket.socketpair()\n"
        "try: fcntl.fcntl(a, fcntl.F_SETOWN, @victim@)\nexcept OSError as error: print(error)\n"
        "fcntl.fcntl(a, 10, signal.SIGKILL)\n"
        "fcntl.fcntl(a, fcntl.F_SETFL, fcntl.fcntl(a, fcntl.F_GETFL) | os.O_ASYNC)\nb.send(b'x')",
        unseen="F_SETOWN names a number that does not exist in the sandbox: ESRCH, and fcntl is not observed",
    ),
)
def test_signal(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
