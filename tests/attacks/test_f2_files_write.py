"""F2: writing outside the workspace: start-up files, system files, schedules, kernel settings, devices."""

from collections.abc import Callable
from pathlib import Path

from tests.attacks.arena import Arena
from tests.attacks.attack import Attack, cases, created, holds

SEALED = "the mount is sealed: the kernel answers EROFS, and there is no event for that"
NOT_IN_VIEW = "the directory does not exist in the view, so the kernel answers ENOENT and tells nobody"
PRIVATE = "the write goes to a private place that ends with the run; only names that programs load are watched"


def start_up(name: str, beside: str = "") -> Attack:
    """Write a file that some program loads by itself; `beside` is a secret whose notice already makes the directory."""

    def neighbour(arena: Arena) -> None:
        if beside:
            arena.write(f"@home@/{beside}", arena.canary)

    return Attack(
        name=name.strip(".") + ("-beside-a-notice" if beside else ""),
        prepare=neighbour,
        script=f"mkdir -p $(dirname @home@/{name}); echo pwned >> @home@/{name}",
        shell=True,
        evidence=holds(f"@home@/{name}"),
        code="home-contained",
    )


def system(name: str, place: str, why: str) -> Attack:
    """Write a new name to a directory of the host; the positive control needs root and happens to nobody's harm."""
    return Attack(
        name=name,
        script=f"echo pwned > {place}/@mark@",
        shell=True,
        evidence=created(f"{place}/@mark@"),
        prepare=lambda arena: clean(arena, f"{place}/@mark@"),
        refused="only root may write there",
        unseen=why,
    )


def clean(arena: Arena, name: str) -> None:
    arena.closing.callback(Path(arena.fill(name)).unlink, missing_ok=True)


@cases(
    start_up(".bashrc"),
    start_up(".profile"),
    start_up(".zshenv"),
    start_up(".gitconfig"),
    start_up(".vimrc"),
    start_up(".npmrc"),
    start_up(".ssh/authorized_keys"),
    start_up(".config/autostart/evil.desktop"),
    start_up(".config/systemd/user/evil.service"),
    start_up(".local/bin/git"),
    start_up(".claude/settings.json"),
    start_up(".ssh/authorized_keys", beside=".ssh/id_ed25519"),
    start_up(".config/git/config", beside=".config/gh/hosts.yml"),
)
def test_start_up_file(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)


@cases(
    Attack(
        name="home-file",
        script="echo pwned > @home@/new.txt",
        shell=True,
        evidence=created("@home@/new.txt"),
        unseen=PRIVATE,
    ),
    Attack(
        name="parent-of-workspace",
        script="mkdir -p ../victim; echo pwned > ../victim/new.txt",
        shell=True,
        evidence=created("@home@/victim"),
        unseen=PRIVATE,
    ),
    Attack(
        name="other-directory",
        script="echo pwned > @outside@/new.txt",
        shell=True,
        evidence=created("@outside@/new.txt"),
        unseen=NOT_IN_VIEW,
    ),
    Attack(
        name="symlink-made-inside",
        script="ln -s @outside@ way-out; echo pwned > way-out/new.txt",
        shell=True,
        evidence=created("@outside@/new.txt"),
        code="link-outside",
    ),
    Attack(
        name="through-a-symlink-of-the-host",
        script="echo pwned > way-out/new.txt",
        shell=True,
        prepare=lambda arena: (arena.workspace / "way-out").symlink_to(arena.root / "outside"),
        evidence=created("@outside@/new.txt"),
        unseen="the link leads to a name that does not exist in the view",
    ),
    system("etc", "/etc", SEALED),
    system("usr-bin", "/usr/bin", SEALED),
    system("cron", "/etc/cron.d", NOT_IN_VIEW),
    system("var-spool", "/var/spool", NOT_IN_VIEW),
    system("host-tmp", "/tmp", PRIVATE),
    system("host-run", "/run", PRIVATE),
    system("dev", "/dev", SEALED),
    system("root-directory", "", SEALED),
)
def test_outside(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
