"""What judging a push costs: `python -m tests.lab --quiet python -m bench.git_push [MB] [ROUNDS]`.

Runs in the tests' lab. Each round makes a commit of random bytes and pushes it twice to git's own HTTP server beyond
the lab's cable: directly, and from a boundary whose policy has every commit inspected. The repository is the same, the
branch a new one each time; making clone and commit is not counted. The size told is the largest resident one that the
proxy had.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HOST = "git.example.com"
URL = f"https://{HOST}/git/project.git"
POLICY = f"""version = 1
[limits]
memory = "8GiB"
[[git.remotes]]
host = "{HOST}"
repositories = ["git/*"]
[git.remotes.push]
refs = ["refs/heads/agent/**"]
deny-paths = [".github/**"]
authors = ["*@example.com"]
max-bytes = "4GiB"
"""
SCRIPT = """
export HOME=$PWD/home GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.com
export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.com
mkdir -p home && git clone -q %(url)s work && cd work && git config core.bigFileThreshold 1
head -c %(bytes)d /dev/urandom > big && git add big && git commit -qm big
python3 - <<'END'
import subprocess, time
began = time.monotonic()
subprocess.run(["git", "push", "-q", "origin", "HEAD:refs/heads/agent/%(branch)s"], check=True)
print("took", time.monotonic() - began)
END
"""
STUCK_S = 1800


def push(argv: list[str], size: int, branch: str) -> float:
    """Push so many bytes by a command that runs a shell; how many seconds that took."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        script = SCRIPT % {"url": URL, "bytes": size, "branch": branch}
        words = [*argv, "sh", "-e", "-c", script]
        trusting = os.environ | {"GIT_SSL_CAINFO": os.environ["SSL_CERT_FILE"]}
        environment = os.environ if argv else trusting
        done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, timeout=STUCK_S)
    found = re.search(r"took ([0-9.]+)", done.stdout)
    if found is None:
        raise SystemExit(f"{branch}: {done.stderr.strip()}")
    return float(found[1])


class Watch:
    """The largest resident size of any proxy that comes and goes."""

    def __init__(self) -> None:
        self.peak_kb = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> float:
        """Give it, in MB."""
        self._ended.set()
        self._thread.join()
        return self.peak_kb / 1024

    def _look(self) -> None:
        while not self._ended.wait(0.05):
            for name in filter(str.isdigit, os.listdir("/proc")):
                try:
                    if b"egress_worker" in Path(f"/proc/{name}/cmdline").read_bytes():
                        text = Path(f"/proc/{name}/status").read_text()
                        self.peak_kb = max(self.peak_kb, int(re.findall(r"VmHWM:\s+(\d+)", text)[0]))
                except (OSError, IndexError):
                    continue  # it has ended


def main() -> None:
    """Measure and print."""
    size = int(sys.argv[1]) << 20 if len(sys.argv) > 1 else 100 << 20
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    place = tempfile.mkdtemp(dir="/tmp")
    os.environ["RINGFENCE_STANDBY"] = "0"
    try:
        policy = Path(place, "policy.toml")
        policy.write_text(POLICY)
        program = shutil.which("ringfence", path=os.path.dirname(sys.executable)) or "ringfence"
        confined = [program, "run", "--no-user-policy", "--policy", str(policy), "--"]
        ratios, watch = [], Watch()
        for number in range(rounds):
            stamp = f"{time.time_ns()}-{number}"
            direct = push([], size, f"direct-{stamp}")
            judged = push(confined, size, f"judged-{stamp}")
            ratios.append(judged / direct)
            print(f"direct {direct:.2f} s   judged {judged:.2f} s   {judged / direct:.2f}x", flush=True)
        print(f"{size >> 20} MB: {statistics.median(ratios):.2f}x, the proxy held {watch.end():.0f} MB at most")
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
