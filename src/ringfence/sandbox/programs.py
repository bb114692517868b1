"""Run a program of the user's and take what it prints: what keeps a secret or a key, and hands over no more than asked.

It runs outside every boundary, as the user, with the user's environment.
"""

import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from io import FileIO

from . import launch

PRINTED_AT_MOST = 1 << 20


def output_of(
    words: Sequence[str], environment: Mapping[str, str], timeout_s: float, *, told: bytes = b""
) -> tuple[int, bytes]:
    """Run a program, which reads `told`, to its end; give its exit status (negative: the signal) and what it printed.

    What it says on standard error is dropped. Raises OSError for what cannot be executed and TimeoutError for what
    takes too long, or prints without end. Its process group is killed in any case.
    """
    given = launch.memory_file("told", told)
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        child = _spawn(list(words), environment, given, write)
    except OSError:
        os.close(read)
        raise
    finally:
        os.close(given)
        os.close(write)
    os.set_blocking(read, False)
    with open(os.pidfd_open(child), "rb", buffering=0) as handle, open(read, "rb", buffering=0) as output:
        try:
            printed = _gather(output, handle, timeout_s)
        finally:
            os.killpg(child, signal.SIGKILL)  # not reaped yet, so the group is still its own
            _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), printed


def _spawn(words: list[str], environment: Mapping[str, str], given: int, write: int) -> int:
    actions: list[tuple[int, int, str, int, int] | tuple[int, int, int]] = [
        (os.POSIX_SPAWN_DUP2, given, 0),
        (os.POSIX_SPAWN_DUP2, write, 1),
        (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
    ]
    place, defaults = words[0], (signal.SIGPIPE,)
    with launch.one_at_a_time:  # in a process group of its own: no terminal's signals, and it can be killed as a whole
        return os.posix_spawnp(
            place, words, environment, file_actions=actions, setpgroup=0, setsigmask=(), setsigdef=defaults
        )


def _gather(output: FileIO, handle: FileIO, timeout_s: float) -> bytes:
    """What is written until the process behind `handle` has ended; a child that it leaves behind is not waited for."""
    deadline = time.monotonic() + timeout_s
    poller = select.poll()
    poller.register(output, select.POLLIN)
    poller.register(handle, select.POLLIN)
    found = b""
    while True:
        ready = dict(poller.poll(max(0.0, deadline - time.monotonic()) * 1000))
        if not ready:
            raise TimeoutError
        if output.fileno() in ready or handle.fileno() in ready:
            while part := output.read(1 << 16):
                found += part
                if len(found) > PRINTED_AT_MOST:
                    raise TimeoutError
            if part == b"" and output.fileno() in ready:
                poller.unregister(output)  # closed, though it goes on
        if handle.fileno() in ready:
            return found
