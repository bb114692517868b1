"""Every limit stops what goes beyond it, says so in the audit, and leaves what stays below alone.

Each limit has its positive control: the same script under a higher limit, or none, succeeds.
"""

import signal
import subprocess
import time
from textwrap import dedent

import pytest

from tests import paths
from tests.posture.launched import PYTHON, TIMEOUT_S, Bench, bench

__all__ = ["bench"]

MIB = 1 << 20
KILLED, TERMINATED = 128 + signal.SIGKILL, 128 + signal.SIGTERM


def watched(bench: Bench, code: str, policy: str, *arguments: str) -> tuple[str, list[str]]:
    """What Python code prints, and the limits that are recorded; it is told to end as soon as there is a record.

    What the kernel enforces without telling anybody the watchdog sees only while it is so.
    """
    with bench.start([*PYTHON, code, *arguments], policy, stdin=subprocess.PIPE) as run:
        paths.wait_until(lambda: "limit" in [kind for kind, _, _ in bench.events()])
        output, _ = run.communicate("end\n", TIMEOUT_S)
    return output, [code for kind, code, _ in bench.events() if kind == "limit"]


def limits(**settings: int | str) -> str:
    """A policy's table of limits."""
    lines = (f"{key.replace('_', '-')} = {value!r}" for key, value in settings.items())
    return "\n".join(["[limits]", *lines])


# ---- processes


START_MANY = """
import os, sys, time
made = []
try:
    for _ in range(60):
        pid = os.fork()
        if pid == 0:
            time.sleep(300)
            os._exit(0)
        made.append(pid)
except OSError as error:
    print(error.errno, end=" ")
print(len(made), flush=True)
sys.stdin.readline()
for pid in made:
    os.kill(pid, 9)
"""


def test_processes_beyond_the_number_set_cannot_be_started(bench: Bench) -> None:
    refused = watched(bench, START_MANY, limits(processes=20))
    assert refused == ("11 19\n", ["processes"])  # EAGAIN; the command itself is the twentieth
    allowed = bench.python(START_MANY, limits(processes=200))
    assert (allowed.output, allowed.codes("limit")) == ("60\n", [])


def test_the_number_holds_however_many_processes_there_have_been(bench: Bench) -> None:
    """The kernel never gives the first 300 numbers of a pid namespace again."""
    script = (
        "for i in $(seq 400); do /bin/true || exit 9; done; for i in $(seq 20); do sleep 1 & done; wait && echo all"
    )
    ran = bench.run(["sh", "-c", script], "[limits]\nprocesses = 40")
    assert (ran.status, ran.output) == (0, "all\n")


def test_threads_count_as_processes(bench: Bench) -> None:
    code = """
        import _thread, time
        made = 0
        try:
            for made in range(1, 41):
                _thread.start_new_thread(time.sleep, (300,))
        except RuntimeError:
            print("refused", end=" ")
        print(made, flush=True)
        import os; os._exit(0)
        """
    assert bench.python(dedent(code), limits(processes=20)).output == "refused 20\n"
    assert bench.python(dedent(code), limits(processes=200)).output == "40\n"


def test_a_fork_bomb_ends_with_the_run(bench: Bench) -> None:
    """Every copy that can be made is made, and all of them die when the time is up."""
    code = """
        import os
        while True:
            try:
                os.fork()
            except OSError:
                pass
        """
    bombed = bench.python(dedent(code), limits(processes=30, wall_time="5s"))
    assert bombed.status in (TERMINATED, KILLED)
    assert set(bombed.codes("limit")) == {"processes", "wall-time"}


# ---- memory

HOLD = """
import os, sys, time
failed = []
def hold_pages(size):
    block = bytearray(size)
    block[::4096] = b"x" * (size // 4096)
    return block
def fill(path, size):
    with open(path, "wb") as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
"""
WAYS = {
    "one process": "kept = hold_pages(200 << 20)",
    "many processes": """
for _ in range(5):
    if os.fork() == 0:
        kept = hold_pages(40 << 20)
        time.sleep(40)
        os._exit(0)
failed = [os.wait()] if {wait} else []
""",
    "/tmp": "fill('/tmp/file', 200 << 20)",
    "/dev/shm": "fill('/dev/shm/file', 200 << 20)",
    "home": "fill(os.environ['HOME'] + '/file', 200 << 20)",
    "anonymous file": """
kept = os.memfd_create("kept")
for _ in range(200):
    os.write(kept, bytes(1 << 20))
""",
}
ROOM = {"tmp_size": "1GiB", "shm_size": "1GiB", "home_size": "1GiB"}


@pytest.mark.parametrize("way", WAYS)
def test_memory_beyond_the_limit_ends_the_run(bench: Bench, way: str) -> None:
    """A control group kills at the first page too many; the watchdog needs a moment, in which the script stays."""
    code = HOLD + WAYS[way].format(wait=True) + "\ntime.sleep(0 if failed else 40)"
    stopped = bench.python(code, limits(memory="128MiB", **ROOM))
    assert stopped.codes("limit") == ["memory"], stopped
    if way != "many processes":  # where the kernel may choose any of them
        assert stopped.status == KILLED
    assert stopped.events[-1][0] == "exit"


@pytest.mark.parametrize("way", WAYS)
def test_memory_below_the_limit_is_left_alone(bench: Bench, way: str) -> None:
    code = HOLD + WAYS[way].format(wait=False) + "\ntime.sleep(0.4)"
    allowed = bench.python(code, limits(memory="1GiB", **ROOM))
    assert (allowed.status, allowed.codes("limit")) == (0, [])


def test_shared_pages_count_once(bench: Bench) -> None:
    """Twenty children share 40 MiB with their parent: added up process by process that would be beyond 256 MiB."""
    code = """
kept = hold_pages(40 << 20)
children = []
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        time.sleep(0.8)
        os._exit(0)
    children.append(pid)
print(sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
"""
    done = bench.python(HOLD + code, limits(memory="256MiB"))
    assert (done.status, done.output, done.codes("limit")) == (0, "0\n", [])


# ---- processor time, file size, descriptors

BUSY = "import time\nwhile time.process_time() < 1.4: pass\nprint('done')"


def test_processor_time_beyond_the_limit_ends_the_process(bench: Bench) -> None:
    stopped = bench.python(BUSY, limits(cpu_time="1s"))
    assert stopped.status in (KILLED, 128 + signal.SIGXCPU) and stopped.output == ""
    allowed = bench.python(BUSY, limits(cpu_time="1m"))
    assert (allowed.status, allowed.output) == (0, "done\n")


def test_a_file_cannot_grow_beyond_the_limit(bench: Bench) -> None:
    words = ["dd", "if=/dev/zero", "of=file", "bs=1024", "count=2048", "status=none"]
    stopped = bench.run(words, limits(file_size="1MiB"), options=["--workspace", "direct"])
    assert stopped.status == 128 + signal.SIGXFSZ
    assert (bench.workspace / "file").stat().st_size == MIB
    assert bench.run(words, limits(file_size="4MiB"), options=["--workspace", "direct"]).status == 0
    assert (bench.workspace / "file").stat().st_size == 2 * MIB


def test_descriptors_beyond_the_number_set_cannot_be_opened(bench: Bench) -> None:
    code = """
        import os
        made = [0, 1, 2]
        try:
            while len(made) < 40:
                made.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            print(error.errno, end=" ")
        print(len(made))
        """
    assert bench.python(dedent(code), limits(open_files=32)).output == "24 32\n"  # EMFILE
    assert bench.python(dedent(code), limits(open_files=64)).output == "40\n"


# ---- private places

FILL = """
import os, sys
path, written = os.path.expandvars(sys.argv[1]), 0
with open(path + "/file", "wb", buffering=0) as file:
    try:
        while written < 4 << 20:
            written += file.write(bytes(4096))
    except OSError as error:
        print(error.errno, end=" ")
print(written >> 10, flush=True)
sys.stdin.readline()
"""
PLACES = {"/tmp": "tmp_size", "/dev/shm": "shm_size", "$XDG_RUNTIME_DIR": "run_size", "$HOME": "home_size"}


@pytest.mark.parametrize("place", PLACES)
def test_a_private_place_holds_what_was_set(bench: Bench, place: str) -> None:
    output, codes = watched(bench, FILL, limits(**{PLACES[place]: "2MiB"}), place)
    number, amount_kib = output.split()
    assert number == "28"  # ENOSPC
    assert 2048 - 64 <= int(amount_kib) <= 2048  # the directories, and the few files that are there, take some of it
    assert codes == ["tmpfs-size"]
    roomy = bench.run([*PYTHON, FILL, place], limits(**{PLACES[place]: "8MiB"}))
    assert (roomy.output, roomy.codes("limit")) == ("4096\n", [])


# ---- the workspace

PILE = "for number in range(8): open(f'part-{number}', 'wb').write(bytes(1 << 20))"


def test_a_single_file_cannot_outgrow_the_workspace(bench: Bench) -> None:
    done = bench.python("open('big', 'wb').write(bytes(8 << 20))", limits(workspace_size="2MiB"))
    assert done.status == 1 and "File too large" in done.errors
    assert (bench.workspace / "big").stat().st_size <= 2 * MIB


def test_changes_of_the_workspace_beyond_the_limit_never_reach_the_host(bench: Bench) -> None:
    stopped = bench.python(f"import time\n{PILE}\ntime.sleep(40)", limits(workspace_size="2MiB"))
    assert stopped.status == KILLED and "workspace-size" in stopped.codes("limit")
    assert sum(path.stat().st_size for path in bench.workspace.iterdir()) <= 2 * MIB
    allowed = bench.python(PILE, limits(workspace_size="64MiB"))
    assert (allowed.status, allowed.codes("limit")) == (0, [])
    assert len(list(bench.workspace.iterdir())) == 8


def test_a_burst_that_ends_before_it_is_noticed_is_held_back_at_apply(bench: Bench) -> None:
    """The watchdog looks now and then; what was written in between is measured again before anything is applied."""
    done = bench.python(PILE, limits(workspace_size="2MiB"))
    assert sum(path.stat().st_size for path in bench.workspace.iterdir()) <= 2 * MIB
    assert "held" in [kind for kind, _, _ in done.events] or done.codes("limit") == ["workspace-size"]


# ---- wall clock

OBSTINATE = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
while True:
    time.sleep(1)
"""


@pytest.mark.parametrize("way", ["policy", "option"])
def test_the_wall_clock_ends_the_run(bench: Bench, way: str) -> None:
    policy = limits(wall_time="1s") if way == "policy" else ""
    began = time.monotonic()
    stopped = bench.run(["sleep", "infinity"], policy, options=["--timeout", "1s"] if way == "option" else [])
    assert stopped.status == TERMINATED  # not killed, as those who do not listen are after their grace time
    assert stopped.codes("limit") == ["wall-time"]
    assert time.monotonic() - began >= 1
    assert bench.run(["sleep", "1.2"], limits(wall_time="1m")).status == 0


def test_a_command_that_ignores_the_end_of_its_time_is_killed(bench: Bench) -> None:
    stopped = bench.python(OBSTINATE, limits(wall_time="5s"))  # it has to have begun by then
    assert (stopped.status, stopped.output) == (KILLED, "deaf\n")
    assert stopped.codes("limit") == ["wall-time"]


def test_a_command_that_ignores_a_request_to_end_is_killed(bench: Bench) -> None:
    with bench.start(["/usr/bin/python3", "-c", OBSTINATE]) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "deaf\n"
        began = time.monotonic()
        run.terminate()
        assert run.wait(TIMEOUT_S) == KILLED
        assert time.monotonic() - began >= 4


# ---- records

REFUSED_CALLS = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for _ in range({count}):
    libc.unshare(0x10000000)
"""


def test_a_flood_of_denials_fills_no_disk(bench: Bench) -> None:
    flooded = bench.python(REFUSED_CALLS.format(count=3000))
    assert flooded.status == 0
    assert flooded.codes("limit") == ["events"]
    assert 900 <= len(flooded.codes("denial")) < 1000
    quiet = bench.python(REFUSED_CALLS.format(count=20))
    assert (len(quiet.codes("denial")), quiet.codes("limit")) == (20, [])
