"""A first process that serves many commands one after the other or side by side, in one boundary (session/warm.py).

Conversation. On `control` the supervisor sends `fresh` with five descriptors: the command's own order, a SOCK_SEQPACKET
pair of its own, and its three standard streams. From there on the command has a first process of its own, its keeper,
which behaves on that pair as init.py does on `control`: it sends `ready`, then `filter`, `stopped`, `exit` or `killed`,
and takes `signal N`; the end of file on the pair ends the command. Where not even a keeper could be made, one message
`refused E` says so, with the error number.

The keeper is pid 1 of new PID, mount and IPC namespaces (rooms.py). When the command ends, the keeper ends everything
else that runs there before it says so.

With `room` and two descriptors, an order without a command and a pair, the supervisor asks for one more room, which
commands share (standby.py): they see each other's processes and files. What one leaves running goes on there until the
boundary ends. What serves that room gives up its power before the first of them and loads the filter for all of them,
which makes a command as cheap as a process: only the Landlock domain is each command's own.

Power. This process keeps its capabilities over the boundary's namespaces as long as the boundary lasts, because each
room needs them; it has no system-call filter that would refuse making one. It reads nothing that a command can write:
orders come from the host alone, and what rooms are furnished with is looked up before the first command
(docs/decisions/017-warm-sessions.md). A keeper gives up its power as the first process of any run does.
"""

import _signal
import _socket
import os

from . import init, privilege, rooms, standby
from .order import Order, read_all, receive

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from collections.abc import Callable

GIVEN = 5  # descriptors that come with a command


class Server:
    """Serves one boundary: `order` is the boundary's, `filters` the programs for commands and for keepers."""

    def __init__(self, order: Order, filters: tuple[bytes, bytes]) -> None:
        self.filters = filters
        self.room = rooms.Room(order.fresh, sealed=order.single.get("seal") != b"0")

    def serve(self, control: "_socket.socket") -> int:
        """Begin what is asked for until nobody is left to ask."""
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # keepers vanish
        while True:
            text, given = receive(control, 16, GIVEN)
            if not text:
                return 137
            begin, count = (self.open_room, 2) if text == b"room" else (self.keep, GIVEN)
            if len(given) != count:
                raise ValueError("a command is incomplete")
            try:
                if not rooms.enter():
                    control.close()
                    finish(begin, given)
            except OSError as error:
                say_refused(given[1], error.errno or 0)
            finally:
                for descriptor in given:
                    os.close(descriptor)

    def keep(self, given: list[int]) -> int:
        """Be the first process of one command."""
        for number, stream in enumerate(given[2:]):
            os.dup2(stream, number)
            os.close(stream)
        order = Order(read_all(given[0]))
        control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, given[1])
        self.room.furnish()
        init.prepare(order)
        control.send(b"ready")
        return init.carry_out(order, control, self.filters, init.Supervision)

    def open_room(self, given: list[int]) -> int:
        """Be what serves the shared room; user, filter and limits on it hold for all of its commands."""
        order = Order(read_all(given[0]))
        channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, given[1])
        requests, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        theirs.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
        self.room.furnish()
        init.prepare(order)
        privilege.enter_user_namespace(order.number("uid"), order.number("gid"))
        privilege.drop_capabilities()
        rights = theirs.fileno().to_bytes(4, "little") + init.install_filter(order, self.filters[0])
        channel.sendmsg([b"room"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        channel.close()
        self.filters = (b"", b"")
        os.closerange(3, requests.fileno())
        os.closerange(requests.fileno() + 1, (1 << 31) - 1)  # the listener among them
        return standby.Room(order, requests).serve()


def finish(begin: "Callable[[list[int]], int]", given: list[int]) -> None:
    """Be one of the above and end: a forked copy must never return into the loop."""
    status = 125
    try:
        status = begin(given)
    except BaseException as error:
        init.say(f"cannot prepare the command: {error}".encode(errors="replace"))
    os._exit(status)


def say_refused(channel: int, number: int) -> None:
    """Tell whoever waits for the command that it cannot be begun."""
    control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, os.dup(channel))
    try:
        control.send(b"refused %d" % number)
    except OSError:
        pass  # nobody waits any more
    control.close()
