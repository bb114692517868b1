"""The vault's process, from its first instruction: make it unreadable, then read values and serve (vault_service.py).

It is started for one run (`main`), or was prepared by the standby and is given to one (`serve_assigned`).

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
    import socket
    from types import TracebackType

CHANNEL = 3
PACKET_BYTES = 4096
PLACES_AT_MOST = 8
LOG_BYTES = 64 << 10
LOCKED = 1 | 2 | 4  # MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT, <sys/mman.h>


def main() -> None:
    """Be one run's vault; the argument is the user to be as root, 0 for one that no other process is."""
    titles.appear_as(titles.VAULT)
    os.closerange(CHANNEL + 1, (1 << 31) - 1)  # what the user's shell has left open
    serve(sys.argv[1], CHANNEL, adopted=False)


def serve_assigned(give: "socket.socket") -> None:
    """Wait on `give`, as a fork of the standby (standby_server.py), for a run, and be its vault."""
    import socket

    titles.appear_as(titles.VAULT)
    data, descriptors, _, _ = socket.recv_fds(give, PACKET_BYTES, 2)
    give.close()
    if len(descriptors) != 2:
        return  # the standby has ended
    channel, log = descriptors
    os.dup2(log, 2)
    os.close(log)
    serve(data.decode(), channel, adopted=True)


def serve(identifier: str, channel: int, *, adopted: bool) -> None:
    """Be the vault of the run at the other end of `channel`, which tells the whole environment where `adopted`."""
    protect()
    from ringfence.sandbox import launch

    from . import vault_service

    user = int(identifier) or launch.SANDBOX_UID_BASE + os.getpid()
    vault_service.serve(channel, identifier=user, adopted=adopted)


def protect() -> None:
    """Leave no core dump, nothing in swap where that can be had, and nothing of a value in what is said of errors."""
    privilege.make_opaque()
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
    """Write one line on standard error: what kind of error, and where; over the oldest ones where it is full."""
    line = (placed(kind, trace) + "\n").encode(errors="replace")
    try:
        if os.lseek(2, 0, os.SEEK_CUR) + len(line) > LOG_BYTES:
            os.lseek(2, 0, os.SEEK_SET)
    except OSError:
        pass  # a pipe or a terminal
    os.write(2, line)


def placed(kind: type[BaseException], trace: "TracebackType | None") -> str:
    """What kind of error, and where, the innermost place first."""
    places = []
    while trace:
        code = trace.tb_frame.f_code
        places.append(f"{os.path.basename(code.co_filename)}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return f"{kind.__name__} at {' < '.join(reversed(places[-PLACES_AT_MOST:]))}"
