"""A git server with one repository, and a client's clone of it, for tests of pushes and fetches."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.attacks.git_cases import EVIL, FILE
from tests.integration.git_server import Server, serving

TIMEOUT_S = 100
IDENTITY = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "agent@example.com"}
IDENTITY |= {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "agent@example.com"}
TEMPLATE = f"""
git init -q -b main . && mkdir -p .github/workflows src docs && echo a > .github/workflows/ci.yml && echo a > src/a
echo a > docs/a && git add . && git commit -qm one && git tag v1
{FILE} && git checkout -q -b agent/old && echo o > o && git add o && git commit -qm old && git checkout -q main
git checkout -q -b release && {EVIL} && git checkout -q main && echo b >> docs/a && git commit -qam three
git init -q --bare -b main ../server/o/p.git && git push -q ../server/o/p.git --all && git push -q ../server/o/p.git v1
git -C ../server/o/p.git config http.receivepack true
"""


@dataclass(frozen=True)
class Bench:
    """A server, and a client's clone of what it has."""

    place: Path
    server: Server

    def shell(self, script: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run shell in the clone."""
        return shell(script, self.place / "work", **environment)

    def refs(self) -> str:
        """What the server's refs are."""
        return shell("git for-each-ref", self.place / "server/o/p.git").stdout

    def push(self, words: str, url: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Push."""
        options = [word for word in words.split() if word.startswith("--") or word == "-f"]
        specs = [word for word in words.split() if word not in options]
        return self.shell(f"git push {' '.join([*options, url, *specs])}", **environment)


def shell(script: str, place: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run shell with nothing of this machine's git configuration."""
    fixed = {"PATH": os.environ["PATH"], "HOME": str(place), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    argv = ["sh", "-e", "-c", script]
    return subprocess.run(
        argv, cwd=place, env=fixed | IDENTITY | environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )


@pytest.fixture(name="template", scope="module")
def template_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's directory and a clone, to be copied."""
    place = tmp_path_factory.mktemp("git")
    (place / "first").mkdir()
    made = shell(TEMPLATE, place / "first")
    assert made.returncode == 0, made.stderr
    cloned = shell("git clone -q server/o/p.git work", place)
    assert cloned.returncode == 0, cloned.stderr
    return place


@pytest.fixture(name="bench")
def bench_fixture(template: Path, tmp_path: Path) -> Iterator[Bench]:
    """A bench of one's own."""
    for name in ("server", "work"):
        shutil.copytree(template / name, tmp_path / name, symlinks=True)
    with serving(tmp_path / "server") as server:
        yield Bench(tmp_path, server)
