"""A sandbox that is running, seen from both sides, with the Plan that `ringfence plan --json` promised for it.

The contained command is a small server: `inside(code)` executes Python there and gives back what it left in `result`.
On the path that RINGFENCE_TEST_PATH names (tests/paths.py), who stands above it is another; `tree` finds them.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from ringfence.model.plan import Plan
from tests import paths
from tests.house.sources import ROOT

ENTRY = "from ringfence.cli.entry import main; main()"
TIMEOUT_S = 100
STANDING_S = 90.0
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
wall-time = "10h"
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
            **paths.variables(),
        }

    @property
    def state(self) -> Path:
        """Where ringfence keeps runs and audit."""
        return self.home / ".local/state/ringfence"

    def words(self, command: str, argv: Sequence[str], *options: str) -> list[str]:
        """The command line of `ringfence COMMAND` here."""
        chosen = ["--policy", str(self.policy), "--workspace", self.mode, *options]
        program = [sys.executable, "-P", "-c", ENTRY]
        return [*(paths.run_words(program) if command == "run" else [*program, command]), *chosen, "--", *argv]

    def make_ready(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        """Have what the path needs for runs like the one that `words` make of `true`; what is recorded comes after."""
        nothing: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": TIMEOUT_S}
        settings: dict[str, Any] = {"cwd": self.workspace, "env": environment, **nothing}
        kind = None if self.is_built_ahead(words) else (self.mode, "--allow" in words)
        end = time.monotonic() + STANDING_S
        while time.monotonic() < end:
            paths.make_ready(lambda: subprocess.run(words, **settings), self.state, kind=kind)
            if kind or paths.members(self.state) == 2:
                break
        shutil.rmtree(self.state / "audit", ignore_errors=True)

    def is_built_ahead(self, words: Sequence[str]) -> bool:
        """Whether a boundary waits for such a run."""
        return paths.TAKEN == "pooled" and self.mode != "direct" and "--allow" not in words

    def plan(self) -> Plan:
        """What `ringfence plan --json` promises for the server."""
        words = self.words("plan", ARGV, "--json")
        done = subprocess.run(words, cwd=self.workspace, env=self.environment(), capture_output=True, timeout=TIMEOUT_S)
        assert done.returncode == 0, done.stderr.decode()
        return msgspec.json.decode(done.stdout, type=Plan)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Live:
    """The processes of one run: the one that was started, and those that stand above the command."""

    place: Place
    plan: Plan
    client: subprocess.Popen[str]
    tree: "Tree"

    @property
    def supervisor(self) -> int:
        """What carries the run out: on the cold and the warm path the client itself."""
        return self.tree.supervisor

    @property
    def monitor(self) -> int:
        """Bubblewrap's."""
        return self.tree.monitor

    @property
    def first(self) -> int:
        """The first process of the boundary, which is pid 1 there."""
        return self.tree.first

    @property
    def init(self) -> int:
        """What is pid 1 to the command: the first process, in a session the keeper of this command."""
        return self.tree.init

    @property
    def command(self) -> int:
        """The command."""
        return self.tree.command

    def inside(self, code: str) -> object:
        """Execute `code` in the command's process; give back its `result`."""
        assert self.client.stdin is not None and self.client.stdout is not None
        self.client.stdin.write(json.dumps(code) + "\n")
        self.client.stdin.flush()
        ok, value = json.loads(self.client.stdout.readline())
        assert ok, value
        return value

    def events(self) -> list[dict[str, object]]:
        """The audit's records of this run so far."""
        text = (self.place.home / ".local/state/ringfence/audit/audit.jsonl").read_text()
        # The last one may be just being written.
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def view(self, path: str) -> Path:
        """A path of the view, as the host reaches it."""
        return Path(f"/proc/{self.init}/root{path}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tree:
    """Who stands above a command, each the parent of the next; `first` and `init` are one process but in a session."""

    supervisor: int
    monitor: int
    first: int
    init: int
    command: int


def tree(client: "subprocess.Popen[str]", argv: Sequence[str]) -> Tree:
    """Find the processes of a run by its command, whose standard output is the client's, and say that they fit."""
    assert client.stdout is not None
    alike = running(argv, os.readlink(f"/proc/self/fd/{client.stdout.fileno()}"))
    # A child that was just forked has its parent's command line.
    line = [pid for pid, parent in alike.items() if parent not in alike]
    for _ in range(4 if paths.TAKEN == "warm" else 3):
        line.insert(0, int(status(line[0])["PPid"][0]))
    supervisor, monitor, first, *_, init, command = line if len(line) == 5 else [*line[:3], *line[2:]]
    assert paths.TAKEN in ("supervised", "pooled") or supervisor == client.pid
    return Tree(supervisor=supervisor, monitor=monitor, first=first, init=init, command=command)


def began(pid: int) -> int:
    """When a process was started, in ticks (proc_pid_stat(5))."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def running(argv: Sequence[str], output: str) -> dict[int, int]:
    """The processes with this command line whose standard output is that, each with its parent."""
    found = {}
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            if words == list(argv) and os.readlink(f"/proc/{pid}/fd/1") == output:
                found[pid] = int(status(pid)["PPid"][0])
        except OSError:
            continue  # it has gone, or is somebody else's
    return found


def status(pid: int) -> dict[str, list[str]]:
    """/proc/PID/status, its values split at white space."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def links(pid: int) -> list[str]:
    """Where the descriptors of a process lead."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


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
        with paths.ended(place.state):
            place.make_ready(place.words("run", ["true"]), place.environment())
            with started(place, place.words("run", ARGV), place.environment()) as (client, found):
                yield Live(place=place, plan=place.plan(), client=client, tree=found)
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def started(
    place: Place, words: Sequence[str], environment: Mapping[str, str]
) -> "Iterator[tuple[subprocess.Popen[str], Tree]]":
    """Run the server, on the path that is wanted and no other."""
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, cwd=place.workspace, env=environment, text=True, **streams) as client:
        assert client.stdin is not None and client.stdout is not None
        try:
            assert client.stdout.readline() == "ready\n"
            found = tree(client, ARGV)
            server = paths.server(place.state)
            assert paths.TAKEN in ("cold", "warm") or [str(server)] == status(found.supervisor)["PPid"]
            assert place.is_built_ahead(words) == (began(found.first) <= began(client.pid))
            yield client, found
        finally:
            client.stdin.close()
            client.wait(TIMEOUT_S)
