"""One command of a warm boundary, as whoever begins it and whoever supervises it know it (sandbox/warm.py)."""

import _socket
import _thread
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
SPACE = _socket.CMSG_SPACE(12) + _socket.CMSG_SPACE(4 * (1 + STREAMS))  # who sent it, and descriptors
INLINE_BYTES = 30_000  # of an order that is sent as a message; inside there is room for 32 KiB


class Command:
    """One command of a warm boundary; `held` is explained in sandbox/warm.py.

    Once `outcome` is there it says how the command ended, and `ending` has come; `error` is an error number where the
    command could not even be begun. `spare`: what stands by for it in the shared room.
    """

    def __init__(self, number: int, kind: str, spare: "Spare | None" = None, *, held: bool = False) -> None:
        self.number = number
        self.kind = kind
        self.held = held
        self.began = time.monotonic()
        self.theirs: _socket.socket | None = None  # its end of the conversation, until it has it
        self.streams: list[int] = []  # our ends of the pipes that came with the spare
        if spare:
            self.control, self.keeper, self.pid, self.streams = spare.control, spare.room, spare.pid, spare.streams
        else:
            self.control, self.theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
            self.control.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
            self.keeper = self.pid = -1
        self.hearing = _thread.allocate_lock()
        self.listener = -1
        self.outcome: supervise.Outcome | None = None
        self.error = 0
        self.events = 0
        self.denials: list[tuple[str, str]] = []
        self.is_attended = False  # by the thread in `serve`
        self.ending = Ending(is_polled=not held)

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
            launch.send_descriptors(channel, self.kind.encode(), [told, *ends, *stdio])
        finally:
            os.close(told)

    def become(self, rest: bytes, stdio: "Sequence[int]") -> None:
        """Turn what stands by into it; without `stdio` its streams are the pipes that came with that."""
        if len(rest) <= INLINE_BYTES:
            launch.send_descriptors(self.control, rest, list(stdio))
            return
        told = launch.memory_file("order", rest)
        try:
            launch.send_descriptors(self.control, b"\0", [told, *stdio])
        finally:
            os.close(told)

    def receive(self) -> "tuple[bytes, int, list[int]] | None":
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
        if not self.held:
            self.close()
        self.ending.come()
        return True

    def hand_over(self) -> None:
        """Its end of the conversation is its own now: if it was not taken over, this is the end of it."""
        if self.theirs:
            self.theirs.close()
            self.theirs = None

    def close(self) -> None:
        """Give every descriptor back."""
        with self.hearing:
            self.control.close()
        self.hand_over()
        while self.streams:
            os.close(self.streams.pop())
        if self.listener >= 0:
            os.close(self.listener)


class Spare:
    """What stands by in the shared room: its pid on this host, and our ends of its conversation and three pipes."""

    __slots__ = ("control", "pid", "room", "streams")

    def __init__(self, room: int, pid: int, given: "list[int]") -> None:
        self.room = room
        self.pid = pid
        self.control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, given[0])
        self.streams = given[1:]

    def close(self) -> None:
        """Let it go: it ends."""
        self.control.close()
        while self.streams:
            os.close(self.streams.pop())


class Room:
    """The shared room, seen from outside: it says who stands by for a command."""

    def __init__(self, requests: int, pid: int) -> None:
        self.requests = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, requests)
        self.pid = pid
        self.next: Spare | None = None

    def look_ahead(self) -> None:
        """Take note of who stands by next, if that is known by now."""
        try:
            self.next = self.next or self.take()
        except OSError:
            pass  # whoever needs one will be told why there is none

    def spare(self) -> Spare:
        """Who stands by, for one thread at a time.

        Raises ConnectionError where the room has ended, another OSError where nobody can be had.
        """
        if self.next:
            found, self.next = self.next, None
            return found
        try:
            return self.take()
        except BlockingIOError:
            self.requests.send(b"more")
        poller = select.poll()
        poller.register(self.requests.fileno(), select.POLLIN)
        poller.poll()
        return self.take()

    def take(self) -> Spare:
        """The next one that says so."""
        message, pid, given = receive(self.requests)
        if not message:
            raise ConnectionResetError
        if len(given) != STREAMS + 1:
            raise OSError(int(message.rpartition(b" ")[2]), "nobody stands by")
        return Spare(self.pid, pid, given)

    def close(self) -> None:
        """Ask no more; the room ends, and everything in it."""
        self.requests.close()
        if self.next:
            self.next.close()


def receive(control: "_socket.socket") -> "tuple[bytes, int, list[int]]":
    """One message, its sender's pid and the descriptors that came along."""
    data, ancillary, _, _ = control.recvmsg(64, SPACE, launch.MSG_CMSG_CLOEXEC | _socket.MSG_DONTWAIT)
    pid, given = -1, b""
    for _, kind, content in ancillary:
        if kind == launch.SCM_CREDENTIALS:
            pid = int.from_bytes(content[:4], "little")
        else:
            given = content
    return data, pid, [int.from_bytes(given[at : at + 4], "little") for at in range(0, len(given), 4)]
