"""F1: reading what is outside the view: the home, other users, the system, the host's temporary files."""

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.attacks.arena import Arena
from tests.attacks.attack import Attack, cases

NOT_IN_VIEW = "the path does not exist in the view: the kernel answers ENOENT to whoever asks, and tells nobody"
NOT_A_FILE_HERE = "the link leads to a name that does not exist in the view; following it fails like any other lookup"


def well_known(name: str) -> Attack:
    """A secret with a well-known name: opening the notice in its place is recorded."""
    return Attack(
        name=name.strip("."),
        script=f"cat @home@/{name}",
        shell=True,
        prepare=lambda arena: put(arena, f"@home@/{name}"),
        code="path-protected",
    )


def put(arena: Arena, name: str) -> None:
    arena.write(name, f"secret = {arena.canary}\n")


def host_temporary_file(arena: Arena) -> None:
    for name, place in (("temporary", "/tmp"), ("shared", "/dev/shm"), ("var", "/var/tmp")):
        descriptor, path = tempfile.mkstemp(prefix="ringfence-attack-", dir=place)
        os.write(descriptor, arena.canary.encode())
        os.close(descriptor)
        arena.values[name] = path
        arena.closing.callback(_remove, path)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def symlink_out(arena: Arena) -> None:
    (arena.workspace / "way-out").symlink_to(arena.root / "outside")


def shadow_read(arena: Arena) -> None:
    """Make the system's own secrets the canary: the first line of a file that only root may read."""
    arena.canary = Path("/etc/shadow").read_text("utf-8").splitlines()[0]


def state_of_ours(arena: Arena) -> None:
    arena.write("@home@/.local/state/ringfence/runs/20200101-000000-000000/notes", arena.canary)
    arena.write("@home@/.cache/ringfence/launch/0000", arena.canary)


@cases(
    *map(
        well_known,
        (
            ".ssh/id_ed25519",
            ".aws/credentials",
            ".netrc",
            ".git-credentials",
            ".npmrc",
            ".kube/config",
            ".docker/config.json",
            ".bash_history",
            ".config/gh/hosts.yml",
        ),
    )
)
def test_well_known_secret(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)


@cases(
    Attack(name="home-file", script="cat @home@/secret.txt", shell=True, unseen=NOT_IN_VIEW),
    Attack(name="parent-of-workspace", script="cat ../secret.txt ../../outside/*", shell=True, unseen=NOT_IN_VIEW),
    Attack(name="other-directory", script="cat @outside@/secret.txt", shell=True, unseen=NOT_IN_VIEW),
    Attack(name="search-the-home", script="grep -rs canary- @home@ @outside@", shell=True, unseen=NOT_IN_VIEW),
    Attack(
        name="symlink-in-workspace",
        script="cat way-out/secret.txt",
        shell=True,
        prepare=symlink_out,
        unseen=NOT_A_FILE_HERE,
    ),
    Attack(
        name="symlink-made-inside",
        script="ln -s @home@/secret.txt s && cat s",
        shell=True,
        unseen=NOT_A_FILE_HERE,
    ),
    Attack(name="hard-link", script="ln @home@/secret.txt stolen && cat stolen", shell=True, unseen=NOT_IN_VIEW),
    Attack(
        name="magic-link-of-the-parent",
        script="cat /proc/$PPID/cwd/../secret.txt /proc/$PPID/root@home@/secret.txt",
        shell=True,
        unseen="/proc shows only the sandbox, and its first process refuses to be looked into with EACCES",
    ),
    Attack(
        name="every-root-in-proc",
        script="for p in /proc/[0-9]*; do cat $p/root@outside@/secret.txt; done 2>/dev/null",
        shell=True,
        unseen="/proc shows only the sandbox, whose processes all have the sandbox's root",
    ),
    Attack(
        name="etc-shadow", script="cat /etc/shadow", shell=True, prepare=shadow_read, only="root", unseen=NOT_IN_VIEW
    ),
    Attack(name="host-tmp", script="cat @temporary@", shell=True, prepare=host_temporary_file, unseen=NOT_IN_VIEW),
    Attack(name="host-var-tmp", script="cat @var@", shell=True, prepare=host_temporary_file, unseen=NOT_IN_VIEW),
    Attack(
        name="host-shared-memory", script="cat @shared@", shell=True, prepare=host_temporary_file, unseen=NOT_IN_VIEW
    ),
    Attack(
        name="own-state-and-cache",
        script="cat @home@/.local/state/ringfence/runs/*/notes @home@/.cache/ringfence/launch/*",
        shell=True,
        prepare=state_of_ours,
        unseen=NOT_IN_VIEW,
    ),
)
def test_outside(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
