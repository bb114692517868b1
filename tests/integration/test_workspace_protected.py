"""Surfaces that lie elsewhere than their name says."""

import os
from pathlib import Path

import pytest

from ringfence.model.paths import HostPath
from ringfence.workspace.protected import hidden_surfaces
from tests.trees import write


def patterns(root: Path) -> set[str]:
    found = hidden_surfaces(HostPath(str(root)))
    assert all(surface.anchored and surface.reason for surface in found)
    return {surface.pattern for surface in found}


def test_an_ordinary_workspace_has_none(tmp_path: Path) -> None:
    write(tmp_path, {"src/x": "x", "link": "-> src", ".git/config": "[core]\n\tbare = false\n", ".vscode/x": "{}"})
    assert patterns(tmp_path) == set()


def test_links_among_protected_names(tmp_path: Path) -> None:
    write(tmp_path, {"agents/s": "{}", "ci/x.yml": "x", ".claude": "-> agents", ".github/workflows": "-> ../ci"})
    write(tmp_path, {".envrc": "-> /etc/profile", ".Bashrc": "-> shell/rc", ".npmrc": "-> ."})
    assert patterns(tmp_path) == {"agents", "ci", "shell/rc"}


def test_links_in_the_git_directory(tmp_path: Path) -> None:
    write(tmp_path, {".git/HEAD": "x", ".git/hooks": "-> ../tools/hooks", ".git/info": "-> /etc"})
    assert patterns(tmp_path) == {"tools/hooks"}


@pytest.mark.parametrize("place", ["directory", "worktree"])
def test_what_git_s_configuration_names(tmp_path: Path, place: str) -> None:
    workspace = tmp_path / "ws"
    git = workspace / ".git" if place == "directory" else tmp_path / "main/.git"
    config = """
[core]
\thooksPath = ci/hooks
\tfsmonitor = "scripts/monitor" --fast
\teditor = vim
[alias]
\tcheck = !./scripts/check.sh all
[filter "x"]
\tclean = scripts/absent
\tsmudge = 'unbalanced
[include]
\tpath = ../shared.gitconfig
[branch "src"]
\tremote = src
"""
    write(git, {"config": config, "HEAD": "x"})
    names = {"scripts/monitor": "x", "scripts/check.sh": "x", "src/x": "x", "shared.gitconfig": "x"}
    write(workspace, dict(names))
    if place == "worktree":
        write(git, {"worktrees/w/commondir": "../..\n", "worktrees/w/HEAD": "x"})
        write(workspace, {".git": f"gitdir: {git}/worktrees/w\n"})
    assert patterns(workspace) == {"ci/hooks", "scripts/monitor", "scripts/check.sh"}


def test_unreadable_and_odd_configuration(tmp_path: Path) -> None:
    write(tmp_path, {".git/HEAD": "x"})
    os.mkfifo(tmp_path / ".git/config")
    assert patterns(tmp_path) == set()
    write(tmp_path / "second", {".git": "gitdir: nowhere\n"})
    assert patterns(tmp_path / "second") == set()
    write(tmp_path / "third", {".git/config": b"=\n\xff\xfe = \0\xff\nhookspath = \n hookspath = /\n"})
    assert patterns(tmp_path / "third") == set()
