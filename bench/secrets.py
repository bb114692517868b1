"""What keeping secrets costs: `python -m tests.lab --quiet python -m bench.secrets [ROUNDS] [SCALE]`.

Each contender runs the same client (secrets_client.py) in a run of ringfence: without secrets, with a vault whose one
secret is put in, with ten of them, and with a search of everything that goes out. Interleaved in random order; ratios
are paired with the run without secrets of the same round. `MB` is what the vault's process holds.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from . import memory

HOST = "public.example.net"
PYTHON = "/usr/bin/python3"
NETWORK = f'version = 1\n[network]\nallow = ["{HOST}"]\n'
SECRET = """
[secrets.s{0}]
source = {{ env = "BENCH_{0}" }}
inject = [{{ host = "{1}", header = "{2}" }}]
variables = ["BENCH_{0}"]
"""
LEAKS = '[leaks]\nknown = "deny"\nfound = "deny"\n'
MANY = 10


def policy(secrets: int, *, leaks: bool) -> str:
    """The rules of one contender."""
    headers = ["authorization", *(f"x-key-{number}" for number in range(1, MANY))]
    tables = "".join(SECRET.format(number, HOST, headers[number]) for number in range(secrets))
    return NETWORK + tables + (LEAKS if leaks else "")


CONTENDERS = {
    "no secrets": policy(0, leaks=False),
    "one secret": policy(1, leaks=False),
    f"{MANY} secrets": policy(MANY, leaks=False),
    "one secret, leaks": policy(1, leaks=True),
    f"{MANY} secrets, leaks": policy(MANY, leaks=True),
    "leaks alone": policy(0, leaks=True),
}


def environment() -> dict[str, str]:
    """Ours, with values for every secret: of the length and the letters of a token."""
    values = {
        f"BENCH_{number}": f"ghs_{number:02}" + "BenchBenchBenchBenchBenchBenchBen"[:34] for number in range(MANY)
    }
    return {**os.environ, **values, "RINGFENCE_STANDBY": "0"}


def command(file: Path, wanted: dict[str, object]) -> list[str]:
    """The command line of one run."""
    ringfence = os.path.join(os.path.dirname(sys.executable), "ringfence")
    code = Path(__file__).with_name("secrets_client.py").read_text()
    options = ["--no-user-policy", "--policy", str(file)]
    return [ringfence, "run", *options, "--", PYTHON, "-c", code, json.dumps({"host": HOST, **wanted})]


def measure(file: Path, directory: str, scale: float) -> dict[str, float]:
    """The figures of one run."""
    done = subprocess.run(
        command(file, {"scale": scale}), cwd=directory, env=environment(), capture_output=True, text=True, timeout=300
    )
    if done.returncode:
        raise SystemExit(f"{file.stem} failed: {done.stderr[-500:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def vault_mb(file: Path, directory: str) -> float:
    """Megabytes of the vault's process while the run goes on and has been used; 0 without one."""
    process = subprocess.Popen(
        command(file, {"hold": True}),
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout and process.stdin
    process.stdout.readline()
    vaults = [pid for pid in memory.tree(process.pid) if b"vault_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    size = memory.pss_bytes(vaults)
    process.stdin.close()
    process.wait(60)
    return size / 1e6


def table(rounds: dict[str, list[dict[str, float]]], sizes: dict[str, float]) -> str:
    """Markdown: medians, and in brackets the median ratio to the run without secrets of the same round."""
    plain = next(iter(rounds.values()))
    columns = list(plain[0])
    lines = ["| run | " + " | ".join([*columns, "vault MB"]) + " |", "|---" * (len(columns) + 2) + "|"]
    for one, found in rounds.items():
        cells = []
        for column in columns:
            value = statistics.median(each[column] for each in found)
            ratio = statistics.median(each[column] / other[column] for each, other in zip(found, plain, strict=True))
            cells.append(f"{value:.2f} ({ratio:.2f})")
        lines.append(f"| {one} | {' | '.join(cells)} | {sizes[one]:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    scale = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    with tempfile.TemporaryDirectory(dir=os.path.expanduser("~")) as place:
        directory = os.path.join(place, "project")
        os.mkdir(directory)
        files = {}
        for name, text in CONTENDERS.items():
            files[name] = Path(place, f"{name.replace(' ', '-').replace(',', '')}.toml")
            files[name].write_text(text)
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in files}
        for _ in range(rounds):
            for name in random.sample(list(files), len(files)):
                taken[name].append(measure(files[name], directory, scale))
        sizes = {name: vault_mb(file, directory) for name, file in files.items()}
    who = "root" if os.getuid() == 0 else "an ordinary user"
    sys.stdout.write(f"{rounds} rounds as {who}\n\n{table(taken, sizes)}\n")


if __name__ == "__main__":
    main()
