"""L2: processes, open files and time without end."""

from collections.abc import Callable

from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases, to_be_stopped
from tests.attacks.kernel import links, status_field

LIMIT = "[limits]\nprocesses = 310\nopen-files = 256\n"
BOMB = (
    "import os, sys, time\nMARK = '@mark@'\nstarted = 0\n"
    "try:\n    while started < 420:\n        if os.fork() == 0: time.sleep(100); os._exit(0)\n        started += 1\n"
    "except OSError as error: print(error)\nprint('ready', flush=True)\nsys.stdin.read()\n"
    "import signal; signal.signal(15, signal.SIG_IGN); os.killpg(0, 15)\n"
)
THREADS = (
    "import sys, threading\nMARK = '@mark@'\nended = threading.Event()\n"
    "try:\n    for number in range(420): threading.Thread(target=ended.wait, daemon=True).start()\n"
    "except RuntimeError as error: print(error)\nprint('ready', flush=True)\nsys.stdin.read()\n"
)
FILES = (
    "import os, sys\nMARK = '@mark@'\n"
    "import resource\nmost = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
    "resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))\n"
    "try:\n    while os.open('/dev/null', 0) < 600: pass\nexcept OSError as error: print(error)\n"
    "print('ready', flush=True)\nsys.stdin.read()\n"
)


def many_processes(arena: Arena, ran: Ran) -> bool:
    return len(ran.pids) > 400


def many_threads(arena: Arena, ran: Ran) -> bool:
    return sum(int(status_field(pid, "Threads") or 0) for pid in ran.pids) > 400


def many_files(arena: Arena, ran: Ran) -> bool:
    return any(len(list(links((pid,), "fd"))) > 400 for pid in ran.pids)


@cases(
    Attack(
        name="processes",
        script=BOMB,
        evidence=many_processes,
        hold=True,
        policy=LIMIT,
        unseen="the limit refuses at once, and the run may end before the watchdog's next look",
    ),
    Attack(
        name="threads",
        script=THREADS,
        evidence=many_threads,
        hold=True,
        policy=LIMIT,
        unseen="the limit refuses at once, and the process may be gone before the watchdog's next look",
    ),
    Attack(
        name="open-files",
        script=FILES,
        evidence=many_files,
        hold=True,
        policy=LIMIT,
        unseen="RLIMIT_NOFILE refuses with EMFILE, of which there is no event",
    ),
    Attack(
        name="time",
        script="import sys\nprint('ready', flush=True)\nsys.stdin.read()\nopen('survived', 'w').write('pwned')",
        meanwhile=to_be_stopped,
        evidence=lambda arena, ran: (arena.workspace / "survived").exists(),
        policy='[limits]\nwall-time = "1s"\n',
        code="wall-time",
    ),
    Attack(
        name="processor-time",
        script="import time\nwhile time.process_time() < 2.2: pass\nopen('survived', 'w').write('pwned')",
        evidence=lambda arena, ran: (arena.workspace / "survived").exists(),
        policy='[limits]\ncpu-time = "1s"\n',
        unseen="RLIMIT_CPU ends the process with SIGXCPU or SIGKILL, which shows in the record of the end",
    ),
)
def test_limit(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
