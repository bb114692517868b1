"""Supervise a boundary that serves many commands: one thread, one poll loop, whatever the number of commands.

Theory of operation. inside/serve.py gives each command a keeper with a conversation of its own, so a command here is
what a whole run is in `supervise`: messages, a listener for refused calls, an outcome. Any thread begins commands and
signals them; only the thread in `serve` receives. `select.epoll` may be added to while another thread waits in it.

A command of the shared room may be *held*: then whoever began it hears it out in a thread of its own, without a
hand-over to the one in `serve`, which costs more than the command. Its end is recorded with the next one's beginning,
or by the thread in `serve` some milliseconds later. Nobody but its holder closes a held command's conversation. The
kernel tells the holder of the end where it can (`command.wait_status`), else the room does.

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
from .command import FRESH, ROOM, SHARED, Command, Room, receive, whose

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from collections.abc import Callable

    from .supervise import Fields

# SECURITY: one at a time. Of several, the first may close a descriptor whose number a new listener gets, and the event
# of the old one would then be taken for the new one's end: its refusals would go unrecorded. The kernel keeps turns.
EVENTS_AT_ONCE = 1
FLUSHED_AFTER_S = 1.0  # for so long after a held command's beginning its end is looked for at every quick tick


class WarmSupervisor(supervise.Supervisor):
    """`fresh`: the private places inside that every command has for itself, for the sum of what they hold."""

    def __init__(self, *given: "object", fresh: "list[str]", **named: "object") -> None:
        super().__init__(*given, **named)  # type: ignore[arg-type]  # what `Supervisor` takes, as it takes it
        self.fresh = fresh
        self.commands: dict[int, Command] = {}  # by the descriptor of its conversation
        self.listeners: dict[int, Command | None] = {}
        self.next_limits = 0.0
        self.room: Room | None = None
        self.opening = _thread.allocate_lock()
        self.stray = Command(0, SHARED)
        self.stray.finish(supervise.Outcome("exit", 0, 0.0))
        self.stray.ending.close()
        self.is_closed = False
        self.owner = -1  # the commands' kernel uid
        self.poller = select.epoll()
        self.awake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.poller.register(self.awake, select.EPOLLIN)
        # Held by whoever answers a refused call until that is recorded: nobody learns of a command's end before.
        self.answering = _thread.RLock()
        self.retired: list[Command] = []  # to be closed when there is time
        self.held_at = 0.0  # when the last command was begun that is held
        # What may be recorded with the next record, or when `flush` is called; set by whoever keeps such a record.
        self.defer: Callable[[str, str, supervise.Fields], None] = self.report
        self.flush: Callable[[], None] = lambda: None
        self.opened = _thread.allocate_lock()
        self.opened.acquire()

    def go(self) -> None:
        """Let the first process serve, and callers begin commands."""
        with open(f"/proc/{self.init}/status", encoding="ascii", errors="replace") as file:
            self.owner = next(int(line.split()[1]) for line in file if line.startswith("Uid:"))
        super().go()
        self.opened.release()

    def begin(self, command: Command, order: bytes, stdio: "tuple[int, ...]", record: "Callable[[], None]") -> Command:
        """Start a command once `record` has returned; the caller keeps the streams.

        Raises ConnectionError where the boundary has ended, and what `record` raises.
        """
        try:
            self.add(command)
            if stdio:
                self.hand_over(stdio)
                while command.streams:
                    os.close(command.streams.pop())
            record()
            try:
                if command.kind == SHARED:
                    command.become(order, stdio)
                else:
                    command.ask(self.boundary.control, order, stdio)
            except BrokenPipeError:
                command.error = errno.EPIPE  # the boundary is ending, and so is this conversation
            if not command.held:
                self.attend_to(command)
        except BaseException:
            self.forget(command)
            self.let_go(command)
            command.finish(supervise.Outcome("killed", _signal.SIGKILL, command.began))
            raise
        finally:
            command.hand_over()
        return command

    def add(self, command: Command) -> None:
        """Count it among those that run; raise ConnectionError where the boundary has ended."""
        with self.lock:
            if self.is_closed:
                raise ConnectionError("the session has ended")
            # What belongs to no one command is limited anew by each one that the caller begins.
            self.events = self.stray.events = 0
            self.stray.denials.clear()
            self.commands[command.control.fileno()] = command
            command.began = time.monotonic()
            if command.held:
                self.held_at = command.began

    def attend_to(self, command: Command) -> None:
        """Let the thread in `serve` hear a command out, from now on."""
        control = command.control.fileno()
        with self.lock:
            if not self.is_closed and self.commands.get(control) is command:
                self.poller.register(control, select.EPOLLIN)
                command.is_attended = True

    def spare(self, order: "Callable[[], bytes]") -> Command:
        """Who stands by in the shared room, which is opened with `order` where there is none.

        Raises ConnectionError where the boundary has ended, another OSError where nobody can be had.
        """
        came = time.monotonic()
        with self.opening:
            if self.room:
                try:
                    return self.room.spare(came)
                except ConnectionError:  # it was killed for its memory, say
                    self.room.close()
                    self.room = None
            self.room = self.opened_room(order())
            with self.lock:
                if not self.is_closed:
                    os.eventfd_write(self.awake, 1)  # limits of the room are to be watched from now on
            return self.room.spare()

    def look_ahead(self) -> None:
        """Take note of who stands by next, and give back what is done with, while there is time."""
        self.tidy()
        if self.opening.acquire(blocking=False):
            try:
                if self.room:
                    self.room.look_ahead()
            finally:
                self.opening.release()

    def tidy(self) -> None:
        """Give back what ended commands have left."""
        try:
            while self.retired:
                self.retired.pop().close()
        except IndexError:
            pass  # another thread does so, too

    def opened_room(self, order: bytes) -> Room:
        """A new room."""
        request = Command(0, ROOM)
        try:
            request.ask(self.boundary.control, order, ())
            request.hand_over()
            poller = select.poll()
            poller.register(request.control.fileno(), select.POLLIN)
            poller.poll()
            message, pid, _, given = receive(request.control)
        finally:
            request.close()
        if message != b"room":
            number = int(message.rpartition(b" ")[2] or errno.EPIPE)
            raise OSError(number, os.strerror(number))
        self.listen(given[1] if given[1:] else -1, None)
        return Room(given[0], pid)

    def hand_over(self, stdio: "tuple[int, ...]") -> None:
        """As root: let the command open its pipes again by name, as `launch.give_pipes` does for a run."""
        if os.getuid() == 0 != self.owner:
            launch.give_pipes(stdio, self.owner)

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
                    elif descriptor == self.awake:
                        os.eventfd_read(descriptor)
                    else:
                        self.observe()
                self.flush()
                self.tidy()
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
            self.poller.close()
            os.close(self.awake)
        for descriptor, command in self.listeners.items():
            if command is None:  # the shared room's; each other one is its command's
                os.close(descriptor)
        for command in left:
            self.conclude(command, "killed", _signal.SIGKILL)
        with self.opening:
            if self.room:
                self.room.close()
                self.room = None
        self.tidy()
        self.flush()

    def converse_with(self, command: Command) -> bool:
        """Take one message on a command, if there is one; its end without a word means that it was killed."""
        heard = command.receive()
        if heard is None:
            return False  # taken already, on behalf of a notification
        message, pid, _, given = heard
        kind, _, number = message.decode(errors="replace").partition(" ")
        if kind == "ready":
            command.keeper = pid
        elif kind == "filter":
            command.pid = pid
            command.listener = given[0] if given else -1
            self.listen(command.listener, command)
        elif kind != "stopped":
            if kind == "refused":
                command.error = int(number)
            ended = kind in ("exit", "killed")
            self.conclude(command, kind if ended else "killed", int(number) if ended else _signal.SIGKILL)
        return True

    def hear_out(self, command: Command) -> bool:
        """For whoever holds a command: take what there is to be heard; whether it has ended."""
        code = command.exit_code()
        if code is not None:
            self.conclude(command, "exit" if code >= 0 else "killed", abs(code))
        while command.outcome is None and self.converse_with(command):
            continue
        return command.outcome is not None

    def hold(self, command: Command) -> bool:
        """Hear a command out in the caller's own thread from now on; False where it has ended, or somebody does."""
        with self.lock, command.hearing:
            if command.held or command.outcome:
                return False
            if command.is_attended and not self.is_closed:
                self.poller.unregister(command.control.fileno())
            command.is_attended, command.held = False, True
            return True

    def let_go(self, command: Command) -> None:
        """For whoever holds a command: hear it out no longer; what runs on is ended with the session at the latest."""
        with command.hearing:
            command.held = False
        if command.outcome:
            self.retired.append(command)
            if self.is_closed:
                self.tidy()
        else:
            self.attend_to(command)

    def conclude(self, command: Command, kind: str, number: int) -> None:
        """Say how a command ended, then record it: whoever waits need not wait for that."""
        taken = int((time.monotonic() - command.began) * 1000)
        with self.answering:
            self.forget(command)
            is_news = command.finish(supervise.Outcome(kind, number, command.began))
        if is_news:
            fields: supervise.Fields = {"command": command.number, kind: number, "duration_ms": taken}
            (self.defer if command.held else self.report)("command", "ended", fields)

    def listen(self, descriptor: int, command: Command | None) -> None:
        """Serve a listener, of one command or (None) of the shared room."""
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)
            self.listeners[descriptor] = command
            self.poller.register(descriptor, select.EPOLLIN)

    def forget(self, command: Command) -> None:
        """Listen to a command no longer."""
        with self.lock:
            control = command.control.fileno()
            if self.commands.get(control) is not command:
                return
            del self.commands[control]
            if self.is_closed:
                return
            if command.is_attended:
                self.poller.unregister(control)
            command.is_attended = False
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

        with self.answering:
            self.reply(descriptor, own.keeper if own else self.room.pid if self.room else self.init, emit)

    def sender(self, pid: int) -> Command | None:
        """Which command of the shared room `pid` belongs to; `stray` for what has outlived one, None for the room's."""
        room = self.room.pid if self.room else -1
        known = {command.pid: command for command in list(self.commands.values()) if command.kind == SHARED}
        # What serves the room and signals a command that has just ended reaches for nothing.
        return None if pid == room else whose(pid, known, room) or self.stray

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
        if time.monotonic() - self.held_at < FLUSHED_AFTER_S:
            return int(supervise.QUICK_TICK_S * 1000)
        if self.commands or self.room or self.kill_at is not None:
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
        shared = [self.room.pid] if self.room else []
        return shared + [command.keeper for command in running if command.kind == FRESH]
