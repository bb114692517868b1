"""What a way out costs: `python -m tests.lab --quiet python -m bench.egress [ROUNDS] [SCALE] [CONTENDER...]`.

Runs in the tests' lab, where a server answers beyond a cable of the kernel's own. Each contender runs the same client
(egress_client.py) in its sandbox, interleaved in random order; ratios are paired with the direct client of the same
round. `MB` is what the contender's processes hold with 200 TLS connections open, the client not counted.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

from . import memory

HOST = "public.example.net"
PYTHON = "/usr/bin/python3"
HELD = 200
STUCK_S = 120
CODEX = f"""
default_permissions = "bench"
features.network_proxy = true
permissions.bench.filesystem = {{ ":minimal" = "read", "/" = "read" }}
permissions.bench.network = {{ enabled = true, domains = {{ "{HOST}" = "allow" }} }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A command line that a client is appended to. `proxy`: programs must ask for the way out themselves."""

    name: str
    argv: list[str]
    proxy: bool = False
    quoted: bool = False  # the command is one word of shell
    beside: list[str] = field(default_factory=list)  # a server that must run meanwhile

    def command(self, wanted: dict[str, object]) -> list[str]:
        """The whole command line for one client."""
        code = Path(__file__).with_name("egress_client.py").read_text()
        client = [PYTHON, "-c", code, json.dumps({"host": HOST, "proxy": self.proxy, **wanted})]
        if not self.quoted:
            return [*self.argv, *client]
        import shlex

        return [*self.argv, shlex.join(client)]


def contenders(place: str) -> list[Contender]:
    """Everything that is installed here."""
    ringfence = [os.path.join(os.path.dirname(sys.executable), "ringfence"), "run", "--no-user-policy"]
    opaque = Path(place, "opaque.toml")
    opaque.write_text(f'version = 1\n[network]\nallow = [{{ host = "{HOST}", inspection = "sni" }}]\n')
    raw = Path(place, "raw.toml")
    raw.write_text(f'version = 1\n[network]\nallow = [{{ host = "{HOST}", inspection = "raw" }}]\n')
    rules = {"denyRead": [], "allowWrite": ["."], "denyWrite": []}
    settings = Path(place, "srt.json")
    settings.write_text(json.dumps({"network": {"allowedDomains": [HOST], "deniedDomains": []}, "filesystem": rules}))
    ended = Path(place, "srt-tls.json")
    tls = {"allowedDomains": [HOST], "deniedDomains": [], "tlsTerminate": {"extraCaCertPaths": ca()}}
    ended.write_text(json.dumps({"network": tls, "filesystem": rules}))
    codex = Path(place, "codex")
    codex.mkdir()
    (codex / "config.toml").write_text(CODEX)
    known = [
        Contender(name="ringfence raw", argv=[*ringfence, "--policy", str(raw), "--"]),
        Contender(name="ringfence sni", argv=[*ringfence, "--policy", str(opaque), "--"]),
        Contender(name="ringfence inspect", argv=[*ringfence, "--allow", HOST, "--"]),
        Contender(name="ringfence raw, by proxy variables", argv=[*ringfence, "--policy", str(raw), "--"], proxy=True),
        Contender(name="ringfence inspect, by proxy variables", argv=[*ringfence, "--allow", HOST, "--"], proxy=True),
        Contender(name="srt", argv=["srt", "-s", str(settings), "-c"], proxy=True, quoted=True),
        Contender(name="srt tlsTerminate", argv=["srt", "-s", str(ended), "-c"], proxy=True, quoted=True),
        Contender(name="zerobox", argv=["zerobox", f"--allow-net={HOST}", "--"], proxy=True),
        Contender(name="codex", argv=["codex", "sandbox", "-P", "bench", "--"], proxy=True),
        Contender(
            name="mitmproxy",
            argv=["env", "HTTP_PROXY=http://127.0.0.1:8899"],
            proxy=True,
            beside=["mitmdump", "-q", "-p", "8899", "--set", "ssl_insecure=true", "--set", f"confdir={place}/mitm"],
        ),
    ]
    found = [one for one in known if shutil.which((one.beside or one.argv)[0])]
    return [Contender(name="direct", argv=[]), *found]


def environment(directory: str) -> dict[str, str]:
    """Ours, with the lab's authority for proxies that are programs of Node, and the place of Codex's settings."""
    settings = os.path.join(os.path.dirname(directory), "codex")
    return {**os.environ, "NODE_EXTRA_CA_CERTS": "".join(ca()), "CODEX_HOME": settings}


def ca() -> list[str]:
    """The lab's authority."""
    return [os.environ["SSL_CERT_FILE"]] if "SSL_CERT_FILE" in os.environ else []


def measure(one: Contender, directory: str, scale: float) -> dict[str, float]:
    """The figures of one client, as far as it gets before it fails or is stuck."""
    process = subprocess.Popen(
        one.command({"scale": scale}),
        cwd=directory,
        env=environment(directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        figures, errors = process.communicate(timeout=STUCK_S)
    except subprocess.TimeoutExpired:
        end(process.pid)
        figures, errors = process.communicate()
        errors = f"stuck for {STUCK_S} s\n"
    found: dict[str, float] = dict(json.loads(line) for line in figures.splitlines() if line.startswith("["))
    if process.returncode != 0:
        sys.stderr.write(f"{one.name} failed after {list(found)[-1:]}: {errors[-300:]}\n")
    return found


def end(root: int) -> None:
    """End a contender and whatever it has started."""
    for pid in reversed(memory.tree(root)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def held_mb(one: Contender, directory: str, more: int) -> float:
    """Megabytes of the contender's processes while connections are held; 0 where it fails."""
    process = subprocess.Popen(
        one.command({"hold": HELD}),
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**environment(directory), "RINGFENCE_STANDBY": "0"},
    )
    assert process.stdout and process.stdin
    stuck = threading.Timer(STUCK_S, end, [process.pid])
    stuck.start()
    held = process.stdout.readline().strip() == b"holding"
    stuck.cancel()
    pids = [*memory.tree(process.pid), *(memory.tree(more) if more else [])]
    counted = [pid for pid in pids if not name(pid).startswith(PYTHON.encode() + b"\0-c")]
    size = memory.pss_bytes(counted) if held else 0
    process.stdin.close()
    process.wait(60)
    return size / 1e6


def name(pid: int) -> bytes:
    """The command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def table(rounds: dict[str, list[dict[str, float]]], sizes: dict[str, float]) -> str:
    """Markdown: medians, and in brackets the median ratio to `direct` of the same round."""
    columns = list(next(iter(rounds["direct"])))
    lines = ["| contender | " + " | ".join([*columns, "MB"]) + " |", "|---" * (len(columns) + 2) + "|"]
    for one, found in rounds.items():
        cells = []
        for column in columns:
            pairs = [(f[column], d[column]) for f, d in zip(found, rounds["direct"], strict=True) if column in f]
            if not pairs:
                cells.append("fails")
                continue
            value = statistics.median(mine for mine, _ in pairs)
            ratio = statistics.median(mine / other for mine, other in pairs)
            cells.append(f"{value:.{2 if column.endswith('ms') else 0}f} ({ratio:.2f})")
        size = f"{sizes[one]:.0f}" if sizes[one] or one == "direct" else "fails"
        lines.append(f"| {one} | {' | '.join(cells)} | {size} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    scale = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    with tempfile.TemporaryDirectory(dir=os.path.expanduser("~")) as place:
        directory = os.path.join(place, "project")
        os.mkdir(directory)
        everyone = [one for one in contenders(place) if one.name in {"direct", *sys.argv[3:]} or not sys.argv[3:]]
        servers = {one.name: subprocess.Popen(one.beside) for one in everyone if one.beside}
        try:
            taken: dict[str, list[dict[str, float]]] = {one.name: [] for one in everyone}
            for _ in range(rounds):
                for one in random.sample(everyone, len(everyone)):
                    taken[one.name].append(measure(one, directory, scale))
            sizes = {one.name: held_mb(one, directory, servers[one.name].pid if one.beside else 0) for one in everyone}
        finally:
            for server in servers.values():
                server.kill()
    who = "root" if os.getuid() == 0 else "an ordinary user"
    sys.stdout.write(f"{rounds} rounds as {who}\n\n{table(taken, sizes)}\n")


if __name__ == "__main__":
    main()
