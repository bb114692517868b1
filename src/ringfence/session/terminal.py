"""Leave the standard streams as they were found, whatever the command did to them.

The command shares them with us and with the shell that started us: a terminal's attributes, and the flags of the open
file (O_NONBLOCK and O_ASYNC would confuse whoever reads next).
"""

import _signal
import fcntl
import os

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from typing import Any


def in_front(terminal: int) -> bool:
    """Whether our process group has the terminal's foreground."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False


def process_group(streams: "tuple[int, int, int]", *, may_share: bool) -> str:
    """In which process group a command with a terminal among its streams runs.

    `foreground`: one of its own that gets the terminal, where all three streams are the terminal in front of us.
    `shared`: ours, where only some are (a pipeline's other members need the terminal too) and something else keeps
    the command from signalling the group. `own` otherwise.
    """
    if all(os.isatty(descriptor) for descriptor in streams) and streams == (0, 1, 2) and in_front(0):
        return "foreground"
    return "shared" if may_share else "own"


class State:
    """What was found: flags by descriptor, and attributes by descriptor of a terminal."""

    __slots__ = ("attributes", "flags")

    def __init__(self, flags: "dict[int, int]", attributes: "dict[int, list[Any]]") -> None:
        self.flags = flags
        self.attributes = attributes


def save(descriptors: "tuple[int, ...]") -> State:
    """The state of `descriptors` before the command has them."""
    state = State({number: fcntl.fcntl(number, fcntl.F_GETFL) for number in descriptors}, {})
    for descriptor in descriptors:
        if os.isatty(descriptor):
            import termios

            state.attributes[descriptor] = termios.tcgetattr(descriptor)
    return state


def restore(state: State) -> None:
    """Put everything back and take the foreground again, which an inner shell may have taken."""
    for descriptor, flags in state.flags.items():
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    if not state.attributes:
        return
    import termios

    _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTTOU,))
    for descriptor, attributes in state.attributes.items():
        try:
            foreground = os.tcgetpgrp(descriptor)
            if foreground != os.getpgrp() and not alive(foreground):
                os.tcsetpgrp(descriptor, os.getpgrp())
            if os.tcgetpgrp(descriptor) == os.getpgrp():
                termios.tcsetattr(descriptor, termios.TCSADRAIN, attributes)
        except (OSError, termios.error):
            continue


def alive(group: int) -> bool:
    """Whether any process is left in a process group; a group of another job must keep its terminal."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
