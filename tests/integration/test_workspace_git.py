"""git inside works as if there were no overlay, and what it did arrives outside."""

import os
import subprocess
from pathlib import Path

import pytest

from ringfence.model.surfaces import SURFACES
from ringfence.workspace.apply import apply
from ringfence.workspace.change import Result
from ringfence.workspace.protected import hidden_surfaces
from ringfence.workspace.rollback import rollback
from tests.trees import Place, outcomes, snapshot

pytestmark = pytest.mark.require("overlay", "bubblewrap", "git")

GIT = "git -c user.name=a -c user.email=a@example.org -c protocol.file.allow=always"


def host(place: Place, script: str) -> str:
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    environment["GIT_OPTIONAL_LOCKS"] = "0"  # `git status` would write the index, which rollback then leaves alone
    done = subprocess.run(
        ["sh", "-ec", f'git() {{ command {GIT} "$@"; }}; {script}'],
        cwd=place.workspace,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def contained(place: Place, script: str) -> None:
    place.contain(
        "env", "HOME=/nonexistent", "sh", "-ec", f'git() {{ command {GIT} "$@"; }}; {{ {script}; }} >/dev/null 2>&1'
    )


def carried(place: Place) -> list[Result]:
    return apply(place.run, place.review(surfaces=(*SURFACES, *hidden_surfaces(place.run.workspace))))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path, {"a.txt": "one\n", "b.txt": "two\n", "dir/c.txt": "three\n"})
    host(made, "git init -q -b main; git add .; git commit -qm first; git branch topic")
    made.run = made.begin()
    return made


@pytest.mark.parametrize(
    "script",
    [
        "echo more >> a.txt; git add .; git commit -m second",
        "git switch topic; git rm b.txt; git commit -m removed; git switch main; git merge --no-edit topic",
        "git switch -c feature/x; echo x > x; git add x; git commit -m x; git branch -d topic",
        "echo s >> a.txt; git stash; git stash list",
        "mv dir moved; git add -A; git commit -m moved; git tag v1; git pack-refs --all",
        "echo 1 > n; git add n; git commit -m n; git rebase --onto main~1 main~1 main; git gc --prune=now",
        "git checkout --detach; echo d > d; git add d; git commit -m d; git reset --soft HEAD~1",
    ],
    ids=["commit", "merge", "branch", "stash", "move-tag-pack", "rebase-gc", "detached"],
)
def test_what_git_did_arrives(place: Place, script: str) -> None:
    before = snapshot(place.workspace)
    contained(place, f"{script}; git status --porcelain > status.txt; git rev-parse HEAD > head.txt")
    found = carried(place)
    held = {result.path: result.reason for result in found if result.outcome.value != "applied"}
    assert set(held) <= {".git/info/refs", ".git/gc.log", ".git/info"}, held
    host(place, "git fsck --full --strict")
    status = (place.workspace / "status.txt").read_text()
    assert host(place, "git rev-parse HEAD") == (place.workspace / "head.txt").read_text()
    ours = ("?? status.txt", "?? head.txt")
    assert [line for line in host(place, "git status --porcelain").splitlines() if line not in ours] == [
        line for line in status.splitlines() if line not in ours
    ]
    assert set(outcomes(rollback(place.run)).values()) <= {"applied"}
    assert snapshot(place.workspace) == before
    host(place, "git fsck --full --strict")


@pytest.mark.parametrize(
    "used",
    ["git branch kept", "git commit -q --allow-empty -m mine", "git tag kept", "echo x > x; git add x", "git stash -u"],
)
def test_a_rollback_takes_nothing_away_that_the_host_s_git_needs_by_now(place: Place, used: str) -> None:
    contained(place, "echo more >> a.txt; git add .; git commit -m second")
    carried(place)
    host(place, "touch u; " + used)
    rollback(place.run)
    assert (place.workspace / "a.txt").read_text() in ("one\n", "one\nmore\n")
    host(place, "git fsck --full --strict; git status; git log --all; git diff --cached")


def test_after_a_look_with_git_status_a_rollback_leaves_a_whole_repository(place: Place) -> None:
    contained(place, "echo more >> a.txt; echo n > n; git add .; git commit -m second")
    carried(place)
    os.utime(place.workspace / "b.txt")
    host(place, "GIT_OPTIONAL_LOCKS=1 git status")
    assert outcomes(rollback(place.run))[".git/index"] == "conflict"
    host(place, "git status; git reset -q; git diff --exit-code; git fsck --full --strict")


@pytest.mark.xfail(
    strict=True, reason="rename(2) of a lower directory is EXDEV: `redirect_dir` needs trusted attributes"
)
def test_git_mv_of_a_directory(place: Place) -> None:
    contained(place, "git mv dir moved")


def test_a_rebase_that_stopped_half_way_is_held_and_leaves_a_whole_repository(place: Place) -> None:
    script = "echo main >> a.txt; git commit -am m; git switch topic; echo topic >> a.txt; git commit -am t"
    contained(place, f"{script}; git rebase main || true")
    found = outcomes(carried(place))
    assert found[".git/rebase-merge"] == "held"
    assert found[".git/HEAD"] == "applied"
    host(place, "git fsck --full --strict; git status")


def test_a_new_repository_arrives_once_the_host_made_one(tmp_path: Path) -> None:
    place = Place(tmp_path, {"a.txt": "one\n"})
    contained(place, "git init -b main; git add .; git commit -m first")
    found = outcomes(carried(place))
    assert {outcome for path, outcome in found.items() if path.startswith(".git")} == {"held"}
    host(place, "git init -q -b main")
    found = outcomes(carried(place))
    assert found[".git/refs/heads/main"] == "applied"
    assert found[".git/index"] == "applied"


def test_a_submodule_and_a_worktree_made_inside_are_held(place: Place) -> None:
    contained(place, "git worktree add wt; git clone . ../sub-source || true; git init vendor/lib")
    found = outcomes(carried(place))
    assert found["wt/.git"] == "held"
    assert found["vendor/lib/.git"] == "held"
    assert {outcome for path, outcome in found.items() if path.startswith(".git/worktrees")} == {"held"}
    assert found["wt/a.txt"] == "applied"
    host(place, "git fsck --full --strict; git status")
