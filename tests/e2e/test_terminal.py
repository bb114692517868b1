"""At a real terminal: keys, job control, window size, full-screen programs, and how the terminal is left behind."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.terminal import COLUMNS, CONTROL_BACKSLASH, CONTROL_C, CONTROL_D, CONTROL_Z, ROWS, TIMEOUT_S, Terminal
from tests.paths import wait_until
from tests.utility.confined import ENTRY, PATH, Place, places

Sit = Callable[..., Terminal]

pytestmark = [pytest.mark.require("setsid", "bash"), pytest.mark.timeout(400)]

# Without line editing the terminal stays in one mode: what is typed early is not lost between two.
SHELL = ("bash", "--norc", "--noprofile", "--noediting", "-i")
RUN = ("ringfence", "run", "--")
PROMPT = "outer> "

# Counts what a person's Ctrl-C sends; lives on until it is told to go. By a pipe: a handler of Python's would not be
# called for a signal that comes just before it waits.
COUNTER = r"""
import os, select, signal, sys
told, tell = os.pipe()
os.set_blocking(tell, False)
signal.signal(signal.SIGINT, lambda number, frame: None)
signal.set_wakeup_fd(tell)
taken = 0
print("ready", flush=True)
while True:
    ready = select.select([0, told], [], [])[0]
    for _ in os.read(told, 100) if told in ready else b"":
        taken += 1; os.write(1, b"taken %d\n" % taken)
    if 0 in ready and os.read(0, 100).startswith(b"go"):
        print("so far", taken, flush=True); sys.exit(5)
"""

RAW = """
import os, tty
tty.setraw(0)
os.write(1, b"ready")
os.write(1, b"".join(os.read(0, 1) for _ in range(4)).hex().encode())
"""

SIZE = r"""
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
print("first", *os.get_terminal_size(1), flush=True)
while signal.sigwait([signal.SIGWINCH]): os.write(1, b"now %d %d\n" % os.get_terminal_size(0))
"""


@pytest.fixture(params=["own", "ordinary"])
def place(request: pytest.FixtureRequest, open_path: Path) -> Iterator[Place]:
    """Give a workspace and a home; for root a second time, to an account without privileges."""
    yield from places(request.param, open_path)


@pytest.fixture
def sit(place: Place) -> Iterator[Sit]:
    """Give `sit("bash", "-i")`: a terminal with a program on it, for which `ringfence` is on PATH."""
    programs = place.root / "bin"
    programs.mkdir()
    wrapper = programs / "ringfence"
    wrapper.write_text(f'#!/bin/sh\nexec {place.command([])[0]} -P -c "{ENTRY}" "$@"\n')
    wrapper.chmod(0o755)
    environment = place.environment() | {
        "PATH": f"{programs}:{PATH}",
        "PWD": str(place.workspace),
        "PS1": PROMPT,
        "SHELL": "/bin/bash",
        "HISTFILE": "/dev/null",
    }
    with ExitStack() as stack:

        def sit_down(*argv: str) -> Terminal:
            terminal = Terminal(argv, directory=place.workspace, environment=environment, account=place.identity())
            return stack.enter_context(terminal)

        yield sit_down


def at_prompt(terminal: Terminal, line: str = "") -> None:
    """Wait for the outer shell's prompt; then type a line."""
    terminal.expect(PROMPT)
    if line:
        terminal.send(line + "\n")


def status_of_last(terminal: Terminal) -> int:
    """Ask the outer shell for the status of its last command."""
    at_prompt(terminal, 'echo "st""atus=$?"')
    return int(terminal.expect(r"status=(\d+)").group(1))


def in_front(terminal: Terminal, shell: int) -> None:
    """Wait until a shell has handed the terminal over to a job: a key that comes earlier is not the job's."""
    assert wait_until(lambda: terminal.foreground() != shell)


def test_all_three_streams_are_the_terminal(sit: Sit) -> None:
    terminal = sit(*RUN, "sh", "-c", "test -t 0 && test -t 1 && test -t 2 && echo yes; echo also >/dev/tty; exit 3")
    terminal.expect("yes")
    terminal.expect("also")
    assert terminal.wait() == 3


def test_lines_that_are_typed_arrive(sit: Sit) -> None:
    terminal = sit(*RUN, "cat")
    terminal.send("grüße\n")
    terminal.expect("grüße\r\n")
    terminal.expect("grüße\r\n")
    terminal.send(CONTROL_D)
    assert terminal.wait() == 0


def test_window_size_and_its_changes(sit: Sit) -> None:
    terminal = sit(*RUN, "/usr/bin/python3", "-c", SIZE)
    terminal.expect(f"first {COLUMNS} {ROWS}")
    terminal.resize(50, 77)
    terminal.expect("now 77 50")
    terminal.resize(10, 20)
    terminal.expect("now 20 10")


def test_control_c_arrives_once_and_the_run_goes_on(sit: Sit) -> None:
    terminal = sit(*RUN, "/usr/bin/python3", "-c", COUNTER)
    terminal.expect("ready")
    for count in (1, 2, 3):
        terminal.send(CONTROL_C)
        terminal.expect(f"taken {count}")
    terminal.send("go\n")
    terminal.expect("so far 3")
    assert terminal.wait() == 5


@pytest.mark.parametrize(("key", "status"), [(CONTROL_C, 130), (CONTROL_BACKSLASH, 131)], ids=["C", "backslash"])
def test_a_key_ends_a_command_that_does_not_care(key: bytes, status: int, sit: Sit) -> None:
    terminal = sit(*SHELL)
    at_prompt(terminal, "ringfence run -- sh -c 'echo re''ady; exec sleep 300'")
    terminal.expect("ready")
    terminal.send(key)
    assert status_of_last(terminal) == status


def test_an_interpreter_at_its_prompt(sit: Sit) -> None:
    terminal = sit(*RUN, "/usr/bin/python3", "-q")
    terminal.expect(">>> ")
    terminal.insist(CONTROL_C, "KeyboardInterrupt")
    terminal.insist(b"6 * 7\n", "42")  # a second Ctrl-C, where the first has come late, takes what was typed along
    terminal.send("while True: pass\n\n")
    terminal.expect(r"\.\.\. ")
    terminal.insist(CONTROL_C, "KeyboardInterrupt")
    terminal.insist(b"6 * 7\n", "42")
    terminal.send("exit(4)\n")
    assert terminal.wait() == 4


def test_stop_and_continue_under_a_shell(sit: Sit) -> None:
    terminal = sit(*SHELL)
    at_prompt(terminal, "ringfence run -- cat")
    terminal.send("one\n")
    terminal.expect("one\r\none\r\n")
    terminal.send(CONTROL_Z)
    terminal.expect("Stopped")
    at_prompt(terminal, "echo shell-$((40 + 2))")
    terminal.expect("shell-42")
    at_prompt(terminal, "fg")
    terminal.expect("ringfence run")
    terminal.send("two\n")
    terminal.expect("two\r\ntwo\r\n")
    terminal.send(CONTROL_D)
    assert status_of_last(terminal) == 0


def test_stopped_and_continued_twice_then_interrupted(sit: Sit) -> None:
    terminal = sit(*SHELL)
    at_prompt(terminal, "ringfence run -- sh -c 'echo re''ady; exec sleep 300'")
    terminal.expect("ready")
    for _ in range(2):
        terminal.insist(CONTROL_Z, "Stopped")  # what comes before a job goes on, its going on takes away
        at_prompt(terminal, "fg")
        terminal.expect("fg\r\n.*ringfence run.*\r\n")
        in_front(terminal, terminal.process.pid)
    terminal.send(CONTROL_C)
    assert status_of_last(terminal) == 130


def test_continued_in_the_background(sit: Sit) -> None:
    program = (
        "import signal as s; s.pthread_sigmask(s.SIG_BLOCK, [s.SIGCONT]); print('re' + 'ady', flush=True); "
        "s.sigwait([s.SIGCONT]); print('do' + 'ne')"
    )
    terminal = sit(*SHELL)
    # Not a loop of a shell: one that is stopped between vfork and exec of a child hangs, with or without us.
    at_prompt(terminal, f'ringfence run -- /usr/bin/python3 -c "{program}"')
    terminal.expect("ready")
    terminal.send(CONTROL_Z)
    terminal.expect("Stopped")
    at_prompt(terminal, "bg; wait")
    terminal.expect("done")
    at_prompt(terminal)


def test_started_in_the_background(sit: Sit) -> None:
    terminal = sit(*SHELL)
    at_prompt(terminal, "ringfence run -- sh -c 'echo from-be''low' & wait $!")
    terminal.expect("from-below")
    assert status_of_last(terminal) == 0
    at_prompt(terminal, "ringfence run -- cat & sleep 1; jobs")  # reading from the background stops a job
    terminal.expect(r"Stopped|\[\d\]\+")
    at_prompt(terminal, "fg")
    terminal.expect("ringfence run -- cat\r\n")
    terminal.send("hello\n")
    terminal.expect("hello\r\nhello\r\n")
    terminal.send(CONTROL_D)
    assert status_of_last(terminal) == 0


def test_shell_with_job_control(sit: Sit) -> None:
    terminal = sit(*SHELL)
    at_prompt(terminal, "ringfence shell -- bash --norc --noprofile --noediting -i")
    terminal.expect(r"bash-[\d.]+\$ ")
    assert b"no job control" not in terminal.screen
    assert b"cannot set terminal process group" not in terminal.screen
    shell = terminal.foreground()
    terminal.send("sleep 300 & jobs\n")
    terminal.expect("Running +sleep 300")
    terminal.send("fg\n")
    terminal.expect("sleep 300\r\n")
    in_front(terminal, shell)
    terminal.insist(CONTROL_Z, "Stopped +sleep 300")
    terminal.expect(r"bash-[\d.]+\$ ")
    terminal.send("fg\n")
    terminal.expect("sleep 300\r\n")
    in_front(terminal, shell)
    terminal.send(CONTROL_C)
    terminal.expect(r"bash-[\d.]+\$ ")
    terminal.send("echo inner-$((1 + 1)); exit 7\n")
    terminal.expect("inner-2")
    assert status_of_last(terminal) == 7
    at_prompt(terminal, "echo outer-$((1 + 1))")
    terminal.expect("outer-2")


def test_terminal_settings_after_a_command_killed_in_raw_mode(sit: Sit) -> None:
    terminal = sit(
        "sh",
        "-c",
        'echo re""ady; read x; ringfence run -- sh -c "stty raw -echo; kill -9 \\$\\$"; echo af""ter; read y',
    )
    terminal.expect("ready")
    before = terminal.attributes()
    terminal.send("\n")
    terminal.expect("after")
    assert terminal.attributes() == before
    terminal.send("visible\n")
    terminal.expect("visible")
    assert terminal.wait() == 0


def test_terminal_settings_after_the_supervisor_is_ended(sit: Sit) -> None:
    terminal = sit(*SHELL)
    at_prompt(
        terminal,
        "stty -a >../before; ringfence run -- sh -c 'stty raw -echo; echo re''ady; exec sleep 300' & sleep 0; fg",
    )
    terminal.expect("ready")
    os.killpg(terminal.foreground(), signal.SIGTERM)
    at_prompt(terminal, "stty -a | cmp - ../before && echo sa''me")
    terminal.expect("same")


def test_foreground_is_given_back(sit: Sit) -> None:
    inner = "bash --norc --noprofile -ic true"
    terminal = sit("sh", "-c", f"ringfence run -- {inner}; echo re''ady; read x; echo got-$x")
    terminal.expect("ready")
    assert terminal.foreground() == terminal.process.pid
    terminal.send("line\n")
    terminal.expect("got-line")
    assert terminal.wait() == 0


def test_foreground_is_given_back_after_an_inner_shell_was_killed(sit: Sit) -> None:
    inner = "bash --norc --noprofile -ic 'kill -9 \\$\\$'"
    terminal = sit("sh", "-c", f"ringfence run -- {inner}; echo re''ady; read x; echo got-$x")
    terminal.expect("ready")
    terminal.send("line\n")
    terminal.expect("got-line")


def test_output_into_a_pager(sit: Sit) -> None:
    terminal = sit(*SHELL)
    at_prompt(terminal, "ringfence run -- sh -c 'test -t 0 && test ! -t 1 && seq 500' | LESS= less")
    terminal.shows(f"(?m)^{ROWS - 1} *$")
    terminal.send("G")
    terminal.shows("(?m)^500 *$")
    terminal.send("q")
    at_prompt(terminal, "echo af''ter")
    terminal.expect("after")


@pytest.mark.require("less")
def test_a_pager_inside(sit: Sit) -> None:
    terminal = sit(*SHELL)
    at_prompt(terminal, "ringfence run -- sh -c 'seq 500 | less'")
    terminal.shows(f"(?m)^{ROWS - 1} *$")
    terminal.send("/^345$\n")
    terminal.shows("(?m)^345 *$")
    terminal.send("q")
    assert status_of_last(terminal) == 0


@pytest.mark.require("vim")
def test_an_editor_inside(sit: Sit, place: Place) -> None:
    terminal = sit(*RUN, "vim", "-u", "NONE", "-N", "note")
    terminal.expect("note")
    terminal.send("ihello\x1b:wq\r")
    assert terminal.wait() == 0
    assert (place.workspace / "note").read_text() == "hello\n"


def test_raw_mode_passes_control_keys(sit: Sit) -> None:
    terminal = sit(*RUN, "/usr/bin/python3", "-c", RAW)
    terminal.expect("ready")
    terminal.send(CONTROL_C + CONTROL_Z + CONTROL_BACKSLASH + CONTROL_D)
    terminal.expect("031a1c04")
    assert terminal.wait() == 0


def test_a_password_is_asked_for_without_echo(sit: Sit) -> None:
    terminal = sit(*RUN, "/usr/bin/python3", "-c", "import getpass; print(len(getpass.getpass('secret: ')))")
    terminal.expect("secret: ")
    terminal.send("hidden\n")
    terminal.expect("6")
    assert terminal.wait() == 0
    assert b"hidden" not in terminal.screen


def test_a_terminal_of_its_own(sit: Sit) -> None:
    terminal = sit(*RUN, "script", "-qec", "stty size", "/dev/null")
    terminal.expect(f"{ROWS} {COLUMNS}")
    assert terminal.wait() == 0


def test_closing_the_window_ends_the_run(sit: Sit) -> None:
    terminal = sit(*RUN, "sh", "-c", "echo ready; sleep 300; sleep 300")
    terminal.expect("ready")
    terminal.hang_up()
    assert terminal.process.wait(TIMEOUT_S) != 0


def test_no_way_to_type_into_the_terminal(sit: Sit) -> None:
    program = "import fcntl, termios\ntry: fcntl.ioctl(0, termios.TIOCSTI, b'x')\nexcept OSError as e: print('refused')"
    terminal = sit(*RUN, "/usr/bin/python3", "-c", program)
    terminal.expect("refused")
    assert terminal.wait() == 0
