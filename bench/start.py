"""What a way out and a secret add to the start of a run: `python -m bench.start [ROUNDS]`.

Each case is compared with the same command without network, paired by round, in random order. `warm`: a standby is
there, as after any run with egress; `cold`: there is none and none is left behind (`RINGFENCE_STANDBY=0`).
"""

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

PAUSE_S = 0.6  # in which a standby makes its next proxy
HOST = "www.example.com"  # never asked for: no command here opens a connection
COMMANDS = {"true": ["true"], "python3": ["python3", "-I", "-c", "pass"], "sleep 0.2": ["sleep", "0.2"]}
ALLOWED = ["--allow", HOST]
SECRET = [*ALLOWED, "--secret", f"BENCH_TOKEN@{HOST}"]
CASES: dict[str, tuple[list[str], dict[str, str]]] = {
    "off": ([], {}),
    "on, warm": (ALLOWED, {}),
    "on, cold": (ALLOWED, {"RINGFENCE_STANDBY": "0"}),
    "with a secret, warm": (SECRET, {"BENCH_TOKEN": "value-of-a-benchmark-0123456789"}),
}


def elapsed_ms(case: str, command: str, directory: str) -> float:
    """Wall-clock time of one run; a run that fails ends the measurement."""
    options, variables = CASES[case]
    ringfence = os.path.join(os.path.dirname(sys.executable), "ringfence")
    argv = [ringfence, "run", *options, "--", *COMMANDS[command]]
    start = time.perf_counter()
    process = subprocess.Popen(
        argv,
        cwd=directory,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    status = process.wait()
    taken = (time.perf_counter() - start) * 1000
    if status:
        raise SystemExit(f"status {status}: {argv}")
    return taken


def measure(command: str, rounds: int, directory: str) -> dict[str, list[float]]:
    """Times by case; each round runs every case once, in random order."""
    times: dict[str, list[float]] = {case: [] for case in CASES}
    for case in CASES:
        elapsed_ms(case, command, directory)  # caches, and the standby
    time.sleep(1)
    for _ in range(rounds):
        for case in random.sample(list(CASES), len(CASES)):
            time.sleep(PAUSE_S)
            times[case].append(elapsed_ms(case, command, directory))
    return times


def row(command: str, times: dict[str, list[float]]) -> str:
    """One line of the table: the median without network, and what each case adds, as the median of differences."""
    added = [
        statistics.median(mine - bare for mine, bare in zip(times[case], times["off"], strict=True))
        for case in list(CASES)[1:]
    ]
    figures = [f"{statistics.median(times['off']):.0f}", *(f"{figure:+.0f}" for figure in added)]
    return f"| `{command}` | {' | '.join(figures)} |"


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    who = "root" if os.getuid() == 0 else "an ordinary user"
    lines = [f"| ms | {' | '.join(CASES)} |", "|" + "---|" * (len(CASES) + 1)]
    with tempfile.TemporaryDirectory(dir=os.path.expanduser("~")) as directory:
        lines += [row(command, measure(command, rounds, directory)) for command in COMMANDS]
    sys.stdout.write(f"{rounds} rounds as {who}\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
