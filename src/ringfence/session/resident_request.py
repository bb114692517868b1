"""One request to the resident supervisor: what came, becoming what asked, and listening to it meanwhile."""

import _socket
import _thread
import fcntl
import os
import signal
import sys

from ringfence.sandbox import launch

from . import afterwards
from .resident import PROTOCOL

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from collections.abc import Callable

    from .run import Run

DESCRIPTORS = 3
STREAMS = 3
PACKET_BYTES = 64
BEGIN_TIMEOUT_S = 2.0
MOST_BYTES = 8 << 20  # of words and environment: execve(2) takes no more than 6 MiB


class Request:
    """What a client asks for: the words of its command line, its environment as bytes, its directory.

    `descriptors` are what was received, to be passed on as they are; its streams come with its `go`.
    """

    def __init__(self, client: "_socket.socket", descriptors: "list[int]") -> None:
        self.client = client
        self.descriptors = descriptors
        self.told, self.directory, self.look = descriptors
        fcntl.fcntl(self.told, fcntl.F_GET_SEALS)  # SECURITY: of memory alone; a client's file system may never answer
        size = os.fstat(self.told).st_size
        if not 0 < size <= MOST_BYTES:
            raise ValueError("a request of no size")
        data = os.pread(self.told, size, 0)
        self.put_off: list[Callable[[], object]] = []
        self.is_over = False
        protocol, self.own_state, count, *parts = data.split(b"\0")
        if len(data) != size or parts.pop() or protocol.decode() != PROTOCOL:
            raise ValueError("a request that is not understood")
        self.words = [os.fsdecode(word) for word in parts[: int(count)]]
        if len(self.words) != int(count):
            raise ValueError("a request that is cut off")
        self.environment = parts[int(count) :]

    def close(self) -> None:
        """Give the descriptors back, in the process that has passed them on."""
        for descriptor in self.descriptors:
            os.close(descriptor)

    def place(self) -> str:
        """Where the client is; empty where that has no name any more."""
        found = os.readlink(f"/proc/self/fd/{self.directory}")
        return "" if found.endswith(" (deleted)") or not found.startswith("/") else found

    def enter(self, present: "list[bytes] | None" = None) -> None:
        """Go where the client is, with its environment, in place of `present`: for a process that serves nobody else.

        INVARIANT: nothing of ours and nothing of another client's is left in the environment.
        """
        os.fchdir(self.directory)
        if self.environment != present:
            assume(self.environment)
        for descriptor in self.descriptors:
            os.close(descriptor)

    def is_begun(self) -> bool:
        """Say that we are ready, and hear whether the client still wants it: from then on it is ours alone."""
        try:
            self.client.settimeout(BEGIN_TIMEOUT_S)
            self.client.send(b"ready")
            return self.hear_begin()
        except OSError:
            return False

    def hear_begin(self) -> bool:
        """Whether the client, which was told that we are ready, says `go`; its streams are ours from then on."""
        try:
            packet, streams = launch.receive_descriptors(self.client, PACKET_BYTES, STREAMS)
            self.client.settimeout(None)
        except OSError:
            return False
        if packet != b"go" or len(streams) != STREAMS:
            return False
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return True

    def attend(self, run: "Run") -> None:
        """Pass signals on to the run, and end everything when the client has gone; on a thread of its own."""
        run.own_signals = False
        run.put_off = self.put_off
        _thread.start_new_thread(self.listen, (run,))

    def listen(self, run: "Run") -> None:
        """Hear the client until its end, which is that of this process and so of the boundary."""
        try:
            while message := self.hear():
                number = int(message.removeprefix(b"signal "))
                run.early_signal = number  # for a supervisor that is only just being made
                if run.supervisor is not None:
                    run.supervisor.send(number)
        finally:  # also for one that says what no client of ours does: nobody would hear its end
            if not self.is_over:
                os.kill(os.getpid(), signal.SIGKILL)

    def hear(self) -> bytes:
        """The next message; empty at the end."""
        try:
            return self.client.recv(PACKET_BYTES)
        except OSError:
            return b""

    def conclude(self, status: int) -> None:
        """Tell the client how it ended, do what nobody waits for, and end this process; its streams are ended first."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                status = status or 1  # as cli/entry.py does
        self.is_over = True
        is_well = False
        try:
            null = os.open(os.devnull, os.O_RDWR)
            for number in range(3):
                os.dup2(null, number)
            try:
                self.client.send(b"exit %d" % status)
            finally:  # whoever asked may be gone
                is_well = afterwards.carry_out(self.put_off)
        finally:
            os._exit(0 if is_well else afterwards.UNFINISHED)


def assume(environment: "list[bytes]") -> None:
    """Replace the environment of this process by a client's."""
    os.environ.clear()
    for name, equals, value in (variable.partition(b"=") for variable in environment):
        if name and equals:
            os.environb[name] = value


def receive(client: "_socket.socket") -> "Request | None":
    """What a client asks for; None where it does not ask properly."""
    packet, descriptors = launch.receive_descriptors(client, PACKET_BYTES, DESCRIPTORS)
    try:
        if packet == b"run" and len(descriptors) == DESCRIPTORS:
            return Request(client, descriptors)
    except (ValueError, OSError):
        pass
    for descriptor in descriptors:
        os.close(descriptor)
    return None
