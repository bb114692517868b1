"""Sessions of the SDK: many commands in one boundary; each has its streams, limits, end and record; nothing is left.

Longer than 400 lines: what a user of a session relies on, in one place, as test_sdk.py has it for `Sandbox`.
"""

import asyncio
import gc
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ringfence import (
    CommandFailedError,
    CommandLimits,
    CommandTimeoutError,
    HostError,
    Policy,
    Sandbox,
    SandboxError,
    SandboxSession,
    UsageError,
)
from ringfence.audit.read import read
from ringfence.session import warm
from tests.attacks.arena import process_ids
from tests.integration.test_sdk import BEGUN_S, PATIENCE_S, runs_left
from tests.paths import wait_until

pytestmark = pytest.mark.require("bubblewrap", "userns")
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty directory to work in; programs come from the system only."""
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    place = tmp_path / "workspace"
    place.mkdir()
    return place


@pytest.fixture
def session(workspace: Path) -> Iterator[SandboxSession]:
    """Give an open session with the default policy."""
    with Sandbox(directory=workspace) as box, box.session() as found:
        yield found


def records(home: Path, kind: str) -> list[dict[str, object]]:
    """The audit's records of one kind: code and fields."""
    found = read(str(home / ".local/state/ringfence/audit"), kind=kind)
    return [{"code": one.code, "run": one.run, **one.fields} for one in found]


both = pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "shared"])

# ---- one command


@both
def test_a_command_runs_and_its_output_is_kept_apart(session: SandboxSession, fresh: bool) -> None:
    done = session.run(["sh", "-c", "echo out; echo err >&2; exit 3"], fresh=fresh)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    assert (done.command, done.run, done.denials) == (1, session.run_id, ())
    assert session.run(["true"], fresh=fresh).command == 2


@both
@pytest.mark.parametrize("data", [b"", b"\x00\xff", b"x" * (1 << 20)], ids=["nothing", "bytes", "much"])
def test_standard_input_goes_through(session: SandboxSession, data: bytes, fresh: bool) -> None:
    assert session.run(["cat"], input=data, fresh=fresh).stdout == data


def test_input_that_is_not_wanted_does_no_harm(session: SandboxSession) -> None:
    assert session.run(["true"], input=b"x" * (1 << 20)).returncode == 0


@both
def test_a_command_that_is_not_there(session: SandboxSession, fresh: bool) -> None:
    done = session.run(["no-such-command"], fresh=fresh)
    assert (done.returncode, done.stderr) == (127, b"ringfence: `no-such-command`: command not found\n")


@both
def test_a_signal_shows_in_the_status(session: SandboxSession, fresh: bool) -> None:
    with session.start(["sleep", "60"], fresh=fresh) as process:
        process.send_signal(signal.SIGUSR1)
        assert process.wait(PATIENCE_S) == 128 + signal.SIGUSR1


def test_a_group_that_ignores_sigterm_is_killed_in_the_end(session: SandboxSession) -> None:
    with session.start(["sh", "-c", "trap '' TERM; echo on; sleep 60 & wait; sleep 60"]) as process:
        assert process.stdout.readline() == b"on\n"
        process.terminate()
        assert process.wait(PATIENCE_S) == 137


@both
def test_environment_and_directory_are_the_commands_own(session: SandboxSession, workspace: Path, fresh: bool) -> None:
    (workspace / "below").mkdir()
    show = ["sh", "-c", "pwd; echo ${A-unset}"]
    assert session.run(show, env={"A": "1"}, cwd="below", fresh=fresh).text == f"{workspace}/below\n1\n"
    assert session.run(show, cwd=workspace / "below", fresh=fresh).text == f"{workspace}/below\nunset\n"
    assert session.run(show, fresh=fresh).text == f"{workspace}\nunset\n"
    missing = session.run(show, cwd="no-such", fresh=fresh)
    assert missing.returncode == 125 and b"no-such" in missing.stderr


def test_variables_of_the_session_reach_every_command(workspace: Path) -> None:
    with Sandbox(directory=workspace) as box, box.session(env={"A": "1"}) as session:
        assert session.run(["sh", "-c", "echo $A"]).text == "1\n"
        assert session.run(["sh", "-c", "echo $A"], env={"A": "2"}).text == "2\n"


def test_a_variable_that_a_secret_is_read_from_is_the_sessions(workspace: Path) -> None:
    """Given to a command it would be a value inside; given to the session it goes to the vault."""
    policy = Policy(
        {
            "network": {"allow": ["api.example.com"]},
            "secrets": {
                "service": {
                    "source": {"env": "SERVICE_TOKEN"},
                    "inject": [{"host": "api.example.com", "header": "authorization"}],
                    "variables": ["SERVICE_TOKEN"],
                }
            },
        }
    )
    value = "not-a-placeholder-3f9a7c"
    with Sandbox(policy, directory=workspace) as box, box.session(env={"SERVICE_TOKEN": value}) as session:
        with pytest.raises(UsageError, match="belongs to a secret"):
            session.run(["true"], env={"SERVICE_TOKEN": value})
        assert value not in session.run(["env"]).text


def test_a_time_out_ends_the_command_and_gives_what_it_wrote(session: SandboxSession) -> None:
    with pytest.raises(CommandTimeoutError) as raised:
        session.run(["sh", "-c", "echo early; sleep 300"], timeout_s=BEGUN_S)  # longer than any test may take
    assert (raised.value.completed.stdout, raised.value.completed.returncode) == (b"early\n", 137)
    assert session.run(["ps", "-ef"]).text.count("sleep") == 0


def test_check_raises(session: SandboxSession) -> None:
    with pytest.raises(CommandFailedError):
        session.run(["false"], check=True)


def test_lines_come_as_they_are_written(session: SandboxSession) -> None:
    lines = session.stream(["sh", "-c", "echo a; read x; echo b"])
    assert next(iter(lines)) == b"a\n"
    assert list(lines) == [b"b\n"]


@both
def test_leaving_a_stream_ends_its_command(session: SandboxSession, fresh: bool) -> None:
    lines = session.stream(["sh", "-c", "while :; do echo tick; sleep 0.01; done"], fresh=fresh)
    assert next(iter(lines)) == b"tick\n"
    del lines
    assert session.run(["ps", "-e", "-o", "args"], fresh=fresh).text.count("echo tick") == 0


@pytest.mark.parametrize("argv", ["echo", [1], ["a\0b"]], ids=["one word", "a number", "NUL"])
def test_what_is_no_command_is_refused(session: SandboxSession, argv: list[str]) -> None:
    with pytest.raises(UsageError):
        session.run(argv)
    assert session.run(["true"]).returncode == 0


def test_an_empty_command_is_refused(session: SandboxSession) -> None:
    with pytest.raises(UsageError, match="no command"):
        session.run([])


# ---- limits

LIMITS = (
    "import json, resource as r\n"
    "names = ('NPROC', 'CPU', 'FSIZE', 'NOFILE', 'DATA', 'CORE')\n"
    "found = {name: r.getrlimit(getattr(r, 'RLIMIT_' + name)) for name in names}\n"
    "print(json.dumps({**found, 'pid_max': int(open('/proc/sys/kernel/pid_max').read())}))\n"
)
NARROW = CommandLimits(processes=31, cpu_time_s=7, file_size_bytes=1000, open_files=30, process_memory_bytes=1 << 28)


@both
def test_limits_are_one_commands_own(session: SandboxSession, fresh: bool) -> None:
    found = json.loads(session.run([*PYTHON, LIMITS], limits=NARROW, fresh=fresh).text)
    wanted = {
        "NPROC": [31, 31],
        "CPU": [7, 7],
        "FSIZE": [1000, 1000],
        "NOFILE": [30, 30],
        "DATA": [1 << 28, 1 << 28],
        "CORE": [1, 1],
    }
    assert {name: found[name] for name in wanted} == wanted
    if fresh:  # a room that is shared was there before
        assert found["pid_max"] == 331  # the kernel keeps 300 numbers back
    after = json.loads(session.run([*PYTHON, LIMITS]).text)
    assert after["CPU"] != [7, 7] and after["pid_max"] > 331


def test_limits_are_never_wider_than_those_of_policy(workspace: Path) -> None:
    policy = Policy({"limits": {"open-files": 40, "cpu-time": "5s", "processes": 64}})
    wide = CommandLimits(processes=9999, cpu_time_s=900, open_files=1000)
    with Sandbox(policy, directory=workspace) as box, box.session() as session:
        found = json.loads(session.run([*PYTHON, LIMITS], limits=wide).text)
    assert (found["CPU"], found["NOFILE"]) == ([5, 5], [40, 40])
    assert found["pid_max"] <= 364 and found["NPROC"] == [56, 56]  # seven in eight


def test_one_command_cannot_have_every_process(workspace: Path) -> None:
    """The others of its session go on: a part is out of its reach."""
    bomb = (
        "import os, time\ntry:\n    while os.fork(): pass\nexcept OSError: print('full', flush=True)\ntime.sleep(60)\n"
    )
    policy = Policy({"limits": {"processes": 64}})
    with Sandbox(policy, directory=workspace) as box, box.session() as session:
        with session.start([*PYTHON, bomb]) as process:
            assert process.stdout.readline() == b"full\n"
            assert session.run(["echo", "still"], timeout_s=PATIENCE_S).text == "still\n"
        assert session.run(["ps", "-e", "-o", "pid"]).returncode == 0


def test_memory_in_private_places_counts(workspace: Path) -> None:
    """Files of a command's own /tmp are memory of the session, wherever the limit is enforced."""
    fill = "f = open('/tmp/full', 'wb')\nfor _ in range(120): f.write(b'x' * (1 << 20))\nprint('all')"
    policy = Policy({"limits": {"memory": "96MiB"}})
    with Sandbox(policy, directory=workspace) as box, box.session() as session:
        try:
            assert "all" not in session.run([*PYTHON, fill + "\nimport time; time.sleep(20)"]).text
        except SandboxError:
            pass  # the whole session has ended, which is as good


def test_more_commands_than_a_session_takes(session: SandboxSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "COMMANDS_AT_MOST", 1)
    with session.start(["sleep", "60"]), pytest.raises(HostError, match="commands of this session"):
        session.run(["true"])


# ---- many at once


def test_a_hundred_side_by_side(session: SandboxSession) -> None:
    async def one(number: int) -> str:
        done = await session.run_async(["sh", "-c", "cat; sleep 0.5"], input=str(number))
        return done.text

    async def act() -> list[str]:
        return list(await asyncio.gather(*(one(number) for number in range(100))))

    threads = threading.active_count()
    assert asyncio.run(act()) == [str(number) for number in range(100)]
    assert wait_until(lambda: threading.active_count() == threads)


def test_threads_may_share_a_session(session: SandboxSession) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda n=n: found.append(session.run(["echo", str(n)]).text)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(f"{n}\n" for n in range(20))


def test_the_loop_goes_on_meanwhile(session: SandboxSession) -> None:
    """The command ends only after turns of the loop that began it."""

    async def act() -> bool:
        waiting = ["sh", "-c", "until test -e go; do sleep 0.02; done"]
        task = asyncio.ensure_future(session.run_async(waiting, timeout_s=PATIENCE_S))
        for _ in range(10):
            await asyncio.sleep(0.02)
        ended_early = task.done()
        await session.run_async(["touch", "go"])
        await task
        return ended_early

    assert not asyncio.run(act())


def test_cancelling_ends_the_command_before_it_returns(session: SandboxSession) -> None:
    async def act() -> None:
        task = asyncio.ensure_future(session.run_async(["sh", "-c", "sleep 61 & sleep 61"]))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(act())
    assert not session.carried_out.warm.commands  # type: ignore[attr-defined]  # a `Serving`, which `Run` does not say


def test_a_time_out_in_asyncio(session: SandboxSession) -> None:
    with pytest.raises(CommandTimeoutError) as raised:
        asyncio.run(session.run_async(["sh", "-c", "echo early; sleep 300"], timeout_s=BEGUN_S))
    assert raised.value.completed.text == "early\n"


def test_lines_in_asyncio(session: SandboxSession) -> None:
    async def act() -> list[bytes]:
        return [line async for line in session.stream_async(["sh", "-c", "echo a; printf b"])]

    assert asyncio.run(act()) == [b"a\n", b"b"]


def test_it_works_under_anyio(workspace: Path) -> None:
    """Its scopes tell a cancellation again at every await; the command is gone all the same."""
    anyio = pytest.importorskip("anyio")

    async def act() -> str:
        with Sandbox(directory=workspace) as box:
            async with box.session() as session:
                with anyio.move_on_after(0.3):
                    await session.run_async(["sleep", "60"])
                assert not session.carried_out.warm.commands  # type: ignore[attr-defined]  # see above
                async with anyio.create_task_group() as group:
                    for _ in range(3):
                        group.start_soon(session.run_async, ["true"])
                return (await session.run_async(["echo", "after"])).text

    assert anyio.run(act, backend="asyncio") == "after\n"


# ---- the end, and the record


def test_changes_arrive_when_the_session_is_closed(session: SandboxSession, workspace: Path) -> None:
    session.run(["sh", "-c", "echo one > file"])
    assert session.run(["cat", "file"]).text == "one\n"  # the next command sees it
    assert not (workspace / "file").exists()
    finished = session.close()
    assert (workspace / "file").read_text() == "one\n"
    assert finished.ending is not None and finished.ending.applied == 1
    assert session.close() is finished


def test_a_closed_session_takes_no_command(session: SandboxSession) -> None:
    session.close()
    with pytest.raises(SandboxError, match="the session has ended"):
        session.run(["true"])


@both
def test_closing_ends_what_runs(session: SandboxSession, fresh: bool) -> None:
    process = session.start(["sh", "-c", "echo on; sleep 60"], fresh=fresh)
    assert process.stdout.readline() == b"on\n"
    session.close()
    assert process.wait(PATIENCE_S) == 137
    process.close()


def test_a_killed_first_process_ends_the_session_and_nobody_waits_for_ever(session: SandboxSession) -> None:
    process = session.start(["sleep", "60"])
    assert session.run(["true"]).returncode == 0
    os.kill(session.carried_out.supervisor.init, signal.SIGKILL)  # type: ignore[union-attr]  # it is open
    assert process.wait(PATIENCE_S) == 137
    process.close()
    session._session.thread.join(PATIENCE_S)
    with pytest.raises(SandboxError):
        session.run(["true"])


def test_nothing_is_left(workspace: Path) -> None:
    def held() -> tuple[list[str], int, set[int], list[str]]:
        left = runs_left()  # first: it waits for those that are ending
        gc.collect()  # what a traceback holds
        children = {pid for pid in process_ids() if parent(pid) == os.getpid()}
        return descriptors(), threading.active_count(), children, left

    def descriptors() -> list[str]:
        mine = []
        for name in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):  # the listing's own
                mine.append(os.readlink(f"/proc/self/fd/{name}"))
        return sorted(mine)

    def use() -> None:
        with Sandbox(directory=workspace) as box, box.session() as session:
            session.run(["sh", "-c", "sleep 60 & echo"])
            session.run(["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 &"], fresh=False)
            session.start(["sleep", "60"]).close()
            with pytest.raises(CommandTimeoutError):
                session.run(["sleep", "60"], timeout_s=0.1)
            asyncio.run(session.run_async(["true"]))

    use()
    before = held()
    use()
    assert held() == before


def parent(pid: int) -> int:
    """The parent of a process, 0 once it has gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def test_every_command_is_in_the_audit(session: SandboxSession, home: Path) -> None:
    session.run(["sh", "-c", "exit 4"])
    session.run(["sleep", "0"], cwd="..", fresh=False)
    with pytest.raises(CommandTimeoutError):
        session.run(["sleep", "60"], timeout_s=0.1)
    session.close()
    found = records(home, "command")
    assert {one["run"] for one in found} == {session.run_id}
    assert [(one["code"], one["command"]) for one in found] == [
        (code, number) for number in (1, 2, 3) for code in ("begun", "ended")
    ]
    assert (found[0]["argv"], found[0]["namespaces"], found[1]["exit"]) == (["sh", "-c", "exit 4"], "fresh", 4)
    assert (found[2]["namespaces"], found[5]["killed"]) == ("shared", 9)
    assert len(records(home, "launch")) == len(records(home, "exit")) == 1


@both
def test_a_denial_belongs_to_its_command(session: SandboxSession, home: Path, fresh: bool) -> None:
    connect = "import socket\ntry: socket.create_connection(('192.0.2.1', 80), 50)\nexcept OSError: pass"
    assert session.run(["true"], fresh=fresh).denials == ()
    assert session.run([*PYTHON, connect], fresh=fresh).denials == (("egress-denied", "192.0.2.1:80"),)
    assert session.run(["true"], fresh=fresh).denials == ()
    assert session.denials == (("egress-denied", "192.0.2.1:80"),)
    assert [one["command"] for one in records(home, "denial")] == [2]


def test_one_commands_flood_of_denials_hides_no_other(session: SandboxSession, home: Path) -> None:
    flood = "import socket\nfor _ in range(1500):\n    try: socket.socket(socket.AF_PACKET)\n    except OSError: pass"
    session.run([*PYTHON, flood])
    assert session.run([*PYTHON, flood.replace("1500", "1")]).denials != ()
    assert [one["command"] for one in records(home, "denial")].count(2) == 1
    assert [one["code"] for one in records(home, "limit")] == ["events"]


def test_no_denial_is_lost_where_descriptors_come_and_go(session: SandboxSession) -> None:
    """Numbers of listeners that have just been closed are given to new ones at once."""
    refused = [*PYTHON, "import socket\ntry: socket.socket(socket.AF_PACKET)\nexcept OSError: pass"]

    async def one(number: int) -> bool:
        if number % 2:
            with pytest.raises(CommandTimeoutError):
                await session.run_async(["sleep", "60"], timeout_s=0.01 * (number % 7))
            return True
        return bool((await session.run_async(refused, fresh=number % 3 != 0)).denials)

    async def act() -> list[bool]:
        return list(await asyncio.gather(*(one(number) for number in range(100))))

    assert all(asyncio.run(act()))


def test_policy_that_cannot_be_honoured_opens_nothing(workspace: Path) -> None:
    with Sandbox(Policy("version = 1\nnonsense = 1"), directory=workspace) as box, pytest.raises(UsageError):
        box.session()
    assert runs_left() == []
