"""Carry out one run: directory, boundary, supervision, apply, record. The hot path of the command line.

Import budget (tests/unit/session/test_run_imports.py): before the fork only built-in modules, `options`, `places`,
`cache`, `artefact`, `launch` and `layout`; everything else is imported while the boundary is being built.
"""

import os
import time
from _signal import SIGKILL

from ringfence.model.errors import HostError, UsageError
from ringfence.sandbox import launch
from ringfence.sandbox.artefact import environment

from . import cache, places
from .ground import Ground
from .options import Options, logical_directory, workspace_of
from .places import installed_version

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms on the hot path
if TYPE_CHECKING:
    from collections.abc import Callable

    from ringfence.model.ports import Companion
    from ringfence.sandbox.artefact import Artefact
    from ringfence.sandbox.cgroup import Joining
    from ringfence.sandbox.supervise import Outcome, Report, Supervisor
    from ringfence.workspace.layout import Created

    from .ahead import Standing
    from .egress import Way
    from .mirroring import Mirroring
    from .pool import Member
    from .terminal import State
    from .vault import Vault
    from .wiring import Ending, Recorder


EMFILE = 24  # <asm-generic/errno-base.h>
LEAST_FILES = 128  # 48 were enough with egress; as root one more is open for each place in the view


class Finished:
    """How a run ended, for whoever asked for it."""

    __slots__ = ("denials", "ending", "limits", "run", "standing", "status", "unreached", "visible", "words")

    def __init__(self, run: str, status: int, found: "Run", ending: "Ending | None") -> None:
        self.run = run
        self.status = status
        self.denials = found.denials
        self.limits = found.limits
        self.unreached = found.unreached
        self.ending = ending
        self.standing = found.artefact.trust.get("trust", "")
        self.words = (found.directory, *found.argv)
        self.visible = found.artefact.visible


def prepared_run(options: Options, argv: "list[str]") -> "Run":
    """The run for a request, ready to be carried out; raise RingfenceError where policy or host refuse."""
    if not argv:
        raise UsageError("no command", hint="ringfence run -- COMMAND [ARGUMENT...]")
    directory = working_directory(options)
    workspace = workspace_of(directory)
    return Run(artefact_for(options, argv, directory, workspace), argv, directory)


def working_directory(options: Options) -> str:
    """The real path of the directory to work in; raise UsageError if there is none."""
    try:
        # The kernel names the current directory by its real path.
        directory = os.path.realpath(options.directory) if options.directory else os.getcwd()
    except FileNotFoundError as error:
        raise UsageError("the current directory no longer exists", hint="change to another one") from error
    if not os.path.isdir(directory):
        raise UsageError(f"`{options.directory}` is not a directory")
    if any("\udc80" <= character <= "\udcff" for character in directory):
        # Plans and records are JSON, which is UTF-8; names below the workspace may be anything.
        raise UsageError(
            "the path of the working directory is not UTF-8", hint="rename the directory, or work in another"
        )
    return directory


def request_key(options: Options, directory: str, workspace: str) -> str:
    """A text that differs whenever two requests could lead to different launches on an unchanged host."""
    policy = os.path.abspath(options.policy) if options.policy else ""
    scope = (
        policy,
        os.environ.get("HOME", ""),
        places.user_policy(),
        places.state(),
        logical_directory(options, directory),
    )
    return "\0".join((workspace, directory, *scope, str(os.getuid()), options.key(), installed_version()))


def artefact_for(options: Options, argv: "list[str]", directory: str, workspace: str) -> "Artefact":
    """The compiled launch for this request, from the cache where nothing has changed."""
    key = request_key(options, directory, workspace)
    found = cache.load(key)
    if found is None:
        from . import prepare

        since_ns = time.time_ns()
        prepared = prepare.prepare(options, argv, directory, workspace)
        found = prepare.artefact(prepared)
        if not prepared.facts.tree and not prepared.trust:
            listings = sorted({os.path.dirname(glob.partition("*")[0]) for glob in prepared.facts.matches})
            cache.store(key, prepare.examined(prepared, options), listings, found, since_ns=since_ns)
    return found


class Run:
    """One run of one artefact.

    Whoever embeds it may set, before `carry_out`: `stdio`, descriptors for the command's standard streams;
    `extra_environment`, variables set for it; `own_signals` False, to leave the process's signals alone;
    `notice`, called with a line of text when the operator is asked something; `begun`, called at the command's start;
    `runs`, another place for the run's directory; `companions`, what serves the command from outside meanwhile;
    `assignment`, where the boundary is built before it is known what for: it says so, or that nobody wants it;
    `put_off`, which gets what remains to be done, the last of it first, once whoever waits has been told how the run
    ended (afterwards.py).
    """

    is_brief = True  # of a single command: nothing but its end is waited for

    def __init__(self, found: "Artefact", argv: "list[str]", directory: str) -> None:
        self.artefact = found
        self.argv = argv
        self.directory = directory
        self.runs = places.runs()
        self.stdio = (0, 1, 2)
        self.extra_environment: dict[str, str] = {}
        self.own_signals = True
        self.notice: Callable[[str], None] = lambda line: None
        self.supervisor: Supervisor | None = None
        self.way: Way | None = None
        self.vault: Vault | None = None
        self.companions: list[Companion] = []
        self.early_signal = 0
        self.is_recorded = self.has_started = self.is_spent = False
        self.mounts: list[int] = []  # held: see garbage.py
        self.is_filled = True  # what stands for its secrets is known
        self.identifier = ""
        self.mirroring: Mirroring | None = None
        self.denials: list[tuple[str, str]] = []
        self.limits: list[str] = []
        self.unreached: list[str] = []
        self.assignment: Member | Standing | None = None
        self.put_off: list[Callable[[], object]] | None = None
        self.streams: State | None = None  # how they were found
        self.begun: Callable[[], object] = lambda: None

    def carry_out(self) -> Finished:
        """Build, supervise, apply, record; the boundary never outlives this call. Raises RingfenceError."""
        try:
            if self.artefact.secrets:
                from . import vault

                vault.begin(self)
            return self.build_wherever()
        except OSError as error:
            if error.errno == EMFILE and "inotify" not in str(error):  # that has a limit of its own
                raise too_few_files() from error
            from .not_built import refused

            raise refused(error) from error
        finally:
            if self.vault:
                self.vault.release()

    def build_wherever(self) -> Finished:
        """Once more, if the first attempt found out that layers have to lie elsewhere on this host."""
        try:
            return self.build_and_attend()
        except HostError:
            if self.assignment or self.runs == (moved := places.runs()):
                raise
            self.runs = moved
            return self.build_and_attend()

    def build_and_attend(self) -> Finished:
        """From the run's directory to its record."""
        from ringfence.sandbox import cgroup

        ground = Ground(self.artefact, self.runs, self.argv[0] if self.argv else "")
        created, self.identifier = ground.created, ground.created.run
        # RLIMIT_NPROC in the command's user namespace holds for every kernel uid but root's.
        processes = self.artefact.processes if os.getuid() == 0 and not self.artefact.idmap else 0
        groups = cgroup.create(created.run, self.artefact.memory_bytes, processes)
        if self.own_signals:
            block_signals()
        group = self.process_group()
        order = self.order(group) if self.is_filled else None
        tasks = cgroup.tasks(groups) if self.artefact.idmap else []
        boundary = launch.start(self.artefact, launch.Request(order, ground.directory, self.stdio, tasks))
        joining = cgroup.Joining(groups, boundary.monitor, joins=len(tasks) == len(groups))
        try:
            return self.attend(boundary, ground, joining, group)
        except BaseException:
            self.put_off = None  # whoever waits is told of it, and may try again
            boundary.abandon()
            if not self.has_started:
                from ringfence.workspace import removal

                removal.remove_tree(created.directory)
            raise
        finally:
            self.in_time(lambda: self.take_down(boundary, created, groups))

    def in_time(self, step: "Callable[[], object]") -> None:
        """Take a step that nobody waits for: after whoever waits was told, where there is such a time."""
        if self.put_off is None:
            step()
        else:
            self.put_off.insert(0, step)

    def take_down(self, boundary: launch.Boundary, created: "Created", groups: "list[str]") -> None:
        """Give back all that the boundary consists of; every process in it is dead but the first, which ends."""
        from ringfence.sandbox import cgroup, garbage

        if self.supervisor:
            self.supervisor.settle()
            self.supervisor.close()  # also where it has never run
        garbage.leave(self.mounts)
        boundary.control.close()
        boundary.reap()
        cgroup.remove(groups)
        if self.is_spent:
            from ringfence.workspace import removal

            removal.remove_tree(created.directory)
        created.release()

    def process_group(self) -> str:
        """In which process group the command runs, as the first process is told: see `terminal.process_group`."""
        if not any(os.isatty(descriptor) for descriptor in self.stdio):
            return "own"
        from . import terminal

        return terminal.process_group(self.stdio, may_share=self.artefact.scoped or self.artefact.idmap)

    def attend(self, boundary: launch.Boundary, ground: Ground, joining: "Joining", group: str) -> Finished:
        """Everything after the fork."""
        from ringfence.sandbox import supervise

        from . import terminal, wiring

        created = ground.created
        record = wiring.Recorder(created.run, self.artefact.audit, self)
        way = self.way_out(created.directory, record.report)
        self.streams = terminal.save(self.stdio)
        self.supervisor = supervisor = self.supervision(boundary, record, group, ground.uppers())
        if self.early_signal:
            supervisor.send(self.early_signal)
        signals = supervise.wait_for_signals() if self.own_signals else -1
        wiring.begin(self.artefact, created)
        tainting = wiring.watch_secrets(self.artefact, created.directory, supervisor, way)
        beside = [*self.companions, *wiring.companions(self.artefact)]
        try:
            self.wait_for_ready(supervisor, ground, record, group)
            ground.remove_stand_ins()
            wiring.hold_mounts(self, supervisor)
            if way:
                way.attach(supervisor.init)
                supervisor.connecting, supervisor.outward = way.connecting, way.outward
                way.stop = lambda: supervisor.send(SIGKILL)
            for companion in beside:
                companion.attach(supervisor.init, record.report)
            joining.finish(supervisor.init)
            if self.assignment:
                joining.finish(supervisor.command)  # which has a process already
                self.assignment.take_on(self, ground, record)
                tainting.directory = ground.directory
            else:
                self.start(supervisor)
            wiring.report_lost(os.path.dirname(ground.directory), record)
            self.mirroring = wiring.mirror(self.artefact, created)
            outcome = supervisor.serve(signals)
            if self.put_off is None:
                supervisor.end_watch()  # before its mounts go, whose end would wait for it
        except BaseException:
            if self.is_recorded and not self.has_started:
                record.report("lost", "not-built", {})
            raise
        finally:
            if self.mirroring:
                self.mirroring.finish()
            if way:
                way.close()
            for companion in beside:
                companion.close()
            terminal.restore(self.streams)
            ground.remove_stand_ins()
            wiring.remove_skeleton(ground)
        if way and way.failure:
            raise way.failure
        return self.conclude(outcome, record, created, joining.groups)

    def start(self, supervisor: "Supervisor") -> None:
        """Have the command begin."""
        supervisor.go()
        self.has_started = True
        self.begun()

    def wait_for_ready(self, supervisor: "Supervisor", ground: Ground, record: "Recorder", group: str) -> None:
        """Tell the order if it is not told yet, and wait for the boundary; raise where there is none."""
        if not self.is_filled:
            from . import vault

            vault.fill(self)
            supervisor.boundary.tell(launch.ordered(self.artefact, self.order(group)))
        if not self.assignment:
            self.announce(record)
        from ringfence.workspace import removal  # noqa: F401 - for the end, while there is time

        if not supervisor.wait_for_ready():
            from . import not_built

            raise not_built.failure(supervisor.boundary, ground.created.directory)

    def supervision(
        self, boundary: launch.Boundary, record: "Recorder", group: str, uppers: "list[str]"
    ) -> "Supervisor":
        """What stays beside the boundary; a session has another kind (session/warm.py)."""
        from ringfence.sandbox import supervise

        return supervise.Supervisor(boundary, self.artefact, record.report, group=group, uppers=uppers)

    def way_out(self, directory: str, report: "Report") -> "Way | None":
        """The egress of this run, on its way while the boundary is being built; None where the network is off."""
        if not self.artefact.egress:
            return None
        from . import egress

        self.way = egress.Way(self.artefact, directory, report, installed_version())
        self.way.vault = self.vault
        self.way.notice = self.notice
        return self.way

    def conclude(self, outcome: "Outcome", record: "Recorder", created: "Created", groups: "list[str]") -> Finished:
        """Apply what may be applied and record the end."""
        from ringfence.sandbox import cgroup

        from . import wiring

        if cgroup.out_of_memory(groups) and "memory" not in self.limits:  # or the watchdog was as quick
            record.report("limit", "memory", {"limit": self.artefact.memory_bytes})
        ending = wiring.finish(self, created, record, self.mirroring)
        fields = {outcome.kind: outcome.number, "duration_ms": int((time.monotonic() - outcome.started) * 1000)}
        record.report("exit", "", fields)
        record.finish()
        self.in_time(record.make_durable)
        return Finished(created.run, outcome.status, self, ending)

    def announce(self, record: "Recorder") -> None:
        """Record what is about to begin; what cannot be recorded does not take place."""
        from . import wiring

        record.report("launch", "", wiring.described(self))
        self.is_recorded = True

    def order(self, group: str) -> "list[tuple[str, str]]":
        """What the first process is told beyond the artefact's fixed part."""
        inside = any(self.directory == p or self.directory.startswith(p + "/") for p in self.artefact.visible)
        found = [*self.artefact.order, ("cwd", self.directory if inside else self.artefact.cwd), ("group", group)]
        found.append(("listen", "1" if self.artefact.profile in ("default", "no-unix") else "0"))
        return [*found, ("late", "1")] if self.assignment else [*found, *self.command()]

    def command(self) -> "list[tuple[str, str]]":
        """The part of the order that says what to execute, and with which environment."""
        found = [("argv", word) for word in self.argv]
        found += [("env", f"{name}={value}") for name, value in self.environment()]
        return found + [("env", f"{name}={value}") for name, value in self.extra_environment.items()]

    def rest(self) -> int:
        """What was not known at the start, as a descriptor."""
        return launch.memory_file("rest", launch.pairs(self.command()))

    def environment(self) -> "list[tuple[str, str]]":
        """What the artefact passes and sets. SECURITY: a variable that a secret fills or is read from never passes."""
        present = {name: value for name, value in os.environ.items() if name not in self.artefact.withheld}
        return environment(self.artefact.environment, present)


def too_few_files() -> HostError:
    """The error where the limit on open files ended a run before its command."""
    hint = f"allow at least {LEAST_FILES} open files (`ulimit -n`)"
    return HostError("this process may not open as many files as a run needs", hint=hint)


def block_signals() -> None:
    """Hold back what `supervise.wait_for_signals` will deliver, but for what whoever started us ignores (nohup(1))."""
    import _signal

    wanted = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT, _signal.SIGUSR1, _signal.SIGUSR2)
    heard = [number for number in (*wanted, _signal.SIGWINCH) if _signal.getsignal(number) != _signal.SIG_IGN]
    _signal.pthread_sigmask(_signal.SIG_BLOCK, heard)
