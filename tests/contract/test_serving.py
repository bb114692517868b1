"""A first process that serves, on the wire: each command's conversation, rooms, refusals, the end of everything.

Longer than 400 lines: one contract, which both twins are held to in fresh and in shared rooms.
"""

import errno
import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from ringfence.sandbox import notify
from tests.contract.first_process import (
    ALLOW_ALL,
    INSIDE,
    REPORTING,
    SCM_CREDENTIALS,
    TIMEOUT_S,
    Implementation,
    Message,
    Order,
    Pair,
    Running,
    encode,
    memory_file,
)

FIXED = [pair for pair in Order().pairs() if pair[0] not in ("argv", "env")]
SERVE: list[Pair] = [("serve", "1"), ("fresh", "/tmp")]


class Command:
    """One command asked for on the wire, with a conversation and an output of its own."""

    def __init__(self, control: socket.socket, output: int, errors: int = -1) -> None:
        self.control = control
        self.errors = errors
        self.control.settimeout(TIMEOUT_S)
        self.output = os.fdopen(output, "rb")

    def receive(self) -> Message:
        """Take one message; empty text is the end of the conversation."""
        return receive(self.control)

    def words(self) -> list[bytes]:
        """Every message up to the end."""
        found = []
        while text := self.receive().text:
            found.append(text)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.control.close()
        self.output.close()
        if self.errors >= 0:
            os.close(self.errors)


def receive(control: socket.socket) -> Message:
    """Take one message with what came along; empty text is the end of the conversation."""
    text, ancillary, _, _ = control.recvmsg(256, 256)
    message = Message(text)
    for _, kind, content in ancillary:
        if kind == SCM_CREDENTIALS:
            message.pid = int.from_bytes(content[:4], "little")
        else:
            message.descriptors = [int.from_bytes(content[at : at + 4], "little") for at in range(0, len(content), 4)]
    return message


def conversation(server: "Serving", kind: bytes, order: bytes, stdio: Sequence[int] = ()) -> socket.socket:
    """Ask the first process for something; give our end of the pair that is for it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    told = memory_file(order)
    socket.send_fds(server.running.control, [kind], [told, theirs.fileno(), *stdio])
    theirs.close()
    os.close(told)
    return ours


def fresh(server: "Serving", order: bytes) -> Command:
    """Ask for a command in namespaces of its own."""
    read, write = os.pipe()
    null = os.open(os.devnull, os.O_RDONLY)
    control = conversation(server, b"fresh", order, (null, write, write))
    os.close(null)
    os.close(write)
    return Command(control, read)


class Room:
    """The shared room, as the supervisor has it."""

    def __init__(self, server: "Serving", more: Sequence[Pair] = ()) -> None:
        pairs = [pair for pair in server.order().pairs() if pair[0] != "argv"]
        control = conversation(server, b"room", encode([("room", "1"), *more, *pairs]))
        control.settimeout(TIMEOUT_S)
        self.opened = receive(control)
        assert receive(control).text == b""
        control.close()
        self.requests = socket.socket(fileno=self.opened.descriptors.pop(0))
        self.requests.settimeout(TIMEOUT_S)

    def spare(self) -> Message:
        """Who stands by."""
        self.requests.send(b"more")
        return receive(self.requests)

    def shared(self, rest: bytes, stdio: Sequence[int] = (), *, by_file: bool = False) -> Command:
        """Have whoever stands by become a command."""
        spare = self.spare()
        assert spare.text == b"spare" and spare.pid > 0
        channel, stdin, stdout, stderr = spare.descriptors
        os.close(stdin)
        control = socket.socket(fileno=channel)
        told = [memory_file(rest)] if by_file else []
        socket.send_fds(control, [b"\0" if by_file else rest], [*told, *stdio])
        for descriptor in told:
            os.close(descriptor)
        return Command(control, stdout, stderr)

    def close(self) -> None:
        """Ask no more."""
        self.requests.close()
        for descriptor in self.opened.descriptors:
            os.close(descriptor)


class Serving:
    """A first process that has been told to serve."""

    def __init__(
        self,
        implementation: Implementation,
        more: Sequence[Pair] = (),
        *,
        listen: bool = False,
        program: bytes = Order.program,
    ) -> None:
        self.listen = listen
        self.program = REPORTING if listen else program
        self.room: Room | None = None
        order = Order(program=self.program)
        fixed = [pair for pair in order.pairs() if pair[0] not in ("argv", "env")]
        self.running = Running(implementation, order, data=encode([*SERVE, *more, *fixed]))

    def __enter__(self) -> Self:
        ready = self.running.receive()
        assert ready.text == b"ready"
        self.first = ready.pid
        self.running.control.send(b"go")
        return self

    def __exit__(self, *error: object) -> None:
        if self.room:
            self.room.close()
        self.running.__exit__(None, None, None)

    def order(self, argv: Sequence[str] = (), more: Sequence[Pair] = (), cwd: str = "/") -> Order:
        """What a command is told."""
        return Order(argv=argv, more=more, cwd=cwd, listen=self.listen, program=self.program)

    def begin(self, *argv: str, kind: bytes = b"fresh", more: Sequence[Pair] = (), cwd: str = "/") -> Command:
        """Ask for a command."""
        if kind == b"fresh":
            return fresh(self, encode(self.order(argv, more, cwd).pairs()))
        if self.room is None:
            self.room = Room(self)
        return self.room.shared(encode([*(("argv", word) for word in argv), *more]))

    def run(self, *argv: str, kind: bytes = b"fresh", more: Sequence[Pair] = ()) -> bytes:
        """Run a command to its end and give what it wrote."""
        with self.begin(*argv, kind=kind, more=more) as command:
            output = command.output.read()
            assert command.words()[-1] == b"exit 0", output
            return output


@pytest.fixture
def server(first: Implementation) -> "Serving":
    """Give one that is about to serve."""
    return Serving(first)


kinds = pytest.mark.parametrize("kind", [b"fresh", b"shared"], ids=["fresh", "shared"])


@kinds
def test_the_conversation_of_a_command(server: Serving, kind: bytes) -> None:
    early = [b"ready", b"filter"] if kind == b"fresh" else []
    with server:
        with server.begin("sh", "-c", "echo out; exit 7", kind=kind) as command:
            assert command.words() == [*early, b"exit 7"]
            assert command.output.read() == b"out\n"
        with server.begin("sh", "-c", "kill -STOP $$; kill -TERM $$", kind=kind) as command:
            words = [command.receive().text for _ in range(len(early) + 1)]
            command.control.send(b"signal 18")
            assert [*words, *command.words()] == [*early, b"stopped 19", b"killed 15"]


def test_who_stands_by_says_who_it_is(server: Serving) -> None:
    """Its number on this host is the command's, which is how the supervisor knows whose a refused call is."""
    with server:
        room = Room(server)
        with room.shared(encode([("argv", "sleep"), ("argv", "1000")])) as command:
            spare = room.spare()
            assert spare.pid > 0
            with Command(socket.socket(fileno=spare.descriptors[0]), *spare.descriptors[2:]) as other:
                other.control.send(encode([("argv", "sh"), ("argv", "-c"), ("argv", "echo on; read x; exit 3")]))
                assert other.output.readline() == b"on\n"
                assert Path(f"/proc/{spare.pid}/comm").read_text() == "sh\n"
                os.write(spare.descriptors[1], b"\n")
                assert other.words() == [b"exit 3"]
            command.control.send(b"signal 9")
            assert command.words() == [b"killed 9"]
        os.close(spare.descriptors[1])
        room.close()


@pytest.mark.parametrize("by_file", [False, True], ids=["text", "file"])
def test_a_shared_command_takes_the_streams_that_come_with_it(server: Serving, by_file: bool) -> None:
    read, write = os.pipe()
    with server, os.fdopen(read, "rb") as output:
        room = Room(server)
        with room.shared(encode([("argv", "echo"), ("argv", "x" * 9)]), (write, write, write), by_file=by_file) as one:
            os.close(write)
            assert one.words() == [b"exit 0"]
            assert (output.read(), one.output.read()) == (b"x" * 9 + b"\n", b"")
        with room.shared(encode([("argv", "echo"), ("argv", "y")]), by_file=by_file) as one:
            assert (one.output.read(), one.words()) == (b"y\n", [b"exit 0"])
        room.close()


def test_the_rest_of_a_shared_order_adds_and_narrows(server: Serving) -> None:
    with server:
        room = Room(server, [("limit", "NOFILE=40"), ("env", "A=room"), ("env", "B=room")])
        ask = [("argv", "sh"), ("argv", "-c"), ("argv", "ulimit -n; echo $A $B; pwd")]
        with room.shared(encode([*ask, ("limit", "NOFILE=50"), ("env", "A=own"), ("cwd", "/usr")])) as command:
            assert command.output.read() == b"40\nown room\n/usr\n"
        with room.shared(encode([*ask, ("limit", "NOFILE=30")])) as command:
            assert command.output.read() == b"30\nroom room\n/\n"
        room.close()


@pytest.mark.parametrize("pair", [("uid", "0"), ("landlock_files", "0"), ("listen", "0"), ("scope", "signals")])
def test_the_rest_of_a_shared_order_loosens_nothing(server: Serving, pair: Pair) -> None:
    with server:
        with server.begin("echo", "on", kind=b"shared", more=[pair]) as command:
            assert command.words() == [b"exit 125"] and command.output.read() == b""
        assert server.run("echo", "still", kind=b"shared") == b"still\n"


def test_a_room_ends_when_nobody_is_left_to_ask(server: Serving) -> None:
    with server:
        room = Room(server)
        with room.shared(encode([("argv", "sh"), ("argv", "-c"), ("argv", "echo on; sleep 1000")])) as command:
            assert command.output.readline() == b"on\n"
            room.close()
            assert command.words() == []
        assert server.run("echo", "still", kind=b"shared") == b"still\n"


@kinds
def test_a_signal_is_forwarded_and_the_end_of_the_conversation_ends_it(server: Serving, kind: bytes) -> None:
    with server:
        with server.begin("sleep", "1000", kind=kind) as command:
            command.control.send(b"signal 9")
            assert command.words()[-1] == b"killed 9"
        with server.begin("sh", "-c", "echo on; sleep 1000", kind=kind) as command:
            assert command.output.readline() == b"on\n"
            command.control.shutdown(socket.SHUT_WR)
            assert b"exit 0" not in command.words()
            assert command.output.read() == b""  # nobody is left who could write to it
        assert server.run("echo", "still", kind=kind) == b"still\n"


def test_the_listener_comes_with_the_filter(first: Implementation) -> None:
    with Serving(first, listen=True) as server:
        for _ in range(2):
            with server.begin("true") as command:
                assert [len(command.receive().descriptors) for _ in range(2)] == [0, 1]  # `ready`, `filter`


def test_the_shared_room_has_one_listener(first: Implementation) -> None:
    with Serving(first, listen=True) as server:
        assert server.run("true", kind=b"shared") == b""
        assert server.room and len(server.room.opened.descriptors) == 1


def test_everybody_is_dead_when_the_end_is_told(server: Serving) -> None:
    leave = "for i in 1 2 3; do setsid sleep 1000 >/dev/null 2>&1 & done; trap '' HUP TERM"
    with server, server.begin("sh", "-c", leave) as command:
        pid = command.receive().pid
        while (text := command.receive().text) and not text.startswith(b"exit"):
            continue
        # Its keeper may still be ending; of those that it has killed and collected nothing is left.
        assert [line for line in descendants(pid) if line != str(pid)] == []


def descendants(pid: int) -> list[str]:
    """The children of a process; none where it has gone."""
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def test_private_places_are_fresh_and_what_stands_there_is_made_again(first: Implementation) -> None:
    look = (
        "ls -A /tmp; stat -c %a /tmp; touch /tmp/left; ls -A /dev/mqueue; touch /dev/mqueue/left; cat /proc/self/stat"
    )
    with Serving(first) as server:
        for _ in range(2):
            lines = server.run("sh", "-c", look).decode().splitlines()
            assert lines[0] in ("755", "1777") and len(lines) == 2
        assert server.run("sh", "-c", "echo /proc/[0-9]*") == b"/proc/1 /proc/2\n"


def test_what_is_mounted_below_a_private_place_stays(first: Implementation) -> None:
    """The inside directory lies below /run in this view: fresh /run, and it is still there."""
    with Serving(first, [("fresh", "/run")]) as server:
        assert b"init.py" in server.run("ls", INSIDE)


def test_a_command_shares_its_room_only_if_it_says_so(server: Serving) -> None:
    with server:
        server.run("touch", "/tmp/left", kind=b"shared")
        assert server.run("ls", "/tmp", kind=b"shared") == b"left\n"
        assert server.run("ls", "/tmp") == b""


@kinds
def test_no_command_can_keep_a_key_for_another(first: Implementation, kind: bytes) -> None:
    """They have one session keyring, since each is one of a user's 200 keys, and it was revoked before the first."""
    keyctl = {"x86_64": 250, "aarch64": 219}[os.uname().machine]
    script = f"""import ctypes
def call(*words):
    return libc.syscall(*words) < 0 and ctypes.get_errno()
libc = ctypes.CDLL(None, use_errno=True)
print(call({keyctl}, 0, -3, 0), call({keyctl - 2}, b"user", b"name", b"text", 4, -3))
"""
    with Serving(first, program=ALLOW_ALL) as server:
        found = server.run("/usr/bin/python3", "-I", "-S", "-c", script, kind=kind)
    if found.startswith(b"%d " % errno.ENOSYS):
        pytest.skip("the kernel has no keyrings")
    assert found == b"%d %d\n" % (errno.EKEYREVOKED, errno.EKEYREVOKED)


def test_limits_hold_for_one_command(server: Serving) -> None:
    ask = ("sh", "-c", "ulimit -n; cat /proc/sys/kernel/shmall")
    with server:
        assert server.run(*ask, more=[("limit", "NOFILE=33"), ("shmall", "9")]) == b"33\n9\n"
        assert server.run(*ask, more=[("limit", "NOFILE=44")]).startswith(b"44\n")


BROKEN = pytest.mark.parametrize(
    "broken", [b"argv\0true\0", b"nonsense\0" * 2, b"argv"], ids=["short", "unknown", "cut"]
)


@BROKEN
def test_an_order_that_is_not_understood_begins_nothing(server: Serving, broken: bytes) -> None:
    with server:
        with fresh(server, broken) as command:
            assert not {b"ready", b"filter"} & set(command.words())
        assert server.run("echo", "still") == b"still\n"


@BROKEN
def test_a_shared_order_that_is_not_understood_begins_nothing(server: Serving, broken: bytes) -> None:
    broken = b"env\0A=1\0" if broken == b"argv\0true\0" else broken  # which is all that is needed here
    with server:
        server.run("true", kind=b"shared")
        assert server.room
        with server.room.shared(broken) as command:
            assert command.words() == [b"exit 125"]
        assert server.run("echo", "still", kind=b"shared") == b"still\n"


@pytest.mark.parametrize("order", [b"nonsense\0" * 2, b"room\0001\0"], ids=["unknown", "short"])
def test_a_first_order_that_is_not_understood_makes_no_room(server: Serving, order: bytes) -> None:
    with server:
        with conversation(server, b"room", order) as control:
            control.settimeout(TIMEOUT_S)
            assert receive(control).text == b""
        assert server.run("echo", "still") == b"still\n"


def test_where_no_process_can_be_had_the_command_is_refused(first: Implementation) -> None:
    refused = {b"refused %d" % number for number in (errno.EAGAIN, errno.ENOMEM)}
    with Serving(first, [("pid_max", "320")]) as server:
        held: list[Command] = []
        found = b""
        while len(held) < 400 and found not in refused:
            held.append(server.begin("sleep", "1000"))
            found = held[-1].receive().text
        for command in held:
            command.control.shutdown(socket.SHUT_WR)
            command.words()
            command.__exit__()
        assert found in refused
        deadline = time.monotonic() + TIMEOUT_S
        while Path(f"/proc/{server.first}/task/{server.first}/children").read_text() and time.monotonic() < deadline:
            time.sleep(0.01)  # the kernel ends what was in the rooms; nobody is told when it has
        assert server.run("echo", "still") == b"still\n"


def test_a_signal_that_is_asked_about_is_sent_whatever_ends_meanwhile(first: Implementation) -> None:
    """The room's own kill(2) waits for whoever is told of it; the end of another command interrupts that."""
    machine = os.uname().machine
    with Serving(first, listen=True) as server, server.begin("sleep", "1000", kind=b"shared") as one:
        assert server.room
        listener = server.room.opened.descriptors[0]
        read, write = os.pipe()
        kept, output = os.pipe()
        with server.room.shared(encode([("argv", "cat")]), (read, output, output)) as other:
            os.close(read)
            os.close(output)
            one.control.send(b"signal 9")
            assert is_readable(listener)
            os.close(write)
            assert os.read(kept, 1) == b""
            os.close(kept)
            while not is_readable(one.control.fileno(), 0.01):
                if is_readable(listener, 0):
                    notify.serve(
                        listener, "default", machine, is_inside=lambda pid: True, connecting=lambda pid, target: None
                    )
            assert one.words() == [b"killed 9"]
            assert other.words() == [b"exit 0"]


def is_readable(descriptor: int, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether something is to be heard."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def test_a_conversation_that_ends_unread_ends_nothing_else(server: Serving) -> None:
    with server, server.begin("sleep", "1000", kind=b"shared") as other:
        with server.begin("sh", "-c", "kill -STOP $$", kind=b"shared") as command:
            assert is_readable(command.control.fileno())  # `stopped` is there, and stays
        assert server.run("echo", "on", kind=b"shared") == b"on\n"
        other.control.send(b"signal 15")
        assert other.words() == [b"killed 15"]


def test_where_nobody_comes_to_stand_by_that_is_said(server: Serving) -> None:
    """Who asks would wait for ever: the end of one that was asked for is told while it is nobody's."""
    heard: set[bytes] = set()
    with server:
        assert server.run("echo", "on", kind=b"shared") == b"on\n"
        assert server.room
        deadline = time.monotonic() + TIMEOUT_S

        def ask_until(wanted: bytes, *, kill: bool) -> None:
            assert server.room
            while wanted not in heard and time.monotonic() < deadline:
                spare = server.room.spare()
                for descriptor in spare.descriptors:
                    os.close(descriptor)
                for pid in descendants(server.room.opened.pid) if kill else ():  # as another command's limit could
                    with suppress(ProcessLookupError):  # it has ended by itself meanwhile
                        os.kill(int(pid), signal.SIGKILL)
                heard.add(spare.text)

        ask_until(b"refused %d" % errno.EAGAIN, kill=True)
        assert b"refused %d" % errno.EAGAIN in heard
        heard.clear()
        ask_until(b"spare", kill=False)
        assert b"spare" in heard


def test_the_end_of_the_supervisor_ends_everything(first: Implementation) -> None:
    with (
        Serving(first) as server,
        server.begin("sleep", "1000") as one,
        server.begin("sh", "-c", "echo on; sleep 1000", kind=b"shared") as other,
    ):
        while one.receive().text != b"filter":
            continue
        assert other.output.readline() == b"on\n"
        server.running.control.shutdown(socket.SHUT_WR)
        assert server.running.process.wait(TIMEOUT_S) == 137
        assert one.words() == other.words() == []


def test_an_order_to_serve_holds_no_command(first: Implementation) -> None:
    for more in ([("argv", "true")], [("env", "A=1")]):
        with Running(first, Order(), data=encode([*SERVE, *more, *FIXED])) as running:
            assert running.receive().text == b""
            status, _, error = running.end()
        assert (status, error) == (125, b"ringfence: cannot prepare the sandbox: the order is incomplete\n")


def test_a_private_place_is_an_absolute_path(first: Implementation) -> None:
    with Running(first, Order(), data=encode([("serve", "1"), ("fresh", "tmp"), *FIXED])) as running:
        assert running.receive().text == b""
        assert running.end()[0] == 125
