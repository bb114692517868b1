"""Stay beside a running boundary: forward signals, answer notifications, watch limits, learn how it ended.

One thread serves everything from one poll loop; a second one only waits for signals, because the loop must
know whether a signal came from the terminal (`si_code` SI_KERNEL), which the command received as well, or was
sent to us alone. Imported after the fork, while bubblewrap builds the view on the other processor.
"""

import _signal
import _thread
import os
import select
import time

from . import disk, launch, memory, notify, watch

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .artefact import Artefact
    from .launch import Boundary

    Fields = Mapping[str, str | int | bool | list[str] | None]
    Report = Callable[[str, str, Fields], None]

FORWARDED = (
    _signal.SIGINT,
    _signal.SIGTERM,
    _signal.SIGHUP,
    _signal.SIGQUIT,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
    _signal.SIGWINCH,
)
SI_KERNEL = 0x80  # <asm-generic/siginfo.h>
TICK_S = 0.1
QUICK_TICK_S = 0.01
GRACE_S = 5.0
EVENT_LIMIT = 1000  # per run: a flood must not fill the disk with records


class Outcome:
    """How a run ended: `kind` is `exit` or `killed`, `number` the status or signal; `started` in monotonic seconds."""

    __slots__ = ("kind", "number", "started")

    def __init__(self, kind: str, number: int, started: float) -> None:
        self.kind = kind
        self.number = number
        self.started = started

    @property
    def status(self) -> int:
        """The exit status to pass on: the command's own, or 128 + signal."""
        return self.number if self.kind == "exit" else 128 + self.number


class Supervisor:
    """One run from `ready` to its end. `report(kind, code, fields)` receives events in order."""

    def __init__(
        self, boundary: "Boundary", artefact: "Artefact", report: "Report", *, group: str, uppers: "list[str]"
    ) -> None:
        self.boundary = boundary
        self.artefact = artefact
        self.report = report
        self.group = group
        self.init = self.command = self.listener = self.handle = -1
        self.watcher: watch.Watcher | None = None
        self.outcome: Outcome | None = None
        self.events = 0
        self.machine = os.uname().machine
        self.started = time.monotonic()
        self.kill_at: float | None = None
        self.is_told = False  # by the first process, that the command and all others have ended
        self.is_told_what = False  # of a late order: what the command is
        self.waiting: list[int] | None = []  # signals sent before the command was started; None from then on
        self.lock = _thread.allocate_lock()
        self.looking = _thread.allocate_lock()
        self.next_look = 0.0
        self.reached: set[str] = set()
        self.usage = disk.Usage(uppers, artefact.workspace_bytes)
        self.shared_at_first = memory.shared_bytes() if artefact.memory_bytes else 0
        # Files, each with a code, whose opening is told to `tripped`, as that of decoys is.
        self.tripwires: list[tuple[str, str]] = []
        self.tripped: Callable[[str, str], None] = lambda code, path: None
        # Of a run with egress: told of every connection; what an address stands for, empty for one that is captured.
        self.connecting: Callable[[int, str], None] = lambda pid, target: None
        self.outward: Callable[[str], str] = lambda target: target

    def wait_for_ready(self) -> bool:
        """Whether the view was built; False when bubblewrap ended instead."""
        message, pid, descriptor = self.boundary.receive()
        if message == b"filter":  # of a late order, whose command has a process already
            self.command, self.listener = pid, descriptor
            message, pid, _ = self.boundary.receive()
        if message != b"ready":
            return False
        self.init = pid
        self.handle = os.pidfd_open(pid)
        known = {target for target, *_ in self.artefact.watches}
        watches = list(self.artefact.watches)
        watches += [(path, "reach", code, []) for path, code in self.tripwires if path not in known]
        self.watcher = watch.Watcher(f"/proc/{pid}/root", watches)
        return True

    def renew(self, uppers: "list[str]") -> None:
        """Count from now: a boundary that has waited becomes a run, with `uppers` for its layers."""
        self.usage = disk.Usage(uppers, self.artefact.workspace_bytes)
        self.shared_at_first = memory.shared_bytes() if self.artefact.memory_bytes else 0

    def tell(self, rest: int, stdio: "Sequence[int]") -> None:
        """Give the command's process what a late order lacks, after which it waits for `go`; `rest` is closed."""
        try:
            launch.send_descriptors(self.boundary.control, b"rest", [rest, *stdio])
        finally:
            os.close(rest)
        self.is_told_what = True

    def go(self) -> None:
        """Let the first process start the command."""
        try:
            self.boundary.control.send(b"go")
        except ConnectionError:
            if not self.is_told_what:
                raise  # else it could not be prepared, has said why, and that is read next
        self.started = time.monotonic()
        self.next_look = self.started + TICK_S
        with self.lock:
            early, self.waiting = self.waiting or [], None
        for number in early:
            self.send(number)

    def serve(self, signals: int) -> Outcome:
        """Serve until the boundary has ended; every process in it but for the first one is dead on return.

        Whoever calls it calls `settle` and `close` afterwards, however it ends.

        `signals` is the descriptor of `wait_for_signals`, -1 to leave this process's signals alone.
        """
        poller = select.poll()
        control = self.boundary.control.fileno()
        poller.register(control, select.POLLIN)
        for descriptor in (signals, self.listener):
            if descriptor >= 0:
                poller.register(descriptor, select.POLLIN)
        for descriptor in self.watcher.descriptors if self.watcher else ():
            poller.register(descriptor, select.POLLIN)
        open_end = True
        while open_end and not self.is_told:
            for descriptor, state in poller.poll(self.pace_ms()):
                if descriptor == control:
                    open_end = self.converse(poller)
                elif descriptor == signals:
                    self.forward(signals)
                elif descriptor == self.listener:
                    self.answer(poller, state)
                else:
                    self.observe()
            if not self.is_told:
                self.watch_limits()
        if not self.is_told:
            self.settle()  # SECURITY: a first process that was killed has not waited for the others
        self.observe()
        if self.kill_at is None and self.usage.exceeded():  # faster than the last look
            self.report("limit", "workspace-size", {"limit": self.artefact.workspace_bytes})
        return self.outcome or Outcome("killed", _signal.SIGKILL, self.started)

    def settle(self) -> None:
        """Wait for the end of the first process, which is after everybody else's, and that of its namespaces."""
        if self.handle >= 0:  # else it has come, and we have closed
            ended = select.poll()
            ended.register(self.handle, select.POLLIN)
            ended.poll()

    def close(self) -> None:
        """Give every descriptor back; a second call does nothing."""
        self.end_watch()
        given, self.listener, self.handle = (self.listener, self.handle), -1, -1
        for descriptor in given:
            if descriptor >= 0:
                os.close(descriptor)

    def end_watch(self) -> None:
        """Nothing more is observed."""
        with self.looking:
            if self.watcher:
                self.watcher.close()
                self.watcher = None

    def converse(self, poller: "select.poll") -> bool:
        """Take one message of the first process; False at its end."""
        message, pid, descriptor = self.boundary.receive()
        if message == b"filter":
            self.command = pid
            if descriptor >= 0:
                self.listener = descriptor
                os.set_inheritable(descriptor, False)
                poller.register(descriptor, select.POLLIN)
        elif message.startswith(b"stopped ") and self.group == "foreground":
            self.stop_with_command()
        elif message.startswith((b"exit ", b"killed ")):
            self.is_told = True
            kind, _, number = message.decode().partition(" ")
            self.outcome = self.outcome or Outcome(kind, int(number), self.started)
        return bool(message)

    def stop_with_command(self) -> None:
        """Ctrl-Z stopped the command: stop too, as the shell that started us expects; on `fg` hand the terminal back.

        Only with a terminal in front of us: elsewhere a command could stop its own supervision this way.
        """
        os.kill(os.getpid(), _signal.SIGSTOP)
        # Continued: in the foreground only if the shell has given the terminal to our group.
        try:
            if os.tcgetpgrp(0) == os.getpgrp():
                os.tcsetpgrp(0, self.command)
        except OSError:
            pass  # the terminal is gone; a hang-up follows
        self.send(_signal.SIGCONT)

    def forward(self, signals: int) -> None:
        """Pass on what was sent to us alone."""
        number, code = os.read(signals, 2)
        if self.group == "shared" and code == SI_KERNEL & 0xFF and number != _signal.SIGHUP:
            return  # the terminal sent it to the whole group; a hang-up it tells only the session's leader
        self.send(number)

    def send(self, number: int) -> None:
        """Ask the first process to signal the command; it escalates by itself after SIGTERM and SIGHUP.

        May be called from any thread and at any time.
        """
        with self.lock:
            if self.waiting is not None:
                self.waiting.append(number)
                return
        try:
            self.boundary.control.send(b"signal %d" % number)
        except OSError:
            pass  # it has ended; the loop will see that

    def answer(self, poller: "select.poll", state: int) -> None:
        """Serve one notification; a hang-up means that no process is left that could send one.

        SECURITY: what was opened before is seen first, so that no connection begins by rules that its process has lost.
        """
        if not state & select.POLLIN:
            poller.unregister(self.listener)
            return
        self.reply(self.listener, self.init, self.emit)

    def reply(self, listener: int, init: int, emit: "Report") -> None:
        """Answer the call that waits at `listener`; its sender's pid 1 is `init` on this host."""
        self.observe()
        found = notify.serve(
            listener,
            self.artefact.profile,
            self.machine,
            is_inside=lambda number: notify.was_given_out(init, number),
            connecting=self.connecting,
        )
        if found is None:
            return
        target = self.outward(found.target) if found.target else ""
        if found.target and not target:
            return  # it arrives at the proxy
        name = program(found.pid)
        if found.target == notify.LOOKUP and self.is_repeated(f"{notify.LOOKUP} {name}"):
            return
        emit("denial", found.code, {"call": found.name, "target": target, "pid": found.pid, "program": name})

    def is_repeated(self, what: str) -> bool:
        """Whether this was seen before in this run."""
        seen = what in self.reached
        self.reached.add(what)
        return seen

    def observe(self) -> None:
        """Act on everything that the watches have seen until now; from any thread, and nobody overtakes another."""
        with self.looking:
            for code, path in self.watcher.read() if self.watcher else ():
                self.act_on(code, path)

    def act_on(self, code: str, path: str) -> None:
        """Record one thing that a watch saw."""
        if code == "home-contained":
            if code + path not in self.reached:  # one write is several events
                self.reached.add(code + path)
                self.emit("contained", code, {"target": path})
            return
        if code != "secret-read":
            self.emit("denial", code, {"target": path})
        self.tripped(code, path)

    def emit(self, kind: str, code: str, fields: "Fields") -> None:
        """Report an event, up to the limit per run; the last one says that there were more."""
        self.events += 1
        if self.events < EVENT_LIMIT:
            self.report(kind, code, fields)
        elif self.events == EVENT_LIMIT:
            self.report("limit", "events", {"limit": EVENT_LIMIT})

    def watch_limits(self) -> None:
        """Every limit that no kernel mechanism enforces or reports, once per tick."""
        now = time.monotonic()
        if self.kill_at is not None:
            if now >= self.kill_at:
                self.send(_signal.SIGKILL)
            return
        if self.usage.exceeded(f"/proc/{self.init}/root"):
            self.stop("workspace-size", self.artefact.workspace_bytes, _signal.SIGKILL)
            return
        if now < self.next_look:
            return
        self.next_look = now + TICK_S
        artefact = self.artefact
        root = f"/proc/{self.init}/root"
        if artefact.wall_time_s and now - self.started >= artefact.wall_time_s:
            self.stop("wall-time", artefact.wall_time_s, _signal.SIGTERM)
        elif self.too_much_memory(root):
            self.stop("memory", artefact.memory_bytes, _signal.SIGKILL)
        else:
            self.notice(root)

    def pace_ms(self) -> int:
        """Until the next look: a disk takes 10 MB in 10 ms, so look often at first and while it fills."""
        early = time.monotonic() - self.started < 1
        return int((QUICK_TICK_S if early or self.usage.filling else TICK_S) * 1000)

    def too_much_memory(self, root: str) -> bool:
        """Whether the sandbox uses more than its limit; the exact count is taken only when the cheap one says so."""
        limit, mounts = self.artefact.memory_bytes, self.artefact.tmpfs
        if not limit or memory.resident_bytes(root, mounts) <= limit:
            return limit > 0 and self.hides_memory(root)
        return memory.used_bytes(root, mounts) > limit

    def hides_memory(self, root: str) -> bool:
        """Whether more than the limit may be held by descriptors that nobody has received yet; see memory.py."""
        grown = memory.shared_bytes() - self.shared_at_first
        return grown > self.artefact.memory_bytes and memory.are_descriptors_on_their_way(root)

    def notice(self, root: str) -> None:
        """Record, once each, limits that the kernel enforces without telling anybody."""
        processes = self.artefact.processes
        found = [("tmpfs-size", place) for place in memory.full_mounts(root, self.artefact.tmpfs)]
        if processes and memory.tasks(root) >= processes * 95 // 100:
            found.append(("processes", str(processes)))
        for code, target in found:
            if code + target not in self.reached:
                self.reached.add(code + target)
                self.report("limit", code, {"target": target})

    def stop(self, code: str, limit: int, number: int) -> None:
        """End the run because a limit was reached."""
        self.report("limit", code, {"limit": limit})
        self.kill_at = time.monotonic() + GRACE_S
        if number == _signal.SIGKILL:
            self.outcome = Outcome("killed", number, self.started)
            _signal.pidfd_send_signal(self.handle, number)
        else:
            self.send(number)


def program(pid: int) -> str:
    """The name of the program that `pid` runs, as the kernel knows it; empty once it has gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def wait_for_signals() -> int:
    """A descriptor that yields two bytes, number and si_code, for each signal sent to us; they are blocked already."""
    read, write = os.pipe()

    def serve() -> None:
        while True:
            found = _signal.sigwaitinfo(FORWARDED)
            os.write(write, bytes((found.si_signo, found.si_code & 0xFF)))

    _thread.start_new_thread(serve, ())
    return read
