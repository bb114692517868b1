"""Command lines in the lab, as some account, with policy and credentials of the test's, and a look at what arrived."""

import json
import os
import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.e2e.commands import Commands
from tests.lab import Entry, Lab

TIMEOUT_S = 250


class Client:
    """Runs command lines in the lab, as some account, with a policy and an environment of the test's."""

    def __init__(self, lab: Lab, commands: Commands) -> None:
        self.lab, self.commands = lab, commands
        self.workspace = commands.workspace
        self.mark = lab.mark()

    def policy(self, text: str) -> tuple[str, str]:
        """Options that put a policy in force."""
        file = self.commands.home / "policy.toml"
        file.write_text("version = 1\n" + textwrap.dedent(text))
        return "--policy", str(file)

    def write(self, name: str, text: str) -> None:
        """Make a file in the workspace."""
        self.commands.write(name, text)

    def run(self, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run one command line; `ringfence` as its first word stands for this tree's."""
        own = self.commands.account.pw_uid == os.geteuid()
        environment = {**self.commands.environment, **nothing(), **variables}
        return self.lab.run(
            list(words),
            cwd=self.workspace,
            user="" if own else self.commands.account.pw_name,
            environment=environment,
            timeout_s=TIMEOUT_S,
        )

    def arrived(self, host: str) -> list[Entry]:
        """The requests to a host that arrived."""
        return [entry for entry in self.lab.since(self.mark, "http") if entry["host"] == host]

    def records(self, *kinds: str) -> list[dict[str, Any]]:
        """The audit's records."""
        records = [json.loads(line) for line in self.commands.good("log", "--json").splitlines()]
        return [entry for entry in records if entry["kind"] in kinds]

    def holds(self, *values: str) -> list[Path]:
        """The files of home and workspace that hold one of these."""
        return [path for top in (self.commands.home, self.workspace) for path in holding(top, *values)]


def holding(top: Path, *values: str) -> list[Path]:
    """The files below `top` that hold one of these."""
    plain = (path for path in top.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in plain if any(value.encode() in content(path) for value in values)]


def content(path: Path) -> bytes:
    """What a file holds; one that nobody may read, as runs keep to cover others with, must hold nothing."""
    found = path.stat()
    if found.st_mode & 0o777 == 0:
        assert found.st_size == 0, path
        return b""
    return path.read_bytes()


def nothing() -> dict[str, str]:
    """Variables that lead away from the test's own home and processes, emptied."""
    names = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")
    return {**dict.fromkeys(names, ""), "RINGFENCE_STANDBY": "0"}


def authorization(entry: Mapping[str, Any], name: str = "authorization") -> str:
    """The credential that arrived with a request."""
    return next((value for key, value in entry["headers"] if key.lower() == name), "")
