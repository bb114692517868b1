"""What a hostile run leaves in its upper layer does no damage on the host.

Each attack first runs against a naive `cp -a upper/. workspace/` and must succeed there, then against the filter and
the apply, where the evidence must be missing and the path must be held or refused.

Longer than 400 lines: most of it is the table of attacks, which reads better in one place.
"""

import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ringfence.model.surfaces import SURFACES
from ringfence.workspace.apply import apply
from ringfence.workspace.change import Result
from ringfence.workspace.protected import hidden_surfaces
from tests.trees import Place, opaque, outcomes, whiteout, write

FILES: dict[str, str | bytes | None] = {"README": "hello\n", "src/main.py": "print()\n"}
ENVIRONMENT = {
    "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


def git(directory: Path, *arguments: str, check: bool = True) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=directory,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done.stdout


def naive(place: Place) -> None:
    """Copy the layer as it is; a whiteout is a removal."""
    subprocess.run(["cp", "-a", f"{place.upper}/.", str(place.workspace)], check=False, timeout=60, capture_output=True)
    for directory, _, names in os.walk(place.upper):
        for name in names:
            path = os.path.join(directory, name)
            facts = os.lstat(path)
            if stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0:
                target = place.workspace / os.path.relpath(path, place.upper)
                shutil.rmtree(target) if target.is_dir() and not target.is_symlink() else target.unlink(missing_ok=True)


def ours(place: Place) -> dict[str, Result]:
    surfaces = (*SURFACES, *hidden_surfaces(place.run.workspace))
    return {result.path: result for result in apply(place.run, place.review(surfaces=surfaces))}


Plant = Callable[[Place], None]


def compare(
    tmp_path: Path, plant: Plant, damaged: Callable[[Place], bool], *, files: Mapping[str, str | bytes | None] = FILES
) -> dict[str, Result]:
    """Carry out both; give what ours said."""
    results: dict[str, Result] = {}
    for name, carry in (("naive", naive), ("ours", lambda place: results.update(ours(place)))):
        root = tmp_path / name
        root.mkdir()
        place = Place(root, files)
        plant(place)
        carry(place)
        if name == "naive":
            assert damaged(place), "the attack itself does not work"
        else:
            assert not damaged(place)
            assert not [found for found in os.listdir(place.workspace) if found.startswith(".ringfence")]
    return results


def repository(place: Place) -> None:
    """Make the workspace a repository whose only commit is older than the run."""
    git(place.workspace, "init", "-q", "-b", "main")
    git(place.workspace, "add", ".")
    git(place.workspace, "commit", "-qm", "one")
    place.run = place.begin()


def witness(place: Place) -> Path:
    """Name the file whose presence proves that code from the layer ran on the host."""
    return place.workspace.parent / "witness"


def script(place: Place) -> str:
    return f"#!/bin/sh\ntouch '{witness(place)}'\n"


def runs_code(*arguments: str) -> Callable[[Place], bool]:
    """The user's next git command runs what the layer brought."""

    def damaged(place: Place) -> bool:
        git(place.workspace, *arguments, check=False)
        return witness(place).exists()

    return damaged


def executable(place: Place, path: str) -> None:
    write(place.upper, {path: script(place)})
    os.chmod(place.upper / path, 0o755)


def test_a_hook(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        repository(place)
        executable(place, ".git/hooks/pre-commit")

    found = compare(tmp_path, plant, runs_code("commit", "--allow-empty", "-m", "x"))
    assert found[".git/hooks/pre-commit"].outcome.value == "held"


def test_configuration(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        repository(place)
        config = (place.workspace / ".git/config").read_text()
        write(place.upper, {".git/config": f"{config}[core]\n\tfsmonitor = touch '{witness(place)}'; false\n"})

    compare(tmp_path, plant, runs_code("status"))


def test_another_repository_through_commondir(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        repository(place)
        write(place.upper, {".git/commondir": "../elsewhere\n", "elsewhere/objects": None, "elsewhere/refs": None})
        text = f"[core]\n\trepositoryformatversion = 0\n\tfsmonitor = touch '{witness(place)}'; false\n"
        write(place.upper, {"elsewhere/config": text, "elsewhere/HEAD": "ref: refs/heads/main\n"})

    found = compare(tmp_path, plant, runs_code("status"))
    assert found[".git/commondir"].outcome.value == "held"
    assert found["elsewhere/config"].reason.startswith("git-bare")


def test_a_swapped_git_directory(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        repository(place)
        write(place.upper, {".git": "gitdir: prepared\n", "prepared/objects": None, "prepared/refs": None})
        text = f"[core]\n\trepositoryformatversion = 0\n\tfsmonitor = touch '{witness(place)}'; false\n"
        write(place.upper, {"prepared/config": text, "prepared/HEAD": "ref: refs/heads/main\n"})

    def damaged(place: Place) -> bool:
        if not (place.workspace / ".git").is_dir():
            return True
        return runs_code("status")(place)

    # `cp` refuses to put a file over a directory; a naive merge removes it first.
    def naive_plant(place: Place) -> None:
        plant(place)
        if "naive" in place.workspace.parts:
            shutil.rmtree(place.workspace / ".git")

    found = compare(tmp_path, naive_plant, damaged)
    assert found[".git"].reason.startswith("git-new")


def test_a_rebuilt_git_directory(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        repository(place)
        opaque(place.upper, ".git")
        git(place.upper, "init", "-q", "-b", "main")
        git(place.upper, "config", "core.fsmonitor", f"touch '{witness(place)}'; false")

    compare(tmp_path, plant, runs_code("status"))


def test_a_nested_repository(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        repository(place)
        (place.upper / "vendor/lib").mkdir(parents=True)
        git(place.upper / "vendor/lib", "init", "-q")
        git(place.upper / "vendor/lib", "config", "core.fsmonitor", f"touch '{witness(place)}'; false")

    def damaged(place: Place) -> bool:
        git(place.workspace / "vendor/lib", "status", check=False)
        return witness(place).exists()

    compare(tmp_path, plant, damaged)


def test_a_buried_bare_repository(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        (place.upper / "docs").mkdir()
        git(place.upper / "docs", "init", "-q", "--bare", ".")
        git(place.upper / "docs", "config", "core.bare", "false")
        git(place.upper / "docs", "config", "core.worktree", ".")
        git(place.upper / "docs", "config", "core.fsmonitor", f"touch '{witness(place)}'; false")

    def damaged(place: Place) -> bool:
        (place.workspace / "docs").mkdir(exist_ok=True)
        git(place.workspace / "docs", "status", check=False)
        return witness(place).exists()

    found = compare(tmp_path, plant, damaged)
    assert {result.reason.partition(":")[0] for result in found.values()} <= {"git-bare", "parent-held"}


def test_alternates(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        repository(place)
        write(place.upper, {".git/objects/info/alternates": "/somewhere/else\n"})

    compare(tmp_path, plant, lambda place: (place.workspace / ".git/objects/info/alternates").exists())


@pytest.mark.parametrize("name", ["COMMIT_EDITMSG", "logs/HEAD", "ORIG_HEAD"])
def test_a_link_that_the_next_commit_would_follow(tmp_path: Path, name: str) -> None:
    def plant(place: Place) -> None:
        repository(place)
        victim = place.workspace.parent / "victim"
        victim.write_text("precious\n")
        if name == "ORIG_HEAD":
            write(place.workspace, {f".git/{name}": "0" * 40})
        write(place.upper, {f".git/{name}": f"-> {victim}"})

    def damaged(place: Place) -> bool:
        git(place.workspace, "commit", "--allow-empty", "-m", "two", check=False)
        leads_out = (place.workspace / ".git" / name).is_symlink()
        return leads_out or (place.workspace.parent / "victim").read_text() != "precious\n"

    compare(tmp_path, plant, damaged)


def test_hooks_behind_a_link_of_the_host(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        repository(place)
        shutil.rmtree(place.workspace / ".git/hooks")
        (place.workspace / ".git/hooks").symlink_to("../tools/git-hooks")
        (place.workspace / "tools/git-hooks").mkdir(parents=True)
        place.run = place.begin()
        executable(place, "tools/git-hooks/pre-commit")

    found = compare(tmp_path, plant, runs_code("commit", "--allow-empty", "-m", "x"))
    assert found["tools/git-hooks/pre-commit"].outcome.value == "held"


def test_hooks_in_a_configured_directory(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        repository(place)
        git(place.workspace, "config", "core.hooksPath", "ci/hooks")
        place.run = place.begin()
        executable(place, "ci/hooks/pre-commit")

    compare(tmp_path, plant, runs_code("commit", "--allow-empty", "-m", "x"))


def test_a_script_that_git_s_configuration_names(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        executable_on_host = place.workspace / "tools/monitor"
        write(place.workspace, {"tools/monitor": "#!/bin/sh\nfalse\n"})
        os.chmod(executable_on_host, 0o755)
        repository(place)
        git(place.workspace, "config", "core.fsmonitor", "./tools/monitor")
        place.run = place.begin()
        executable(place, "tools/monitor")

    compare(tmp_path, plant, runs_code("status"))


def test_configuration_of_an_agent_behind_a_link(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        write(place.workspace, {"agents/settings.json": "{}", ".claude": "-> agents"})
        place.run = place.begin()
        write(place.upper, {"agents/settings.json": '{"hooks": "evil"}'})

    compare(tmp_path, plant, lambda place: "evil" in (place.workspace / ".claude/settings.json").read_text())


NEW_NAMES = (
    ".claude/settings.local.json .CLAUDE/settings.json .mcp.json .envrc .vscode/tasks.json .husky/pre-commit .npmrc "
    ".devcontainer/devcontainer.json .github/workflows/x.yml sub/.bashrc .cursor/mcp.json .cargo/config.toml .idea/x "
    "deep/er/.git/hooks/post-checkout .Git/config ringfence.toml .gitmodules"
).split()


@pytest.mark.parametrize("path", NEW_NAMES)
def test_new_names(tmp_path: Path, path: str) -> None:
    compare(tmp_path, lambda place: write(place.upper, {path: "evil"}), lambda place: (place.workspace / path).exists())


def test_a_directory_swap(tmp_path: Path) -> None:
    """`mv .claude old; mkdir .claude; ...`: the deny list of the original inode no longer covers the name."""

    def plant(place: Place) -> None:
        write(place.workspace, {".claude/settings.json": "{}"})
        place.run = place.begin()
        opaque(place.upper, ".claude")
        write(place.upper, {".claude/settings.json": "evil", "old/settings.json": "{}"})

    compare(tmp_path, plant, lambda place: "evil" in (place.workspace / ".claude/settings.json").read_text())


@pytest.mark.parametrize("target", ["absolute", "dots", "through"])
def test_links_that_leave(tmp_path: Path, target: str) -> None:
    def plant(place: Place) -> None:
        victim = place.workspace.parent / "victim"
        victim.mkdir()
        # Where `up` is the workspace, `..` of it is outside, though the text alone looks harmless.
        text = {"absolute": str(victim), "dots": "../victim", "through": "a/b/up/../victim"}[target]
        write(place.upper, {"a/b/up": "-> ../..", "out": f"-> {text}"})

    def damaged(place: Place) -> bool:
        try:
            (place.workspace / "out/file").write_text("written by the user's tool")
        except OSError:
            return False
        return any((place.workspace.parent / "victim").iterdir())

    compare(tmp_path, plant, damaged)


def test_a_link_for_a_directory_of_the_workspace(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        (place.workspace.parent / "victim").mkdir()
        whiteout(place.upper, "src")
        os.unlink(place.upper / "src")
        (place.upper / "src").symlink_to("../victim")
        if "naive" in place.workspace.parts:
            shutil.rmtree(place.workspace / "src")

    found = compare(tmp_path, plant, lambda place: (place.workspace / "src").is_symlink())
    assert found["src"].outcome.value == "held"
    assert found["src/main.py"].outcome.value == "held"


def test_special_files_and_bits(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        os.mkfifo(place.upper / "fifo")
        executable(place, "setuid")
        os.chmod(place.upper / "setuid", 0o4755)
        (place.upper / "sticky").mkdir()
        os.chmod(place.upper / "sticky", 0o1777)
        with socket.socket(socket.AF_UNIX) as listening:
            directory = os.open(place.upper, os.O_PATH)
            listening.bind(f"/proc/self/fd/{directory}/socket")
            os.close(directory)

    def damaged(place: Place) -> bool:
        return any((place.workspace / name).exists() for name in ("fifo", "setuid", "sticky", "socket"))

    assert set(outcomes(list(compare(tmp_path, plant, damaged).values())).values()) == {"held"}


@pytest.mark.require("root")
def test_devices(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        os.mknod(place.upper / "disk", stat.S_IFBLK | 0o666, os.makedev(8, 0))

    compare(tmp_path, plant, lambda place: (place.workspace / "disk").exists())


@pytest.mark.require("root")
def test_file_capabilities(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        executable(place, "capable")
        value = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw, VFS_CAP_REVISION_2
        os.setxattr(place.upper / "capable", "security.capability", value)

    compare(tmp_path, plant, lambda place: (place.workspace / "capable").exists())


def test_a_sparse_bomb(tmp_path: Path) -> None:
    def plant(place: Place) -> None:
        for number in range(8):
            with open(place.upper / f"bomb{number}", "wb") as file:
                file.truncate(1 << 43)

    def damaged(place: Place) -> bool:
        return sum(entry.stat().st_size for entry in os.scandir(place.workspace)) > 1 << 40

    found = compare(tmp_path, plant, damaged)
    assert all(result.reason.startswith("budget-size") for result in found.values())


def test_one_planted_link_does_not_sabotage_the_rest(tmp_path: Path) -> None:
    place = Place(tmp_path, FILES)
    write(place.upper, {"0-first": "-> /", "good": "good", "src/also": "good", "z-last": "-> ../../x"})
    found = outcomes(list(ours(place).values()))
    assert found == {"0-first": "held", "good": "applied", "src/also": "applied", "z-last": "held"}


@pytest.mark.parametrize("when", ["before", "sync"])
def test_a_parent_swapped_for_a_link_between_review_and_apply(tmp_path: Path, when: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "main.py").write_text("precious")
    place = Place(tmp_path, FILES)
    write(place.upper, {"src/main.py": "evil", "src/new.py": "evil", "good": "good"})
    whiteout(place.upper, "README")
    reviewed = place.review()

    def swap() -> None:
        os.rename(place.workspace / "src", place.workspace / "moved")
        (place.workspace / "src").symlink_to(victim)

    def step(name: str) -> None:
        if name == "sync" and when == "sync":
            swap()

    if when == "before":
        swap()
        with pytest.raises(OSError, match="symbolic links"):  # the control: the kernel would follow a plain path
            os.close(os.open(place.workspace / "src", os.O_RDONLY | os.O_NOFOLLOW))
        assert (place.workspace / "src/main.py").read_text() == "precious"
    found = apply(place.run, reviewed, step=step)
    assert {path: out for path, out in outcomes(found).items() if path.startswith("src")} == {
        "src/main.py": "failed",
        "src/new.py": "failed",
    }
    assert outcomes(found)["good"] == outcomes(found)["README"] == "applied"
    assert "a directory above it is a link or a file on the host" in {result.reason for result in found}
    assert os.listdir(victim) == ["main.py"]
    assert (victim / "main.py").read_text() == "precious"


def test_content_that_turns_into_a_fifo_or_a_link_does_not_block_or_leak(tmp_path: Path) -> None:
    place = Place(tmp_path, FILES)
    write(place.upper, {"a": "a", "b": "b"})
    secret = tmp_path / "secret"
    secret.write_text("secret")
    reviewed = place.review()
    os.unlink(place.upper / "a")
    os.mkfifo(place.upper / "a")
    os.unlink(place.upper / "b")
    (place.upper / "b").symlink_to(secret)
    assert outcomes(apply(place.run, reviewed)) == {"a": "failed", "b": "failed"}
    assert sorted(os.listdir(place.workspace)) == ["README", "src"]
