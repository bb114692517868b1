"""T2: a checkout that takes effect by being opened, and trust that is carried to what nobody has read.

Each case first shows that it would work: where trust is off everything is seen and run, and before the trick the
checkout is trusted.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.attacks.arena import LIMIT_S, RINGFENCE, Arena
from tests.requirements import require

# Every file of this kind holds the canary; those that are scripts would leave a mark.
STEERING = """CLAUDE.md AGENTS.md sub/deep/CLAUDE.md .github/copilot-instructions.md .cursorrules
.cursor/rules/x.mdc .claude/settings.json .claude/skills/x/SKILL.md sub/.CLAUDE/settings.json .mcp.json
.codex/config.toml .gemini/settings.json .aider.conf.yml .env .vscode/tasks.json .devcontainer/devcontainer.json
sub/.Envrc .envrc mise.toml .husky/pre-commit .npmrc .cargo/config.toml .gdbinit sub/sitecustomize.py
node_modules/x/AGENTS.md""".split()
READ_ALL = "find . -type f ! -path './.git/objects/*' -exec cat {} + ; find ."


@pytest.fixture
def arena() -> Iterator[Arena]:
    require("bubblewrap", "overlay", "git")
    with Arena.open(lambda arena: None) as opened:
        yield opened


def command(arena: Arena, *words: str, directory: Path | None = None) -> subprocess.CompletedProcess[str]:
    """One command line of ours, in the workspace or elsewhere."""
    place = directory or arena.workspace
    environment = arena.environment() | {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "PWD": str(place)}
    return subprocess.run(
        [*RINGFENCE, *words],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=LIMIT_S,
    )


def git(arena: Arena, *words: str, directory: Path | None = None) -> None:
    settings = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main")
    place = directory or arena.workspace
    subprocess.run(["git", *settings, *words], cwd=place, check=True, capture_output=True, env=arena.environment())


def hostile(arena: Arena) -> None:
    """Make the workspace a checkout that nobody would trust: everything committed, git's own settings included."""
    for name in STEERING:
        arena.write(f"@workspace@/{name}", f"# {arena.canary} in {name}\n", mode=0o644)
    (arena.workspace / ".windsurfrules").symlink_to("sub/deep/CLAUDE.md")
    git(arena, "init", "-q")
    git(arena, "add", "-Af")
    git(arena, "commit", "-qm", "x")
    script = f"#!/bin/sh\necho {arena.canary}-ran >&2\n"
    for name in ("tools/monitor", ".git/hooks/post-index-change", "vendored/.git/run"):
        arena.write(f"@workspace@/{name}", script, mode=0o755)
    git(arena, "config", "core.fsmonitor", "tools/monitor")
    git(arena, "init", "-q", "vendored")
    git(arena, "config", "core.fsmonitor", ".git/run", directory=arena.workspace / "vendored")


def listing(arena: Arena) -> dict[str, tuple[int, bytes]]:
    """Everything on the host but git's index, which any look at a repository renews."""
    found = {}
    for path in (one for one in sorted(arena.workspace.rglob("*")) if one.name != "index"):
        status = path.lstat()
        content = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mode, content)
    return found


def seen(arena: Arena, mode: str, *options: str) -> str:
    """What a run can see and git makes run; the canary of each file that is visible is in it."""
    script = f"{READ_ALL}; git status --short; cd vendored && git status --short"
    done = command(arena, "run", "--trust", mode, *options, "--", "sh", "-c", script)
    return done.stdout + done.stderr


@pytest.mark.parametrize("mode", ["overlay", "readonly", "direct"])
def test_nothing_of_a_never_trusted_checkout_runs_or_is_seen(arena: Arena, mode: str) -> None:
    hostile(arena)
    before = listing(arena)
    control = seen(arena, "off", "--workspace", mode)
    assert f"{arena.canary}-ran" in control and arena.canary in control, (
        "the checkout is harmless even where it is trusted"
    )
    missing = [name for name in STEERING if f"{arena.canary} in {name}" not in control]
    assert missing == []
    hidden = seen(arena, "hide", "--workspace", mode)
    shown = [name for name in STEERING if f"{arena.canary} in {name}" in hidden]
    assert shown == []
    assert f"{arena.canary}-ran" not in hidden.replace(f"echo {arena.canary}-ran", "")
    if mode == "overlay":
        names = hidden.splitlines()
        assert [name for name in STEERING if f"./{name}" in names] == []
        assert "./README" in names and "./.windsurfrules" not in names
    assert listing(arena) == before


@pytest.mark.parametrize("when", ["exit", "live"])
def test_hidden_files_are_not_deletions(arena: Arena, when: str) -> None:
    hostile(arena)
    before = listing(arena)
    script = "echo more >> README; rm -rf sub; mkdir -p .claude; echo x > .claude/settings.json; echo x > CLAUDE.md"
    done = command(arena, "run", "--trust", "hide", "--apply", when, "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    after = listing(arena)
    assert {path: content for path, content in after.items() if not path.endswith("/README")} == {
        path: content for path, content in before.items() if not path.endswith("/README")
    }
    assert (arena.workspace / "README").read_text() == "a project\nmore\n"
    records = command(arena, "log", "--kind", "held").stdout
    for name in (".claude/settings.json", "CLAUDE.md", "sub"):
        assert any(f"target={name}" in line for line in records.splitlines()), records
    assert "path-protected" in records


def test_what_is_hidden_cannot_be_released_with_a_name(arena: Arena) -> None:
    hostile(arena)
    command(arena, "run", "--trust", "hide", "--", "sh", "-c", "echo planted > CLAUDE.md")
    assert command(arena, "apply", "--held", "CLAUDE.md").returncode != 0
    assert arena.canary in (arena.workspace / "CLAUDE.md").read_text()


def test_a_run_that_was_killed_deletes_nothing_when_it_is_applied(arena: Arena) -> None:
    hostile(arena)
    before = listing(arena)
    words = [*RINGFENCE, "run", "--trust", "hide", "--", "sh", "-c", "echo x > new; echo ready; sleep 30"]
    environment = arena.environment() | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    with subprocess.Popen(words, cwd=arena.workspace, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.kill()
    done = command(arena, "apply")
    assert (arena.workspace / "new").exists(), done.stderr
    after = {path: found for path, found in listing(arena).items() if not path.endswith("/new")}
    assert after == before


def test_a_run_that_never_began_deletes_nothing_when_it_is_applied(arena: Arena) -> None:
    """Killed before its boundary stood: the whiteouts are there already, and so is what may not be written."""
    hostile(arena)
    before = listing(arena)
    program = (
        "import os, sys\n"
        "from ringfence.sandbox import launch\n"
        "launch.start = lambda *_: os._exit(9)\n"
        "from ringfence.cli.entry import main\n"
        "main()\n"
    )
    environment = arena.environment() | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    words = [RINGFENCE[0], "-P", "-c", program, "run", "--trust", "hide", "--", "true"]
    assert subprocess.run(words, cwd=arena.workspace, env=environment, timeout=LIMIT_S, check=False).returncode == 9
    assert any(path.is_char_device() for path in (arena.home / ".local/state/ringfence/runs").rglob("*"))
    command(arena, "run", "--", "true")
    identifier = next((arena.home / ".local/state/ringfence/runs").iterdir()).name
    done = command(arena, "apply", identifier)
    assert "path-protected" in done.stdout + done.stderr
    assert listing(arena) == before


def test_where_policy_says_so_nothing_runs_at_all(arena: Arena) -> None:
    hostile(arena)
    arena.write("@home@/.config/ringfence/policy.toml", 'version = 1\n[trust]\nmode = "refuse"\n')
    done = command(arena, "run", "--", "sh", "-c", "echo ran")
    assert (done.returncode, done.stdout) == (2, "")
    assert "not trusted" in done.stderr


def test_a_name_that_cannot_be_hidden_refuses_the_run(arena: Arena) -> None:
    place = os.fsencode(arena.workspace) + b"/\xff"
    os.mkdir(place)
    with open(place + b"/CLAUDE.md", "w", encoding="utf-8") as file:
        file.write(arena.canary)
    assert arena.canary in command(arena, "run", "--", "sh", "-c", "cat */CLAUDE.md").stdout
    done = command(arena, "run", "--trust", "hide", "--", "sh", "-c", "cat */CLAUDE.md")
    assert (done.returncode, done.stdout) == (2, "")
    assert "\\xff/CLAUDE.md" in done.stderr


def test_nobody_works_in_a_directory_that_is_hidden(arena: Arena) -> None:
    hostile(arena)
    done = command(arena, "run", "--trust", "hide", "--", "pwd", directory=arena.workspace / ".claude/skills")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nobody has trusted it" in done.stderr


def test_the_repository_behind_a_worktree_waits_as_well(arena: Arena) -> None:
    git(arena, "init", "-q", str(arena.home / "repository"))
    repository = arena.home / "repository"
    git(arena, "commit", "-q", "--allow-empty", "-m", "x", directory=repository)
    git(arena, "worktree", "add", "-q", str(arena.home / "worktree"), directory=repository)
    git(arena, "config", "core.fsmonitor", "./run", directory=repository)
    arena.write("@home@/worktree/run", f"#!/bin/sh\necho {arena.canary} >&2\n", mode=0o755)
    before = (repository / ".git/config").read_text()
    for mode, runs in (("off", True), ("hide", False)):
        words = ("run", "--trust", mode, "--", "git", "status", "--short")
        done = command(arena, *words, directory=arena.home / "worktree")
        assert (arena.canary in done.stderr) is runs
        assert done.returncode == 0
    assert (repository / ".git/config").read_text() == before


@pytest.mark.parametrize(
    "text", ['version = 1\n[workspace]\nmode = "direct"\n', "not a policy", 'version = 1\n[trust]\nmode = "off"\n']
)
def test_the_policy_of_a_checkout_is_not_even_read(arena: Arena, text: str) -> None:
    arena.write("@workspace@/ringfence.toml", text, mode=0o644)
    assert command(arena, "run", "--", "true").returncode == 2
    done = command(arena, "run", "--trust", "hide", "--", "sh", "-c", "cat ringfence.toml || echo none")
    assert done.stdout == "none\n"


# ---- trust is not carried


def trusted(arena: Arena) -> None:
    """A checkout that the user has read and trusts."""
    arena.write("@workspace@/CLAUDE.md", arena.canary, mode=0o644)
    arena.write("@workspace@/.claude/settings.json", '{"hooks": {"a": [{"command": "tools/check.sh"}]}}', mode=0o644)
    arena.write("@workspace@/tools/check.sh", ". ./tools/lib.sh\n", mode=0o755)
    arena.write("@workspace@/tools/lib.sh", "true\n", mode=0o644)
    git(arena, "init", "-q")
    git(arena, "add", "-A")
    git(arena, "commit", "-qm", "x")
    done = command(arena, "trust", "--yes")
    assert done.returncode == 0, done.stderr


def is_trusted(arena: Arena, directory: Path | None = None) -> bool:
    done = command(arena, "run", "--trust", "hide", "--", "cat", "CLAUDE.md", directory=directory)
    return arena.canary in done.stdout


def edit(name: str, text: str) -> Callable[[Arena], Path]:
    def carry_out(arena: Arena) -> Path:
        arena.write(f"@workspace@/{name}", text, mode=0o644)
        return arena.workspace

    return carry_out


def moved(arena: Arena) -> Path:
    return arena.workspace.rename(arena.home / "elsewhere")


def copied(arena: Arena) -> Path:
    return Path(shutil.copytree(arena.workspace, arena.home / "copy", symlinks=True))


def replaced(arena: Arena) -> Path:
    """The same content at the same path, and still another directory: nobody has read the rest of it."""
    aside = arena.workspace.rename(arena.home / "aside")
    shutil.copytree(aside, arena.workspace, symlinks=True)
    return arena.workspace


def path_that_is_now_a_link(arena: Arena) -> Path:
    other = copied(arena)
    shutil.rmtree(arena.workspace)
    arena.workspace.symlink_to(other)
    return arena.workspace


def repository_above(arena: Arena) -> Path:
    """A `.git` planted above makes everything below it one workspace, with more in it than was read."""
    arena.write("@outside@/tree/CLAUDE.md", arena.canary, mode=0o644)
    tree = arena.root / "outside/tree"
    assert command(arena, "trust", "--yes", directory=tree).returncode == 0
    assert is_trusted(arena, tree)
    (arena.root / "outside/.git").mkdir()
    return tree


def worktree_of_the_trusted(arena: Arena) -> Path:
    git(arena, "worktree", "add", "-q", str(arena.home / "worktree"))
    return arena.home / "worktree"


def pointing(name: str, text: str) -> Callable[[Arena], Path]:
    """Another checkout whose git files point at the trusted one."""

    def carry_out(arena: Arena) -> Path:
        arena.write("@home@/other/CLAUDE.md", arena.canary, mode=0o644)
        arena.write(f"@home@/other/{name}", arena.fill(text), mode=0o644)
        return arena.home / "other"

    return carry_out


def nested_checkout(arena: Arena) -> Path:
    arena.write("@workspace@/vendored/CLAUDE.md", "other", mode=0o644)
    git(arena, "init", "-q", "vendored")
    return arena.workspace


def settings_of_git(arena: Arena) -> Path:
    git(arena, "config", "core.hooksPath", "tools")
    return arena.workspace


def executable(arena: Arena) -> Path:
    (arena.workspace / "tools/lib.sh").chmod(0o755)
    return arena.workspace


def link_in_place_of_a_file(arena: Arena) -> Path:
    (arena.workspace / "tools/lib.sh").rename(arena.workspace / "tools/other.sh")
    (arena.workspace / "tools/lib.sh").symlink_to("other.sh")
    return arena.workspace


def decision_of_somebody_else(arena: Arena) -> Path:
    """The store becomes writable for everybody: from then on nobody knows whose word it holds."""
    (arena.home / ".local/share/ringfence/trust").chmod(0o777)
    return arena.workspace


@pytest.mark.parametrize(
    "trick",
    [
        edit("CLAUDE.md", "other"),
        edit("tools/check.sh", "evil"),
        edit("tools/lib.sh", "evil"),
        edit("AGENTS.md", "new"),
        edit("a/b/c/.envrc", "new"),
        edit("sub/.CLAUDE/settings.json", "{}"),
        edit("claude.MD", "new"),
        edit(".claude/settings.local.json", "{}"),
        edit(".git/hooks/pre-commit", "evil"),
        edit(".git/commondir", "../elsewhere"),
        moved,
        copied,
        replaced,
        path_that_is_now_a_link,
        repository_above,
        worktree_of_the_trusted,
        pointing(".git", "gitdir: @workspace@/.git"),
        pointing(".git/commondir", "@workspace@/.git"),
        nested_checkout,
        settings_of_git,
        executable,
        link_in_place_of_a_file,
        decision_of_somebody_else,
    ],
    ids=lambda trick: trick.__name__,
)
def test_trust_is_not_carried(arena: Arena, trick: Callable[[Arena], Path]) -> None:
    trusted(arena)
    assert is_trusted(arena), "nothing to carry"
    place = trick(arena)
    done = command(arena, "run", "--trust", "hide", "-v", "--", "cat", "CLAUDE.md", directory=place)
    assert arena.canary not in done.stdout
    assert "not trusted" in done.stderr


def test_a_command_inside_cannot_decide_for_the_user(arena: Arena) -> None:
    trusted(arena)
    digest = command(arena, "trust", "--show", "--json").stdout.split('"digest": "')[1][:64]
    command(arena, "trust", "--revoke")
    script = (
        "mkdir -p ~/.local/share/ringfence/trust && chmod 700 ~/.local/share/ringfence/trust"
        f" && for d in ~/.local/share/ringfence/trust/*/; do echo '{{}}' > $d/{digest}; done"
    )
    command(arena, "run", "--trust", "hide", "--", "sh", "-c", script)
    assert not is_trusted(arena)
