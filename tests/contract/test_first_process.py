"""What every first process does, on the wire: order, conversation, exit statuses, signals, the end of everything."""

import hashlib
import os
import signal
import time
from pathlib import Path

import pytest

from tests.contract.first_process import (
    REPORTING,
    STOP_ITSELF,
    STOPPED,
    Implementation,
    Order,
    Running,
    ask,
    carry_out,
    encode,
)

PYTHON = ("/usr/bin/python3", "-I", "-c")


@pytest.fixture
def tools(open_path: Path) -> Path:
    """Give a directory of programs that can and cannot be executed; it appears as /tools."""
    files = {
        "plain/tool": (0o644, "no program\n"),
        "good/tool": (0o755, '#!/bin/sh\nprintf %s "$0"\n'),
        "bad/tool": (0o755, "\0\1 no program\n"),
        "here": (0o755, "#!/bin/sh\nexit 7\n"),
    }
    for name, (mode, text) in files.items():
        path = open_path / name
        path.parent.mkdir(exist_ok=True, mode=0o755)
        path.write_text(text)
        path.chmod(mode)
    return open_path


def test_the_conversation_of_a_run(first: Implementation) -> None:
    with Running(first, Order()) as running:
        ready = running.receive()
        assert (ready.text, ready.descriptors) == (b"ready", [])
        running.control.send(b"go")
        command = running.receive()
        assert (command.text, command.descriptors) == (b"filter", [])
        assert 0 < ready.pid != command.pid > 0
        assert running.receive().text == b"exit 0"
        assert running.receive().text == b""
        assert running.end() == (0, b"", b"")


def test_the_listener_comes_with_the_filter(first: Implementation) -> None:
    with Running(first, Order(argv=STOP_ITSELF, listen=True, program=REPORTING)) as running:
        message = running.start()
        assert [os.readlink(f"/proc/self/fd/{number}") for number in message.descriptors] == [
            "anon_inode:seccomp notify"
        ]
        os.close(message.descriptors[0])


@pytest.mark.parametrize("answer", [b"no", b"g", b"gone"])
def test_nothing_is_started_without_go(first: Implementation, answer: bytes) -> None:
    with Running(first, Order(argv=("echo", "started"))) as running:
        assert running.receive().text == b"ready"
        running.control.send(answer)
        assert running.receive().text == b""
        assert running.end() == (125, b"", b"")


@pytest.mark.parametrize("status", [0, 1, 42, 125, 126, 127, 128, 137, 255])
def test_the_commands_exit_status_is_passed_on(first: Implementation, status: int) -> None:
    expected = (b"exit %d" % status, status, b"", b"")
    assert carry_out(first, Order(argv=("sh", "-c", f"exit {status}"))) == expected


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE, signal.SIGRTMIN + 3]
)
def test_death_by_a_signal_is_passed_on(first: Implementation, number: int) -> None:
    expected = (b"killed %d" % number, 128 + number, b"", b"")
    assert carry_out(first, Order(argv=("sh", "-c", f"kill -{number} $$"))) == expected


@pytest.mark.parametrize(
    ("path", "name", "status", "complaint"),
    [
        ("/usr/bin:/bin", "no-such-tool", 127, "command not found"),
        ("/usr/bin:/nowhere:/tools/here", "no-such-tool", 127, "command not found"),
        ("/usr/bin", "/tools/none", 127, "no such file or directory"),
        ("/usr/bin", "/tools/here/none", 127, "command not found"),
        ("/usr/bin", "/tools/plain/tool", 126, "permission denied"),
        ("/usr/bin", "/tools", 126, "permission denied"),
        ("/tools/bad:/nowhere", "tool", 126, "exec format error"),
        ("/tools/plain:/nowhere", "tool", 126, "permission denied"),
        ("/usr/bin", "x" * 300, 126, "file name too long"),
        ("/" + "x" * 9000, "tool", 126, "file name too long"),
    ],
)
def test_a_command_that_cannot_be_executed(
    first: Implementation, tools: Path, path: str, name: str, status: int, complaint: str
) -> None:
    found = carry_out(first, Order(argv=(name,), environment=(f"PATH={path}",)), tools)
    assert found == (b"exit %d" % status, status, b"", f"ringfence: `{name}`: {complaint}\n".encode())


def test_one_argument_too_long_for_the_kernel(first: Implementation) -> None:
    found = carry_out(first, Order(argv=("true", "x" * (1 << 18))))
    assert found == (b"exit 126", 126, b"", b"ringfence: `true`: argument list too long\n")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/tools/good", "/tools/good/tool"),
        ("/tools/good/", "/tools/good/tool"),
        ("/nowhere:/tools/plain:/tools/here:/tools/good", "/tools/good/tool"),
        (":/tools/good", "/tools/good/tool"),
        ("good", "good/tool"),
    ],
)
def test_the_commands_own_path_is_searched(first: Implementation, tools: Path, path: str, expected: str) -> None:
    found = carry_out(first, Order(argv=("tool",), environment=(f"PATH={path}",), cwd="/tools"), tools)
    assert found == (b"exit 0", 0, expected.encode(), b"")


@pytest.mark.parametrize("environment", [(), ("PATH=",), ("PATH=/usr/bin:",), ("XPATH=/usr/bin",)])
def test_an_empty_place_in_the_path_is_the_working_directory(
    first: Implementation, tools: Path, environment: tuple[str, ...]
) -> None:
    assert carry_out(first, Order(argv=("here",), environment=environment, cwd="/tools"), tools)[1] == 7


def test_many_arguments_and_variables_arrive_as_they_are(first: Implementation) -> None:
    words: list[str | bytes] = ["", *(str(number).encode() + b"\xff\n" for number in range(25_000))]
    environment = ["PATH=/usr/bin", *(f"V{number}=={number}" for number in range(1000)), "EMPTY="]
    script = """import hashlib, json, os, sys
given = [open(f"/proc/self/{name}", "rb").read() for name in ("cmdline", "environ")]
print(json.dumps([hashlib.sha256(text).hexdigest() for text in given]))"""
    argv = [os.fsencode(word) for word in (*PYTHON, script, *words)]
    found = ask(first, script, argv=argv, environment=environment)
    expected = [b"".join(word + b"\0" for word in group) for group in (argv, map(os.fsencode, environment))]
    assert found == [hashlib.sha256(text).hexdigest() for text in expected]


SIGNALLED = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [{number}, signal.SIGRTMAX])
child = os.fork()
if child == 0:
    got = signal.sigwait([{number}, signal.SIGRTMAX])
    os._exit(1 if got == {number} else 2)
print("ready", flush=True)
signal.sigwait([{number}])
os.kill(child, signal.SIGRTMAX)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1, signal.SIGWINCH, signal.SIGTERM])
@pytest.mark.parametrize(("group", "status"), [("own", 1), ("shared", 2)])
def test_a_signal_reaches_the_commands_own_group_or_else_it_alone(
    first: Implementation, number: int, group: str, status: int
) -> None:
    with Running(first, Order(argv=(*PYTHON, SIGNALLED.format(number=int(number))), group=group)) as running:
        running.start()
        assert running.line() == b"ready\n"
        running.send_signal(number)
        assert running.receive().text == b"exit %d" % status


@pytest.mark.parametrize(("group", "own"), [("own", True), ("shared", False)])
def test_the_process_group(first: Implementation, group: str, own: bool) -> None:
    pid, leader = ask(first, "import json, os; print(json.dumps([os.getpid(), os.getpgrp()]))", group=group)
    assert (pid == leader) is own


def test_a_signal_sent_at_once_is_not_lost(first: Implementation) -> None:
    with Running(first, Order(argv=("sleep", "1000"))) as running:
        assert running.receive().text == b"ready"
        running.control.send(b"go")
        running.send_signal(signal.SIGINT)
        first_words = running.receive().text
        assert (running.receive().text if first_words == b"filter" else first_words) == b"killed 2"


def test_a_stop_is_reported_and_the_command_goes_on(first: Implementation) -> None:
    with Running(first, Order(argv=("sh", "-c", "kill -STOP $$; exit 5"))) as running:
        running.start()
        assert running.receive().text == STOPPED
        running.send_signal(signal.SIGCONT)
        assert running.receive().text == b"exit 5"
        assert running.end()[0] == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_command_can_be_ended(first: Implementation, number: int) -> None:
    with Running(first, Order(argv=STOP_ITSELF)) as running:
        running.start()
        assert running.receive().text == STOPPED
        running.send_signal(number)
        assert running.receive().text == b"killed %d" % number


STUBBORN = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.wait()
"""


def test_a_command_that_will_not_end_is_killed_however_busy_it_is(first: Implementation) -> None:
    with Running(first, Order(argv=(*PYTHON, STUBBORN))) as running:
        running.start()
        assert running.line() == b"ready\n"
        begun = time.monotonic()
        running.send_signal(signal.SIGTERM)
        assert running.receive().text == b"killed 9"
        assert time.monotonic() - begun > 4.5
        assert running.end()[0] == 137


def test_what_the_command_leaves_behind_dies_with_it(first: Implementation) -> None:
    script = "setsid sleep 1000 & setsid sh -c 'trap \"\" TERM HUP INT; sleep 1000; sleep 1000' & exit 3"
    with Running(first, Order(argv=("sh", "-c", script))) as running:
        running.start()
        assert running.receive().text == b"exit 3"
        assert running.end()[0] == 3  # the pipes have ended: nobody holds them


def test_everything_dies_when_the_supervisor_is_gone(first: Implementation) -> None:
    with Running(first, Order(argv=("sh", "-c", "echo ready; setsid sleep 1000 & sleep 1000"))) as running:
        running.start()
        assert running.line() == b"ready\n"
        running.control.close()
        assert running.end() == (137, b"", b"")


def test_a_supervisor_that_is_gone_at_the_start_ends_it(first: Implementation) -> None:
    with Running(first, Order(argv=("echo", "started"))) as running:
        assert running.receive().text == b"ready"
        running.control.close()
        assert running.end() == (125, b"", b"")


def test_a_supervisor_that_has_gone_meanwhile_is_not_complained_about(first: Implementation) -> None:
    """It has said why; that nobody listens any more would be a second reason for the same."""
    with Running(first, Order(argv=("echo", "started"))) as running:
        running.control.close()
        assert running.end() == (125, b"", b"")


ORPHANS = """
import json, os, time
for _ in range(50):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.wait()
deadline = time.monotonic() + 60
others = None
while others != [] and time.monotonic() < deadline:
    others = [n for n in os.listdir("/proc") if n.isdecimal() and int(n) not in (1, os.getpid())]
print(json.dumps(others))
"""


def test_orphans_are_reaped(first: Implementation) -> None:
    assert ask(first, ORPHANS) == []


VALID = Order(argv=("echo", "started")).pairs()
BROKEN = {
    "empty": b"",
    "cut off in a value": encode(VALID)[:-1],
    "cut off in a key": encode(VALID)[: -len("16\0")],
    "a key without a value": encode(VALID) + b"argv\0",
    "only the end of one": b"\0",
    "two ends": b"\0\0",
    "unknown key": encode([*VALID, ("colour", "red")]),
    "variable without a value": encode([*VALID, ("env", "HOME")]),
    "variable without a name": encode([*VALID, ("env", "=x")]),
    "unknown limit": encode([*VALID, ("limit", "COLOUR=1")]),
    "limit without an amount": encode([*VALID, ("limit", "NPROC=")]),
    "limit that is no number": encode([*VALID, ("limit", "NPROC=many")]),
    "unknown scope": encode([*VALID, ("scope", "everything")]),
    "no filter for the command": encode([*VALID, ("filter_bytes", "0")]),
    "no filter for the first process": encode([*VALID, ("filter_bytes", "1000000")]),
    "filter size that is no number": encode([*VALID, ("filter_bytes", "all")]),
    **{f"without {key}": encode([p for p in VALID if p[0] != key]) for key in dict(VALID) if key != "env"},
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_order_that_is_not_understood_ends_it_before_it_begins(first: Implementation, name: str) -> None:
    with Running(first, Order(), data=BROKEN[name]) as running:
        assert running.receive().text == b""
        status, out, error = running.end()
        assert (status, out) == (125, b"")
        assert error.startswith(b"ringfence: cannot prepare the sandbox: ")
        assert error.count(b"\n") == 1


@pytest.mark.parametrize(
    "order",
    [
        Order(argv=("echo", "started"), cwd="/nowhere"),
        Order(argv=("",)),
        Order(argv=("echo", "started"), more=(("uid", "nobody"),)),
        Order(argv=("echo", "started"), program=b"\xff" * 8),
        Order(argv=("echo", "started"), program=b"\xff" * 7),
    ],
    ids=["no working directory", "no name", "no number", "no filter", "half a filter"],
)
def test_a_command_that_cannot_be_prepared(first: Implementation, order: Order) -> None:
    with Running(first, order) as running:
        assert running.receive().text == b"ready"
        running.control.send(b"go")
        first_words = running.receive().text
        assert (running.receive().text if first_words == b"filter" else first_words) == b"exit 125"
        status, out, error = running.end()
        assert (status, out) == (125, b"")
        assert error.startswith(b"ringfence: cannot start the command: ")


def test_a_first_process_that_cannot_load_its_own_filter_takes_the_command_along(first: Implementation) -> None:
    with Running(first, Order(argv=("sleep", "1000"), own_program=b"\xff" * 8)) as running:
        assert running.receive().text == b"ready"
        running.control.send(b"go")
        assert running.end()[0] == 125


def test_the_streams_are_the_commands(first: Implementation, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"hello")
    with text.open("rb") as stdin, Running(first, Order(argv=("cat",)), stdin=stdin.fileno()) as running:
        running.start()
        assert running.end() == (0, b"hello", b"")
