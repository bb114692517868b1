"""The vault's process, from its first instruction: make it unreadable, then read values and serve (vault_service.py).

SECURITY: whatever goes wrong in this process is told by its kind and place alone. Messages of exceptions are dropped:
those of parsers and codecs quote what they failed on, which may be a value.
"""

import ctypes
import os
import resource
import sys
import threading

from ringfence.inside import privilege

from . import titles

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from types import TracebackType

CHANNEL = 3
PLACES_AT_MOST = 8
LOCKED = 1 | 2 | 4  # MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT, <sys/mman.h>


def main() -> None:
    """Be one run's vault; the argument is the user to be as root, 0 for one that no other process is."""
    titles.appear_as(titles.VAULT)
    protect()
    from ringfence.sandbox import staging

    from . import vault_service

    vault_service.serve(CHANNEL, identifier=int(sys.argv[1]) or staging.SANDBOX_UID_BASE + os.getpid())


def protect() -> None:
    """Leave no core dump, nothing in swap where that can be had, and nothing of a value in what is said of errors."""
    privilege.make_opaque()
    os.closerange(CHANNEL + 1, (1 << 31) - 1)  # what the user's shell has left open
    os.chdir("/")  # SECURITY: a PATH with relative places must not lead into the checkout
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    lock_memory()
    sys.excepthook = lambda kind, error, trace: say(kind, trace)
    sys.unraisablehook = lambda found: say(found.exc_type, found.exc_traceback)
    threading.excepthook = lambda found: say(found.exc_type, found.exc_traceback)


def lock_memory() -> None:
    """Keep every page out of swap, where there is no limit to that.

    With a limit later pages could not be had at all; then the values alone are locked (secrets/value.py).
    """
    if os.geteuid() == 0:
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except (OSError, ValueError):
            pass  # a root without power over limits
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        ctypes.CDLL(None).mlockall(LOCKED)


def say(kind: type[BaseException], trace: "TracebackType | None") -> None:
    """Write one line on standard error: what kind of error, and where."""
    sys.stderr.write(placed(kind, trace) + "\n")
    sys.stderr.flush()


def placed(kind: type[BaseException], trace: "TracebackType | None") -> str:
    """What kind of error, and where, the innermost place first."""
    places = []
    while trace:
        code = trace.tb_frame.f_code
        places.append(f"{os.path.basename(code.co_filename)}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return f"{kind.__name__} at {' < '.join(reversed(places[-PLACES_AT_MOST:]))}"
