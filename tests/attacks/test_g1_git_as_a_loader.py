"""G1: git runs what a repository's files name; the user's next git command is the attacker's."""

import os
import shutil
import subprocess
from collections.abc import Callable

from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases
from tests.requirements import require

CONFIGURATION = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "User",
    "GIT_AUTHOR_EMAIL": "user@example.org",
    "GIT_COMMITTER_NAME": "User",
    "GIT_COMMITTER_EMAIL": "user@example.org",
    "GIT_EDITOR": "true",
}
PAYLOAD = "echo pwned >> @outside@/executed"
HOOK = "mkdir -p {place}; printf '#!/bin/sh\\n" + PAYLOAD + "\\n' > {place}/{name}; chmod 755 {place}/{name}"


def git(arena: Arena, *words: str) -> None:
    """Run git as the user does, in the arena's workspace; how it ends says nothing."""
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment |= CONFIGURATION | {"HOME": str(arena.home)}
    subprocess.run(["git", *words], cwd=arena.workspace, env=environment, capture_output=True, timeout=60)


def repository(arena: Arena) -> None:
    """Make a repository with one commit and a submodule-like directory below."""
    git(arena, "init", "-q", "-b", "main")
    shutil.rmtree(arena.workspace / ".git/hooks", ignore_errors=True)
    arena.write("@workspace@/src/code.py", "print()\n", mode=0o644)
    git(arena, "add", ".")
    git(arena, "commit", "-q", "-m", "first")
    assert (arena.workspace / ".git/index").exists()
    arena.write("@outside@/victim", "original\n")


def user_works(*commands: str) -> Callable[[Arena, Ran], bool]:
    """Evidence: the user goes on working, and something of the attacker's runs or is written."""

    def look(arena: Arena, ran: Ran) -> bool:
        for command in commands or (
            "status",
            "diff",
            "add .",
            "commit -q --allow-empty -m next",
            "log -1",
            "checkout -q -b b",
        ):
            git(arena, *command.split())
        return (arena.root / "outside/executed").exists() or (arena.root / "outside/victim").read_text() != "original\n"

    return look


def plants(name: str, script: str, code: str = "git-protected", *commands: str) -> Attack:
    return Attack(name=name, script=script, shell=True, prepare=repository, evidence=user_works(*commands), code=code)


def hook(name: str) -> Attack:
    return plants(f"hook-{name}", HOOK.format(place=".git/hooks", name=name))


FSMONITOR = "git -C {at} config core.fsmonitor '" + PAYLOAD + "; false'"


@cases(
    hook("pre-commit"),
    hook("post-checkout"),
    hook("post-index-change"),
    hook("prepare-commit-msg"),
    plants("fsmonitor", FSMONITOR.format(at=".")),
    plants("hooks-path", HOOK.format(place="h", name="pre-commit") + "; git config core.hooksPath h"),
    plants(
        "program-that-signs",
        "printf '#!/bin/sh\\n" + PAYLOAD + "\\n' > signs; chmod 755 signs; "
        'git config gpg.program "$PWD/signs"; git config commit.gpgSign true',
    ),
    plants("pager-of-diff", f"git config diff.external \"sh -c '{PAYLOAD}'\"; echo x >> src/code.py"),
    plants(
        "filter",
        f"git config filter.f.clean \"sh -c '{PAYLOAD}; cat'\"; printf '* filter=f\\n' > .git/info/attributes; "
        "echo x >> src/code.py",
    ),
    plants(
        "included-configuration",
        f"printf '[core]\\n\\tfsmonitor = \"{PAYLOAD}; false\"\\n' > extra; git config include.path ../extra",
    ),
    plants(
        "configuration-of-the-worktree",
        "git config extensions.worktreeConfig true; "
        f"printf '[core]\\n\\tfsmonitor = \"{PAYLOAD}; false\"\\n' > .git/config.worktree",
    ),
    plants(
        "commondir",
        "cp -r .git evil; rm -rf evil/hooks; git -C evil config core.bare false; "
        f"git --git-dir=evil config core.fsmonitor '{PAYLOAD}; false'; echo ../evil > .git/commondir",
    ),
    plants(
        "git-directory-swapped-for-a-file",
        f"git config core.fsmonitor '{PAYLOAD}; false'; mv .git elsewhere 2>/dev/null || "
        "{ cp -r .git elsewhere; rm -rf .git; }; echo 'gitdir: elsewhere' > .git",
        "git-new",
    ),
    plants(
        "git-directory-rebuilt",
        "cp -r .git copy; rm -rf .git; mv copy .git; " + FSMONITOR.format(at="."),
    ),
    plants("symlinked-commit-message", "rm -f .git/COMMIT_EDITMSG; ln -s @outside@/victim .git/COMMIT_EDITMSG"),
    plants("symlinked-log", "rm -f .git/logs/HEAD; ln -s @outside@/victim .git/logs/HEAD"),
    plants("symlinked-hooks", HOOK.format(place="h", name="pre-commit") + "; rm -rf .git/hooks; ln -s ../h .git/hooks"),
    plants(
        "nested-repository",
        "mkdir src/dep; git -C src/dep init -q; "
        "git -C src/dep -c user.name=a -c user.email=a@b commit -q --allow-empty -m x; "
        + FSMONITOR.format(at="src/dep")
        + "; git add src/dep",
        "git-nested",
    ),
    plants(
        "bare-repository",
        "git init -q --bare src/bare; git -C src/bare config core.bare false; git -C src/bare config core.worktree .; "
        + FSMONITOR.format(at="src/bare"),
        "git-bare",
        "-C src/bare status",
    ),
    plants(
        "hooks-of-husky",
        HOOK.format(place=".husky", name="pre-commit") + "; git config core.hooksPath .husky",
        "auto-load",
    ),
)
def test_git(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    require("git")
    carry_out(attack)


def linked_to(place: str) -> Callable[[Arena], None]:
    """A checkout whose `.git` is a file that points at something of the user's."""

    def bring(arena: Arena) -> None:
        arena.write("@workspace@/.git", f"gitdir: {arena.fill(place)}\n", mode=0o644)

    return bring


def other_repository(arena: Arena) -> None:
    other = arena.root / "outside/other"
    subprocess.run(["git", "init", "-q", str(other)], check=True, env=dict(os.environ) | CONFIGURATION)
    (other / ".git/token").write_text(arena.canary, "utf-8")
    linked_to("@outside@/other/.git")(arena)


def own_word(arena: Arena) -> None:
    """The checkout brings the directory that points back as well, and names the user's home as its common one."""
    linked_to("@workspace@/bare/worktrees/w")(arena)
    arena.write("@workspace@/bare/worktrees/w/gitdir", f"{arena.workspace}/.git\n", mode=0o644)
    arena.write("@workspace@/bare/worktrees/w/commondir", f"{arena.home}\n", mode=0o644)


READ = (
    "cat $(sed 's/gitdir: //' .git)/secret.txt $(sed 's/gitdir: //' .git)/token @home@/secret.txt @outside@/secret.txt"
)
NOT_BELIEVED = "the pointer is not believed, so the directory is not in the view: ENOENT"


@cases(
    Attack(name="home", script=READ, shell=True, prepare=linked_to("@home@"), unseen=NOT_BELIEVED),
    Attack(name="elsewhere", script=READ, shell=True, prepare=linked_to("@outside@"), unseen=NOT_BELIEVED),
    Attack(name="relative", script=READ, shell=True, prepare=linked_to("../../outside"), unseen=NOT_BELIEVED),
    Attack(name="other-repository", script=READ, shell=True, prepare=other_repository, unseen=NOT_BELIEVED),
    Attack(name="own-word-twice", script=READ, shell=True, prepare=own_word, unseen=NOT_BELIEVED),
)
def test_pointer_of_the_checkout(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    require("git")
    carry_out(attack)
