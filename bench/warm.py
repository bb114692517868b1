"""Commands of a session against a process without a sandbox and raw bubblewrap: `python -m bench.warm [ROUNDS]`.

Each contender runs `true` from this process with its output collected, interleaved in random order; ratios are paired
by round. Also: how long 100 commands at once take, and the memory of sessions that wait (as root: what serves a session
is not for others to look into).
"""

import asyncio
import functools
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from ringfence import Sandbox, SandboxSession
from ringfence.session.errand import Errand
from ringfence.session.warm import UNLIMITED

from . import contenders, memory

IDLE = 10


def elapsed_ms(act: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    act()
    return (time.perf_counter() - start) * 1000


def plain(argv: list[str]) -> Callable[[], object]:
    """A process of our own, as `subprocess.run` starts it."""
    return lambda: subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def measure(rounds: int, directory: str, session: SandboxSession) -> dict[str, list[float]]:
    """Times by contender."""
    true = [contenders.TRUE]
    field = {
        "bubblewrap, 60 masks": plain(contenders.bubblewrap_typical(directory).argv),
        "subprocess.run, no sandbox": plain(true),
        "session, fresh namespaces": lambda: session.run(true, check=True),
        "session, shared room": lambda: session.run(true, check=True, fresh=False),
    }
    for act in field.values():
        act()
    times: dict[str, list[float]] = {name: [] for name in field}
    for _ in range(rounds):
        for name in random.sample(list(field), len(field)):
            times[name].append(elapsed_ms(field[name]))
    return times


def table(times: dict[str, list[float]]) -> str:
    """Markdown: median time, and the median of the ratios paired by round to both references."""
    bases = list(times)[:2]
    lines = [f"| one `true` | median ms | ratio to {bases[0]} | ratio to {bases[1]} |", "|---|---|---|---|"]
    for name, taken in times.items():
        pairs = [[mine / other for mine, other in zip(taken, times[base], strict=True)] for base in bases]
        ratios = " | ".join(f"{statistics.median(ratio):.2f}" for ratio in pairs)
        lines.append(f"| {name} | {statistics.median(taken):.2f} | {ratios} |")
    return "\n".join(lines)


def parts(rounds: int, session: SandboxSession) -> dict[str, float]:
    """Medians in microseconds: the two halves of a command in the shared room, and what a bare process costs."""
    true = [contenders.TRUE]

    def bare() -> None:
        os.waitpid(os.posix_spawn(true[0], true, os.environ), 0)

    found: dict[str, list[float]] = {"asked for": [], "carried out": [], "posix_spawn and wait": []}
    for _ in range(rounds):
        start = time.perf_counter()
        errand = Errand(session._session, true, env={}, cwd="", limits=UNLIMITED)
        found["asked for"].append((time.perf_counter() - start) * 1e3)
        found["carried out"].append(elapsed_ms(functools.partial(errand.carry_out, b"", None)))
        found["posix_spawn and wait"].append(elapsed_ms(bare))
    return {name: statistics.median(taken) * 1000 for name, taken in found.items()}


def side_by_side(session: SandboxSession, count: int) -> float:
    """Seconds that `count` commands take together, each of which sleeps for half a second."""

    async def act() -> None:
        await asyncio.gather(*(session.run_async(["sleep", "0.5"], check=True) for _ in range(count)))

    return elapsed_ms(lambda: asyncio.run(act())) / 1000


def idle_megabytes(directory: str) -> float:
    """What one waiting session holds: the growth of this process, and all that belongs to the boundary."""

    def all_bytes() -> int:
        return memory.pss_bytes(memory.tree(os.getpid()))

    with Sandbox(directory=directory) as box:
        box.session().run(["true"])
        before = all_bytes()
        for _ in range(IDLE):
            box.session().run(["true"])
        time.sleep(0.5)
        return (all_bytes() - before) / IDLE / 1e6


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    who = "root" if os.getuid() == 0 else "an ordinary user"
    with tempfile.TemporaryDirectory(dir=os.path.expanduser("~")) as place:
        directory = os.path.join(place, "project")
        os.mkdir(directory)
        with Sandbox(directory=directory) as box:
            opened = elapsed_ms(box.session)
            with box.session() as session:
                sys.stdout.write(f"{rounds} rounds as {who}\n\n{table(measure(rounds, directory, session))}\n\n")
                found = ", ".join(f"{name} {taken:.0f} us" for name, taken in parts(rounds, session).items())
                sys.stdout.write(f"one in the shared room: {found}\n")
                sys.stdout.write(f"100 at once, each `sleep 0.5`: {side_by_side(session, 100):.2f} s\n")
        sys.stdout.write(f"opening the first session: {opened:.0f} ms\n")
        sys.stdout.write(f"a waiting session: {idle_megabytes(directory):.1f} MB\n")


if __name__ == "__main__":
    main()
