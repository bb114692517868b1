"""Run a script through the command line under a policy written for it, and read what was recorded."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import paths, requirements
from tests.house.sources import ROOT

ENTRY = "from ringfence.cli.entry import main; main()"
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
TIMEOUT_S = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """How one run ended, and its records in order: (kind, code, fields)."""

    status: int
    output: str
    errors: str
    events: list[tuple[str, str, dict[str, object]]]

    def codes(self, kind: str) -> list[str]:
        """The codes of the records of one kind."""
        return [code for found, code, _ in self.events if found == kind]


class Bench:
    """A workspace and the home of the test that uses it."""

    def __init__(self, workspace: Path, home: Path) -> None:
        self.workspace, self.home = workspace, home
        self.state = home / ".local/state/ringfence"

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What ringfence is launched with."""
        ours = {"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/local/bin:/usr/bin:/bin", **paths.variables()}
        return {**os.environ, **ours, **(more or {})}

    def make_ready(self, policy: str = "", options: Sequence[str] = ()) -> None:
        """Have what the path needs, for a policy and options that are accepted: what spoils the launch comes after."""
        words = self.command(["true"], policy, options)
        nothing: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": TIMEOUT_S}
        settings: dict[str, Any] = {"cwd": self.workspace, "env": self.environment(), **nothing}
        kind = (policy, tuple(options))
        paths.make_ready(lambda: subprocess.run(words, **settings), self.state, kind=kind)
        shutil.rmtree(self.state / "audit", ignore_errors=True)

    def command(self, argv: Sequence[str], policy: str = "", options: Sequence[str] = ()) -> list[str]:
        """The words that run `argv` under the policy text."""
        text = f"version = 1\n{policy}\n"
        file = self.home / f"{hashlib.sha256(text.encode()).hexdigest()[:8]}.toml"
        file.write_text(text)
        program = paths.run_words([sys.executable, "-P", "-c", ENTRY])
        return [*program, "--policy", str(file), *options, "--", *argv]

    def start(
        self, argv: Sequence[str], policy: str = "", *, options: Sequence[str] = (), stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        """Start a command and return at once; what a shell's background ignores is not ignored."""
        return subprocess.Popen(
            self.command(argv, policy, options),
            cwd=self.workspace,
            env=self.environment(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - these tests have no threads
        )

    def run(
        self,
        argv: Sequence[str],
        policy: str = "",
        *,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run a command to its end."""
        done = subprocess.run(
            self.command(argv, policy, options),
            cwd=self.workspace,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        return Result(status=done.returncode, output=done.stdout, errors=done.stderr, events=self.events())

    def python(self, code: str, policy: str = "", *, options: Sequence[str] = ()) -> Result:
        """Run Python to its end."""
        return self.run([*PYTHON, code], policy, options=options)

    def events(self) -> list[tuple[str, str, dict[str, object]]]:
        """The records of the latest run."""
        try:
            text = (self.state / "audit/audit.jsonl").read_text()
        except OSError:
            return []
        records = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [(one["kind"], one["code"], one["fields"]) for one in records if one["run"] == records[-1]["run"]]


@pytest.fixture
def bench(tmp_path: Path, home: Path) -> Iterator[Bench]:
    """Give an empty workspace."""
    requirements.require("bubblewrap", "userns")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    found = Bench(workspace, home)
    with paths.ended(found.state):
        yield found
