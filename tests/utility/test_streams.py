"""What a command and its caller say to each other: words, environment, streams, signals, exit status."""

import hashlib
import os
import select
import signal
import subprocess

import pytest

from tests.utility.confined import TIMEOUT_S, Item, Place, carry_out, items, said

STATUSES = (0, 1, 2, 3, 42, 63, 64, 100, 123, 124, 125, 126, 127, 128, 129, 130, 137, 141, 143, 192, 200, 254, 255)
DEADLY = ("HUP", "INT", "QUIT", "ILL", "ABRT", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "XCPU")
FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
STREAM_BYTES = 50_000_000


@pytest.mark.parametrize("item", items("streams"), ids=lambda item: item.name)
def test_streams(item: Item, place: Place) -> None:
    carry_out(item, place)


@pytest.mark.parametrize("status", STATUSES)
def test_exit_status_is_exact(status: int, place: Place) -> None:
    done = place.run(["sh", "-c", f"exit {status}"])
    assert done.returncode == status, said(done)
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.mark.parametrize("name", DEADLY)
def test_death_by_signal_is_a_status(name: str, place: Place) -> None:
    done = place.run(["sh", "-c", f"kill -{name} $$; sleep 5"])
    assert done.returncode == 128 + signal.Signals[f"SIG{name}"], said(done)


def wait_for_line(process: subprocess.Popen[bytes]) -> bytes:
    """Give the first line that a contained command prints; fail after a time."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], TIMEOUT_S)[0]
    return process.stdout.readline()


@pytest.mark.parametrize("number", FORWARDED, ids=lambda number: number.name)
def test_signal_reaches_the_command(number: signal.Signals, place: Place) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo got; exit 7' {name}; echo ready; while :; do sleep 0.05; done"
    with place.start(["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert wait_for_line(process) == b"ready\n"
        process.send_signal(number)
        rest, _ = process.communicate(timeout=TIMEOUT_S)
        assert (rest, process.returncode) == (b"got\n", 7)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_signal_ends_a_command_that_does_not_care(number: signal.Signals, place: Place) -> None:
    with place.start(
        ["sh", "-c", "echo ready; exec sleep 300"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert wait_for_line(process) == b"ready\n"
        process.send_signal(number)
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode in (128 + number, -number)


def test_a_signal_that_is_handled_does_not_end_the_run(place: Place) -> None:
    script = "n=0; trap 'n=$((n+1)); echo $n; test $n = 3 && exit 5' INT; echo ready; while :; do sleep 0.02; done"
    with place.start(["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert wait_for_line(process) == b"ready\n"
        for count in (b"1\n", b"2\n", b"3\n"):
            process.send_signal(signal.SIGINT)
            assert wait_for_line(process) == count
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 5


def test_outputs_stay_apart_and_nothing_is_added(place: Place) -> None:
    done = place.run(["sh", "-c", "echo out; echo err >&2; printf 'no newline'"])
    assert (done.stdout, done.stderr, done.returncode) == (b"out\nno newline", b"err\n", 0)


def test_every_byte_passes_both_ways(place: Place) -> None:
    data = os.urandom(1 << 20) * (STREAM_BYTES >> 20)
    done = place.run(["cat"], data=data)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    assert done.returncode == 0, said(done)


def test_every_byte_passes_on_standard_error(place: Place) -> None:
    data = bytes(range(256)) * 40_000
    done = place.run(["sh", "-c", "cat >&2"], data=data)
    assert done.stderr == data


def test_arguments_pass_as_they_are(place: Place) -> None:
    words = ["", "-x", "--", "a b", "a\nb", "é🦀", "*", "$HOME", "'\"\\", "@file:0", "@source:1", "x" * 100_000]
    done = place.run(["/usr/bin/python3", "-c", "import sys; print(ascii(sys.argv[1:]))", *words])
    assert done.stdout.decode().strip() == ascii(words), said(done)


def test_arguments_that_are_not_utf_8_pass(place: Place) -> None:
    done = place.run(["printf", "%s", os.fsdecode(b"na\xefve")])
    assert done.stdout == b"na\xefve"


def test_flags_of_the_command_are_its_own(place: Place) -> None:
    words = place.command(["x"])
    done = place.on_host(
        [*words[: words.index("--")], "python3", "-c", "import sys; print(sys.argv)", "-C", "--policy", "--"],
        start="ws",
    )
    assert done.stdout == b"['-c', '-C', '--policy', '--']\n", said(done)


def test_a_variable_passes_by_option(place: Place) -> None:
    words = place.command(["sh", "-c", 'echo "$GREETING"'], ["--env", "GREETING"])
    assert place.on_host(["env", "GREETING=hello world", *words], start="ws").stdout == b"hello world\n"


def pipeline(place: Place, script: str, argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run `script` on the host as the account; the words of a contained command are its arguments."""
    return place.on_host(["bash", "-c", script, "bash", *place.command(argv)], start="ws")


def test_streams_open_by_name(place: Place) -> None:
    script = "echo o >/dev/stdout; echo e >/dev/stderr; cat /dev/stdin; echo f | tee /dev/stderr >/dev/null"
    done = pipeline(place, 'echo i | "$@" 2>&1 | cat', ["sh", "-euc", script])
    assert sorted(done.stdout.split()) == [b"e", b"f", b"i", b"o"], said(done)


def test_redirections_to_files(place: Place) -> None:
    done = pipeline(
        place, 'echo in >../in; "$@" <../in >../out 2>../err; cat ../out ../err', ["sh", "-c", "cat; echo err >&2"]
    )
    assert done.stdout == b"in\nerr\n", said(done)


def test_appending_to_a_file_by_name(place: Place, request: pytest.FixtureRequest) -> None:
    if place.account.pw_uid == 0:
        reason = "as root the file belongs to root and the command to an id of its own, so it cannot open it by name"
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    done = pipeline(place, 'echo a >../out; "$@" >>../out; cat ../out', ["sh", "-c", "echo b; echo c >>/dev/stdout"])
    assert done.stdout == b"a\nb\nc\n", said(done)


def test_a_reader_that_stops_early_ends_the_writer(place: Place) -> None:
    done = pipeline(place, '"$@" | head -n 1; echo ${PIPESTATUS[0]}', ["yes"])
    assert done.stdout == b"y\n141\n", said(done)


@pytest.mark.parametrize("closing", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closing: str, place: Place) -> None:
    done = pipeline(place, f'"$@" {closing}; echo $?', ["sh", "-c", "exit 9"])
    assert done.stdout == b"9\n", said(done)


def test_started_in_the_background(place: Place) -> None:
    done = pipeline(place, '"$@" & wait $!; echo $?', ["sh", "-c", "exit 6"])
    assert done.stdout == b"6\n", said(done)


def test_two_runs_in_one_pipeline(place: Place) -> None:
    done = pipeline(place, 'seq 1000 | "$@" | "$@" | tail -n 1', ["cat"])
    assert done.stdout == b"1000\n", said(done)


def test_output_appears_as_it_is_written(place: Place) -> None:
    with place.start(
        ["sh", "-c", "echo one; read x; echo $x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert wait_for_line(process) == b"one\n"
        rest, _ = process.communicate(b"two\n", timeout=TIMEOUT_S)
        assert rest == b"two\n"


def test_a_background_process_does_not_hold_the_pipe(place: Place) -> None:
    done = place.run(["sh", "-c", "sleep 300 & echo done"])  # which fails where it takes so long
    assert (done.stdout, done.returncode) == (b"done\n", 0)


def test_a_stale_pwd_is_ignored(place: Place) -> None:
    script = f'PWD={place.home} "$@"'
    done = pipeline(place, script, ["sh", "-c", "pwd -P"])
    assert done.stdout.decode().strip() == str(place.workspace), said(done)
