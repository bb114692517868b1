"""L3: filling the host's disk: much data, sparse files, many names, files without a name."""

import contextlib
import os
from collections.abc import Callable

from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases, to_be_stopped

LIMIT = '[limits]\nworkspace-size = "16MiB"\nfile-size = "16MiB"\n'


def on_disk(arena: Arena, ran: Ran) -> bool:
    """Tell whether much more than the limit was ever on the host's disk because of the run, kept or not.

    The watchdog looks every 10 ms while the disk fills; a page cache takes up to 100 MiB in the time it needs to act.
    """
    held = 0
    for folder, folders, files in os.walk(arena.home):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):  # it is just being removed
                held += os.lstat(f"{folder}/{name}").st_blocks * 512
    return held > 256 << 20 or (arena.workspace / "survived").exists()


# What is held must stay until somebody looks.
STAY = "\nimport sys\nprint('ready', flush=True)\nsys.stdin.read()\nopen('survived', 'w').write('pwned')\n"
# Files that nobody finds by a name: each is unlinked at once, and then kept in another way.
NAMELESS = """
import mmap, os, socket
kept = []
for number in range(24):
    file = os.open(f"filling-{number}", os.O_CREAT | os.O_RDWR)
    os.unlink(f"filling-{number}")
    os.write(file, bytes(8 << 20))
    KEEP
"""
HELD = {
    "open": "kept.append(file)",
    "mapped": "kept.append(mmap.mmap(file, 4096)); os.close(file)",
    "on-its-way": "kept += (pair := socket.socketpair()); socket.send_fds(pair[0], [b'x'], [file]); os.close(file)",
}


@cases(
    *(
        Attack(
            name=f"unlinked-and-{name}",
            script=NAMELESS.replace("KEEP", how) + STAY,
            meanwhile=to_be_stopped,
            evidence=on_disk,
            policy=LIMIT,
            code="workspace-size",
        )
        for name, how in HELD.items()
    ),
    Attack(
        name="much-data",
        # At full speed to six times the limit; the rest where nobody stops it, however late.
        script="import sys\nfor number in range(34):\n    open(f'filling-{number}', 'wb').write(bytes(8 << 20))\n"
        "    if number == 11: print('ready', flush=True); sys.stdin.read()\nopen('survived', 'w').write('pwned')",
        meanwhile=to_be_stopped,
        evidence=on_disk,
        policy=LIMIT,
        code="workspace-size",
    ),
    Attack(
        name="one-large-file",
        script="with open('filling', 'wb') as file:\n    for number in range(320): file.write(bytes(1 << 20))\n",
        evidence=on_disk,
        policy=LIMIT,
        unseen="RLIMIT_FSIZE ends the process with SIGXFSZ or EFBIG, which shows in the record of the end",
    ),
    Attack(
        name="sparse-files",
        script="import os\nfor number in range(12):\n"
        "    os.truncate(os.open(f'hole-{number}', os.O_CREAT | os.O_RDWR), 7 << 30)",
        evidence=lambda arena, ran: sum(path.stat().st_size for path in arena.workspace.glob("hole-*")) > 70 << 30,
        code="budget-size",
    ),
)
def test_disk(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
