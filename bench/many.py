"""Many sandboxes on one host, each with a way out: `python -m bench.many [COUNT [PER_PROCESS]]`, else 100 and 10.

COUNT sessions with egress are opened by COUNT / PER_PROCESS processes, as many agents on one machine would. Measured:
the time until all stand, memory of each (PSS of everything that belongs to them), how evenly the same work ends in all
of them at once, which is to fetch a small page, through the sandbox's own proxy, and to compute a while; and how long
it takes until nothing is left when everything that is no sandbox is killed with SIGKILL.

The page is the lab's, so begin with it: `python -m tests.lab --quiet python -m bench.many`. As root, since others may
not look into what serves a session.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ringfence.session import titles

from . import memory

HOST = "www.public.example.net"
WORK = f"curl -sS -m 300 https://{HOST}/ >page && grep -q OK page && i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"
OPENER = """
import sys, threading, time
from ringfence import Sandbox
count, work = int(sys.argv[1]), sys.argv[2]
with Sandbox(allow=["{host}"]) as box:
    sessions = [box.session() for _ in range(count)]
    print("open", flush=True)
    sys.stdin.readline()
    taken = []
    def act(session):
        start = time.monotonic()
        session.run(["sh", "-c", work], check=True)
        taken.append(time.monotonic() - start)
    threads = [threading.Thread(target=act, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seconds in taken:
        print(seconds)
    print("done", flush=True)
    sys.stdin.readline()
"""


class Opener:
    """One process that opens sessions, in a directory of its own."""

    def __init__(self, count: int, directory: Path) -> None:
        directory.mkdir()
        words = [sys.executable, "-c", OPENER.format(host=HOST), str(count), WORK]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, cwd=directory, stdin=pipe, stdout=pipe, text=True)

    def lines_until(self, last: str) -> list[str]:
        """What it says, until it says `last`; raise SystemExit where it ended instead."""
        assert self.process.stdout is not None
        found: list[str] = []
        for line in self.process.stdout:
            if line.strip() == last:
                return found
            found.append(line.strip())
        raise SystemExit(f"an opener ended with status {self.process.wait()}: see above")

    def go(self) -> None:
        """Let it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


def read(pid: int, name: str) -> str:
    """One of the files about a process; empty where it has gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def standbys(state: Path) -> list[int]:
    """The standby that belongs to a state directory."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    found = [pid for pid in pids if read(pid, "comm").strip() == titles.STANDBY]
    return [pid for pid in found if str(state) in read(pid, "cmdline")]


def alive(pids: list[int]) -> int:
    """How many of these processes are there and no zombies."""
    found = [read(pid, "stat").rpartition(")")[2].split() for pid in pids]
    return sum(bool(words) and words[0] not in ("Z", "X") for words in found)


def kill_all(openers: list[Opener], state: Path) -> tuple[int, float]:
    """Kill every opener and the standby at once: how many processes there were, and the seconds until none was left."""
    above = standbys(state)
    pids = memory.tree(os.getpid())[1:] + [pid for one in above for pid in memory.tree(one)]
    start = time.monotonic()
    for opener in openers:
        opener.process.send_signal(signal.SIGKILL)
    for pid in above:
        os.kill(pid, signal.SIGKILL)
    for opener in openers:
        opener.process.wait()
    while alive(pids) and time.monotonic() - start < 120:
        time.sleep(0.02)
    if left := alive(pids):
        raise SystemExit(f"{left} of {len(pids)} processes are left after two minutes")
    return len(pids), time.monotonic() - start


def parts(count: int, state: Path) -> str:
    """Memory of each sandbox, by what it is for."""
    pids = memory.tree(os.getpid())[1:] + [pid for one in standbys(state) for pid in memory.tree(one)]
    found: dict[str, list[int]] = {"supervision": [], "proxies": [], "inside": []}
    for pid in pids:
        name = read(pid, "comm").strip()
        is_opener = "ringfence import Sandbox" in read(pid, "cmdline")
        part = "proxies" if name in (titles.PROXY, titles.STANDBY) else "supervision" if is_opener else "inside"
        found[part].append(pid)
    used = {part: memory.pss_bytes(members) / 1e6 / count for part, members in found.items()}
    listed = ", ".join(f"{part} {amount:.1f}" for part, amount in used.items())
    return f"{sum(used.values()):.1f} MB each ({listed}), {len(pids)} processes"


def measure(count: int, each: int, place: Path) -> list[str]:
    """The whole story, as lines."""
    state = place / "state"
    with Opener(1, place / "first").process as first:  # which leaves a standby behind, as the first run of a day does
        while not [pid for one in standbys(state) for pid in memory.tree(one)[1:]]:
            time.sleep(0.1)
        first.communicate()
    start = time.monotonic()
    openers = [Opener(each, place / str(number)) for number in range(count // each)]
    try:
        return story(openers, count, state, start)
    finally:
        for opener in openers:
            opener.process.kill()


def story(openers: list[Opener], count: int, state: Path, start: float) -> list[str]:
    """From the opening to the end."""
    for opener in openers:
        opener.lines_until("open")
    opened = time.monotonic() - start
    waiting = parts(count, state)
    for opener in openers:
        opener.go()
    taken = [float(line) for opener in openers for line in opener.lines_until("done")]
    served = parts(count, state)
    processes, gone = kill_all(openers, state)
    low, middle, high = min(taken), statistics.median(taken), max(taken)
    return [
        f"{count} sandboxes with a way out, opened by {len(openers)} processes; {count - len(taken)} failed",
        f"opened within {opened:.1f} s, {opened / count * 1000:.0f} ms each",
        f"before the work {waiting}",
        f"after the work {served}",
        f"the same work in all at once: {low:.2f} s at best, {middle:.2f} s in the middle, {high:.2f} s at worst",
        f"after SIGKILL of all openers, {processes} processes were gone within {gone:.2f} s",
    ]


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    each = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    with tempfile.TemporaryDirectory(dir=os.path.expanduser("~"), ignore_cleanup_errors=True) as place:
        os.environ["XDG_STATE_HOME"] = f"{place}/state"
        sys.stdout.write("\n".join(measure(count, each, Path(place))) + "\n")


if __name__ == "__main__":
    main()
