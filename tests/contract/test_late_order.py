"""A first process that stands before anybody knows what for: command, environment and streams come as `rest`."""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress

import pytest

from tests.contract.first_process import Implementation, Order, Pair, Running, encode, memory_file

FIXED = [pair for pair in Order().pairs() if pair[0] not in ("argv", "env")]
LATE = encode([("late", "1"), *FIXED])
ENVIRONMENT = "PATH=/usr/bin:/bin"


def tell(running: Running, rest: Sequence[Pair], streams: Sequence[int]) -> None:
    """Wait until the boundary stands, and say what it is for."""
    assert running.receive().text == b"filter"
    assert running.receive().text == b"ready"
    told = memory_file(encode(rest))
    socket.send_fds(running.control, [b"rest"], [told, *streams])
    os.close(told)


def begin(running: Running, rest: Sequence[Pair], streams: Sequence[int]) -> None:
    """The same, and have it begin, unless it has ended already."""
    tell(running, rest, streams)
    with suppress(ConnectionError):
        running.control.send(b"go")


def command(*words: str) -> list[Pair]:
    """What is told late of a command."""
    return [*(("argv", word) for word in words), ("env", ENVIRONMENT)]


def test_the_command_its_environment_and_its_streams_come_late(first: Implementation) -> None:
    given, output = os.pipe()
    said, error = os.pipe()
    with Running(first, Order(), data=LATE) as running:
        begin(
            running, command("sh", "-c", "cat; env; ls /proc/self/fd; echo e >&2"), [memory_file(b"in "), output, error]
        )
        os.close(output)
        os.close(error)
        assert running.receive().text == b"exit 0"
        assert running.end() == (0, b"", b"")  # nothing goes to the streams that it was built with
    with open(given, "rb") as out, open(said, "rb") as complaints:
        text = out.read().decode()
        assert complaints.read() == b"e\n"
    assert text.startswith("in ") and ENVIRONMENT in text
    assert text.endswith("\n0\n1\n2\n3\n")  # the last is that of the listing


def test_the_streams_end_with_the_command(first: Implementation) -> None:
    given, output = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    with Running(first, Order(), data=LATE) as running:
        begin(running, command("sh", "-c", "exec >&-; kill -STOP $$"), [null, output, null])
        os.close(output)
        assert os.read(given, 1) == b""  # while it still runs: nobody else holds them
        assert running.receive().text.startswith(b"stopped")
    os.close(given)
    os.close(null)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_rest_without_all_that_is_late_ends_it(first: Implementation, count: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    with Running(first, Order(), data=LATE) as running:
        assert running.receive().text == b"filter"
        assert running.receive().text == b"ready"
        told = memory_file(encode(command("true")))
        given = [told, null, null, null][:count]
        if given:
            socket.send_fds(running.control, [b"rest"], given)
        else:
            running.control.send(b"rest")
        status, _, error = running.end()
        assert status == 125 and b"the rest of the order is missing" in error
        os.close(told)
    os.close(null)


@pytest.mark.parametrize(
    "rest",
    [
        [("env", ENVIRONMENT)],
        [*command("true"), ("uid", "0")],
        [*command("true"), ("landlock_files", "0")],
        [*command("true"), ("scope", "signals")],
        [*command("true"), ("limit", "NOFILE=9")],
        [*command("true"), ("late", "1")],
        [*command("true"), ("env", "=x")],
        [*command("true"), ("surprise", "1")],
    ],
    ids=["no command", "uid", "landlock", "scope", "limit", "late again", "variable", "unknown"],
)
def test_the_rest_says_nothing_but_the_command(first: Implementation, rest: Sequence[Pair]) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    with Running(first, Order(), data=LATE) as running:
        begin(running, rest, [null, null, null])
        status, out, _ = running.end()
        assert (status, out) == (125, b"")
    os.close(null)


def test_nothing_is_executed_before_go(first: Implementation) -> None:
    given, output = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    with Running(first, Order(), data=LATE) as running:
        tell(running, command("echo", "executed"), [null, output, null])
        os.close(output)
        running.control.shutdown(socket.SHUT_WR)  # whoever would have said `go` has gone
        assert os.read(given, 9) == b""
        assert running.end()[0] != 0
    os.close(given)
    os.close(null)


def test_go_without_a_rest_executes_nothing(first: Implementation) -> None:
    with Running(first, Order(), data=LATE) as running:
        assert running.receive().text == b"filter"
        assert running.receive().text == b"ready"
        running.control.send(b"go")
        assert running.receive().text == b"exit 125"
        assert running.end() == (125, b"", b"")


def test_a_command_that_cannot_be_prepared_says_so_on_its_own_streams(first: Implementation) -> None:
    given, error = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    late = encode([("late", "1"), *(("cwd", "/nowhere") if pair[0] == "cwd" else pair for pair in FIXED)])
    with Running(first, Order(), data=late) as running:
        begin(running, command("true"), [null, null, error])  # `go` comes before or after its end
        os.close(error)
        try:
            told = running.receive()
        except ConnectionResetError:  # told once, where `go` was not read any more; what was said before is still there
            told = running.receive()
        assert told.text == b"exit 125"
        assert running.end() == (125, b"", b"")
    with open(given, "rb") as said:
        assert b"ringfence: cannot start the command: " in said.read()
    os.close(null)


def test_limits_hold_for_what_is_executed_only(first: Implementation) -> None:
    """A limit of few open files must not keep the streams from being received: the command says what it lacks."""
    given, error = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    late = encode([("late", "1"), *FIXED, ("limit", "NOFILE=4")])
    with Running(first, Order(), data=late) as running:
        begin(running, command("sh", "-c", "ulimit -n"), [null, error, error])
        os.close(error)
        assert running.receive().text == b"exit 0"
    with open(given, "rb") as said:
        assert said.read() == b"4\n"
    os.close(null)


@pytest.mark.parametrize(
    "pairs",
    [[("late", "1"), *Order().pairs()], [("late", "1"), ("env", ENVIRONMENT), *FIXED], [("late", "0"), *FIXED], FIXED],
    ids=["with a command", "with an environment", "not late", "neither"],
)
def test_an_order_is_late_or_whole(first: Implementation, pairs: Sequence[Pair]) -> None:
    with Running(first, Order(), data=encode(pairs)) as running:
        status, _, error = running.end()
        assert status == 125 and b"the order is incomplete" in error


def test_descriptors_that_nobody_asked_for_do_not_come_in(first: Implementation) -> None:
    given, output = os.pipe()
    with Running(first, Order(argv=("ls", "/proc/self/fd"))) as running:
        assert running.receive().text == b"ready"
        socket.send_fds(running.control, [b"go"], [output] * 4)
        os.close(output)
        assert os.read(given, 1) == b""
        assert running.receive().text == b"filter"
        assert running.receive().text == b"exit 0"
        assert running.end()[1] == b"0\n1\n2\n3\n"
    os.close(given)
