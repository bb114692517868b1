"""L3: filling the host's disk: much data, sparse files, many names."""

import os
from collections.abc import Callable

from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases

LIMIT = '[limits]\nworkspace-size = "16MiB"\nfile-size = "16MiB"\n'


def on_disk(arena: Arena, ran: Ran) -> bool:
    """Tell whether much more than the limit was ever on the host's disk because of the run, kept or not."""
    held = sum(os.lstat(path).st_blocks * 512 for path in arena.home.rglob("*"))
    return held > 48 << 20 or (arena.workspace / "survived").exists()


@cases(
    Attack(
        name="much-data",
        script="for number in range(12):\n    open(f'filling-{number}', 'wb').write(bytes(8 << 20))\n"
        "import os, time; time.sleep(1)\nopen('survived', 'w').write('pwned')",
        evidence=on_disk,
        policy=LIMIT,
        code="workspace-size",
    ),
    Attack(
        name="one-large-file",
        script="with open('filling', 'wb') as file:\n    for number in range(80): file.write(bytes(1 << 20))\n",
        evidence=on_disk,
        policy=LIMIT,
        unseen="RLIMIT_FSIZE ends the process with SIGXFSZ or EFBIG, which shows in the record of the end",
    ),
    Attack(
        name="sparse-file",
        script="import os\nos.truncate(os.open('hole', os.O_CREAT | os.O_RDWR), 1 << 40)",
        evidence=lambda arena, ran: (
            (arena.workspace / "hole").exists() and (arena.workspace / "hole").stat().st_size > 1 << 39
        ),
        policy="[limits]\nfile-size = 0\n",
        code="budget-size",
    ),
)
def test_disk(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
