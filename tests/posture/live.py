"""A sandbox that is running, seen from both sides, with the Plan that `ringfence plan --json` promised for it.

The contained command is a small server: `inside(code)` executes Python there and gives back what it left in `result`.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ringfence.model.plan import Plan
from tests.house.sources import ROOT

ENTRY = "from ringfence.cli.entry import main; main()"
TIMEOUT_S = 30
WORKSPACE_OWNER = (
    4242  # given to the workspace by tests running as root: an id that is neither theirs nor the sandbox's
)
SERVER = """\
import json, sys
print("ready", flush=True)
for line in sys.stdin:
    space = {}
    try:
        exec(json.loads(line), space)
        reply = [True, space.get("result")]
    except BaseException as error:
        reply = [False, repr(error)]
    print(json.dumps(reply), flush=True)
"""
ARGV = ("/usr/bin/python3", "-I", "-S", "-u", "-c", SERVER)
CANARY = "canary-7f3a"
POLICY = """\
version = 1
[filesystem]
read = ["{root}/readable"]
write = ["{root}/writable"]
mounts = [{{ source = "{root}/elsewhere", target = "/mnt/shown" }}]
deny-read = [".env", "./private"]
deny-write = ["./settings.toml"{absent}]
[env]
pass = ["PASSED", "GROUP_*"]
set = {{ FIXED = "value" }}
[limits]
processes = 400
memory = "1GiB"
cpu-time = "1h"
file-size = "512MiB"
open-files = 256
wall-time = "10m"
tmp-size = "32MiB"
home-size = "24MiB"
run-size = "8MiB"
shm-size = "12MiB"
"""


class Place:
    """A workspace, a home and directories beside them, with a policy that sets everything that can be set."""

    def __init__(self, root: Path, mode: str) -> None:
        self.root, self.mode = root, mode
        self.workspace, self.home = root / "workspace", root / "home"
        for name in ("workspace/private", "home/.ssh", "readable", "writable", "elsewhere", "unnamed"):
            (root / name).mkdir(parents=True)
            (root / name / "file").write_text(f"{CANARY}\n")
        for name, text in {".env": CANARY, "settings.toml": "a = 1\n", "plain.txt": "plain\n"}.items():
            (self.workspace / name).write_text(text)
        (self.home / ".ssh/id_rsa").write_text(CANARY)
        (self.home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        absent = ', "./later.toml"' if mode == "overlay" else ""
        self.policy = root / "policy.toml"
        self.policy.write_text(POLICY.format(root=root, absent=absent))
        if os.geteuid() == 0:
            for place in (self.workspace, *self.workspace.rglob("*")):
                os.chown(place, WORKSPACE_OWNER, WORKSPACE_OWNER)

    def environment(self) -> dict[str, str]:
        """What ringfence is launched with."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PWD": str(self.workspace),
            "PYTHONPATH": str(ROOT / "src"),
            "PASSED": "passed",
            "GROUP_ONE": "1",
            "AWS_SECRET_ACCESS_KEY": CANARY,
        }

    def words(self, command: str, argv: Sequence[str], *options: str) -> list[str]:
        """The command line of `ringfence COMMAND` here."""
        chosen = ["--policy", str(self.policy), "--workspace", self.mode, *options]
        return [sys.executable, "-P", "-c", ENTRY, command, *chosen, "--", *argv]

    def plan(self) -> Plan:
        """What `ringfence plan --json` promises for the server."""
        words = self.words("plan", ARGV, "--json")
        done = subprocess.run(words, cwd=self.workspace, env=self.environment(), capture_output=True, timeout=TIMEOUT_S)
        assert done.returncode == 0, done.stderr.decode()
        return msgspec.json.decode(done.stdout, type=Plan)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Live:
    """The processes of one run: ours on the host, bubblewrap's monitor, the first process inside, the command."""

    place: Place
    plan: Plan
    supervisor: subprocess.Popen[str]
    monitor: int
    init: int
    command: int

    def inside(self, code: str) -> object:
        """Execute `code` in the command's process; give back its `result`."""
        assert self.supervisor.stdin is not None and self.supervisor.stdout is not None
        self.supervisor.stdin.write(json.dumps(code) + "\n")
        self.supervisor.stdin.flush()
        ok, value = json.loads(self.supervisor.stdout.readline())
        assert ok, value
        return value

    def events(self) -> list[dict[str, object]]:
        """The audit's records of this run so far."""
        text = (self.place.home / ".local/state/ringfence/audit/audit.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def view(self, path: str) -> Path:
        """A path of the view, as the host reaches it."""
        return Path(f"/proc/{self.init}/root{path}")


def status(pid: int) -> dict[str, list[str]]:
    """/proc/PID/status, its values split at white space."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def children(pid: int) -> list[int]:
    """The processes whose parent is `pid`."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parent = status(int(name))["PPid"]
            except (FileNotFoundError, ProcessLookupError):
                continue
            found += [int(name)] if parent == [str(pid)] else []
    return found


def only_child(pid: int) -> int:
    """The one child of `pid`."""
    (found,) = children(pid)
    return found


@contextmanager
def live(mode: str) -> Iterator[Live]:
    """Start the server in a place of its own and end it afterwards."""
    root = Path(tempfile.mkdtemp(prefix="ringfence-posture-", dir="/tmp")).resolve()
    root.chmod(0o755)
    try:
        place = Place(root, mode)
        supervisor = subprocess.Popen(
            place.words("run", ARGV),
            cwd=place.workspace,
            env=place.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with supervisor:
            assert supervisor.stdin is not None and supervisor.stdout is not None
            try:
                assert supervisor.stdout.readline() == "ready\n"
                monitor = only_child(supervisor.pid)
                init = only_child(monitor)
                yield Live(
                    place=place,
                    plan=place.plan(),
                    supervisor=supervisor,
                    monitor=monitor,
                    init=init,
                    command=only_child(init),
                )
            finally:
                supervisor.stdin.close()
                supervisor.wait(TIMEOUT_S)
    finally:
        shutil.rmtree(root, ignore_errors=True)
