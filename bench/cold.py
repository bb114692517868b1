"""Start of `X -- true`, interleaved, as ratios to raw bubblewrap: `python -m bench.cold [ROUNDS]`.

`ringfence run` is measured on each path, with a supervisor that is there and boundaries that stand (docs/speed.md).
"""

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

from . import contenders

REST_S = 0.15  # between two runs: what a run leaves to be done afterwards must not be the next one's burden


def elapsed_ms(contender: contenders.Contender, directory: str) -> float:
    """Wall-clock time of one run; a run that fails ends the measurement."""
    contender.rewind()
    start = time.perf_counter()
    process = subprocess.Popen(
        contender.argv,
        cwd=directory,
        env={**os.environ, **contender.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=contender.files,
    )
    status = process.wait()
    taken = (time.perf_counter() - start) * 1000
    if status:
        raise SystemExit(f"{contender.name} failed with status {status}: {contender.argv}")
    return taken


def measure(rounds: int) -> dict[str, list[float]]:
    """Times by contender; each round runs every contender once, in random order."""
    with tempfile.TemporaryDirectory(dir=os.path.expanduser("~")) as place:
        directory = os.path.join(place, "project")
        os.mkdir(directory)
        field = [
            contenders.Contender(name="no sandbox", argv=[contenders.TRUE]),
            contenders.bubblewrap_typical(directory),
            contenders.bubblewrap_same(directory, os.path.join(place, "run")),
            *contenders.ringfence(),
            *contenders.peers(place),
        ]
        times: dict[str, list[float]] = {contender.name: [] for contender in field}
        for contender in field * 3:
            elapsed_ms(contender, directory)  # caches, ours and the kernel's; a supervisor and its pool
            time.sleep(REST_S)
        for _ in range(rounds):
            for contender in random.sample(field, len(field)):
                times[contender.name].append(elapsed_ms(contender, directory))
                time.sleep(REST_S)
    return times


def table(times: dict[str, list[float]]) -> str:
    """Markdown: median time, and the median of the ratios paired by round to both bubblewrap rows."""
    names = list(times)
    lines = [f"| contender | median ms | ratio to {names[1]} | ratio to {names[2]} |", "|---|---|---|---|"]
    for name in names:
        ratios = [
            statistics.median(mine / other for mine, other in zip(times[name], times[base], strict=True))
            for base in names[1:3]
        ]
        lines.append(f"| {name} | {statistics.median(times[name]):.1f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    who = "root" if os.getuid() == 0 else "an ordinary user"
    sys.stdout.write(f"{rounds} rounds as {who}\n\n{table(measure(rounds))}\n")


if __name__ == "__main__":
    main()
