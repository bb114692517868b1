"""A session: one run whose boundary serves many commands (sandbox/warm.py, inside/serve.py).

It has one view, one overlay, one network and one record in the audit, all of them those of a run; a command adds two
records, when it is begun and when it has ended.
"""

import errno
import itertools
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from ringfence.model.errors import HostError, SandboxError, UsageError
from ringfence.sandbox import launch, warm
from ringfence.sandbox.artefact import Artefact
from ringfence.sandbox.command import FRESH, SHARED, Command

from .journal import Journal
from .options import Options, workspace_of
from .run import Finished, Run, artefact_for, working_directory

if TYPE_CHECKING:
    from ringfence.sandbox.supervise import Fields, Supervisor

    from .wiring import Recorder

NAME = "(session)"  # in the place of a command, where a run is listed
COMMANDS_AT_MOST = 128  # side by side: what the parts of a limit below are made for
RESERVED_PIDS = 300  # see sandbox/bubblewrap.py
KEPT_BACK = 8  # one part in eight of a session's processes is out of reach of any one command


class CommandLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one command, which only make policy's narrower; 0 leaves policy's.

    `processes` are those that run at once; in the shared room they are counted together. The others hold for each
    process: seconds on a processor, the size of a file, open files, and private memory.
    """

    processes: int = 0
    cpu_time_s: int = 0
    file_size_bytes: int = 0
    open_files: int = 0
    process_memory_bytes: int = 0


UNLIMITED = CommandLimits()


class Serving(Run):
    """The run of a session."""

    is_brief = False

    def __init__(self, found: Artefact, directory: str) -> None:
        super().__init__(found, [NAME], directory)
        self.own_signals = False
        self.warm: warm.WarmSupervisor | None = None
        self.given: list[tuple[str, str]] = []  # what every command is told alike
        self.journal: Journal | None = None

    def supervision(self, boundary: launch.Boundary, record: "Recorder", group: str, uppers: list[str]) -> "Supervisor":
        """One that serves many."""
        self.warm = warm.WarmSupervisor(
            boundary, self.artefact, record.report, group=group, uppers=uppers, fresh=fresh_places(self.artefact)
        )
        if self.artefact.audit[0] != "always":  # then each record is on the disk before its caller goes on
            record.journal = self.journal = Journal(f"{self.runs}/{self.identifier}")
        self.warm.defer, self.warm.flush = record.defer, record.flush
        return self.warm

    def process_group(self) -> str:
        """Nothing of a session runs in our group."""
        return "own"

    def order(self, group: str) -> list[tuple[str, str]]:
        """What the first process is told: to serve, and what every command has for itself."""
        found = [pair for pair in super().order(group) if pair[0] not in ("argv", "env")]
        return [*found, ("serve", "1"), *(("fresh", path) for path in fresh_places(self.artefact))]

    def command_order(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: str, limits: CommandLimits, kind: str
    ) -> bytes:
        """All that the keeper of one command is told; of one that shares a room, what its room was not told."""
        own = [("argv", word) for word in argv]
        own += [("env", f"{name}={env[name]}") for name in env]
        if kind == FRESH:
            return launch.ordered(self.artefact, [*self.fixed(limits, kind, cwd), *own])
        own += [("cwd", cwd)] if cwd else []
        if limits != UNLIMITED:
            own += [("limit", f"{name}={amount}") for name, amount in narrowed(self.artefact, limits)]
        return launch.pairs(own)

    def room_order(self) -> bytes:
        """What all commands of the shared room are told alike."""
        return launch.ordered(self.artefact, [("room", "1"), *self.fixed(UNLIMITED, SHARED, "")])

    def fixed(self, limits: CommandLimits, kind: str, cwd: str) -> list[tuple[str, str]]:
        """What commands of one kind, with the same limits and directory, are told alike."""
        if not self.given:
            own = ("argv", "limit", "pid_max", "shmall")
            self.given = [pair for pair in super().order("own") if pair[0] not in own]
        found = [pair for pair in self.given if pair[0] != "cwd" or not cwd]
        found += [("cwd", cwd)] if cwd else []
        found += [("limit", f"{name}={amount}") for name, amount in narrowed(self.artefact, limits)]
        return found + shares(self.artefact, limits, kind)


def narrowed(found: Artefact, limits: CommandLimits) -> list[tuple[str, int]]:
    """The resource limits of one command: policy's, or tighter ones."""
    wanted = {
        "NPROC": limits.processes,
        "CPU": limits.cpu_time_s,
        "FSIZE": limits.file_size_bytes,
        "NOFILE": limits.open_files,
        "DATA": limits.process_memory_bytes,
    }
    known = {}
    for name, text in (pair[1].split("=") for pair in found.order if pair[0] == "limit"):
        known[name] = int(text)
    for name, amount in wanted.items():
        if amount:
            known[name] = min(amount, known.get(name, amount))
    # `pid_max` alone lets a new room have RESERVED_PIDS more until its numbers begin again.
    if "NPROC" in known:
        known["NPROC"] = min(known["NPROC"], one_share(found))
    return list(known.items())


def one_share(found: Artefact) -> int:
    """How many of a session's processes any one command can have."""
    return found.processes - found.processes // KEPT_BACK


def shares(found: Artefact, limits: CommandLimits, kind: str) -> list[tuple[str, str]]:
    """What one room may have of the session's processes and System V memory, which nobody else counts."""
    fixed = dict(found.order)
    processes = min(one_share(found), limits.processes or found.processes)
    pairs = [("pid_max", str(RESERVED_PIDS + processes))]
    if "shmall" in fixed:
        pages = int(fixed["shmall"])
        pairs.append(("shmall", str(pages if kind == SHARED else max(1, pages // COMMANDS_AT_MOST))))
    return pairs


def fresh_places(found: Artefact) -> list[str]:
    """The private places that each command has for itself: all but the root, which nobody can write to, and the home.

    A place in which something is watched stays: a watch belongs to an inode, and in a new place it would see nothing.
    """
    home = found.cwd
    shown = [place for place in [*found.visible, *found.tmpfs] if place != "/"]

    def is_watched(place: str) -> bool:
        below = [other for other in shown if other.startswith(place + "/")]
        watched = [target for target, *_ in found.watches if target == place or target.startswith(place + "/")]
        return any(not any(one == other or one.startswith(other + "/") for other in below) for one in watched)

    return sorted(place for place in found.tmpfs if place not in ("/", home) and not is_watched(place))


def is_open(descriptor: int) -> bool:
    """Whether there is such a descriptor in this process."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def not_begun(number: int) -> SandboxError:
    """The error for a command that could not be begun."""
    why = os.strerror(number).lower()
    hint = "too many processes run in the session"
    if number == errno.ETOOMANYREFS:
        hint = "programs of yours have too many descriptors on their way through sockets"
    return SandboxError(f"the command could not be begun: {why}", hint=hint)


class Session:
    """A running session: begins commands. It is served by one thread."""

    def __init__(self, options: Options, env: Mapping[str, str]) -> None:
        directory = working_directory(options)
        found = artefact_for(options, [NAME], directory, workspace_of(directory))
        self.run = Serving(found, directory)
        self.run.extra_environment = dict(env)
        self.finished: Finished | None = None
        self.error: BaseException | None = None
        self.is_over = False
        self.numbers = itertools.count(1)
        self.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self.run.stdio = (self.null, self.null, 2 if is_open(2) else self.null)
        self.thread = threading.Thread(target=self._serve, name="ringfence-session", daemon=True)
        self.thread.start()
        self.wait_for_opening()

    def _serve(self) -> None:
        try:
            self.finished = self.run.carry_out()
        except BaseException as error:  # handed to whoever waits
            self.error = error
        finally:
            self.is_over = True
            if self.run.journal:
                self.run.journal.close()

    def wait_for_opening(self) -> None:
        """Until commands can be begun; raises what kept the boundary from being built."""
        while self.thread.is_alive():
            if self.run.warm and self.run.warm.opened.acquire(timeout=0.002):
                return
            if not self.run.warm:
                time.sleep(0.001)
        self.raise_error()

    def raise_error(self) -> None:
        """Raise what ended the session, if it was not the caller."""
        if self.error:
            raise self.error

    @property
    def supervisor(self) -> warm.WarmSupervisor:
        """Who stays beside it; raises what ended the session, or SandboxError."""
        if self.run.warm is None or self.is_over:
            self.raise_error()
            raise SandboxError("the session has ended")
        return self.run.warm

    def begin(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str,
        limits: CommandLimits,
        kind: str,
        stdio: tuple[int, ...] = (),
    ) -> Command:
        """Start a command; raises SandboxError where the session has ended, UsageError for a variable kept outside.

        One that shares a room is held: the caller hears it out, or lets go of it (`WarmSupervisor`). It may do without
        `stdio`: pipes come with it.
        """
        supervisor = self.supervisor
        if not argv:
            raise UsageError("no command", hint='session.run(["COMMAND", "ARGUMENT"])')
        for name in env:
            if name in self.run.artefact.withheld:
                raise UsageError(f"`{name}` belongs to a secret", hint="give it to `session(env=...)`")
        if len(supervisor.commands) >= COMMANDS_AT_MOST:
            raise HostError(f"{COMMANDS_AT_MOST} commands of this session are running", hint="open another session")
        order = self.run.command_order(argv, env=env, cwd=cwd, limits=limits, kind=kind)

        def record() -> None:
            fields: Fields = {"command": number, "argv": list(argv), "cwd": cwd, "namespaces": kind}
            (supervisor.defer if kind == SHARED else supervisor.report)("command", "begun", fields)

        try:
            command = supervisor.spare(self.run.room_order) if kind == SHARED else Command(0, FRESH)
            command.number = number = next(self.numbers)
            return supervisor.begin(command, order, stdio, record)
        except ConnectionError as error:
            raise SandboxError("the session has ended") from error
        except OSError as error:
            raise not_begun(error.errno or 0) from error

    def place(self, cwd: str) -> str:
        """A directory inside: relative to where the session works; empty for that one."""
        return os.path.normpath(os.path.join(self.run.directory, cwd)) if cwd else ""

    def close(self) -> Finished:
        """End everything in it, apply, record; raises what went wrong with that."""
        if self.run.warm:
            self.run.warm.end()
        self.thread.join()
        if self.null >= 0:
            os.close(self.null)
            self.null = -1
        self.raise_error()
        if self.finished is None:
            raise SandboxError("the session has not ended")
        return self.finished
