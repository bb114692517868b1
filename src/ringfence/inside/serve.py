"""A first process that serves many commands one after the other or side by side, in one boundary (session/warm.py).

Conversation. On `control` the supervisor sends `fresh` or `shared` with five descriptors: the command's own order, a
SOCK_SEQPACKET pair of its own, and its three standard streams. From there on the command has a first process of its
own, its keeper, which behaves on that pair as init.py does on `control`: it sends `ready`, then `filter`, `stopped`,
`exit` or `killed`, and takes `signal N`; the end of file on the pair ends the command. Where not even a keeper could be
made, one message `refused E` says so, with the error number.

- `fresh`: the keeper is pid 1 of new PID, mount and IPC namespaces (rooms.py). When the command ends, the keeper ends
  everything else that runs there before it says so.
- `shared`: every such command runs in one more room, made at the first of them, and sees the others' processes and
  files. What it leaves running goes on there until the boundary ends. Whatever serves that room gives up its power
  before the first of them and loads the filter for all of them, which makes a command as cheap as a process: on the
  first one's pair it sends `room` with the listener. Only the Landlock domain is each command's own.

Power. This process keeps its capabilities over the boundary's namespaces as long as the boundary lasts, because each
room needs them; it has no system-call filter that would refuse making one. It reads nothing that a command can write:
orders come from the host alone, and what rooms are furnished with is looked up before the first command
(docs/decisions/017-warm-sessions.md). A keeper gives up its power as the first process of any run does.
"""

import _signal
import _socket
import os

from . import init, privilege, rooms

GIVEN = 5  # descriptors that come with a command


class Beside(init.Supervision):
    """The keeper of a command in the shared room, where others go on."""

    def conclude(self) -> None:
        """Nobody else ends with the command."""


class Server:
    """Serves one boundary: `order` is the boundary's, `filters` the programs for commands and for keepers."""

    def __init__(self, order: init.Order, filters: tuple[bytes, bytes]) -> None:
        self.filters = filters
        self.room = rooms.Room(order.fresh, sealed=order.single.get("seal") != b"0")
        self.shared: _socket.socket | None = None  # to the one that serves the shared room

    def serve(self, control: "_socket.socket", *, within: bool = False) -> int:
        """Begin what is asked for until nobody is left to ask; `within` the shared room, or outside of it."""
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # keepers, and what outlives a shared command, vanish
        while True:
            text, given = receive(control)
            if not text:
                return 137
            try:
                if text == b"shared" and not within:
                    self.pass_on(text, given)
                elif len(given) == GIVEN:
                    self.begin(control, given, within=within)
            except OSError as error:
                say_refused(given[1], error.errno or 0)
            finally:
                for descriptor in given:
                    os.close(descriptor)

    def begin(self, control: "_socket.socket", given: list[int], *, within: bool) -> None:
        """Make a keeper; in the room that is shared it needs no other one."""
        if os.fork() if within else rooms.enter():
            return
        try:
            control.close()
            if self.shared:
                self.shared.close()
            status = self.keep(given, within=within)
        except BaseException as error:  # a forked copy must never return into the loop
            init.say(f"cannot prepare the command: {error}".encode(errors="replace"))
            status = 125
        os._exit(status)

    def keep(self, given: list[int], *, within: bool) -> int:
        """Be the first process of one command."""
        for number, stream in enumerate(given[2:]):
            os.dup2(stream, number)
            os.close(stream)
        order = init.Order(init.read_all(given[0]))
        control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, given[1])
        if within:
            privilege.die_with_parent(_signal.SIGKILL)
        else:
            self.room.furnish()
            init.prepare(order)
        control.send(b"ready")
        return init.carry_out(order, control, self.filters, Beside if within else init.Supervision)

    def pass_on(self, text: bytes, given: list[int]) -> None:
        """Hand a command to the shared room, which is made for the first one."""
        if self.shared is None:
            self.shared = self.open_room(given)
        rights = b"".join(descriptor.to_bytes(4, "little") for descriptor in given)
        try:
            self.shared.sendmsg([text], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        except BrokenPipeError:  # killed for its memory, say; the next command gets another one
            self.shared.close()
            self.shared = None
            raise

    def open_room(self, given: list[int]) -> "_socket.socket":
        """Make the shared room; user, filter and limits on it are those of its first command, for all of them."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        if rooms.enter():
            theirs.close()
            return ours
        try:
            ours.close()
            told = init.Order(init.read_all(os.dup(given[0])))
            os.lseek(given[0], 0, os.SEEK_SET)
            channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, os.dup(given[1]))
            for descriptor in given:
                os.close(descriptor)  # a copy of its streams here would keep them open beyond the command's end
            self.room.furnish()
            init.prepare(told)
            privilege.enter_user_namespace(told.number("uid"), told.number("gid"))
            privilege.drop_capabilities()
            init.install_filter(told, channel, self.filters[0], b"room")
            channel.close()
            self.filters = (b"", b"")
            os.closerange(3, theirs.fileno())
            os.closerange(theirs.fileno() + 1, (1 << 31) - 1)  # the listener among them
            status = self.serve(theirs, within=True)
        except BaseException:
            status = 125
        os._exit(status)


def receive(control: "_socket.socket") -> tuple[bytes, list[int]]:
    """The next message with its descriptors; empty at the end."""
    text, ancillary, _, _ = control.recvmsg(16, _socket.CMSG_SPACE(4 * GIVEN), init.MSG_CMSG_CLOEXEC)
    held = b"".join(content for _, _, content in ancillary)
    return text, [int.from_bytes(held[at : at + 4], "little") for at in range(0, len(held), 4)]


def say_refused(channel: int, number: int) -> None:
    """Tell whoever waits for the command that it cannot be begun."""
    control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, os.dup(channel))
    try:
        control.send(b"refused %d" % number)
    except OSError:
        pass  # nobody waits any more
    control.close()
