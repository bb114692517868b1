"""S1: secrets of the launching shell and of ringfence itself: environment, arguments, memory, core files, records."""

from collections.abc import Callable
from pathlib import Path

from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases

OWN_PROC = "/proc shows only the sandbox; what belongs to its first process answers EACCES, of which there is no event"
NOT_PASSED = "a variable that was not passed is simply not there"


def policy_with_a_secret(arena: Arena) -> None:
    arena.write("@home@/.config/ringfence/notes", arena.canary)


def earlier_records(arena: Arena) -> None:
    arena.write("@home@/.local/state/other/audit.jsonl", arena.canary)


@cases(
    Attack(name="environment", script="env", shell=True, unseen=NOT_PASSED),
    Attack(
        name="environment-of-the-first-process",
        script="cat /proc/$PPID/environ | tr '\\0' '\\n'",
        shell=True,
        world=lambda arena: ["sh", "-c", '"$@"; true', "sh"],
        unseen=OWN_PROC,
    ),
    Attack(
        name="environment-of-everybody",
        script="cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -a canary-",
        shell=True,
        world=lambda arena: ["sh", "-c", '"$@"; true', "sh"],
        unseen=OWN_PROC,
    ),
    Attack(
        name="memory-of-the-parent",
        script="import os, re\n"
        "for pid in (os.getppid(),):\n"
        "    try:\n"
        "        maps = open(f'/proc/{pid}/maps').read(); memory = open(f'/proc/{pid}/mem', 'rb', 0)\n"
        "    except OSError as error: print(error); continue\n"
        "    for low, high in re.findall(r'^([0-9a-f]+)-([0-9a-f]+) rw.*(?:stack|heap)', maps, re.M):\n"
        "        memory.seek(int(low, 16)); data = memory.read(int(high, 16) - int(low, 16))\n"
        "        print(set(re.findall(rb'canary-[0-9a-f]{24}', data)))",
        world=lambda arena: ["sh", "-c", '"$@"; true', "sh"],
        unseen=OWN_PROC,
    ),
    Attack(
        name="arguments-of-other-programs",
        script="ps axww -o args | grep -a canary-",
        shell=True,
        world=lambda arena: ["sh", "-c", '"$@"; true', f"--token={arena.canary}"],
        unseen=OWN_PROC,
    ),
    Attack(
        name="descriptors-of-the-first-process",
        script="cat /proc/$PPID/fd/3",
        shell=True,
        world=lambda arena: ["sh", "-c", f'exec 3<{arena.root}/outside/secret.txt; "$@"; true', "sh"],
        unseen=OWN_PROC,
    ),
    Attack(
        name="settings-of-ringfence",
        script="cat @home@/.config/ringfence/notes",
        shell=True,
        prepare=policy_with_a_secret,
        unseen="the directory does not exist in the private home: ENOENT",
    ),
    Attack(
        name="records-of-other-runs",
        script="cat @home@/.local/state/other/audit.jsonl",
        shell=True,
        prepare=earlier_records,
        unseen="the directory does not exist in the private home: ENOENT",
    ),
)
def test_secret(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)


def dumped(arena: Arena, ran: Ran) -> bool:
    """Tell whether a core file with the secret lies in the host's workspace."""
    return any(b"core-secret" in path.read_bytes() for path in arena.workspace.glob("core*"))


@cases(
    Attack(
        name="core-file",
        script="import os, resource, signal\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)\n"
        "kept = 'core-' + 'secret'\nos.kill(os.getpid(), signal.SIGABRT)",
        evidence=dumped,
        # Where cores go to a program or a fixed place, the control says nothing.
        refused_here=lambda: Path("/proc/sys/kernel/core_pattern").read_text("ascii").strip() != "core",
        unseen="the limit of the core file is 0: the kernel writes nothing, and tells nobody",
    )
)
def test_core_file(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
