"""A first process that serves, on the wire: each command's conversation, rooms, refusals, the end of everything."""

import errno
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

from tests.contract.first_process import (
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

    def __init__(self, server: "Serving", order: bytes, kind: bytes, *, count: int = 5) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.control.settimeout(TIMEOUT_S)
        read, write = os.pipe()
        null = os.open(os.devnull, os.O_RDONLY)
        told = memory_file(order)
        socket.send_fds(server.running.control, [kind], [told, theirs.fileno(), null, write, write][:count])
        theirs.close()
        for descriptor in (told, null, write):
            os.close(descriptor)
        self.output = os.fdopen(read, "rb")

    def receive(self) -> Message:
        """Take one message; empty text is the end of the conversation."""
        text, ancillary, _, _ = self.control.recvmsg(256, 256)
        message = Message(text)
        for _, kind, content in ancillary:
            if kind == SCM_CREDENTIALS:
                message.pid = int.from_bytes(content[:4], "little")
            else:
                message.descriptors.append(int.from_bytes(content[:4], "little"))
        return message

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


class Serving:
    """A first process that has been told to serve."""

    def __init__(self, implementation: Implementation, more: Sequence[Pair] = (), *, listen: bool = False) -> None:
        self.listen = listen
        order = Order(program=REPORTING) if listen else Order()
        fixed = [pair for pair in order.pairs() if pair[0] not in ("argv", "env")]
        self.running = Running(implementation, order, data=encode([*SERVE, *more, *fixed]))

    def __enter__(self) -> Self:
        ready = self.running.receive()
        assert ready.text == b"ready"
        self.first = ready.pid
        self.running.control.send(b"go")
        return self

    def __exit__(self, *error: object) -> None:
        self.running.__exit__(None, None, None)

    def begin(self, *argv: str, kind: bytes = b"fresh", more: Sequence[Pair] = (), cwd: str = "/") -> Command:
        """Ask for a command."""
        order = Order(
            argv=argv, more=more, cwd=cwd, listen=self.listen, program=REPORTING if self.listen else Order.program
        )
        return Command(self, encode(order.pairs()), kind)

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
    room = [b"room"] if kind == b"shared" else []
    with server:
        with server.begin("sh", "-c", "echo out; exit 7", kind=kind) as command:
            assert command.words() == [*room, b"ready", b"filter", b"exit 7"]
            assert command.output.read() == b"out\n"
        with server.begin("sh", "-c", "kill -TERM $$", kind=kind) as command:
            assert command.words() == [b"ready", b"filter", b"killed 15"]  # the room is there already


@kinds
def test_a_signal_is_forwarded_and_the_end_of_the_conversation_ends_it(server: Serving, kind: bytes) -> None:
    with server:
        with server.begin("sleep", "60", kind=kind) as command:
            command.control.send(b"signal 9")
            assert command.words()[-1] == b"killed 9"
        with server.begin("sh", "-c", "echo on; sleep 60", kind=kind) as command:
            assert command.output.readline() == b"on\n"
            command.control.shutdown(socket.SHUT_WR)
            assert b"exit 0" not in command.words()
        assert server.run("echo", "still", kind=kind) == b"still\n"


def test_the_listener_comes_with_the_filter(first: Implementation) -> None:
    with Serving(first, listen=True) as server:
        for _ in range(2):
            with server.begin("true") as command:
                assert [len(command.receive().descriptors) for _ in range(2)] == [0, 1]  # `ready`, `filter`


def test_the_shared_room_has_one_listener(first: Implementation) -> None:
    with Serving(first, listen=True) as server, server.begin("true", kind=b"shared") as command:
        found = [(message.text, len(message.descriptors)) for message in (command.receive() for _ in range(3))]
        assert found == [(b"room", 1), (b"ready", 0), (b"filter", 0)]


def test_everybody_is_dead_when_the_end_is_told(server: Serving) -> None:
    leave = "for i in 1 2 3; do setsid sleep 60 >/dev/null 2>&1 & done; trap '' HUP TERM"
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


def test_limits_hold_for_one_command(server: Serving) -> None:
    ask = ("sh", "-c", "ulimit -n; cat /proc/sys/kernel/shmall")
    with server:
        assert server.run(*ask, more=[("limit", "NOFILE=33"), ("shmall", "9")]) == b"33\n9\n"
        assert server.run(*ask, more=[("limit", "NOFILE=44")]).startswith(b"44\n")


@pytest.mark.parametrize(
    "broken", [b"", b"argv\0true\0", b"nonsense\0" * 2, b"argv"], ids=["empty", "short", "unknown", "cut"]
)
@kinds
def test_an_order_that_is_not_understood_begins_nothing(server: Serving, kind: bytes, broken: bytes) -> None:
    with server:
        server.run("true", kind=kind)
        with Command(server, broken, kind) as command:
            assert not {b"ready", b"filter"} & set(command.words())
        assert server.run("echo", "still", kind=kind) == b"still\n"


def test_a_first_order_that_is_not_understood_makes_no_room(server: Serving) -> None:
    with server:
        with Command(server, b"nonsense\0" * 2, b"shared") as command:
            assert b"exit 0" not in command.words()
        assert server.run("echo", "still") == b"still\n"


def test_where_no_process_can_be_had_the_command_is_refused(first: Implementation) -> None:
    refused = {b"refused %d" % number for number in (errno.EAGAIN, errno.ENOMEM)}
    with Serving(first, [("pid_max", "320")]) as server:
        held: list[Command] = []
        found = b""
        while len(held) < 400 and found not in refused:
            held.append(server.begin("sleep", "60"))
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


def test_the_end_of_the_supervisor_ends_everything(first: Implementation) -> None:
    with (
        Serving(first) as server,
        server.begin("sleep", "60") as one,
        server.begin("sleep", "60", kind=b"shared") as other,
    ):
        for command in (one, other):
            while command.receive().text != b"filter":
                continue
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
