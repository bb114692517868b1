"""Run `ringfence` as a subprocess, as some account, in a home and a workspace of the test's own."""

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.house.sources import ROOT

ENTRY = "from ringfence.cli.entry import main; main()"
TIMEOUT_S = 250


class Commands:
    """A home and a workspace that belong to `account`, and the command line as it has it."""

    def __init__(self, root: Path, account: pwd.struct_passwd) -> None:
        self.account = account
        self.home = root / "home"
        self.workspace = root / "ws"
        for directory in (root, self.home, self.workspace):
            directory.mkdir(exist_ok=True)
            os.chown(directory, account.pw_uid, account.pw_gid)
        self.environment = {
            "HOME": str(self.home),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    @property
    def state(self) -> Path:
        """Where runs and audit are."""
        return self.home / ".local/state/ringfence"

    def words(self, *words: str) -> list[str]:
        """The words that run one command line."""
        return [sys.executable, "-P", "-c", ENTRY, *words]

    def __call__(self, *words: str, before: Sequence[str] = (), **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one command line in the workspace; `before` replaces the interpreter and its words."""
        become: dict[str, Any] = {}
        if self.account.pw_uid != os.geteuid():
            become = {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}
        return subprocess.run(
            [*before, *words] if before else self.words(*words),
            cwd=self.workspace,
            env=self.environment | {"PWD": str(self.workspace)} | variables,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            **become,
        )

    def good(self, *words: str) -> str:
        """Run one that must succeed, and give what it printed."""
        done = self(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def json(self, *words: str) -> Any:
        """Run one that prints JSON."""
        return json.loads(self.good(*words, "--json"))

    def refused(self, status: int, *words: str) -> str:
        """Run one that must fail with `status`: one line of error and perhaps a hint, nothing on standard output."""
        done = self(*words)
        assert done.returncode == status, (words, done.stdout, done.stderr)
        assert done.stdout == ""
        lines = done.stderr.splitlines()
        assert lines[0].startswith("ringfence: ")
        assert len(lines) <= 2 and all(line.startswith("  hint: ") for line in lines[1:])
        return done.stderr

    def write(self, name: str, text: str) -> Path:
        """Make a file in the workspace."""
        path = self.workspace / name
        for parent in reversed(path.relative_to(self.workspace).parents[:-1]):
            (self.workspace / parent).mkdir(exist_ok=True)
            os.chown(self.workspace / parent, self.account.pw_uid, self.account.pw_gid)
        path.write_text(text)
        os.chown(path, self.account.pw_uid, self.account.pw_gid)
        return path
