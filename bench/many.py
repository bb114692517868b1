"""Many sandboxes on one host, each with a way out: `python -m bench.many [COUNT [PER_PROCESS]]`, else 100 and 10.

COUNT sessions with egress are opened by COUNT / PER_PROCESS processes, as many agents on one machine would. Measured:
the time until all stand, memory of each (PSS of everything that belongs to them), how evenly the same work ends in all
of them at once, and how long it takes until nothing is left when every one of our processes is killed with SIGKILL.
Proxies are not prepared ahead here, so that each is found below the process that it belongs to; as root, since others
may not look into what serves a session.

Of one user, 1,000 sandboxes need `fs.inotify.max_user_instances` of as many.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import memory

WORK = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"
HOST = "many.example.net"  # a rule is all that is needed for a proxy to be there
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
        environment = {**os.environ, "RINGFENCE_STANDBY": "0"}
        self.process = subprocess.Popen(words, cwd=directory, env=environment, stdin=pipe, stdout=pipe, text=True)

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


def alive(pids: list[int]) -> int:
    """How many of these processes are there and no zombies."""
    count = 0
    for pid in pids:
        try:
            count += Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
        except OSError:
            continue
    return count


def kill_all(openers: list[Opener]) -> tuple[int, float]:
    """Kill every opener at once: how many processes there were, and the seconds until none was left."""
    pids = memory.tree(os.getpid())[1:]
    start = time.monotonic()
    for opener in openers:
        opener.process.send_signal(signal.SIGKILL)
    for opener in openers:
        opener.process.wait()
    while alive(pids) and time.monotonic() - start < 120:
        time.sleep(0.02)
    if left := alive(pids):
        raise SystemExit(f"{left} of {len(pids)} processes are left after two minutes")
    return len(pids), time.monotonic() - start


def measure(count: int, each: int, place: Path) -> list[str]:
    """The whole story, as lines."""
    start = time.monotonic()
    openers = [Opener(each, place / str(number)) for number in range(count // each)]
    for opener in openers:
        opener.lines_until("open")
    opened = time.monotonic() - start
    used = memory.pss_bytes(memory.tree(os.getpid()))
    for opener in openers:
        opener.go()
    taken = [float(line) for opener in openers for line in opener.lines_until("done")]
    processes, gone = kill_all(openers)
    low, middle, high = min(taken), statistics.median(taken), max(taken)
    return [
        f"{len(openers) * each} sandboxes with a way out, opened by {len(openers)} processes",
        f"opened within {opened:.1f} s, {opened / count * 1000:.0f} ms each",
        f"memory {used / 1e6 / count:.1f} MB each, the openers included",
        f"the same work in all at once: {low:.2f} s at best, {middle:.2f} s in the middle, {high:.2f} s at worst",
        f"after SIGKILL of all openers, {processes} processes were gone within {gone:.2f} s",
    ]


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    each = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    with tempfile.TemporaryDirectory(dir=os.path.expanduser("~"), ignore_cleanup_errors=True) as place:
        sys.stdout.write("\n".join(measure(count, each, Path(place))) + "\n")


if __name__ == "__main__":
    main()
