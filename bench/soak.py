"""Sessions under mixed load for a while, and nothing may grow: `python -m bench.soak [SECONDS]`, else 60. Not for CI.

Every round opens a session, carries out a mixture of commands in it (both kinds, side by side, much output, time-outs,
cancellations, daemons, refused calls, a first process that is killed), closes it, and counts what is left: descriptors,
threads, child processes and runs must be those after the first round. Memory of this process is shown at the end.
"""

import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from ringfence import CommandFailedError, CommandTimeoutError, RingfenceError, Sandbox, SandboxSession
from ringfence.session import places

from . import memory

SIDE_BY_SIDE = 12
COMMANDS = 40  # of a round
PROBE = "import socket\ntry: socket.socket(socket.AF_PACKET)\nexcept OSError: pass"


async def much(session: SandboxSession, *, fresh: bool) -> None:
    """A megabyte in and out."""
    data = os.urandom(1 << 20)
    done = await session.run_async(["cat"], input=data, fresh=fresh)
    assert done.stdout == data


async def late(session: SandboxSession, *, fresh: bool) -> None:
    """One whose time is up."""
    with contextlib.suppress(CommandTimeoutError):
        await session.run_async(["sleep", "60"], timeout_s=0.05, fresh=fresh)


async def cancelled(session: SandboxSession, *, fresh: bool) -> None:
    """One that nobody waits for any more."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await session.run_async(["sh", "-c", "sleep 60 & sleep 60"], fresh=fresh)


async def daemon(session: SandboxSession, *, fresh: bool) -> None:
    """One that leaves something behind."""
    await session.run_async(["sh", "-c", "setsid sleep 5 >/dev/null 2>&1 &"], fresh=fresh, check=True)


async def refused(session: SandboxSession, *, fresh: bool) -> None:
    """One that the filter refuses something."""
    done = await session.run_async(["/usr/bin/python3", "-I", "-S", "-c", PROBE], fresh=fresh, check=True)
    assert done.denials


async def failing(session: SandboxSession, *, fresh: bool) -> None:
    """One that fails."""
    with contextlib.suppress(CommandFailedError):
        await session.run_async(["no-such-command"], fresh=fresh, check=True)


KINDS: tuple[Callable[..., Awaitable[None]], ...] = (much, late, cancelled, daemon, refused, failing)


async def mixture(session: SandboxSession) -> None:
    """Many of them, some at once."""
    gate = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one() -> None:
        async with gate:
            await random.choice(KINDS)(session, fresh=random.random() < 0.7)

    await asyncio.gather(*(one() for _ in range(COMMANDS)))


def round_trip(directory: str, *, killed: bool) -> None:
    """One session from its beginning to its end, which may be a sudden one."""
    with Sandbox(directory=directory) as box:
        session = box.session()
        asyncio.run(mixture(session))
        if killed and session.carried_out.supervisor:
            process = session.start(["sleep", "60"])
            os.kill(session.carried_out.supervisor.init, signal.SIGKILL)
            process.wait(20)
            process.close()
            with contextlib.suppress(RingfenceError):
                session.close()


def held() -> dict[str, int]:
    """What this process holds."""
    runs = Path(places.runs())
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "processes": len(memory.tree(os.getpid())) - 1,
        "runs": len(list(runs.iterdir())) if runs.is_dir() else 0,
    }


def main() -> None:
    """Go on until the time is up; a difference ends it with status 1."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory(dir=os.path.expanduser("~")) as place:
        round_trip(place, killed=True)
        first, began, rounds = held(), time.monotonic(), 0
        bytes_at_first = memory.pss_bytes([os.getpid()])
        while time.monotonic() - began < seconds:
            round_trip(place, killed=rounds % 5 == 4)
            rounds += 1
            if (now := held()) != first:
                raise SystemExit(f"after {rounds} rounds: {now} instead of {first}")
    grown = (memory.pss_bytes([os.getpid()]) - bytes_at_first) / 1e6
    sys.stdout.write(
        f"{rounds} sessions, {rounds * COMMANDS} commands; nothing left; this process has grown by {grown:.1f} MB\n"
    )


if __name__ == "__main__":
    main()
