"""One command of a warm boundary, as whoever begins it and whoever supervises it know it (sandbox/warm.py)."""

import _socket
import _thread
import errno
import fcntl
import os
import select
import time

from . import launch, supervise
from .ending import Ending

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from collections.abc import Sequence

FRESH, SHARED, ROOM = "fresh", "shared", "room"
STREAMS = 3
SO_PASSPIDFD, SCM_PIDFD = 76, 4  # <asm-generic/socket.h>, <linux/socket.h>; since Linux 6.5
# Who sent it, by number and by a descriptor of it, and descriptors.
SPACE = _socket.CMSG_SPACE(12) + _socket.CMSG_SPACE(4) + _socket.CMSG_SPACE(4 * (1 + STREAMS))
# ioctl_pidfd(2): struct pidfd_info begins with a mask of what is asked for or told, and ends with a wait status.
GET_INFO, EXITED, ASKED = 0xC040FF0B, 8, (8).to_bytes(64, "little")
TRIES, PAUSE_S = 40, 0.05  # where a user's descriptors on the way are too many: somebody else's may arrive
ASKED_AGAIN = 3  # for somebody who stands by
IN_VAIN_S = 1.0  # as long as that nobody tries once more what has failed while they waited for their turn
INLINE_BYTES = 30_000  # of an order that is sent as a message; inside there is room for 32 KiB


def wait_status(handle: int) -> int | None:
    """How a process has ended, as wait(2) says it; None where it has not, or the kernel is older than 6.15.

    It tells whoever has a descriptor of the process, as soon as its parent has collected it.
    """
    try:
        told = fcntl.ioctl(handle, GET_INFO, ASKED)
    except OSError:
        return None
    return int.from_bytes(told[60:], "little") if told[0] & EXITED else None


class Command:
    """One command of a warm boundary; `held` is explained in sandbox/warm.py.

    Once `outcome` is there it says how the command ended, and `ending` has come; `error` is an error number where the
    command could not even be begun. Of what stands by in the shared room for a command to be given (`Room`), `given` is
    our end of the conversation and of three pipes. It is held from the beginning.
    """

    def __init__(self, number: int, kind: str, given: "Sequence[int]" = ()) -> None:
        self.number = number
        self.kind = kind
        self.held = bool(given)
        self.began = time.monotonic()
        self.theirs: _socket.socket | None = None  # its end of the conversation, until it has it
        self.room: Room | None = None
        self.keeper = self.pid = -1
        self.handle = -1  # a descriptor of its process, where we have one
        self.streams = list(given[1:])
        if given:
            self.control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, given[0])
        else:
            self.control, self.theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
            self.control.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
        self.hearing = _thread.allocate_lock()
        self.listener = -1
        self.outcome: supervise.Outcome | None = None
        self.error = 0
        self.events = 0
        self.denials: list[tuple[str, str]] = []
        self.is_attended = False  # by the thread in `serve`
        self.ending = Ending(is_polled=not given)

    @property
    def telling(self) -> int:
        """What hangs up when its process has ended, where that also tells how; else -1."""
        return self.handle if self.room and self.room.handles_tell else -1

    def exit_code(self) -> int | None:
        """How its process has ended, -N for signal N; None where it has not, or only the room tells."""
        status = wait_status(self.handle) if self.handle >= 0 else None
        if status is None:
            return None
        if self.room:
            self.room.handles_tell = True
        return os.waitstatus_to_exitcode(status)

    def send(self, number: int) -> None:
        """Have the command signalled; nothing happens when it has ended. From any thread."""
        try:
            self.control.send(b"signal %d" % number, _socket.MSG_DONTWAIT)
        except OSError:
            pass  # it has ended, or is being ended by so many signals that one more makes no difference

    def ask(self, channel: "_socket.socket", order: bytes, stdio: "Sequence[int]") -> None:
        """Have the first process make it; raise OSError where nobody listens."""
        told = launch.memory_file("order", order)
        ends = [self.theirs.fileno()] if self.theirs else []
        try:
            send_patiently(channel, self.kind.encode(), [told, *ends, *stdio])
        finally:
            os.close(told)

    def become(self, rest: bytes, stdio: "Sequence[int]") -> None:
        """Turn what stands by into it; without `stdio` its streams are the pipes that came with that."""
        if len(rest) <= INLINE_BYTES:
            if stdio:
                send_patiently(self.control, rest, list(stdio))
            else:
                self.control.send(rest)
            return
        told = launch.memory_file("order", rest)
        try:
            send_patiently(self.control, b"\0", [told, *stdio])
        finally:
            os.close(told)

    def receive(self) -> "tuple[bytes, int, int, list[int]] | None":
        """The next message, its sender's pid on this host and descriptors; None where nothing is to be heard now.

        Empty at the end of the conversation. From any thread.
        """
        with self.hearing:
            if self.outcome:
                return None
            try:
                return receive(self.control)
            except BlockingIOError:
                return None
            except ConnectionResetError:
                # Told once when the other side ended with a message of ours unread; what it had sent is still there.
                return receive(self.control)

    def finish(self, outcome: supervise.Outcome) -> bool:
        """Say how it ended, unless that has been said; give every descriptor back, unless it is held."""
        with self.hearing:
            if self.outcome:
                return False
            self.outcome = outcome
            is_held = self.held
        if not is_held:
            self.close()
        self.ending.come()
        return True

    def show_ending(self) -> None:
        """Let others wait for the end of one that is held, too."""
        with self.hearing:
            self.ending = Ending()
        if self.outcome:
            self.ending.come()

    def hand_over(self) -> None:
        """Its end of the conversation is its own now: if it was not taken over, this is the end of it."""
        if self.theirs:
            self.theirs.close()
            self.theirs = None

    def close(self) -> None:
        """Give every descriptor back; what only stands by ends."""
        with self.hearing:
            self.control.close()
            given = (*self.streams, self.handle, self.listener)
            self.streams, self.handle, self.listener = [], -1, -1
        self.hand_over()
        for descriptor in given:
            if descriptor >= 0:
                os.close(descriptor)


class Room:
    """The shared room, seen from outside: it says who stands by for a command."""

    def __init__(self, requests: int, pid: int) -> None:
        self.requests = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, requests)
        try:
            self.requests.setsockopt(_socket.SOL_SOCKET, SO_PASSPIDFD, 1)
        except OSError:
            pass  # before Linux 6.5
        self.pid = pid
        self.next: Command | None = None
        self.handles_tell = False  # how a process has ended: known once the first has
        self.in_vain = (0.0, 0)  # when the last began who has asked for long and got nobody, and why

    def look_ahead(self) -> None:
        """Take note of who stands by next, if that is known by now."""
        try:
            self.next = self.next or self.take()
        except OSError:
            pass  # whoever needs one will be told why there is none

    def spare(self, came: "float | None" = None) -> Command:
        """Who stands by, for one thread at a time, which has waited for its turn since `came`.

        Raises ConnectionError where the room has ended, another OSError where nobody can be had: at once where another
        thread has asked in vain meanwhile, since the times of many would add up.
        """
        if self.next:
            found, self.next = self.next, None
            return found
        since, number = self.in_vain
        if came is not None and came < since:
            raise OSError(number, os.strerror(number))
        began = time.monotonic()
        try:
            return self.wait_for_spare()
        except OSError as error:
            if time.monotonic() - began > IN_VAIN_S:
                self.in_vain = (began, error.errno or errno.EAGAIN)
            raise

    def wait_for_spare(self) -> Command:
        """Ask for one."""
        poller = select.poll()
        poller.register(self.requests.fileno(), select.POLLIN)
        for left in range(ASKED_AGAIN, -1, -1):
            if not poller.poll(0):
                self.requests.send(b"more")
                poller.poll()
            try:
                return self.take()
            except BlockingIOError:  # also what is said where one that stood by was killed
                if not left:
                    break
                time.sleep(PAUSE_S)
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def take(self) -> Command:
        """The next one that says so."""
        message, pid, handle, given = receive(self.requests)
        if len(given) == STREAMS + 1:
            found = Command(0, SHARED, given)
            found.room, found.keeper, found.pid, found.handle = self, self.pid, pid, handle
            return found
        if handle >= 0:
            os.close(handle)
        if not message:
            raise ConnectionResetError
        raise OSError(int(message.rpartition(b" ")[2]), "nobody stands by")

    def close(self) -> None:
        """Ask no more; the room ends, and everything in it."""
        self.requests.close()
        if self.next:
            self.next.close()


def send_patiently(channel: "_socket.socket", data: bytes, descriptors: "list[int]") -> None:
    """Send one packet with descriptors; while too many of this user's are on the way, wait for some to arrive."""
    for left in range(TRIES, -1, -1):
        try:
            launch.send_descriptors(channel, data, descriptors)
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS or not left:
                raise
            time.sleep(PAUSE_S)
        else:
            return


def receive(control: "_socket.socket") -> "tuple[bytes, int, int, list[int]]":
    """One message, its sender's pid, a descriptor of that where asked for (else -1), and those that came along."""
    data, ancillary, _, _ = control.recvmsg(64, SPACE, launch.MSG_CMSG_CLOEXEC | _socket.MSG_DONTWAIT)
    pid, handle, given = -1, -1, b""
    for _, kind, content in ancillary:
        if kind == launch.SCM_CREDENTIALS:
            pid = int.from_bytes(content[:4], "little")
        elif kind == SCM_PIDFD:
            handle = int.from_bytes(content, "little", signed=True)
        else:
            given = content
    return data, pid, handle, [int.from_bytes(given[at : at + 4], "little") for at in range(0, len(given), 4)]


def whose(pid: int, commands: "dict[int, Command]", room: int) -> Command | None:
    """Which of `commands` a process belongs to: the nearest among itself and its parents, up to that of the room."""
    while pid > 1 and pid != room:
        if pid in commands:
            return commands[pid]
        pid = parent(pid)
    return None


def parent(pid: int) -> int:
    """The parent of a process; -1 once it has gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return -1
