"""The room that commands share: what serves it, and the processes that stand by in it to become commands.

Conversation. The supervisor asks the first process for a room (serve.py), and gets with `room` the end of a pair and
the listener for all of its commands. On that pair it says `more` where it wants somebody to stand by. Whoever does says
`spare` there, with four descriptors: the end of its own pair, where to write its standard input, and where to read its
output and its errors; or `refused E` says that no process could be had. A spare becomes a command by one message on its
pair, with the rest of the order (`argv`, and where they differ `env`, `cwd`, narrower `limit`): as text, or as a NUL
with a file that holds it; three descriptors more are streams to take instead of the pipes. Then the pair is used as
that of any command: `stopped`, `exit` and `killed` come, `signal N` goes, and its end ends the command. The kernel may
tell of that end first (by a pidfd, as soon as it was collected): then the pair ends before the room has told anything.

Natively two processes stand by unasked, so that a command takes no fork; here, one is made when it is asked for.

Power. All of this happens after everything was given up that a command does not have: capabilities, the boundary's user
namespace, system calls. A spare enters its Landlock domain before it is told anything. Commands of the room cannot
reach a spare or what serves it: both are outside of their domains, and not dumpable.
"""

import _signal
import _socket
import os
import select

from . import init, landlock
from .order import Order, read_all, receive

MEMBERS_AT_MOST = 256
REST_BYTES = 1 << 15
STREAMS = 3


class Member(init.Supervision):
    """A process that stands by, or has become a command: `command` is its pid, `control` our end of its pair."""

    def __init__(self, pid: int, control: "_socket.socket") -> None:
        super().__init__(pid, control, own_group=True)
        self.is_taken = False

    def obey(self) -> bool:
        """Carry out one message; at the end of the conversation end the process group."""
        try:
            if super().obey():
                return True
        except ConnectionResetError:
            pass  # it ended with a message of ours unread
        self.send(_signal.SIGKILL, self.target)
        return False

    def say(self, text: bytes) -> None:
        """Tell whoever waits for the command."""
        try:
            self.control.send(text)
        except OSError:
            pass  # nobody does any more


class Room:
    """Serves the room; `order` is what all of its commands were told alike."""

    def __init__(self, order: Order, requests: "_socket.socket") -> None:
        self.order = order
        self.requests = requests
        self.back, self.taken = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self.members: dict[int, Member] = {}

    def serve(self) -> int:
        """Make commands of those that stand by until nobody is left to ask; return the status to leave with."""
        wakeup, notify = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        _signal.signal(_signal.SIGCHLD, lambda number, frame: None)
        # Our kill(2) waits for whoever is told of it by the filter, and Python does not begin it anew.
        _signal.siginterrupt(_signal.SIGCHLD, False)
        _signal.set_wakeup_fd(notify)
        while True:
            heard = {one.control.fileno(): one for one in self.members.values() if one.is_taken}
            poller = select.poll()
            for descriptor in (wakeup, self.requests.fileno(), self.back.fileno(), *heard):
                if descriptor >= 0:
                    poller.register(descriptor, select.POLLIN)
            for descriptor, _ in poller.poll(self.remaining_ms()):
                if descriptor == wakeup:
                    os.read(wakeup, 512)
                elif descriptor == self.requests.fileno():
                    if not self.requests.recv(16):
                        return 137
                    self.replenish()
                elif descriptor in heard and not heard[descriptor].obey():
                    heard[descriptor].control.close()
            self.end_late_ones()
            self.register_taken()
            self.reap()

    def remaining_ms(self) -> int | None:
        """Milliseconds until a command that was asked to end is killed; None if none was."""
        return min((ms for one in self.members.values() if (ms := one.remaining_ms()) is not None), default=None)

    def end_late_ones(self) -> None:
        """Kill what was asked to end and has not."""
        for one in self.members.values():
            if one.remaining_ms() == 0:
                one.send(_signal.SIGKILL, one.command)

    def register_taken(self) -> None:
        """What stood by is a command now."""
        try:
            while True:
                self.members[int(self.back.recv(16, _socket.MSG_DONTWAIT))].is_taken = True
        except BlockingIOError:
            return

    def reap(self) -> None:
        """Collect commands, and what outlived one."""
        try:
            while (found := os.waitpid(-1, os.WNOHANG | os.WUNTRACED))[0]:
                self.register_taken()
                if found[0] in self.members:
                    self.conclude(*found)
        except ChildProcessError:
            return

    def conclude(self, pid: int, status: int) -> None:
        """Say how a command stopped or ended."""
        one = self.members[pid]
        if os.WIFSTOPPED(status):
            one.say(b"stopped %d" % os.WSTOPSIG(status))
            return
        kind, number = (b"exit", os.WEXITSTATUS(status)) if os.WIFEXITED(status) else (b"killed", os.WTERMSIG(status))
        if one.is_taken:
            one.say(b"%s %d" % (kind, number))
        else:
            self.requests.send(b"refused 11")  # before it could say that it stands by, or since
        one.control.close()
        del self.members[pid]

    def replenish(self) -> None:
        """Have somebody stand by; say so where that cannot be."""
        try:
            if len(self.members) >= MEMBERS_AT_MOST:
                raise BlockingIOError(11, "")
            self.add_spare()
        except OSError as error:
            self.requests.send(b"refused %d" % (error.errno or 0))

    def add_spare(self) -> None:
        """Fork a process that stands by; raise OSError where none can be had."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
        pid = os.fork()
        if pid == 0:
            try:
                self.stand_by(ours.fileno(), theirs.fileno())
            except BaseException as error:  # a forked copy must never return into the loop
                init.say(f"cannot prepare the command: {error}".encode(errors="replace"))
            os._exit(125)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        theirs.close()
        self.members[pid] = Member(pid, ours)

    def stand_by(self, ours: int, theirs: int) -> None:
        """Wait for an order, confined already, and carry it out; returns only by raising."""
        os.setpgid(0, 0)  # before anybody can signal it
        init.reset_signals()
        self.announce(theirs)
        os.dup2(ours, 3)
        os.dup2(self.taken.fileno(), 4)
        os.closerange(5, (1 << 31) - 1)  # other commands' conversations among them
        order = self.order
        init.set_limits(order)
        # SECURITY: before the streams are known: one that is no pipe cannot be opened again by name.
        landlock.restrict(order.scopes, files=order.single["landlock_files"] == b"1")
        os.chdir(order.single["cwd"])
        control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, 3)
        text, given = receive(control, REST_BYTES, 1 + STREAMS)
        if not text:
            os._exit(137)
        os.write(4, b"%d" % os.getpid())
        order.complete(read_all(given.pop(0)) if text == b"\0" else text)
        for number, stream in enumerate(given):
            os.dup2(stream, number)
        init.set_limits(order)
        os.chdir(order.single["cwd"])
        os.closerange(3, (1 << 31) - 1)
        init.execute(order.argv, order.environment)

    def announce(self, theirs: int) -> None:
        """Say that somebody stands by; the host's ends are nobody's here from then on."""
        given = [theirs]
        for number in range(STREAMS):
            read, write = os.pipe()
            inner, outer = (read, write) if number == 0 else (write, read)
            os.dup2(inner, number)
            given.append(outer)
        rights = b"".join(descriptor.to_bytes(4, "little") for descriptor in given)
        self.requests.sendmsg([b"spare"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
