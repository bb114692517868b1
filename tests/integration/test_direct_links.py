"""A workspace that is bound directly: protected names as they are usually spelled, and what they lead to as links."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ringfence.model.names import canonical_path
from ringfence.model.surfaces import SURFACES, Matcher
from ringfence.session.prepare import USUAL_NAMES
from tests.house.sources import ROOT

pytestmark = pytest.mark.require("bubblewrap", "userns")
RINGFENCE = "from ringfence.cli.entry import main; main()"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Give a tree in which an agent's servers, workflows and a repository lie behind links, absolute ones as well."""
    place = tmp_path / "tree"
    for name in ("conf", "forge/workflows", "repository/hooks"):
        (place / name).mkdir(parents=True)
    (place / "conf/servers.json").write_text("as it was\n")
    (place / ".mcp.json").symlink_to("servers")
    (place / "servers").symlink_to("conf/servers.json")
    (place / ".github").symlink_to(place / "forge")
    (place / ".git").symlink_to("repository")
    return place


def attempt(workspace: Path, script: str) -> str:
    """Run a script in the tree itself; give what it says."""
    argv = [sys.executable, "-c", RINGFENCE, "run", "--workspace", "direct", "--", "sh", "-c", f"exec 2>&1; {script}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        argv, cwd=workspace, env=environment, capture_output=True, timeout=120, check=False, text=True
    )
    assert "could not be built" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "script",
    [
        "echo new > .mcp.json",
        "echo new > conf/servers.json",
        "rm -f conf/servers.json",
        "mv conf elsewhere",
        "echo new > .github/workflows/ci.yml",
        "echo new > forge/workflows/ci.yml",
        "mv forge elsewhere",
        "echo new > .git/hooks/pre-commit",
        "rm -rf repository/hooks",
    ],
)
def test_what_is_behind_a_protected_name_cannot_be_changed(workspace: Path, script: str) -> None:
    before = {path: path.is_file() and path.read_text() for path in workspace.rglob("*")}
    assert "done" not in attempt(workspace, f"{script} && echo done; echo other > kept")
    assert (workspace / "kept").read_text() == "other\n"
    (workspace / "kept").unlink()
    assert {path: path.is_file() and path.read_text() for path in workspace.rglob("*")} == before


def test_usual_names_of_patterns_are_held(tmp_path: Path) -> None:
    matcher = Matcher(SURFACES)
    assert all(matcher.match(canonical_path(name)) for name in USUAL_NAMES)
    for name in (*USUAL_NAMES, ".envrc", "other"):
        (tmp_path / name).write_text("old\n")
    attempt(tmp_path, "for name in * .[!.]*; do echo new > $name; done")
    assert [path.name for path in tmp_path.iterdir() if path.read_text() == "new\n"] == ["other"]
