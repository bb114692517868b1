"""Memory of one idle run, everything that belongs to it counted: `python -m bench.memory`.

The proportional share (PSS) of every process that was started, the supervisor included, while `sleep` runs inside.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import contenders


def tree(root: int) -> list[int]:
    """`root` and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def pss_bytes(pids: list[int]) -> int:
    """Sum of the proportional shares."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def idle(argv: list[str], contender: contenders.Contender, directory: str) -> tuple[int, int]:
    """Bytes and processes of one run that sleeps."""
    devices = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, **contender.environment}
    process = subprocess.Popen(
        argv, cwd=directory, env=environment, pass_fds=contender.files, start_new_session=True, **devices
    )
    time.sleep(1.5)
    pids = tree(process.pid)
    used = pss_bytes(pids)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return used, len(pids)


def main() -> None:
    """Measure each contender once and print a table."""
    with tempfile.TemporaryDirectory(dir=os.path.expanduser("~")) as place:
        directory = os.path.join(place, "project")
        os.mkdir(directory)
        field = [
            contenders.bubblewrap_typical(directory),
            contenders.bubblewrap_same(directory, os.path.join(place, "run")),
            contenders.ringfence()[0],
            *contenders.peers(place),
        ]
        lines = ["| contender | MB per idle run | processes |", "|---|---|---|"]
        for contender in field:
            contender.rewind()
            words = ["sleep 5" if word == "true" else word for word in contender.argv]
            words = words if words != contender.argv else [*words[:-1], "/bin/sleep", "5"]
            used, processes = idle(words, contender, directory)
            lines.append(f"| {contender.name} | {used / 1e6:.1f} | {processes} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
