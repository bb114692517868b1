"""A run is the same whoever carries it out: its client, the resident supervisor, or a boundary of its pool.

Longer than 400 lines: one list of what must be the same, and of who is not served, for every path.
"""

import ctypes
import fcntl
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from ringfence.audit.read import Record, read
from ringfence.report import hardening
from ringfence.session import titles
from tests import paths
from tests.integration.resident_runs import TIMEOUT_S, UNANSWERED, Installation, answered

pytestmark = [pytest.mark.require("bubblewrap", "userns", "peer-pidfd"), pytest.mark.timeout(300)]
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")


@pytest.fixture(params=["cold", "supervised", "pooled", "native"])
def box(request: pytest.FixtureRequest, tmp_path: Path, home: Path) -> Iterator[Installation]:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    found = Installation(workspace, home, request.param)
    if request.param == "native":
        programs = tmp_path / "bin"
        programs.mkdir()
        shutil.copy2(request.getfixturevalue("native_client"), programs)
        found = Installation(workspace, home, "pooled", programs)
    with paths.ended(found.state):
        if found.taken == "pooled":
            found.stand_ready()
        else:
            found.make_ready()
        yield found


@pytest.fixture
def supervised(tmp_path: Path, home: Path) -> Iterator[Installation]:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    found = Installation(workspace, home, "supervised")
    with paths.ended(found.state):
        found.make_ready()
        yield found


def records(box: Installation) -> list[Record]:
    """The last run's records."""
    found = list(read(str(box.state / "audit")))
    last = [record for record in found if record.kind == "launch"][-1].run
    return [record for record in found if record.run == last]


@pytest.mark.parametrize("status", [0, 1, 2, 124, 125, 126, 127, 255])
def test_the_exit_status(box: Installation, status: int) -> None:
    assert box.run(["sh", "-c", f"exit {status}"]).returncode == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_death_by_a_signal(box: Installation, number: int) -> None:
    assert box.run(["sh", "-c", f"kill -{number} $$"]).returncode == 128 + number


def test_streams(box: Installation) -> None:
    data = os.urandom(3 << 20)
    done = box.run(["sh", "-c", "cat; echo complaint >&2"], data=data)
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"complaint\n")


def test_a_stream_ends_when_the_command_closes_it(box: Installation) -> None:
    """It does for the command; the client's own are the shell's to give, and stay open until it ends."""
    done = box.run(["sh", "-c", "exec >&- 2>&-; read x && test $x = on"], data=b"on\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(box: Installation, closed: str) -> None:
    words = " ".join(f"'{word}'" for word in box.words(["sh", "-c", "ls -l /proc/self/fd >seen; exit 5"]))
    settings = {"cwd": box.workspace, "env": box.environment(), "timeout": TIMEOUT_S}
    done = answered(lambda: subprocess.run(["sh", "-c", f"{words} {closed}"], **settings))  # type: ignore[call-overload]  # what Popen takes
    assert done.returncode == 5
    seen = (box.workspace / "seen").read_text()
    assert "lock" not in seen and "socket" not in seen


def test_a_command_that_is_not_there(box: Installation) -> None:
    done = box.run(["no-such-command"])
    assert (done.returncode, done.stderr) == (127, b"ringfence: `no-such-command`: command not found\n")


def test_the_environment_is_the_clients(box: Installation) -> None:
    done = box.run(["env"], ["--env", "MINE", "--env", "OTHER"], env=box.environment(MINE="first", LANG="de_DE.UTF-8"))
    assert b"MINE=first\n" in done.stdout and b"LANG=de_DE.UTF-8\n" in done.stdout
    done = box.run(["env"], ["--env", "MINE", "--env", "OTHER"], env=box.environment(OTHER="second"))
    assert b"MINE=" not in done.stdout and b"OTHER=second\n" in done.stdout


def test_variables_that_are_not_text(box: Installation) -> None:
    environment = {os.fsencode(name): os.fsencode(value) for name, value in box.environment().items()}
    done = box.run(["printenv", "LANG"], env={**environment, b"LANG": b"\xff\xfe"})
    assert done.stdout == b"\xff\xfe\n"


def test_where_it_works(box: Installation) -> None:
    below = box.workspace / "a" / "b"
    below.mkdir(parents=True)
    (box.workspace / ".git").mkdir()
    assert box.run(["pwd"], cwd=below).stdout.decode().strip() == str(below)
    assert box.run(["sh", "-c", "echo x >new"], cwd=below).returncode == 0
    assert (below / "new").read_text() == "x\n"


def test_changes_arrive_and_those_of_the_host_are_seen(box: Installation) -> None:
    (box.workspace / "from-host").write_text("old\n")  # after a boundary of the pool was built
    assert box.run(["sh", "-c", "cat from-host; echo new >from-inside"]).stdout == b"old\n"
    assert (box.workspace / "from-inside").read_text() == "new\n"


def test_what_is_recorded(box: Installation) -> None:
    began = time.time()
    assert box.run(["sh", "-c", "exit 3"]).returncode == 3
    found = records(box)
    kinds = [record.kind for record in found if record.kind != "lost"]
    assert (kinds[0], kinds[-1]) == ("launch", "exit")
    assert found[0].run[:15] >= time.strftime("%Y%m%d-%H%M%S", time.gmtime(began - 1))[:15]
    assert paths.wait_until(lambda: not (box.state / "runs" / found[0].run).exists())  # it goes after the answer


def test_a_denial_is_recorded(box: Installation) -> None:
    assert box.run([*PYTHON, "import socket; socket.socket(socket.AF_PACKET)"]).returncode == 1
    assert any(record.kind == "denial" for record in records(box))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT])
def test_signals_to_the_client_reach_the_command(box: Installation, number: int) -> None:
    script = f"trap 'echo got; exit 9' {int(number)}; echo ready; while :; do sleep 0.05; done"
    with box.begin(["sh", "-c", script]) as process:
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) == 9
        assert process.stdout and process.stdout.read() == b"got\n"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_what_whoever_starts_us_ignores_does_not_reach_the_command(box: Installation, number: int) -> None:
    """As nohup(1) and the background of a shell without job control have it."""
    script = "trap 'echo other; exit 3' TERM; echo begun; while :; do sleep 0.05; done"
    before = signal.signal(number, signal.SIG_IGN)
    try:
        process = box.begin(["sh", "-c", script], said=b"begun\n")
    finally:
        signal.signal(number, before)
    with process:
        process.send_signal(number)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, out) == (3, b"other\n")


def test_everything_ends_with_the_client(box: Installation) -> None:
    with box.begin(["sh", "-c", "echo ready; exec 2>/dev/null; sleep 1000 & wait"]) as process:
        process.kill()
        process.wait()
        assert process.stdout and process.stdout.read() == b""  # nobody holds it any more
    assert box.run(["true"], ["--no-user-policy"]).returncode == 0
    assert paths.wait_until(lambda: any(True for _ in read(str(box.state / "audit"), kind="lost")))


def test_no_descriptor_of_another_run_comes_in(box: Installation) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        done = box.run(["ls", "/proc/self/fd"], close_fds=False)
    finally:
        os.close(write)
        os.close(read)
    assert done.stdout.split() == [b"0", b"1", b"2", b"3"]


def test_errors_of_usage_are_told_by_the_client(box: Installation) -> None:
    cold = Installation(box.workspace, box.home, "cold")
    for options in (["--no-such-option"], ["--workspace", "wrong"], ["--policy", "absent.toml"]):
        words = cold.words(["true"], options)
        wanted = subprocess.run(words, cwd=box.workspace, env=cold.environment(), capture_output=True, timeout=60)
        found = subprocess.run(words, cwd=box.workspace, env=box.environment(), capture_output=True, timeout=60)
        assert wanted.returncode == 2
        assert (found.returncode, found.stdout, found.stderr) == (wanted.returncode, wanted.stdout, wanted.stderr)


def test_many_at_once(box: Installation) -> None:
    def one(number: int) -> tuple[int, bytes]:
        done = box.run(["sh", "-c", f"echo {number}; exit {number}"])
        return done.returncode, done.stdout

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(one, range(16))) == [(number, b"%d\n" % number) for number in range(16)]


# ------------------------------------------------------------------------------------------------ who is not served


def declined(box: Installation, **more: object) -> bool:
    """Whether the supervisor leaves a run to its client."""
    tries = 1 if more else 8
    return box.run(["true"], tries=tries, **more).returncode == UNANSWERED  # type: ignore[arg-type]  # what Popen takes


def test_the_supervisor_serves_those_like_it(supervised: Installation) -> None:
    assert not declined(supervised)


def test_another_mask_limit_or_priority_is_not_served(supervised: Installation) -> None:
    assert declined(supervised, preexec_fn=lambda: os.umask(0o077 ^ os.umask(0)))
    assert declined(supervised, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)))
    if os.nice(0) < 19:  # there is none below
        assert declined(supervised, preexec_fn=lambda: os.nice(1))
    if len(os.sched_getaffinity(0)) > 1:
        assert declined(supervised, preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}))
    assert declined(supervised, preexec_fn=lambda: Path("/proc/self/oom_score_adj").write_text("500"))
    assert not declined(supervised)


def test_nobody_without_new_privileges_is_served(supervised: Installation) -> None:
    words = ["setpriv", "--no-new-privs", *supervised.words(["true"])]
    done = subprocess.run(words, cwd=supervised.workspace, env=supervised.environment(), timeout=60)
    assert done.returncode == UNANSWERED


@pytest.mark.parametrize("namespace", ["--mount", "--net", "--ipc", "--uts", "--pid"])
def test_nobody_in_other_namespaces_is_served(supervised: Installation, namespace: str) -> None:
    words = ["unshare", "--user", "--map-current-user", namespace, "--fork", *supervised.words(["true"])]
    done = subprocess.run(words, cwd=supervised.workspace, env=supervised.environment(), timeout=60)
    assert done.returncode == UNANSWERED


def test_a_run_with_a_controlling_terminal_is_left_to_its_client(supervised: Installation) -> None:
    words = [
        "script",
        "-qec",
        " ".join(f"'{word}'" for word in supervised.words(["true"])) + " </dev/null",
        "/dev/null",
    ]
    done = subprocess.run(
        words, cwd=supervised.workspace, env=supervised.environment(), capture_output=True, timeout=60
    )
    assert done.returncode == UNANSWERED, done.stdout


def test_a_directory_that_is_gone_is_left_to_the_client(supervised: Installation) -> None:
    gone = supervised.workspace / "gone"
    gone.mkdir()
    words = ["sh", "-c", 'cd gone && rmdir ../gone && exec "$@"', "sh", *supervised.words(["true"])]
    done = subprocess.run(words, cwd=supervised.workspace, env=supervised.environment(), timeout=60)
    assert done.returncode == UNANSWERED


def test_it_can_be_refused(supervised: Installation) -> None:
    for words, environment in ((["--no-supervisor"], {}), ([], {"RINGFENCE_SUPERVISOR": "0"})):
        before = paths.server(supervised.state)
        seen = Installation(supervised.workspace, supervised.home, "cold")
        done = subprocess.run(
            seen.words(["sh", "-c", "echo $PPID"], words),
            cwd=supervised.workspace,
            env=supervised.environment(**environment),
            capture_output=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert paths.server(supervised.state) == before


# ------------------------------------------------------------------------------------------------ when something dies


def test_a_run_survives_the_supervisor(box: Installation) -> None:
    if box.taken == "cold":
        pytest.skip("there is none")
    with box.begin(["sh", "-c", "echo ready; read x; echo $x"], stdin=subprocess.PIPE) as process:
        os.kill(paths.server(box.state), signal.SIGKILL)
        paths.wait_until(lambda: not paths.server(box.state))
        out, _ = process.communicate(b"still here\n", timeout=TIMEOUT_S)
        assert (process.returncode, out) == (0, b"still here\n")
    # What stood ready went with it.
    assert paths.wait_until(lambda: not any((box.state / "runs-waiting").glob("*")))


def test_the_next_run_starts_another_supervisor(supervised: Installation) -> None:
    first = paths.server(supervised.state)
    os.kill(first, signal.SIGKILL)
    paths.wait_until(lambda: not paths.server(supervised.state))
    assert declined(supervised)  # nothing was begun: whoever asks goes on alone
    supervised.make_ready()
    assert paths.server(supervised.state) not in (0, first)
    assert not declined(supervised)


def test_a_run_whose_own_supervisor_is_killed_is_lost(supervised: Installation) -> None:
    with supervised.begin(["sh", "-c", "echo $0; sleep 1000", "mark"], said=b"mark\n") as process:
        for pid in paths.children(paths.server(supervised.state)):
            with suppress(ProcessLookupError):  # a run's that has ended
                os.kill(pid, signal.SIGKILL)
        out, error = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, out) == (125, b"")
        said = b"ringfence: the run was lost: its supervisor has ended; `ringfence diff` shows what it changed\n"
        assert error == said
    assert not declined(supervised)


def test_a_run_does_not_have_the_name_of_who_waits(box: Installation) -> None:
    if box.taken == "cold":
        pytest.skip("there is none")
    server = paths.server(box.state)

    def is_told_apart() -> bool:
        """What made ready for this may be taking its boundary down still, and what is being forked has no name yet."""
        names = [paths.name_of(pid) for pid in paths.children(server)]
        return names.count(titles.RUN) == 1 and set(names) <= {titles.RUN, titles.READY}

    with box.begin(["sh", "-c", "echo ready; read x"], stdin=subprocess.PIPE) as process:
        assert paths.wait_until(is_told_apart)
        process.communicate(b"\n", timeout=TIMEOUT_S)
    assert paths.name_of(server) == titles.RESIDENT


def asked_s() -> int:
    """For how many seconds the doctor says that nothing has been asked of the one that waits."""
    (finding,) = hardening.residents()
    return int(finding.detail.partition("asked ")[2].split()[0])


def test_the_doctor_says_who_waits_and_asks_nothing_of_it(supervised: Installation) -> None:
    server = paths.server(supervised.state)
    (place,) = (path for path in (supervised.state / "resident").iterdir() if path.is_socket())
    os.utime(place, (1000, time.time() - 500))
    (finding,) = hardening.residents()
    assert f"process {server}, last asked " in finding.detail and f"`kill {server}` ends it" in finding.detail
    assert 500 <= asked_s() < 600
    assert supervised.run(["true"]).returncode == 0
    assert paths.wait_until(lambda: asked_s() < 100)  # it is noted while the run goes on
    os.kill(server, signal.SIGTERM)
    paths.wait_until(lambda: not Path(f"/proc/{server}").exists())
    (finding,) = hardening.residents()
    assert finding.detail == "none is waiting"


def test_one_that_does_not_answer_is_passed_over_and_never_begins(supervised: Installation) -> None:
    server = paths.server(supervised.state)
    os.kill(server, signal.SIGSTOP)
    try:
        with supervised.start(["sh", "-c", "echo twice >>said"]) as process:
            assert process.communicate(timeout=TIMEOUT_S) == (b"", b"")  # and nobody holds its streams
            assert process.returncode == UNANSWERED
    finally:
        os.kill(server, signal.SIGCONT)
    assert not declined(supervised)  # so it has come past the request that was given up
    assert not (supervised.workspace / "said").exists()


def calling(*numbers: int) -> Callable[[], None]:
    """What a process does before it becomes a client: one system call."""

    def call() -> None:
        library = ctypes.CDLL(None, use_errno=True)
        if library.syscall(*(ctypes.c_long(number) for number in numbers)):
            raise OSError(ctypes.get_errno(), f"system call {numbers}")

    return call


SYSTEM_CALLS = {"x86_64": (157, 251, 238), "aarch64": (167, 30, 237)}[os.uname().machine]
PRCTL, IOPRIO_SET, SET_MEMPOLICY = SYSTEM_CALLS


@pytest.mark.parametrize(
    "call",
    [
        (IOPRIO_SET, 1, 0, 2 << 13 | 7),  # ionice -c best-effort -n 7
        (SET_MEMPOLICY, 4, 0, 0),  # numactl --localalloc
        (PRCTL, 29, 123456, 0, 0, 0),  # PR_SET_TIMERSLACK
        (PRCTL, 65, 1, 0, 0, 0),  # PR_SET_MDWE
    ],
    ids=["io-priority", "memory-policy", "timer-slack", "no-new-code"],
)
def test_what_a_child_would_inherit_is_compared(supervised: Installation, call: tuple[int, ...]) -> None:
    child = os.fork()
    if child == 0:
        try:
            calling(*call)()
            os._exit(0)
        except OSError:
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        pytest.skip("this kernel has no such thing")
    assert declined(supervised, preexec_fn=calling(*call))


@pytest.mark.require("peer-pidfd")
def test_what_other_installations_have_left_is_removed(supervised: Installation) -> None:
    place = supervised.state / "resident"
    os.kill(paths.server(supervised.state), signal.SIGKILL)
    paths.wait_until(lambda: not paths.server(supervised.state))
    for name in ("ended", "living", "young"):
        for path in (place / name, place / f"{name}.lock"):
            path.touch()
            os.utime(path, (1, 1) if name != "young" else None)
    with (place / "living.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        supervised.make_ready()
        assert paths.server(supervised.state)
        left = {path.name for path in place.iterdir()}
    assert {"ended", "ended.lock"}.isdisjoint(left)
    assert {"living", "living.lock", "young", "young.lock"} <= left


def test_it_ends_when_its_socket_is_gone_or_its_code_has_changed(supervised: Installation, tmp_path: Path) -> None:
    server = paths.server(supervised.state)
    for path in (supervised.state / "resident").iterdir():
        path.unlink()
    assert paths.wait_until(lambda: not Path(f"/proc/{server}").exists(), TIMEOUT_S)


def test_whoever_is_not_served_starts_no_other(supervised: Installation) -> None:
    server = paths.server(supervised.state)
    log = supervised.state / "resident/log"
    before = log.stat().st_mtime_ns
    words = [*supervised.command(), "run", "--", "true"]
    for _ in range(2):
        settings = {"cwd": supervised.workspace, "env": supervised.environment(), "stdin": subprocess.DEVNULL}
        done = subprocess.run(["setpriv", "--no-new-privs", *words], capture_output=True, timeout=60, **settings)  # type: ignore[call-overload]  # what Popen takes
        assert (done.returncode, done.stderr) == (0, b"")
    assert paths.server(supervised.state) == server
    assert log.stat().st_mtime_ns == before
