"""Which git directory outside the workspace counts: only one that points back, and looks like one."""

import pytest

from ringfence.model.plan import MountKind
from ringfence.planner.view import reach
from tests.fake_host import HOME, MAIN, WORKSPACE, Host, Link, Node, at, filesystem, plan, repository, request, worktree

MODULE = f"{HOME}/super/.git/modules/project"


def submodule(config: str) -> dict[str, Node]:
    files = {f"{WORKSPACE}/.git": "gitdir: ../super/.git/modules/project\n", **repository(MODULE)}
    return {**files, f"{MODULE}/config": config}


def found(files: dict[str, Node]) -> tuple[str, ...]:
    made = plan("", Host(files))
    note = any("git will not find" in text for text in made.notes)
    assert note is (not made.workspace.repositories), "either it is shown, or the user is told"
    return made.workspace.repositories


def test_a_linked_worktree_has_its_repository() -> None:
    assert found({**repository(MAIN), **worktree()}) == (MAIN,)
    assert at(plan("", Host({**repository(MAIN), **worktree()})), MAIN).kind is MountKind.OVERLAY


@pytest.mark.parametrize("mode", ["overlay", "direct"])
def test_the_workspace_comes_before_its_repository_wherever_they_lie(mode: str) -> None:
    """The backend takes the first overlay for the workspace; what protects the repository still lies over it."""
    work = f"{HOME}/zzz/work"
    files = {**repository(MAIN), **worktree(back=f"{work}/.git"), f"{MAIN}/hooks/update": "x"}
    files[f"{work}/.git"] = files.pop(f"{WORKSPACE}/.git")
    text = f'{filesystem(write=[f"{HOME}/zzz"], deny_write=[f"{MAIN}/hooks"])}[workspace]\nmode = "{mode}"\n'
    found = plan(text, Host(files), request(work))
    order = [str(mount.target) for mount in found.mounts]
    assert order.index(f"{HOME}/zzz") < order.index(work) < order.index(MAIN) < order.index(f"{MAIN}/hooks")
    assert not reach(found, f"{MAIN}/hooks/update").writable and reach(found, f"{MAIN}/index").writable


def test_a_worktree_of_a_bare_repository() -> None:
    bare = f"{HOME}/bare.git"
    assert found({**repository(bare), **worktree(directory=f"{bare}/worktrees/project")}) == (bare,)


@pytest.mark.parametrize(
    "line",
    [
        "worktree = ../../../../project",
        f"\tworktree={WORKSPACE}",
        f'  WorkTree = "{WORKSPACE}"',
        f"worktree = /else\n[other]\n[CORE]\nworktree = {WORKSPACE}",
    ],
)
def test_a_submodule_has_its_git_directory(line: str) -> None:
    assert found(submodule(f"[core]\n{line}\n")) == (MODULE,)


@pytest.mark.parametrize(
    "config",
    ["", f"[core]\nworktree = {WORKSPACE}2\n", f"worktree = {WORKSPACE}\n", f"[user]\nworktree = {WORKSPACE}\n"],
)
def test_a_submodule_must_point_back(config: str) -> None:
    assert found(submodule(config)) == ()


@pytest.mark.parametrize(
    "files",
    [
        worktree(back=f"{HOME}/other/.git"),
        worktree(common=f"{HOME}/main"),
        worktree(common="../../.."),
        worktree(common="../../../..\n"),
        worktree(common="a\nb"),
        worktree(common=""),
        worktree(directory=f"{WORKSPACE}/inner/worktrees/project"),
        {f"{WORKSPACE}/.git": f"gitdir: {HOME}/.ssh\n"},
        {f"{WORKSPACE}/.git": "gitdir: /\n"},
        {f"{WORKSPACE}/.git": "gitdir:\n"},
        {f"{WORKSPACE}/.git": "nonsense"},
        {f"{WORKSPACE}/.git": Link(MAIN)},
        {f"{WORKSPACE}/.git": Link("/etc")},
    ],
)
def test_a_hostile_git_file_exposes_nothing(files: dict[str, Node]) -> None:
    host = {**repository(MAIN), **repository(f"{WORKSPACE}/inner"), **files}
    assert found(host) == ()
    sources = {mount.source for mount in plan("", Host(host)).mounts if mount.source}
    assert not {source for source in sources if source.startswith(f"{HOME}/main") or source in ("/", "/etc", HOME)}


def test_a_checkout_beside_cannot_pass_the_home_off_as_a_repository() -> None:
    beside = f"{HOME}/worktrees/beside"
    assert found(worktree(directory=beside)) == ()
    assert found({**worktree(directory=beside), **repository(HOME)}) == ()


def test_a_repository_around_the_workspace_is_not_shown() -> None:
    top, inner = f"{HOME}/bare.git", f"{HOME}/bare.git/topic"
    files = worktree(directory=f"{top}/worktrees/topic", back=f"{inner}/.git")
    files[f"{inner}/.git"] = files.pop(f"{WORKSPACE}/.git")
    assert plan("", Host({**repository(top), **files}), request(inner)).workspace.repositories == ()


def test_a_directory_reached_through_a_link_does_not_count() -> None:
    files = worktree(directory=f"{HOME}/way/worktrees/project")
    moved = {path.replace(f"{HOME}/way", f"{WORKSPACE}/evil"): node for path, node in files.items()}
    hostile = {**repository(f"{WORKSPACE}/evil"), **moved, f"{HOME}/way": Link(f"{WORKSPACE}/evil")}
    assert found(hostile) == ()


def test_an_ordinary_repository_needs_nothing() -> None:
    made = plan("", Host(repository(f"{WORKSPACE}/.git")))
    assert made.workspace.repositories == () and not made.notes
