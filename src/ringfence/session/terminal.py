"""Leave the terminal as it was found, whatever the command did to it."""

import os

import _signal

if False:  # for type checkers only
    Attributes = list[object]


def save(descriptors: "tuple[int, ...]") -> "dict[int, Attributes]":
    """The attributes of each of `descriptors` that is a terminal."""
    found: dict[int, list[object]] = {}
    for descriptor in descriptors:
        if os.isatty(descriptor):
            import termios  # noqa: PLC0415 - only with a terminal

            found[descriptor] = termios.tcgetattr(descriptor)
    return found


def restore(state: "dict[int, Attributes]") -> None:
    """Put attributes back and take the foreground again, which an inner shell may have taken."""
    if not state:
        return
    import termios  # noqa: PLC0415 - only with a terminal

    _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTTOU,))
    for descriptor, attributes in state.items():
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
