"""The SDK: commands run, stream, end and are recorded; errors say whose they are; nothing is left behind.

Longer than 400 lines: what a user of `Sandbox` relies on, in one place; async, cache and examples stand apart.
"""

import ast
import os
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import ringfence
from ringfence import (
    CommandFailedError,
    CommandTimeoutError,
    Completed,
    HostError,
    Policy,
    RingfenceError,
    Sandbox,
    SandboxError,
    UsageError,
)

PYTHON = ("/usr/bin/python3", "-I", "-S", "-u", "-c")
PATIENCE_S = 60.0
BEGUN_S = 6.0  # a time limit that a command has begun within, however busy the machine is
pytestmark = pytest.mark.require("bubblewrap", "userns")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty directory to work in; programs come from the system only."""
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    place = tmp_path / "workspace"
    place.mkdir()
    return place


@pytest.fixture
def box(workspace: Path) -> Sandbox:
    """Give a sandbox with the default policy."""
    return Sandbox(directory=workspace)


# ---- run


def test_a_command_runs_and_its_output_is_kept_apart(box: Sandbox) -> None:
    done = box.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (done.args, done.returncode) == (("sh", "-c", "echo out; echo err >&2; exit 3"), 3)
    assert (done.stdout, done.stderr, done.text) == (b"out\n", b"err\n", "out\n")
    assert (done.denials, done.held, done.applied) == ((), (), 0)


@pytest.mark.parametrize(
    "data", [b"", b"\x00\xff", "\N{SNOWMAN}", b"x" * (1 << 20)], ids=["nothing", "bytes", "text", "much"]
)
def test_input_arrives_whole(box: Sandbox, data: bytes | str) -> None:
    wanted = data.encode() if isinstance(data, str) else data
    assert box.run(["cat"], input=data).stdout == wanted


def test_a_command_that_does_not_read_its_input_is_no_error(box: Sandbox) -> None:
    assert box.run(["true"], input=b"x" * (1 << 20)).returncode == 0


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137), ("no-such", 127)]
)
def test_the_status_is_the_commands_own(box: Sandbox, script: str, status: int) -> None:
    assert box.run(["sh", "-c", script]).returncode == status


def test_check_raises_for_a_failure_and_only_then(box: Sandbox) -> None:
    assert box.run(["true"], check=True).returncode == 0
    with pytest.raises(CommandFailedError, match="`false` ended with status 1") as raised:
        box.run(["false"], check=True)
    assert raised.value.completed.returncode == 1


def test_a_timeout_ends_the_command_and_keeps_its_output(box: Sandbox) -> None:
    began = time.monotonic()
    with pytest.raises(CommandTimeoutError, match=r"`sh` was ended after 6\.0 s") as raised:
        box.run(["sh", "-c", "echo early; trap '' TERM; sleep 300 & wait; sleep 300"], timeout_s=BEGUN_S)
    assert time.monotonic() - began < 100
    assert (raised.value.completed.stdout, raised.value.completed.returncode) == (b"early\n", 137)
    assert isinstance(raised.value, TimeoutError)


def test_variables_reach_the_command_and_our_own_do_not(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "canary")
    text = box.run(["env"], env={"GIVEN": "a=b c"}).text
    assert "GIVEN=a=b c\n" in text and "canary" not in text


def test_changes_are_applied_and_counted(box: Sandbox, workspace: Path) -> None:
    done = box.run(["sh", "-c", "echo one > a; echo two > b"])
    assert done.applied >= 2
    assert (workspace / "a").read_text() == "one\n"


def test_what_may_not_reach_the_host_is_named(box: Sandbox, workspace: Path) -> None:
    done = box.run(["sh", "-c", "mkdir .vscode; echo '{}' > .vscode/settings.json"])
    assert not (workspace / ".vscode/settings.json").exists()
    assert any(path.startswith(".vscode") and reason for path, reason in done.held)


def test_denials_are_named(box: Sandbox) -> None:
    call = "import ctypes; ctypes.CDLL(None).unshare(0x10000000)"
    done = box.run(["/usr/bin/python3", "-I", "-c", call])
    assert done.returncode == 0
    assert [target for _, target in done.denials] == ["unshare"]


def test_every_run_is_in_the_audit(box: Sandbox, home: Path) -> None:
    done = box.run(["true"])
    assert done.run in (home / ".local/state/ringfence/audit/audit.jsonl").read_text()


# ---- policy


def test_a_policy_given_as_mappings_is_in_force(workspace: Path) -> None:
    (workspace / ".env").write_text("secret")
    policy = Policy(
        {"filesystem": {"deny-read": [".env"]}, "env": {"set": {"GIVEN": "1"}}, "limits": {"open-files": 20}}
    )
    done = Sandbox(policy, directory=workspace).run(["sh", "-c", "cat .env; echo $GIVEN; ulimit -n"])
    assert done.text == "1\n20\n"
    assert b"secret" not in done.stderr


def test_a_policy_given_as_a_file_is_in_force(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('version = 1\n[env]\nset = { GIVEN = "from file" }\n')
    assert Sandbox(Policy.from_file(file), directory=workspace).run(["sh", "-c", "echo $GIVEN"]).text == "from file\n"


@pytest.mark.parametrize(
    ("mode", "arrives", "status"), [("overlay", True, 0), ("direct", True, 0), ("readonly", False, 2)]
)
def test_the_workspaces_mode_is_the_callers_choice(workspace: Path, mode: str, *, arrives: bool, status: int) -> None:
    done = Sandbox(directory=workspace, workspace=mode).run(["sh", "-c", "echo x > made"])
    assert (done.returncode, (workspace / "made").exists()) == (status, arrives)


def test_changes_can_be_kept_for_later(workspace: Path) -> None:
    done = Sandbox(directory=workspace, apply="ask").run(["sh", "-c", "echo x > made"])
    assert (done.returncode, done.applied, (workspace / "made").exists()) == (0, 0, False)


def test_the_users_policy_counts_unless_told_otherwise(workspace: Path, home: Path) -> None:
    file = home / ".config/ringfence/policy.toml"
    file.parent.mkdir(parents=True)
    file.write_text('version = 1\n[env]\nset = { FROM_USER = "1" }\n')
    words = ["sh", "-c", "echo [$FROM_USER]"]
    assert Sandbox(directory=workspace).run(words).text == "[1]\n"
    assert Sandbox(directory=workspace, user_policy=False).run(words).text == "[]\n"


# ---- errors


@pytest.mark.parametrize(
    ("policy", "place", "message"),
    [
        (Policy({"limits": {"memroy": "1GiB"}}), "Policy:3", "unknown key `memroy`"),
        (Policy('version = 1\n[limits]\n\nmemory = "much"\n'), "Policy:4", "memory"),
        (Policy("version = 1\n["), "Policy:2", "not valid TOML"),
        (Policy("[limits]"), "Policy:1", "`version` is missing"),
    ],
)
def test_a_mistake_in_a_policy_is_told_with_its_place(
    workspace: Path, policy: Policy, place: str, message: str
) -> None:
    marker = workspace / "ran"
    with pytest.raises(UsageError) as raised:
        Sandbox(policy, directory=workspace, workspace="direct").run(["touch", "ran"])
    assert raised.value.place == place and message in str(raised.value)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("echo hello", "list of words"),
        ([], "no command"),
        (["echo", 3], "words"),
        (["a\0b"], "NUL"),
        (["echo", b"x"], "words"),
    ],
)
def test_a_bad_command_is_refused(box: Sandbox, argv: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        box.run(argv)


def test_a_bad_variable_is_refused(box: Sandbox) -> None:
    for name, value in (("A=B", "c"), ("", "c"), ("A", "b\0c"), ("A\0B", "c")):
        with pytest.raises(UsageError):
            box.run(["true"], env={name: value})


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a directory"):
        Sandbox(directory=tmp_path / "missing").run(["true"])


def test_the_home_directory_is_refused(home: Path) -> None:
    with pytest.raises(UsageError, match="the workspace"):
        Sandbox(directory=home).run(["true"])


def test_a_policy_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read policy") as raised:
        Policy.from_file(tmp_path / "missing.toml")
    assert raised.value.place == str(tmp_path / "missing.toml")


def test_a_value_that_no_policy_can_hold_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot hold a float"):
        Policy({"limits": {"memory": 1.5}})


def test_every_error_of_ours_has_one_root() -> None:
    for kind in (UsageError, HostError, SandboxError, ringfence.InternalError):
        assert issubclass(kind, RingfenceError)
    for end in (CommandFailedError, CommandTimeoutError):
        assert not issubclass(end, RingfenceError)  # the command's end is no error of ours


# ---- streams and processes


def test_lines_arrive_as_they_are_written(box: Sandbox, workspace: Path) -> None:
    """The command waits for a file that is written only once its first line has been seen."""
    os.mkfifo(workspace / "go")
    code = "print('first'); open('go').read(); print('second')"
    with Sandbox(directory=workspace, workspace="direct") as direct:
        lines = direct.stream([*PYTHON, code])
        assert next(lines) == b"first\n"
        (workspace / "go").write_text("")
        assert list(lines) == [b"second\n"]


def test_a_stream_that_is_dropped_ends_its_command(box: Sandbox) -> None:
    lines = box.stream(["sh", "-c", "while :; do echo tick; sleep 0.01; done"])
    assert next(lines) == b"tick\n"
    assert isinstance(lines, Generator)
    lines.close()
    assert not runs_left()


def test_a_conversation_with_a_process(box: Sandbox) -> None:
    with box.start([*PYTHON, "for line in open(0): print(line.upper(), end='')"]) as process:
        assert process.poll() is None and process.running
        process.stdin.write(b"one\n")
        assert process.stdout.readline() == b"ONE\n"
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0
        assert (process.poll(), process.running, process.finished.status) == (0, False, 0)


def test_waiting_gives_up_when_told_to(box: Sandbox) -> None:
    with box.start(["sleep", "60"]) as process, pytest.raises(TimeoutError, match="still running"):
        process.wait(0.1)


@pytest.mark.parametrize(("method", "status"), [("terminate", 143), ("kill", 137)])
def test_a_process_can_be_ended(box: Sandbox, method: str, status: int) -> None:
    with box.start([*PYTHON, "print('up'); import time; time.sleep(60)"]) as process:
        assert process.stdout.readline() == b"up\n"
        getattr(process, method)()
        assert process.wait(PATIENCE_S) == status


def test_a_signal_can_be_handled_inside(box: Sandbox) -> None:
    code = "import signal; signal.pthread_sigmask(0, [10]); print('up'); signal.sigwait([10]); print('got it')"
    with box.start([*PYTHON, code]) as process:
        assert process.stdout.readline() == b"up\n"
        process.send_signal(10)
        assert process.stdout.readline() == b"got it\n"
        assert process.wait(PATIENCE_S) == 0


def test_killing_at_once_is_not_lost(box: Sandbox) -> None:
    with box.start(["sleep", "60"]) as process:
        process.kill()
        assert process.wait(PATIENCE_S) == 137


def test_our_own_signals_are_left_alone(box: Sandbox) -> None:
    import signal

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ()), {n: signal.getsignal(n) for n in signal.valid_signals()}
    box.run(["true"])
    assert before == (
        signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        {n: signal.getsignal(n) for n in signal.valid_signals()},
    )


# ---- many, and afterwards


# Children of the test process that are no part of a run.
OTHERS = ("ringfence.cli.entry", "tests.integration.lab")


def runs_left() -> list[str]:
    """The threads that serve runs and the children of this process; other suites have command lines running."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        left = [thread.name for thread in threading.enumerate() if thread.name.startswith("ringfence")]
        for task in Path("/proc/self/task").glob("*/children"):
            left += [pid for pid in task.read_text().split() if not any(name in words(pid) for name in OTHERS)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def words(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def descriptors() -> set[str]:
    """What this process has open; that of the listing itself is gone again."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            continue
    return found


def run_directories(home: Path) -> list[str]:
    return [path.name for path in (home / ".local/state/ringfence/runs").glob("[!.]*")]


def test_nothing_is_left_behind(box: Sandbox, workspace: Path, home: Path) -> None:
    box.run(["true"])  # imports, and files that are kept open, are not charged to the runs
    before, threads = descriptors(), threading.active_count()
    with box:
        box.run(["cat"], input=b"data")
        list(box.stream(["echo", "line"]))
        with pytest.raises(CommandTimeoutError):
            box.run(["sleep", "60"], timeout_s=0.2)
        box.start(["sleep", "60"])
        box.start(["sh", "-c", "setsid sleep 60 & wait"])
    assert runs_left() == []
    assert descriptors() - before == set()
    assert threading.active_count() == threads
    assert run_directories(home) == []
    assert list(workspace.iterdir()) == []


def test_an_error_before_the_start_leaves_nothing_behind(workspace: Path, home: Path) -> None:
    box = Sandbox(Policy({"nonsense": {}}), directory=workspace)
    before, threads = descriptors(), threading.active_count()
    for _ in range(3):
        with pytest.raises(UsageError):
            box.run(["true"])
    assert descriptors() - before == set()
    assert threading.active_count() == threads
    assert run_directories(home) == []


def test_twenty_commands_at_once_do_not_meet(box: Sandbox, workspace: Path, home: Path) -> None:
    code = """
import os, sys
open(f"made-{sys.argv[1]}", "w").write(sys.argv[1])
print(sys.argv[1], *sorted(os.listdir("/proc/self/fd")))
"""

    def act(number: int) -> Completed:
        return box.run([*PYTHON, code, str(number)], input=str(number))

    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(act, range(20)))
    assert [done.text.split()[0] for done in found] == [str(number) for number in range(20)]
    assert {tuple(done.text.split()[1:]) for done in found} == {("0", "1", "2", "3")}  # 3 is the listing itself
    assert len({done.run for done in found}) == 20
    assert sorted(path.name for path in workspace.iterdir()) == sorted(f"made-{number}" for number in range(20))
    assert runs_left() == []
    assert set(run_directories(home)) == {done.run for done in found}  # kept for `ringfence rollback`


# ---- the names


def test_the_public_names_are_the_same_to_tools_and_at_run_time() -> None:
    """What `__all__` lists, what a type checker sees, and what can be reached: one set."""
    source = Path(ringfence.__file__).read_text()
    seen = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            seen |= {alias.asname or alias.name for alias in node.names}
    assert set(ringfence.__all__) == seen == set(ringfence._PLACES)
    assert len(ringfence.__all__) == len(set(ringfence.__all__))
    for name in ringfence.__all__:
        found = getattr(ringfence, name)
        assert found.__name__ == name and found.__doc__
    with pytest.raises(AttributeError, match="no name `nonsense`"):
        _ = ringfence.nonsense
