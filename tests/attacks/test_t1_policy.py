"""T1: the policy, the audit and ringfence's own programs, attacked from inside and by what a checkout brings."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.audit.verify import verify
from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases, created, gone, holds
from tests.requirements import require

PRIVATE = "the directory is not in the view; what is made there is private and ends with the run"
USER_POLICY = "@home@/.config/ringfence/policy.toml"
STATE = "@home@/.local/state/ringfence"


def user_policy(arena: Arena) -> None:
    arena.write(USER_POLICY, 'version = 1\n[filesystem]\ndeny-read = ["key.pem"]\n')
    arena.write("@workspace@/key.pem", arena.canary, mode=0o644)


def earlier_run(arena: Arena) -> None:
    arena.write(f"{STATE}/runs/20200101-000000-000000/run.json", "{}")
    (arena.home / ".local/state/ringfence/runs/20200101-000000-000000/lock").touch()


@cases(
    Attack(
        name="user-policy",
        script=f"mkdir -p $(dirname {USER_POLICY}); printf 'version = 1\\n# pwned\\n' > {USER_POLICY}; cat key.pem",
        shell=True,
        prepare=user_policy,
        evidence=holds(USER_POLICY),
        code="home-contained",
    ),
    Attack(
        name="denied-file-through-the-variables-of-the-policy",
        script="XDG_CONFIG_HOME=/nonexistent RINGFENCE_POLICY=/dev/null cat key.pem",
        shell=True,
        prepare=user_policy,
        evidence=lambda arena, ran: arena.canary in ran.output,
        code="path-protected",
    ),
    Attack(
        name="earlier-records",
        script=f"rm -rf {STATE}/runs; : > {STATE}/audit/audit.jsonl",
        shell=True,
        prepare=earlier_run,
        evidence=gone(f"{STATE}/runs/20200101-000000-000000"),
        unseen=PRIVATE,
    ),
    Attack(
        name="forged-launch-artefact",
        script="mkdir -p @home@/.cache/ringfence/launch; echo pwned > @home@/.cache/ringfence/launch/@mark@",
        shell=True,
        evidence=created("@home@/.cache/ringfence/launch/@mark@"),
        unseen=PRIVATE,
    ),
    Attack(
        name="policy-of-the-project-for-the-next-run",
        script="printf 'version = 1\\n# pwned\\n' > ringfence.toml",
        shell=True,
        evidence=holds("@workspace@/ringfence.toml"),
        code="auto-load",
    ),
    Attack(
        name="first-process-of-the-next-run",
        script="for f in /run/ringfence/inside/*.py @source@/ringfence/inside/*.py; do echo '# pwned' >> $f; done",
        shell=True,
        prepare=lambda arena: arena.values.update(source=str(own_copy(arena))),
        evidence=holds("@source@/ringfence/inside/init.py"),
        unseen="the program is on a read-only mount: EROFS, of which there is no event",
    ),
    Attack(
        name="end-the-first-process",
        script="import os, time\nfor number in (15, 9, 2, 1, 19):\n"
        "    try: os.kill(os.getppid(), number)\n    except OSError as error: print(error)\n"
        "time.sleep(0.2)\nopen('survived', 'w').write('x')",
        # Unconfined the parent is a shell of the arena's, which dies of it.
        world=lambda arena: ["sh", "-c", '"$@"; echo alive > alive', "sh"],
        evidence=lambda arena, ran: not any((arena.workspace / name).exists() for name in ("alive", "survived")),
        refused_here=lambda: True,
        unseen="pid 1 of a namespace gets no signal from inside that it does not handle; it is no process outside",
    ),
)
def test_tampering(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)


def own_copy(arena: Arena) -> Path:
    """A file of the arena's stands for the program; the attack tries the real one's place in the view as well."""
    arena.write("@outside@/source/ringfence/inside/init.py", "original\n")
    return arena.root / "outside/source"


# What a checkout may bring to be loaded by a Python that is started in it, or by a shell, or through PATH.
PLANT = "import os, pathlib\npathlib.Path({target!r}).write_text('pwned by ' + str(os.getpid()))\n"


def planted(arena: Arena) -> str:
    return PLANT.format(target=str(arena.root / "outside/executed"))


def modules(arena: Arena) -> None:
    """Fill the checkout with modules that shadow what ringfence and its first process import."""
    names = "sitecustomize usercustomize _signal signal msgspec ringfence inside init ctypes fcntl json resource time"
    for name in names.split():
        arena.write(f"@workspace@/{name}.py", planted(arena), mode=0o644)
    arena.write("@workspace@/inside/__init__.py", planted(arena), mode=0o644)
    arena.write("@workspace@/ringfence/__init__.py", planted(arena), mode=0o644)


def programs(arena: Arena) -> None:
    """Fill the checkout with programs of the names that a launcher may look for."""
    script = f"#!/bin/sh\necho pwned > {arena.root}/outside/executed\n"
    for name in "bwrap git python3 python env sh newuidmap newgidmap unshare mount".split():
        arena.write(f"@workspace@/{name}", script, mode=0o755)


def hooks(arena: Arena) -> None:
    """Make the checkout a repository whose configuration runs programs whenever git looks at it."""
    command = f"sh -c 'echo pwned > {arena.root}/outside/executed'"
    arena.write("@workspace@/.git/HEAD", "ref: refs/heads/main\n", mode=0o644)
    arena.write(
        "@workspace@/.git/config",
        f'[core]\n\trepositoryformatversion = 0\n\tfsmonitor = "{command}"\n\tpager = "{command}"\n',
        mode=0o644,
    )
    for name in ("objects", "refs"):
        (arena.workspace / ".git" / name).mkdir()


EXECUTED = holds("@outside@/executed")


@cases(
    Attack(
        name="module-of-the-checkout",
        script="true",
        shell=True,
        prepare=modules,
        evidence=EXECUTED,
        world=lambda arena: ["/usr/bin/env", "python3", "-c", "import signal, msgspec", "--"],
        unseen="nothing is refused: nobody looks there",
    ),
    Attack(
        name="program-of-the-checkout",
        script="true",
        shell=True,
        prepare=programs,
        evidence=EXECUTED,
        world=lambda arena: ["/usr/bin/env", "PATH=.:/usr/bin:/bin", "bwrap"],
        unseen="nothing is refused: nobody looks there",
    ),
    Attack(
        name="git-configuration-of-the-checkout",
        script="true",
        shell=True,
        prepare=hooks,
        evidence=EXECUTED,
        world=lambda arena: ["sh", "-c", "git status"],
        unseen="nothing is refused: git is never started on the host",
    ),
)
def test_checkout_that_runs_on_the_host(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    require("git")
    carry_out(attack)


WIDENING = {
    "read": '[filesystem]\nread = ["@home@/secret.txt"]\n',
    "mounts": '[filesystem]\nmounts = [{ source = "@home@", target = "/mnt/home" }]\n',
    "write": '[filesystem]\nwrite = ["@home@"]\n',
    "environment": '[env]\npass = ["SERVICE_TOKEN"]\n',
    "direct": '[workspace]\nmode = "direct"\n',
    "memory": '[limits]\nmemory = "1TiB"\n',
    "seccomp": '[isolation]\nseccomp = "nested"\n',
    "host": '[network]\nallow = ["example.com"]\n',
    "unknown-hosts": '[network]\nunknown = "ask"\n',
    "published-port": "[network]\npublish = [3000]\n",
    "parent-proxy": '[network]\nparent-proxy = "http://127.0.0.1:3128"\n',
    "unknown-key": "[network]\nproxy = true\n",
}


@pytest.mark.parametrize("name", WIDENING)
def test_project_policy_that_widens_is_refused(name: str) -> None:
    """There is nothing to do unconfined: without ringfence no file in a checkout widens anything."""
    require("bubblewrap", "overlay")
    attack = Attack(name=name, script="cat @home@/secret.txt; env", shell=True, unseen="refused before any run")

    def bring(arena: Arena) -> None:
        arena.write("@workspace@/ringfence.toml", "version = 1\n" + arena.fill(WIDENING[name]), mode=0o644)

    with Arena.open(bring) as arena:
        ran: Ran = arena.confined(attack)
        assert ran.status == 2, ran.output
        assert "ringfence.toml" in ran.output, "the place is not named"
        assert not ran.achieved
        assert not arena.audit.exists() or not verify(str(arena.audit)).problems
