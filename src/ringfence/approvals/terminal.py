"""Asks on the operator's terminal, not on the standard streams, which an agent shares.

SECURITY: what was typed before the question was shown is thrown away, so that nobody answers unawares; everything that
the agent wrote is shown without control characters (docs/threats.md, P4). Where the agent has the terminal's foreground
it reads what is typed: then nobody is asked, unless the approver `takes` the foreground for as long as it asks.
"""

import os
import select
import signal
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ringfence.model.approval import Answer, Lasting, Question

TERMINAL = "/dev/tty"
SHOWN_LINES = 20
SHOWN_CHARACTERS = 400
NOBODY = "there is nobody to ask"
CHOICES = "  [y] once  [s] for this session  {always}[n] no, or type a reason: "
ALWAYS = "[a] always  "


class TerminalApprover:
    """Asks on `path` and waits `timeout_s` for a line."""

    def __init__(self, timeout_s: float, path: str = TERMINAL, *, takes: bool = False) -> None:
        self.timeout_s = timeout_s
        self.path = path
        self.takes = takes

    def ask(self, question: Question) -> Answer:
        """Show the question and read a line; a denial where there is no terminal of ours, or no answer in time."""
        try:
            terminal = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            return Answer(allowed=False, reason=NOBODY)
        try:
            front = os.tcgetpgrp(terminal)
            if front != os.getpgrp() and not self.takes:
                return Answer(allowed=False, reason=NOBODY)
            with in_front(terminal, front):
                return self.converse(terminal, question)
        except (OSError, termios.error):
            return Answer(allowed=False, reason=NOBODY)
        finally:
            os.close(terminal)

    def converse(self, terminal: int, question: Question) -> Answer:
        """Question and answer, on a terminal whose foreground is ours."""
        termios.tcflush(terminal, termios.TCIFLUSH)
        os.write(terminal, shown(question).encode(errors="replace"))
        line = self.line(terminal)
        if line is None:
            os.write(terminal, b"\n  no answer: denied\n")
        return answered(line, lasts=bool(question.rules))

    def line(self, terminal: int) -> str | None:
        """One line, without its end; None if none comes in time."""
        until = time.monotonic() + self.timeout_s
        typed = b""
        poller = select.poll()  # select(2) takes no descriptor from 1,024 on, and many sandboxes need more
        poller.register(terminal, select.POLLIN)
        while b"\n" not in typed:
            if not poller.poll(max(0.0, until - time.monotonic()) * 1000):
                return None
            data = os.read(terminal, 4096)
            if not data:
                return None
            typed += data
        return typed.partition(b"\n")[0].decode(errors="replace").strip()


@contextmanager
def in_front(terminal: int, front: int) -> Iterator[None]:
    """Have the terminal's foreground, in the mode in which lines are typed, and give both back."""
    attributes = termios.tcgetattr(terminal)
    lines = list(attributes)
    lines[3] |= termios.ICANON | termios.ECHO | termios.ISIG
    # Without this, taking the foreground from the background would stop us (tcsetpgrp(3)).
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTTOU,))
    try:
        os.tcsetpgrp(terminal, os.getpgrp())
        termios.tcsetattr(terminal, termios.TCSANOW, lines)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, attributes)
        os.tcsetpgrp(terminal, front)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def shown(question: Question) -> str:
    """The question as it is printed."""
    lines = [f"  {line}" for line in question.action[:SHOWN_LINES]]
    if len(question.action) > SHOWN_LINES:
        lines.append(f"  and {len(question.action) - SHOWN_LINES} more")
    told = [f"ringfence: the agent asks for {question.tool}", *lines, f"  because: {question.reason}"]
    if question.crosses:
        told.append(f"  it crosses: {question.crosses}")
    told += [f"  always: {rule}" for rule in question.rules]
    choices = CHOICES.format(always=ALWAYS if question.rules else "")
    return "\n" + "\n".join(printable(line) for line in told) + "\n" + choices


def printable(line: str) -> str:
    """`line` without anything that a terminal would act on, and not longer than a person reads."""
    text = line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]} [{len(line)} characters]"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


def answered(line: str | None, *, lasts: bool = False) -> Answer:
    """What a typed line means: only `y` and `s` allow, and `a` where there is a rule to add."""
    if line is None:
        return Answer(allowed=False, reason="nobody answered in time")
    if line.lower() in ("y", "yes"):
        return Answer(allowed=True, reason="the operator allowed it once")
    if line.lower() in ("s", "session"):
        return Answer(allowed=True, lasting=Lasting.SESSION, reason="the operator allowed it for this session")
    if lasts and line.lower() in ("a", "always"):
        return Answer(allowed=True, lasting=Lasting.RULE, reason="the operator allowed it from now on")
    said = "" if line.lower() in ("", "n", "no") else f": {line[:SHOWN_CHARACTERS]}"
    return Answer(allowed=False, reason=f"the operator refused{said}")
