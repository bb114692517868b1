"""Supervise a boundary that serves many commands: one thread, one poll loop, whatever the number of commands.

Theory of operation. inside/serve.py gives each command a keeper with a conversation of its own, so a command here is
what a whole run is in `supervise`: messages, a listener for refused calls, an outcome. Any thread begins commands and
signals them; only the thread in `serve` receives. `select.epoll` may be added to while another thread waits in it.

What belongs to the boundary stays with it: watches on files, limits on memory, disk and wall-clock time. When one of
these limits is reached, the whole session ends.
"""

import _signal
import _socket
import _thread
import errno
import os
import select
import time

from . import launch, memory, supervise
from .ending import Ending

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .supervise import Fields

FRESH, SHARED = "fresh", "shared"
# SECURITY: one at a time. Of several, the first may close a descriptor whose number a new listener gets, and the event
# of the old one would then be taken for the new one's end: its refusals would go unrecorded. The kernel keeps turns.
EVENTS_AT_ONCE = 1


class Command:
    """One command of a warm boundary.

    Once `ending` has come `outcome` says how; `error` is an error number where the command could not even be begun.
    """

    def __init__(self, number: int, kind: str) -> None:
        self.number = number
        self.kind = kind
        self.began = time.monotonic()
        ours, self.theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        ours.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
        ours.setblocking(False)
        self.boundary = launch.Boundary(-1, ours)
        self.keeper = self.pid = self.listener = -1
        self.outcome: supervise.Outcome | None = None
        self.error = 0
        self.events = 0
        self.denials: list[tuple[str, str]] = []
        self.ending = Ending()

    def send(self, number: int) -> None:
        """Have the keeper signal the command; nothing happens when it has ended. From any thread."""
        try:
            self.boundary.control.send(b"signal %d" % number, _socket.MSG_DONTWAIT)
        except OSError:
            pass  # it has ended, or is being ended by so many signals that one more makes no difference

    def abandon(self) -> None:
        """End it whatever state its keeper is in: a keeper whose conversation ends takes everything along."""
        try:
            self.boundary.control.shutdown(_socket.SHUT_WR)
        except OSError:
            pass  # it has ended

    def finish(self, outcome: supervise.Outcome) -> None:
        """Give every descriptor back and wake whoever waits."""
        self.boundary.control.close()
        self.theirs.close()
        if self.listener >= 0:
            os.close(self.listener)
        self.outcome = outcome
        self.ending.come()


class WarmSupervisor(supervise.Supervisor):
    """`fresh`: the private places inside that every command has for itself, for the sum of what they hold."""

    def __init__(self, *given: "object", fresh: "list[str]", **named: "object") -> None:
        super().__init__(*given, **named)  # type: ignore[arg-type]  # what `Supervisor` takes, as it takes it
        self.fresh = fresh
        self.commands: dict[int, Command] = {}  # by the descriptor of its conversation
        self.listeners: dict[int, Command | None] = {}
        self.next_limits = 0.0
        self.room = -1  # what serves the shared room, on this host
        self.stray = Command(0, SHARED)
        self.stray.finish(supervise.Outcome("exit", 0, 0.0))
        self.stray.ending.close()
        self.is_closed = False
        self.owner = -1  # the commands' kernel uid
        self.poller = select.epoll()
        self.opened = _thread.allocate_lock()
        self.opened.acquire()

    def go(self, rest: "Sequence[int]" = ()) -> None:
        """Let the first process serve, and callers begin commands."""
        with open(f"/proc/{self.init}/status", encoding="ascii", errors="replace") as file:
            self.owner = next(int(line.split()[1]) for line in file if line.startswith("Uid:"))
        super().go(rest)
        self.opened.release()

    def begin(self, command: Command, order: bytes, stdio: "tuple[int, int, int]") -> Command:
        """Start a command; raises ConnectionError where the boundary has ended. The caller keeps the streams."""
        told = launch.memory_file("order", order)
        control = command.boundary.control.fileno()
        try:
            for stream in stdio:
                self.hand_over(stream)
            with self.lock:
                if self.is_closed:
                    raise ConnectionError("the session has ended")
                # What belongs to no one command is limited anew by each one that the caller begins.
                self.events = self.stray.events = 0
                self.stray.denials.clear()
                self.commands[control] = command
                self.poller.register(control, select.EPOLLIN)
            launch.send_descriptors(
                self.boundary.control, command.kind.encode(), [told, command.theirs.fileno(), *stdio]
            )
        except BrokenPipeError:
            command.error = errno.EPIPE  # the boundary is ending; `serve` sees the end of this conversation as well
        finally:
            os.close(told)
            command.theirs.close()  # if it was not taken over, this is the end of the conversation
        return command

    def hand_over(self, stream: int) -> None:
        """As root: let the command open its pipes again by name, as `launch.give_pipes` does for a run."""
        if os.getuid() == 0 != self.owner:
            launch.give_pipes((stream,), self.owner)

    def serve(self, signals: int) -> supervise.Outcome:
        """Serve until the boundary has ended; every process in it is dead on return."""
        control = self.boundary.control.fileno()
        self.poller.register(control, select.EPOLLIN)
        for descriptor in self.watcher.descriptors if self.watcher else ():
            self.poller.register(descriptor, select.EPOLLIN)
        try:
            is_open = True
            while is_open:
                for descriptor, state in self.poller.poll(self.pace_ms() / 1000, EVENTS_AT_ONCE):
                    if descriptor == control:
                        is_open = bool(self.boundary.receive()[0])
                    elif descriptor in self.commands:
                        self.converse_with(self.commands[descriptor])
                    elif descriptor in self.listeners:
                        self.answer_of(descriptor, state)
                    else:
                        self.observe()
                if self.is_time():
                    self.watch_limits()
            self.observe()
            os.waitpid(self.boundary.monitor, 0)
        finally:
            self.end_all()
        return self.outcome or supervise.Outcome("killed", _signal.SIGKILL, self.started)

    def is_time(self) -> bool:
        """Whether to look at the limits: a message now and then is no reason to look more often."""
        now = time.monotonic()
        if now < self.next_limits:
            return False
        self.next_limits = now + supervise.QUICK_TICK_S
        return True

    def end_all(self) -> None:
        """Nobody is left to answer: every command has ended, and no other can be begun."""
        with self.lock:
            self.is_closed = True
            left = list(self.commands.values())
            self.commands.clear()
            self.poller.close()
        for descriptor, command in self.listeners.items():
            if command is None:  # the shared room's; each other one is its command's
                os.close(descriptor)
        for command in left:
            self.conclude(command, "killed", _signal.SIGKILL)

    def converse_with(self, command: Command) -> bool:
        """Take one message of a keeper, if there is one; its end without a word means that it was killed."""
        try:
            message, pid, descriptor = command.boundary.receive()
        except BlockingIOError:
            return False  # taken already, on behalf of a notification
        kind, _, number = message.decode(errors="replace").partition(" ")
        if kind == "ready":
            command.keeper = pid
        elif kind == "room":
            self.room = pid
            self.listen(descriptor, None)
        elif kind == "filter":
            command.pid = pid
            command.listener = descriptor
            self.listen(descriptor, command)
        elif kind != "stopped":
            if kind == "refused":
                command.error = int(number)
            self.forget(command)
            ended = kind in ("exit", "killed")
            self.conclude(command, kind if ended else "killed", int(number) if ended else _signal.SIGKILL)
        return True

    def conclude(self, command: Command, kind: str, number: int) -> None:
        """Say how a command ended, then record it: whoever waits need not wait for that."""
        taken = int((time.monotonic() - command.began) * 1000)
        command.finish(supervise.Outcome(kind, number, command.began))
        self.report("command", "ended", {"command": command.number, kind: number, "duration_ms": taken})

    def listen(self, descriptor: int, command: Command | None) -> None:
        """Serve a listener, of one command or (None) of the shared room."""
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)
            self.listeners[descriptor] = command
            self.poller.register(descriptor, select.EPOLLIN)

    def forget(self, command: Command) -> None:
        """Listen to a command no longer."""
        with self.lock:
            del self.commands[command.boundary.control.fileno()]
            self.poller.unregister(command.boundary.control.fileno())
        if self.listeners.pop(command.listener, None) is not None:
            self.poller.unregister(command.listener)

    def answer_of(self, descriptor: int, state: int) -> None:
        """Serve one notification of a command; a hang-up means that no process is left that could send one."""
        own = self.listeners[descriptor]
        if not state & select.EPOLLIN:
            self.poller.unregister(descriptor)
            del self.listeners[descriptor]
            os.close(descriptor)
            if own:
                own.listener = -1
            return

        def emit(kind: str, code: str, fields: "Fields") -> None:
            command = own or self.sender(int(str(fields["pid"])))
            if command is not None:
                self.emit_of(command, kind, code, fields)

        self.reply(descriptor, own.keeper if own else self.room, emit)

    def sender(self, pid: int) -> Command | None:
        """Which command of the shared room `pid` belongs to; `stray` for what has outlived one, None for a keeper.

        A keeper that signals a command which has just ended reaches for nothing.
        """
        shared = [command for command in list(self.commands.values()) if command.kind == SHARED]
        for command in shared:  # it said who it is before it could do anything, but that may not have been read yet
            while command.pid < 0 and command.outcome is None and self.converse_with(command):
                continue
        known = {command.pid: command for command in shared}
        if pid in [command.keeper for command in shared]:
            return None
        while pid > 1 and pid != self.room:
            if pid in known:
                return known[pid]
            pid = parent(pid)
        return self.stray

    def emit_of(self, command: Command, kind: str, code: str, fields: "Fields") -> None:
        """Report an event of one command, up to its limit; the last one says that there were more."""
        command.events += 1
        if command.events <= supervise.EVENT_LIMIT:
            command.denials.append((code, str(fields.get("target") or fields.get("call") or "")))
            self.report(kind, code, {**fields, "command": command.number})
        elif command.events == supervise.EVENT_LIMIT + 1:
            self.report("limit", "events", {"limit": supervise.EVENT_LIMIT, "command": command.number})

    def send(self, number: int) -> None:
        """Signal every command; SIGKILL ends the boundary. From any thread."""
        if number == _signal.SIGKILL and self.handle >= 0:
            _signal.pidfd_send_signal(self.handle, number)
        with self.lock:
            running = list(self.commands.values())
        for command in running:
            command.send(number)

    def end(self) -> None:
        """End the session: without its supervisor the first process ends everything. From any thread."""
        self.outcome = self.outcome or supervise.Outcome("exit", 0, self.started)
        try:
            self.boundary.control.shutdown(_socket.SHUT_WR)
        except OSError:
            pass  # it has ended

    def pace_ms(self) -> int:
        """A boundary in which nothing runs has no limits to be watched."""
        if self.commands or self.room >= 0 or self.kill_at is not None:
            return super().pace_ms()
        return -1000 if not self.artefact.wall_time_s else 1000

    def too_much_memory(self, root: str) -> bool:
        """As for one command, with the private places of every one that runs."""
        limit = self.artefact.memory_bytes
        kept = sum(memory.tmpfs_bytes(f"/proc/{pid}/root", self.fresh) for pid in self.keepers())
        mounts = self.artefact.tmpfs
        if not limit or memory.resident_bytes(root, mounts) + kept <= limit:
            return limit > 0 and self.hides_memory(root)
        return memory.used_bytes(root, mounts) + kept > limit

    def keepers(self) -> "list[int]":
        """One process of each room in use, on this host."""
        with self.lock:
            running = [command for command in self.commands.values() if command.keeper >= 0]
        shared = [self.room] if self.room >= 0 else []
        return shared + [command.keeper for command in running if command.kind == FRESH]


def parent(pid: int) -> int:
    """The parent of a process; -1 once it has gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return -1
