"""Carry out the words of `ringfence run` as the one command of a session: the path `warm` of tests/paths.py.

A program of its own, started by the suites in the place of the command line, with the same streams and signals.
"""

import _signal
import os
import signal
import sys
import threading

from ringfence.cli import entry
from ringfence.cli import run as command_line
from ringfence.model.errors import RingfenceError
from ringfence.sandbox.command import FRESH
from ringfence.sandbox.supervise import FORWARDED
from ringfence.session import options as options_module
from ringfence.session.exchange import is_readable
from ringfence.session.warm import CommandLimits, Session


def main(words: list[str]) -> int:
    """Run the command; its exit status is ours."""
    options, argv = options_module.parse(words)
    options.serving = True
    _signal.pthread_sigmask(_signal.SIG_BLOCK, FORWARDED)
    session = Session(options, {})
    command = session.begin(argv, env={}, cwd="", limits=CommandLimits(), kind=FRESH, stdio=(0, 1, 2))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2) if not options.verbose else (0, 1):
        os.dup2(null, descriptor)  # the command's end ends its streams

    def forward() -> None:
        while True:
            command.send(signal.sigwait(FORWARDED))

    threading.Thread(target=forward, daemon=True).start()
    is_readable(command.ending.descriptor, None)
    finished = session.close()
    if options.verbose:
        command_line.summarise(finished)
    return command.outcome.status if command.outcome else 125


def fill_closed_streams() -> None:
    """What `ringfence run` does for streams that are closed; nobody else gives a session any but pipes."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free


if __name__ == "__main__":
    fill_closed_streams()
    try:
        status = main(sys.argv[1:])
    except RingfenceError as error:
        status = entry.report(error)
    os._exit(status)
