"""A command of the shared room from its beginning to its end, in one thread: the caller's.

It costs hardly more than `subprocess.run` (docs/benchmarks.md), because nothing is handed over: the caller's thread
asks the room for the command, waits for its streams and hears from the room how it ended.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence

from ringfence.sandbox.command import SHARED, Command
from ringfence.sandbox.warm import WarmSupervisor

from .exchange import NAMES, Exchange, Pipe
from .warm import CommandLimits, Session

KILL_INTERVAL_S = 0.05


def exchange_with(
    command: Command,
    supervisor: WarmSupervisor,
    streams: Mapping[str, Pipe],
    data: bytes,
    *,
    release: Callable[[], None] = lambda: None,
) -> Exchange:
    """What goes through the streams of a command of the shared room; its end is heard in the same loop."""
    return Exchange(
        streams,
        data,
        command.control.fileno(),
        outlives=True,
        has_ended=lambda: supervisor.hear_out(command),
        handle=command.telling,
        release=release,
    )


class Errand:
    """One such command: begun at once, and `carry_out` brings it to its end."""

    def __init__(
        self, session: Session, argv: Sequence[str], *, env: Mapping[str, str], cwd: str, limits: CommandLimits
    ) -> None:
        self.supervisor = session.supervisor
        self.command = command = session.begin(argv, env=env, cwd=cwd, limits=limits, kind=SHARED)
        self.streams = dict(zip(NAMES, map(Pipe, command.streams), strict=True))
        del command.streams[0]  # ours to close; what is read from is given back with the command

    def carry_out(self, data: bytes, timeout_s: float | None) -> tuple[bytes, bytes, bool]:
        """Write `data`, read both streams, wait for the end; what was read, and whether it was killed for its time."""
        supervisor, command = self.supervisor, self.command
        exchange = exchange_with(command, supervisor, self.streams, data)
        supervisor.look_ahead()
        try:
            late = not exchange.carry_out(None if timeout_s is None else time.monotonic() + timeout_s)
            while late and not exchange.carry_out(time.monotonic() + KILL_INTERVAL_S):
                command.send(9)
        finally:
            self.streams["stdin"].close()
            if not command.outcome:
                self.hang_up()
            supervisor.let_go(command)
        return bytes(exchange.read["stdout"]), bytes(exchange.read["stderr"]), late

    def hang_up(self) -> None:
        """Read no more of what runs on, so that it does not wait for us."""
        while self.command.streams:
            os.close(self.command.streams.pop())
