"""Nothing is left behind: not in the workspace, not in the home, no process, whatever ends the supervisor."""

import signal
import subprocess
import sys
import threading

import pytest

from tests.utility.confined import TIMEOUT_S, Place, said
from tests.utility.litter import OWN, listing, mounts

KILLS = 20
ENDING_S = "60"
LONGEST_DELAY_S = 0.6  # past the moment at which the command runs
CONCURRENT_RUNS = 20
OPTIONS = ("--deny-read", ".env", "--deny-read", "absent/secret", "--deny-write", "locked", "--deny-write", "none/such")
BUSY = (
    "mkdir -p d; i=0; while :; do i=$((i+1)); echo $i >d/$i; echo $i >>a; echo $i >~/f; rm -f b; mv a c; mv c a; done"
)

PREPARE = """
cd ws; git init -q; git config core.untrackedCache false
echo one >a; echo two >b; touch -d 2001-01-01 b; mkdir -p x/y; echo secret >.env; chmod 600 .env
mkdir locked; echo 1 >locked/f; ln -s a link; ln -s /nonexistent dangling; git add a b; git commit -qm first
cd ../home; mkdir -p .ssh .config/tool .local/state .cache
echo key >.ssh/id_ed25519; chmod 600 .ssh/*; echo x >.bashrc; echo token >.npmrc
"""

# Starts the command in its arguments, kills it after a time, and waits until no descendant is left: as a subreaper
# it inherits every process whose parent died. Prints the survivors.
REAPER = """
import ctypes, os, signal, subprocess, sys, time
delay, longest = float(sys.argv[1]), float(sys.argv[2])
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
child = subprocess.Popen(sys.argv[3:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
time.sleep(delay)
child.send_signal(signal.SIGKILL)
end = time.monotonic() + longest
while time.monotonic() < end:
    try:
        if os.waitpid(-1, os.WNOHANG)[0] == 0:
            time.sleep(0.01)
    except ChildProcessError:
        sys.exit(0)
os.system("ps -ef --forest >&2")
sys.exit(1)
"""


class Before:
    """The state of a place before a run."""

    def __init__(self, place: Place) -> None:
        place.host(PREPARE)
        self.place = place
        self.mounts = mounts()
        self.workspace = listing(place.workspace)
        self.home = listing(place.home, (*OWN, "."))

    def unchanged(self) -> None:
        """Fail unless everything is as it was."""
        assert listing(self.place.workspace) == self.workspace
        assert listing(self.place.home, (*OWN, ".")) == self.home
        assert mounts() == self.mounts
        assert sorted(path.name for path in self.place.root.iterdir()) == ["home", "ws"]


@pytest.fixture
def before(place: Place) -> Before:
    return Before(place)


@pytest.mark.require("git")
@pytest.mark.parametrize(
    "script",
    [
        "true",
        "git status; ls -laR . ~; cat a",
        "echo x >~/f; echo x >/tmp/f; mkdir ~/.ssh/new; echo x >>~/.bashrc",
        "exit 3",
        "kill -9 $$",
    ],
    ids=["nothing", "reading", "writing-elsewhere", "failing", "killed"],
)
def test_a_run_that_changes_nothing_leaves_nothing(script: str, before: Before) -> None:
    before.place.run(["sh", "-c", script], OPTIONS)
    before.unchanged()


@pytest.mark.require("git")
def test_a_command_that_does_not_exist_leaves_nothing(before: Before) -> None:
    assert before.place.run(["no-such-command"], OPTIONS).returncode == 127
    before.unchanged()


@pytest.mark.require("git")
def test_refused_writes_leave_nothing(before: Before) -> None:
    script = (
        "echo x >locked/f; rm -rf locked; mkdir -p none/such; echo x >none/such; cat .env; mv .env e; rm .env; true"
    )
    done = before.place.run(["sh", "-c", script], OPTIONS)
    assert done.returncode == 0, said(done)
    before.place.host("cd ws; rmdir none 2>/dev/null || true")  # the parent of a denied name may be made
    assert listing(before.place.workspace).keys() == before.workspace.keys()
    assert {k: e.content for k, e in listing(before.place.workspace).items()} == {
        k: e.content for k, e in before.workspace.items()
    }


@pytest.mark.require("git", "ps")
@pytest.mark.parametrize("number", range(KILLS))
def test_killing_the_supervisor_leaves_nothing(number: int, before: Before) -> None:
    place = before.place
    delay = LONGEST_DELAY_S * number / KILLS
    words = [sys.executable, "-c", REAPER, str(delay), ENDING_S, *place.command(["sh", "-c", BUSY], OPTIONS)]
    done = place.on_host(words, start="ws")
    assert done.returncode == 0, "processes survived:\n" + said(done)
    before.unchanged()


@pytest.mark.require("git", "ps")
def test_a_run_after_killed_ones_works_and_leaves_nothing(before: Before) -> None:
    place = before.place
    for delay in (0.05, 0.1, 0.3):
        words = [sys.executable, "-c", REAPER, str(delay), ENDING_S, *place.command(["sh", "-c", BUSY], OPTIONS)]
        assert place.on_host(words, start="ws").returncode == 0
    done = place.run(["git", "status", "--porcelain", "--untracked-files=no"], OPTIONS)
    assert (done.returncode, done.stdout) == (0, b""), said(done)
    before.unchanged()


@pytest.mark.require("git")
def test_concurrent_runs_leave_nothing(before: Before) -> None:
    script = 'cat a; ls -a >/dev/null; echo $$ >~/f; test "$(cat ~/f)" = $$; cat .env; echo x >none/such; sleep 0.1'
    started = [
        before.place.start(
            ["sh", "-c", script], OPTIONS, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(CONCURRENT_RUNS)
    ]
    for process in started:
        output, errors = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, output) == (0, b"one\n"), errors.decode()
    before.unchanged()


@pytest.mark.require("git")
def test_concurrent_runs_bring_each_its_own_file(before: Before) -> None:
    started = [
        before.place.start(
            ["sh", "-c", f"echo {number} >file{number}"], OPTIONS, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        for number in range(CONCURRENT_RUNS)
    ]
    for process in started:
        _, errors = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, errors.decode()
    after = listing(before.place.workspace)
    new = {f"file{number}": f"{number}\n".encode() for number in range(CONCURRENT_RUNS)}
    assert {name: after[name].content for name in after.keys() - before.workspace.keys()} == new
    for name, entry in before.workspace.items():
        assert after[name] == entry or name in (".", "./."), name


@pytest.mark.require("git")
def test_no_placeholder_appears_while_a_run_lasts(before: Before) -> None:
    place = before.place
    with place.start(
        ["sh", "-c", "echo ready; read x"], OPTIONS, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        seen: list[bool] = []
        stop = threading.Event()

        def look() -> None:
            while not stop.is_set():
                seen.append(listing(place.workspace) == before.workspace)

        watcher = threading.Thread(target=look)
        watcher.start()
        process.stdout.readline()
        process.communicate(b"\n", timeout=TIMEOUT_S)
        stop.set()
        watcher.join()
    assert seen and all(seen)
    before.unchanged()


@pytest.mark.require("git")
def test_ending_by_signal_leaves_nothing(before: Before) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with before.place.start(
            ["sh", "-c", "echo ready; exec sleep 300"], OPTIONS, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(number)
            process.communicate(timeout=TIMEOUT_S)
    before.unchanged()
