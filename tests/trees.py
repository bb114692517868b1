"""Workspaces, upper layers and runs for tests of the workspace package, and what a tree looks like from outside."""

import ctypes
import os
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ringfence.model.paths import HostPath
from ringfence.workspace import layout, overlay, runs
from ringfence.workspace.beneath import Tree
from ringfence.workspace.change import Result, Reviewed, file_type
from ringfence.workspace.filter import Rules, review
from tests import requirements

LONG_AGO_NS = 1_600_000_000_123_456_789
STAMPING_CLOCK = 5  # CLOCK_REALTIME_COARSE: what is changed has the time of its latest tick, before Linux 6.13
Facts = tuple[str, int, int, bytes]

# What runs inside the boundary, for tests that need the kernel to write the upper layer.
_CONTAINED_TIMEOUT_S = 60


def snapshot(root: Path, *, directory_times: bool = True) -> dict[str, Facts]:
    """Describe `root` (the empty path) and everything below it: type, mode, mtime and content of each path."""
    found: dict[str, Facts] = {}
    pending = [""]
    while pending:
        path = pending.pop()
        place = os.path.join(root, path) if path else str(root)
        facts = os.lstat(place)
        content = b""
        if stat.S_ISLNK(facts.st_mode):
            content = os.fsencode(os.readlink(place))
        elif stat.S_ISREG(facts.st_mode):
            content = read(place)
        elif stat.S_ISDIR(facts.st_mode):
            pending += [f"{path}/{name}" if path else name for name in os.listdir(place)]
        timed = directory_times or not stat.S_ISDIR(facts.st_mode)
        found[path] = (
            file_type(facts.st_mode).value,
            0 if stat.S_ISLNK(facts.st_mode) else stat.S_IMODE(facts.st_mode),
            facts.st_mtime_ns if timed else 0,
            content,
        )
    return found


def read(place: str) -> bytes:
    """Read a file even where its mode denies that to its owner."""
    mode = stat.S_IMODE(os.stat(place).st_mode)
    if mode & stat.S_IRUSR:
        return Path(place).read_bytes()
    os.chmod(place, mode | stat.S_IRUSR)
    try:
        return Path(place).read_bytes()
    finally:
        os.chmod(place, mode)


def without_times(tree: Mapping[str, Facts]) -> dict[str, tuple[str, int, bytes]]:
    """Leave the mtimes out of a snapshot."""
    return {path: (kind, mode, content) for path, (kind, mode, _, content) in tree.items()}


def write(root: Path, files: Mapping[str, str | bytes | None], *, mtime_ns: int = LONG_AGO_NS) -> None:
    """Make files (text or bytes), directories (None) and links (`-> target`) below `root`, parents included."""
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            place.mkdir(exist_ok=True)
        elif isinstance(content, str) and content.startswith("-> "):
            place.symlink_to(content.removeprefix("-> "))
        else:
            place.write_bytes(content.encode() if isinstance(content, str) else content)
            os.utime(place, ns=(mtime_ns, mtime_ns))


def whiteout(upper: Path, path: str) -> None:
    """Say in an upper layer that `path` is gone."""
    (upper / path).parent.mkdir(parents=True, exist_ok=True)
    os.mknod(upper / path, stat.S_IFCHR, 0)


def opaque(upper: Path, path: str) -> None:
    """Make an opaque directory in an upper layer."""
    (upper / path).mkdir(parents=True, exist_ok=True)
    os.setxattr(upper / path, "user.overlay.opaque", b"y")


class Place:
    """A workspace and one run over it, whose command has ended."""

    def __init__(self, root: Path, files: Mapping[str, str | bytes | None], *, state: Path | None = None) -> None:
        self.workspace = root / "ws"
        self.workspace.mkdir()
        write(self.workspace, files)
        self.runs = HostPath(str((state or root) / "state/ringfence/runs"))
        self.run = self.begin()

    def begin(self) -> runs.Run:
        """Start and end a run; its upper layer is still to be filled."""
        created = layout.create(self.runs, workspace=str(self.workspace), argv0="true")
        os.close(created.lock_fd)
        let_a_tick_pass()
        return runs.load(HostPath(created.directory))

    @property
    def upper(self) -> Path:
        """The run's upper layer."""
        return Path(self.run.upper)

    def contain(self, *argv: str) -> None:
        """Run a command with the workspace as an overlay, so that the kernel writes the upper layer."""
        subprocess.run(self.contained_argv(*argv), check=True, timeout=_CONTAINED_TIMEOUT_S)

    def contained_argv(self, *argv: str) -> list[str]:
        """Give the command line that runs a command so."""
        requirements.require("bubblewrap")
        program = requirements.bubblewrap()
        assert program is not None
        workspace, directory = str(self.workspace), self.run.directory
        options = ["--dev-bind", "/", "/", "--overlay-src", workspace, "--overlay", self.run.upper, f"{directory}/work"]
        options += [workspace, "--chdir", workspace, "--unshare-net", "--die-with-parent", "--"]
        return [str(program), *options, *argv]

    def contain_python(self, code: str, *arguments: str) -> None:
        """Run Python code in the overlay."""
        self.contain(sys.executable, "-I", "-S", "-c", code, *arguments)

    def review(self, **rules: object) -> list[Reviewed]:
        """Read and judge the run's changes."""
        found = overlay.changes(self.run.upper, self.run.workspace)
        with Tree(self.run.workspace) as host:
            return review(found, rules=Rules(existing=overlay.existing(host), **rules))  # type: ignore[arg-type]  # keywords of a test

    def unfiltered(self) -> list[Reviewed]:
        """Read the run's changes and allow them all."""
        return [Reviewed(change=change) for change in overlay.changes(self.run.upper, self.run.workspace)]


def let_a_tick_pass() -> None:
    """Wait until an edit has a later time than what began before this was called."""
    now_ns = time.time_ns()
    while time.clock_gettime_ns(STAMPING_CLOCK) <= now_ns:
        time.sleep(0.001)


def outcomes(results: list[Result]) -> dict[str, str]:
    """Give the outcome of each path."""
    return {result.path: result.outcome.value for result in results}


def in_child(work: Callable[[], object], *, deny: tuple[int, ...] = ()) -> int:
    """Run `work` in a forked child, without the system calls `deny` (ENOSYS); give its wait status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if deny:
                _deny(deny)
            work()
            status = 0
        except BaseException as error:  # a child must never return into pytest
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def killer(at: int) -> Callable[[str], None]:
    """Give a step hook that kills its process at the step number `at`."""
    remaining = at

    def step(_name: str) -> None:
        nonlocal remaining
        if remaining == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        remaining -= 1

    return step


def _deny(calls: tuple[int, ...]) -> None:
    """Let system calls fail with ENOSYS, as on a kernel that does not have them (seccomp(2), filter mode)."""
    instructions = [struct.pack("HBBI", 0x20, 0, 0, 0)]  # load the number
    for call in calls:
        instructions += [struct.pack("HBBI", 0x15, 0, 1, call), struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | 38)]
    instructions.append(struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000))
    code = ctypes.create_string_buffer(b"".join(instructions))
    program = struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(program)
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, ctypes.byref(buffer), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no seccomp filter")
