"""Real git layouts, looked at by the real facts: what of a repository outside the workspace the plan shows."""

import os
import subprocess
from pathlib import Path

import pytest

from ringfence.model.plan import Plan
from ringfence.session import prepare
from ringfence.session.options import Options, workspace_of

pytestmark = pytest.mark.require("git", "bubblewrap")

SETTINGS = (
    *("-c", "user.name=A User", "-c", "user.email=user@example.org", "-c", "protocol.file.allow=always"),
    *("-c", "init.defaultBranch=main", "-c", "advice.detachedHead=false"),
)


def git(place: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", place, *SETTINGS, *words], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def repository(place: Path) -> Path:
    place.mkdir(parents=True)
    git(place, "init", "--quiet")
    (place / "file").write_text("text\n")
    git(place, "add", "file")
    git(place, "commit", "--quiet", "--message", "first")
    return place


def planned(workspace: Path) -> Plan:
    assert workspace_of(str(workspace)) == str(workspace)
    return prepare.prepare(Options(), ["true"], str(workspace), str(workspace)).plan


def shown(workspace: Path) -> list[Path]:
    """Git directories outside the workspace; where there is one, it is mounted as the workspace is."""
    plan = planned(workspace)
    kinds = {str(mount.target): mount.kind for mount in plan.mounts}
    assert {kinds[path] for path in plan.workspace.repositories} <= {kinds[str(workspace)]}
    return [Path(path) for path in plan.workspace.repositories]


def exposed(plan: Plan, path: Path) -> bool:
    return any(mount.source and f"{path}/".startswith(f"{mount.source}/") for mount in plan.mounts)


def test_an_ordinary_repository(tmp_path: Path) -> None:
    assert shown(repository(tmp_path / "main")) == []


def test_a_linked_worktree(tmp_path: Path) -> None:
    main = repository(tmp_path / "main")
    git(main, "worktree", "add", "--quiet", str(tmp_path / "linked"))
    assert shown(tmp_path / "linked") == [main / ".git"]
    assert not exposed(planned(tmp_path / "linked"), main / "file")


def test_a_linked_worktree_with_relative_paths(tmp_path: Path) -> None:
    main = repository(tmp_path / "main")
    linked = tmp_path / "linked"
    git(main, "worktree", "add", "--quiet", str(linked))
    (linked / ".git").write_text("gitdir: ../main/.git/worktrees/linked\n")
    (main / ".git/worktrees/linked/gitdir").write_text("../../../../linked/.git\n")
    git(linked, "status")
    assert shown(linked) == [main / ".git"]


def test_a_worktree_of_a_bare_repository(tmp_path: Path) -> None:
    main = repository(tmp_path / "main")
    git(tmp_path, "clone", "--quiet", "--bare", str(main), str(tmp_path / "bare.git"))
    git(tmp_path / "bare.git", "worktree", "add", "--quiet", str(tmp_path / "linked"))
    assert shown(tmp_path / "linked") == [tmp_path / "bare.git"]


def test_a_bare_repository_as_the_workspace(tmp_path: Path) -> None:
    main = repository(tmp_path / "main")
    git(tmp_path, "clone", "--quiet", "--bare", str(main), str(tmp_path / "bare.git"))
    assert shown(tmp_path / "bare.git") == []


@pytest.fixture
def superproject(tmp_path: Path) -> Path:
    """Give a repository with the submodule `module`, which has the submodule `inner`."""
    inner, module, top = (repository(tmp_path / name) for name in ("inner", "module", "super"))
    git(module, "submodule", "--quiet", "add", str(inner), "inner")
    git(module, "commit", "--quiet", "--message", "inner")
    git(top, "submodule", "--quiet", "add", str(module), "module")
    git(top, "submodule", "--quiet", "update", "--init", "--recursive")
    return top


def test_submodules(superproject: Path) -> None:
    modules = superproject / ".git/modules/module"
    assert shown(superproject / "module") == [modules]
    assert shown(superproject / "module/inner") == [modules / "modules/inner"]
    assert shown(superproject) == []


def test_a_worktree_of_a_submodule(superproject: Path, tmp_path: Path) -> None:
    git(superproject / "module", "worktree", "add", "--quiet", str(tmp_path / "linked"))
    assert shown(tmp_path / "linked") == [superproject / ".git/modules/module"]


def test_a_separate_git_directory_without_a_way_back_stays_out(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "--quiet", "--separate-git-dir", str(tmp_path / "elsewhere"))
    assert shown(work) == []
    assert any("git will not find" in note for note in planned(work).notes)
    git(work, "config", "core.worktree", str(work))
    assert shown(work) == [tmp_path / "elsewhere"]


@pytest.mark.parametrize("name", ["with space", "new\nline", "$(id)", "ünï", "*?[x]"])
def test_odd_names(tmp_path: Path, name: str) -> None:
    main = repository(tmp_path / "main")
    git(main, "worktree", "add", "--quiet", "--detach", str(tmp_path / name))
    # git itself cannot name such a worktree in a file of one line.
    assert shown(tmp_path / name) == ([] if "\n" in name else [main / ".git"])


def test_a_link_in_place_of_the_git_directory_is_not_followed(tmp_path: Path) -> None:
    main = repository(tmp_path / "main")
    work = tmp_path / "work"
    work.mkdir()
    (work / ".git").symlink_to(main / ".git")
    assert shown(work) == []
    assert not exposed(planned(work), main / ".git/config")


# ---- hostile checkouts: the files are what an attacker can commit or unpack


def test_a_git_file_cannot_expose_a_directory(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    (secret / "objects").mkdir(parents=True)
    (secret / "HEAD").write_text("ref: refs/heads/main\n")
    work = tmp_path / "work"
    work.mkdir()
    for text in (
        f"gitdir: {secret}",
        "gitdir: ../secret",
        "gitdir: /",
        f"gitdir: {os.environ['HOME']}",
        "gitdir: ../../..",
    ):
        (work / ".git").write_text(text + "\n")
        assert shown(work) == []
        assert not exposed(planned(work), secret / "HEAD")


def test_a_git_file_cannot_take_another_ones_worktree(tmp_path: Path) -> None:
    main = repository(tmp_path / "main")
    git(main, "worktree", "add", "--quiet", str(tmp_path / "linked"))
    work = tmp_path / "work"
    work.mkdir()
    (work / ".git").write_bytes((tmp_path / "linked/.git").read_bytes())
    assert shown(work) == []


def test_a_common_directory_planted_in_the_checkout_exposes_nothing(tmp_path: Path) -> None:
    """The whole chain lies in the workspace and points to the home, by a link that makes it look outside."""
    work = tmp_path / "work"
    planted = work / "evil/worktrees/x"
    planted.mkdir(parents=True)
    (planted / "gitdir").write_text(f"{work}/.git\n")
    (planted / "commondir").write_text(f"{os.environ['HOME']}\n")
    (tmp_path / "way").symlink_to(work / "evil")
    for place in (planted, tmp_path / "way/worktrees/x"):
        (work / ".git").write_text(f"gitdir: {place}\n")
        assert shown(work) == []


def test_two_checkouts_together_cannot_expose_the_directory_above_them(tmp_path: Path) -> None:
    """`<top>/worktrees/one` and `two` are both the attacker's; together they look like a repository at <top>."""
    top = tmp_path / "top"
    one, two = top / "worktrees/one", top / "worktrees/two"
    one.mkdir(parents=True)
    two.mkdir()
    (top / "secret").write_text("secret")
    (one / ".git").write_text(f"gitdir: {two}\n")
    (two / "gitdir").write_text(f"{one}/.git\n")
    (two / "commondir").write_text("../..\n")
    assert shown(one) == []
    assert not exposed(planned(one), top / "secret")
