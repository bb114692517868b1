"""N1: names that programs load by themselves, new or changed, in any spelling; what the apply must hold back."""

from collections.abc import Callable

from tests.attacks.arena import Arena
from tests.attacks.attack import Attack, cases, created, holds, present


def linked_settings(arena: Arena) -> None:
    arena.write("@workspace@/settings/tasks.json", "{}\n", mode=0o644)
    (arena.workspace / ".vscode").symlink_to("settings")


def name(path: str, code: str = "auto-load") -> Attack:
    return Attack(
        name=path.replace("/", "-").strip("."),
        script=f"mkdir -p \"$(dirname '{path}')\"; echo pwned > '{path}'",
        shell=True,
        evidence=created(f"@workspace@/{path}"),
        code=code,
    )


@cases(
    name(".envrc"),
    name(".mcp.json"),
    name(".claude/settings.local.json"),
    name(".codex/config.toml"),
    name(".cursor/mcp.json"),
    name(".vscode/tasks.json"),
    name(".devcontainer/devcontainer.json"),
    name(".husky/pre-commit"),
    name(".github/workflows/release.yml"),
    name(".gitlab-ci.yml"),
    name(".npmrc"),
    name(".yarnrc.yml"),
    name(".cargo/config.toml"),
    name(".pre-commit-config.yaml"),
    name("sitecustomize.py"),
    name(".gdbinit"),
    name(".bashrc"),
    name("GNUmakefile"),
    name(".CLAUDE/settings.json"),
    name(".Cursor/mcp.json"),
    name("deep/below/.vscode/settings.json"),
    name("packages/a/.npmrc"),
    name("src/.git/config", "git-nested"),
    name("src/.GIT/config", "git-nested"),
    name("src/git~1/config", "git-nested"),
    name("mise.toml"),
    name(".idea/workspace.xml"),
    name(".kiro/settings/mcp.json"),
    name("project.code-workspace"),
)
def test_name(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)


@cases(
    Attack(
        name="directory-swapped",
        script="mv .claude old; mkdir .claude; echo pwned > .claude/settings.json",
        shell=True,
        prepare=present("@workspace@/.claude/settings.json", "{}\n"),
        evidence=holds("@workspace@/.claude/settings.json"),
        code="auto-load",
    ),
    Attack(
        name="symlink-to-a-new-name",
        script="mkdir s; echo pwned > s/settings.json; ln -s s .claude",
        shell=True,
        evidence=created("@workspace@/.claude"),
        code="auto-load",
    ),
    Attack(
        name="renamed-directory",
        script="mkdir s; echo pwned > s/tasks.json; mv s .vscode",
        shell=True,
        evidence=created("@workspace@/.vscode/tasks.json"),
        code="auto-load",
    ),
    Attack(
        name="appended-to",
        script="echo pwned >> .envrc",
        shell=True,
        prepare=present("@workspace@/.envrc", "use nix\n"),
        evidence=holds("@workspace@/.envrc"),
        code="auto-load",
    ),
    Attack(
        name="behind-a-link-of-the-host",
        script="echo pwned > settings/tasks.json",
        shell=True,
        prepare=linked_settings,
        evidence=holds("@workspace@/settings/tasks.json"),
        code="auto-load",
    ),
)
def test_way(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
