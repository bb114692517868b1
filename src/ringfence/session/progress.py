"""What takes long says so: one line on the operator's terminal after a second, taken away when it is done.

Only for the command line, never for the SDK, and only where standard error is a terminal that we are in front of. The
line is drawn by a timer's signal, so that what works needs no hook and no thread: a process that forks has neither.
Light: the end of a run imports it.
"""

import os
import signal
import sys
import time

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

DELAY_S = 1.0
EVERY_S = 0.25
TERMINAL = 2
CLEAR = b"\r\x1b[K"


class shown:  # noqa: N801 - reads as the function that it stands for, as contextlib's do
    """Show `what` while the block takes long; `count` is asked for how far it has come."""

    def __init__(self, what: str, count: "Callable[[], str] | None" = None) -> None:
        self.what = what
        self.count = count
        self.is_armed = self.is_drawn = False

    def __enter__(self) -> None:
        if is_wanted():
            self.began = time.monotonic()
            signal.signal(signal.SIGALRM, self.draw)
            signal.setitimer(signal.ITIMER_REAL, DELAY_S, EVERY_S)
            self.is_armed = True

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        if self.is_armed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if self.is_drawn:
            put(CLEAR)

    def draw(self, number: int, frame: "FrameType | None") -> None:
        """Write the line anew, if the terminal is ours to write to: in the background it would stop us."""
        try:
            if os.tcgetpgrp(TERMINAL) != os.getpgrp():
                return
            width = os.get_terminal_size(TERMINAL).columns
        except OSError:
            return
        self.is_drawn = True
        put(CLEAR + self.line(width or 80).encode(errors="replace"))

    def line(self, width: int) -> str:
        """What is shown: cut to the terminal, since what has wrapped could not be taken away."""
        so_far = f" {self.count()}" if self.count else ""
        return f"ringfence: {self.what}:{so_far} {time.monotonic() - self.began:.0f} s"[: width - 1]


def is_wanted() -> bool:
    """Whether there is somebody to show it to, and the timer and its signal are nobody else's."""
    return (
        "ringfence.cli" in sys.modules
        and os.isatty(TERMINAL)
        and os.environ.get("TERM", "dumb") != "dumb"
        and is_main_thread()
        and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
        and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    )


def is_main_thread() -> bool:
    """Only the first thread may have handlers; its number is the process's."""
    import _thread

    return _thread.get_native_id() == os.getpid()


def put(data: bytes) -> None:
    """Write to the terminal; one that has gone is no error."""
    try:
        os.write(TERMINAL, data)
    except OSError:
        pass
