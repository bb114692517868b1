"""`true` from a Python process that is running already, in a boundary of its own: `python -m bench.ahead [ROUNDS]`.

The SDK with boundaries built ahead (a `with` block) and without, against raw bubblewrap with 60 masks.
"""

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from ringfence import Sandbox

from . import contenders

REST_S = 0.15  # between two commands: what one leaves to be done afterwards must not be the next one's burden


def elapsed_ms(carry_out: Callable[[], int]) -> float:
    """Wall-clock time of one command; one that fails ends the measurement."""
    start = time.perf_counter()
    if carry_out():
        raise SystemExit("a command failed")
    return (time.perf_counter() - start) * 1000


def measure(rounds: int) -> dict[str, list[float]]:
    """Times by contender; each round runs every contender once, in random order."""
    with tempfile.TemporaryDirectory(dir=os.path.expanduser("~")) as directory:
        raw = contenders.bubblewrap_typical(directory)
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "cwd": directory}
        alone = Sandbox(directory=directory)
        with Sandbox(directory=directory) as box:
            field: dict[str, Callable[[], int]] = {
                raw.name: lambda: subprocess.run(raw.argv, check=False, **quiet).returncode,  # type: ignore[call-overload]  # what `run` takes
                "Sandbox.run, no boundary ahead": lambda: alone.run([contenders.TRUE]).returncode,
                "Sandbox.run, in a `with` block": lambda: box.run([contenders.TRUE]).returncode,
            }
            times: dict[str, list[float]] = {name: [] for name in field}
            for number in range(rounds + 3):
                for name in random.sample(list(field), len(field)):
                    found = elapsed_ms(field[name])
                    if number >= 3:  # caches, and boundaries that stand
                        times[name].append(found)
                    time.sleep(REST_S)
    return times


def main() -> None:
    """Measure and print."""
    times = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
    base = next(iter(times.values()))
    sys.stdout.write("| contender | median ms | ratio | ratio of the fastest |\n|---|---|---|---|\n")
    for name, found in times.items():
        ratio = statistics.median(mine / other for mine, other in zip(found, base, strict=True))
        sys.stdout.write(f"| {name} | {statistics.median(found):.1f} | {ratio:.2f} | {min(found) / min(base):.2f} |\n")


if __name__ == "__main__":
    main()
