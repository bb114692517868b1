"""P4: the user's terminal: typing into it, leaving it changed, striking the jobs that share it."""

import contextlib
import fcntl
import os
import pty
import signal
import termios
import tty
from collections.abc import Callable
from typing import Any

from tests import paths
from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases
from tests.attacks.kernel import PRELUDE, status_field

TIOCSTI, TIOCSETD, TIOCGETD, N_NULL = 0x5412, 0x5423, 0x5424, 27  # ioctl_tty(2), <linux/tty.h>
RESTORED = "changing one's terminal is what editors do; it is put back at the end, and nothing is refused"
WITHOUT_TERMINAL = {"warm": "a session's commands are given pipes, never a terminal"}


def terminal(arena: Arena) -> dict[str, Any]:
    """Give the script a controlling terminal as standard input, with a job of the user's in the same process group."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    for descriptor in (ours, theirs):
        arena.closing.callback(os.close, descriptor)
    arena.values["terminal"] = str(theirs)
    arena.root.joinpath("attributes").write_text(repr(termios.tcgetattr(theirs)), "utf-8")
    bystander = str(arena.root / "bystander")

    def enter() -> None:
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        child = os.fork()
        if child == 0:
            # The end of the session's leader hangs up on everybody; that is not what is tried here.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            os.closerange(0, 256)
            os.execv("/bin/sleep", ["sleep", "300"])
        with open(bystander, "w") as file:
            file.write(str(child))

    arena.closing.callback(_end_bystander, arena)
    return {"stdin": theirs, "preexec_fn": enter}


def _bystander(arena: Arena) -> int:
    return int((arena.root / "bystander").read_text("ascii"))


def _end_bystander(arena: Arena) -> None:
    if status_field(_bystander(arena), "Name") == "sleep":
        with contextlib.suppress(ProcessLookupError):
            os.kill(_bystander(arena), signal.SIGKILL)


def typed(arena: Arena, ran: Ran) -> bool:
    """Tell whether the script put words into the terminal's input, where the user's shell would read them."""
    descriptor = int(arena.values["terminal"])
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    try:
        return b"pwned" in os.read(descriptor, 999)
    except BlockingIOError:
        return False


def attributes_changed(arena: Arena, ran: Ran) -> bool:
    now = repr(termios.tcgetattr(int(arena.values["terminal"])))
    return now != (arena.root / "attributes").read_text("utf-8")


def flags_changed(arena: Arena, ran: Ran) -> bool:
    return bool(fcntl.fcntl(int(arena.values["terminal"]), fcntl.F_GETFL) & (os.O_NONBLOCK | os.O_ASYNC))


def discipline_changed(arena: Arena, ran: Ran) -> bool:
    found = fcntl.ioctl(int(arena.values["terminal"]), TIOCGETD, bytes(4))
    return int.from_bytes(found, "little") != 0


def bystander_struck(arena: Arena, ran: Ran) -> bool:
    """Tell whether it was stopped or ended, after a while; unconfined it is, however slow the machine."""
    bystander = _bystander(arena)
    return paths.wait_until(
        lambda: status_field(bystander, "State")[:1] in ("", "T", "Z", "X"), 0.3 if ran.confined else paths.PATIENCE_S
    )


def no_injection() -> bool:
    """Tell whether this kernel refuses TIOCSTI to everybody without privilege."""
    try:
        with open("/proc/sys/dev/tty/legacy_tiocsti") as file:
            return file.read().strip() == "0" and os.geteuid() != 0
    except OSError:
        return False


TYPE = (
    "import ctypes\nlibc = ctypes.CDLL(None)\n"
    "number = 16 if __import__('os').uname().machine == 'x86_64' else 29\n"
    "for byte in b'pwned\\n':\n"
    "    libc.syscall(ctypes.c_long(number), ctypes.c_long(0), ctypes.c_ulong({request}), bytes([byte]))\n"
)


@cases(
    Attack(
        name="typing",
        script=TYPE.format(request=hex(TIOCSTI)),
        redirect=terminal,
        evidence=typed,
        refused_here=no_injection,
        code="terminal-injection",
    ),
    Attack(
        name="typing-with-rubbish-in-the-upper-half",
        script=TYPE.format(request=hex(TIOCSTI | 0xDEAD << 32)),
        redirect=terminal,
        evidence=typed,
        refused_here=no_injection,
        code="terminal-injection",
    ),
    Attack(
        name="line-discipline",
        script="import fcntl\n"
        f"try: fcntl.ioctl(0, {TIOCSETD}, ({N_NULL}).to_bytes(4, 'little'))\nexcept OSError as error: print(error)",
        redirect=terminal,
        evidence=discipline_changed,
        refused_here=lambda: True,
        code="terminal-injection",
    ),
    Attack(
        name="attributes-left-changed",
        script="import termios\nfound = termios.tcgetattr(0); found[3] ^= termios.ECHO | termios.ICANON\n"
        "termios.tcsetattr(0, termios.TCSANOW, found)",
        redirect=terminal,
        evidence=attributes_changed,
        unseen=RESTORED,
        not_on=WITHOUT_TERMINAL,
    ),
    Attack(
        name="flags-left-changed",
        script="import fcntl, os\n"
        "fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_NONBLOCK | os.O_ASYNC)",
        redirect=terminal,
        evidence=flags_changed,
        unseen=RESTORED,
        not_on=WITHOUT_TERMINAL,
    ),
    Attack(
        name="signal-to-the-job-beside",
        script=f"{PRELUDE}\ntry: os.kill(0, 15)\nexcept OSError as error: print(error)",
        redirect=terminal,
        evidence=bystander_struck,
        unseen="Landlock and the uid keep the signal from whoever is outside; kill(0) itself succeeds and is no denial",
    ),
)
def test_terminal(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
