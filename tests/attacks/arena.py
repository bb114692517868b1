"""Where an attack is carried out: a throw-away home with secrets and a workspace, and a look at living processes."""

import contextlib
import dataclasses
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import ringfence
from ringfence.model.plan import Plan
from ringfence.session import prepare
from tests import paths

if TYPE_CHECKING:
    from tests.attacks.attack import Attack
    from tests.lab import Lab

PYTHON = next(
    path for path in ("/usr/bin/python3", "/usr/local/bin/python3", sys.executable) if os.access(path, os.X_OK)
)
SOURCE = Path(ringfence.__file__).parent.parent
# -P: no module of the working directory takes the place of one of ours, as with the installed script.
RINGFENCE = [sys.executable, "-P", "-c", "from ringfence.cli.entry import main; main()"]
LIMIT_S = 60


@dataclasses.dataclass(kw_only=True)
class Ran:
    """What came of one execution, of which `started` is the process that was started.

    `pids` are the script's processes, as numbered on the host, while it is held.
    """

    started: int
    output: str = ""
    status: int = -1
    pids: tuple[int, ...] = ()
    achieved: bool = False
    confined: bool = False


@dataclasses.dataclass(kw_only=True)
class Arena:
    """Directories and canaries of one execution. `values` are what `@name@` in a script stands for.

    In a `lab` everything runs on its host side, whose log from `began` on is what came out.
    """

    root: Path
    canary: str
    values: dict[str, str] = dataclasses.field(default_factory=dict)
    closing: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)
    lab: "Lab | None" = None
    began: int = 0

    @classmethod
    @contextlib.contextmanager
    def open(cls, setting_up: "Callable[[Arena], None]", lab: "Lab | None" = None) -> "Iterator[Arena]":
        """Give a fresh arena, and take everything away at the end."""
        root = Path(tempfile.mkdtemp(prefix="ringfence-attack-", dir="/tmp")).resolve()
        arena = cls(root=root, canary=f"canary-{secrets.token_hex(12)}", lab=lab, began=lab.mark() if lab else 0)
        with arena.closing:
            arena.closing.callback(remove, root)
            arena.closing.enter_context(paths.ended(arena.audit.parent))
            arena.values = {
                "home": str(arena.home),
                "workspace": str(arena.workspace),
                "outside": str(root / "outside"),
                "mark": f"mark-{secrets.token_hex(8)}",
            }
            for place in (arena.home, arena.workspace, root / "outside", root / "runtime"):
                place.mkdir(parents=True, mode=0o700)
            arena.write("@home@/secret.txt", arena.canary)
            arena.write("@outside@/secret.txt", arena.canary)
            arena.write("@workspace@/README", "a project\n")
            setting_up(arena)
            yield arena

    @property
    def home(self) -> Path:
        """The user's home directory."""
        return self.root / "home"

    @property
    def workspace(self) -> Path:
        """The directory that the attack is started in."""
        return self.home / "project"

    @property
    def audit(self) -> Path:
        """The audit's directory."""
        return self.home / ".local/state/ringfence/audit"

    def fill(self, text: str) -> str:
        """Replace every `@name@`."""
        return re.sub(r"@(\w+)@", lambda found: self.values.get(found[1], found[0]), text)

    def write(self, name: str, text: str, *, mode: int = 0o600) -> Path:
        """Make a file on the host with its parents."""
        path = Path(self.fill(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(mode)
        return path

    def workspace_text(self) -> str:
        """Read all that stands in the host's workspace; links are not followed."""
        files = (path for path in self.workspace.rglob("*") if path.is_file() and not path.is_symlink())
        return "\n".join(path.read_bytes()[: 1 << 20].decode("utf-8", "replace") for path in files)

    def environment(self) -> dict[str, str]:
        """Give the environment of the shell that the user starts things from; it holds a secret."""
        ours = ("RINGFENCE_REQUIRE", "RINGFENCE_STANDBY", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
        kept = ("PATH", "LANG", "TERM", *ours)
        found = {name: os.environ[name] for name in kept if name in os.environ}
        found |= {"HOME": str(self.home), "USER": "user", "PWD": str(self.workspace), "SHELL": "/bin/sh"}
        found |= {"XDG_RUNTIME_DIR": str(self.root / "runtime"), "SERVICE_TOKEN": self.canary, **paths.variables()}
        if self.lab:
            found["SSL_CERT_FILE"] = str(self.lab.place / "ca.crt")
        return found

    def unconfined(self, attack: "Attack") -> Ran:
        """Run the script as it is."""
        return self._run([*attack.world(self), *attack.argv(self)], attack, confined=False)

    def confined(self, attack: "Attack") -> Ran:
        """Run the script through the command line."""
        self._operator(attack)
        words = [*paths.run_words(RINGFENCE), *self._options(attack), "--"]
        kind = (attack.options, attack.policy)
        paths.make_ready(lambda: self._quietly([*words, "true"]), self.audit.parent, kind=kind)
        shutil.rmtree(self.audit, ignore_errors=True)  # what is recorded there is to be the attack's
        return self._run([*words, *attack.argv(self)], attack, confined=True)

    def _quietly(self, argv: list[str]) -> None:
        there = self._there(argv)
        nothing: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": LIMIT_S}
        subprocess.run(there, cwd=self.workspace, env=self._ours(), **nothing)

    def run_again(self) -> None:
        """Start and end another run."""
        argv = [*RINGFENCE, "run", "--", "true"]
        subprocess.run(
            argv, cwd=self.workspace, env=self._ours(), stdin=subprocess.DEVNULL, timeout=LIMIT_S, check=True
        )

    def _options(self, attack: "Attack") -> list[str]:
        return [self.fill(word) for word in attack.options]

    def _operator(self, attack: "Attack") -> None:
        if attack.policy:
            self.write("@home@/.config/ringfence/policy.toml", "version = 1\n" + self.fill(attack.policy))

    def plan(self, attack: "Attack") -> str:
        """Give the digest of the plan that is announced for this attack, without launching anything."""
        self._operator(attack)
        argv = [*RINGFENCE, "plan", "--json", *self._options(attack), "--", *attack.argv(self)]
        text = subprocess.run(
            self._there(argv),
            cwd=self.workspace,
            env=self._ours(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_S,
        )
        assert text.returncode == 0, text.stderr
        return prepare.digest(msgspec.json.decode(text.stdout, type=Plan))

    def _ours(self) -> dict[str, str]:
        # Ours alone gets the path of the source tree; the command inside must not depend on it.
        return self.environment() | {"PYTHONPATH": str(SOURCE)}

    def _there(self, argv: list[str]) -> list[str]:
        return self.lab.words(argv, cwd=self.workspace) if self.lab else argv

    def _run(self, argv: list[str], attack: "Attack", *, confined: bool) -> Ran:
        environment = self._ours() if confined else self.environment()
        streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        streams |= attack.redirect(self)
        process = subprocess.Popen(
            self._there(argv), cwd=self.workspace, env=environment, start_new_session=True, **streams
        )
        ran = Ran(started=process.pid, confined=confined)
        try:
            if attack.hold or attack.meanwhile:
                ran.output = _until_ready(process)
            if attack.hold:
                ran.pids = tuple(self._marked() - ({process.pid} if confined else set()))
                ran.achieved = attack.evidence(self, ran)
            if attack.meanwhile:
                attack.meanwhile(self, ran)
            rest, _ = process.communicate(timeout=LIMIT_S)
            ran.output += (rest or b"").decode("utf-8", "replace")
            ran.status = process.returncode
            ran.achieved = ran.achieved or (not attack.hold and attack.evidence(self, ran))
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.__exit__(None, None, None)
        return ran

    def _marked(self) -> set[int]:
        """Find the processes whose command line holds this arena's mark."""
        return {pid for pid in process_ids() if self.values["mark"].encode() in command_line(pid)}


def _until_ready(process: "subprocess.Popen[bytes]") -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.strip() == b"ready":
            break
    return b"".join(lines).decode("utf-8", "replace")


def remove(root: Path) -> None:
    """Take a directory away, also where what is ending just now still makes or removes names in it."""
    assert paths.wait_until(lambda: _is_removed(root))


def _is_removed(root: Path) -> bool:
    """Remove what can be removed; overlayfs leaves directories that even their owner may not enter."""
    for folder, folders, _ in os.walk(root):
        for name in folders:
            path = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):
                if not os.path.islink(path):
                    os.chmod(path, 0o700)
    shutil.rmtree(root, ignore_errors=True)
    return not root.exists()


def process_ids() -> list[int]:
    """List the host's processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def command_line(pid: int) -> bytes:
    """Read a process's arguments; empty once it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
