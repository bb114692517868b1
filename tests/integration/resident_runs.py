"""Run `ringfence run` on each path of a supervised installation, and know for certain which one it took.

In the SDK such a path is that of boundaries built ahead: `stand_ready`.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ringfence import Sandbox
from ringfence.session.ahead import Ahead
from tests import paths
from tests.house.sources import ROOT

TIMEOUT_S = 60
TRIES = 30
STANDING_S = 5.0
ENTRY = "from ringfence.cli.entry import main; main()"
UNANSWERED = 97
ASK = f"""
import os, sys
from ringfence.cli import entry
entry.open_standard_descriptors()
from ringfence.session import resident
status = resident.ask(sys.argv[1:])
os._exit({UNANSWERED} if status is None else status)
"""


def answered(
    attempt: Callable[[], "subprocess.CompletedProcess[bytes]"], tries: int = TRIES
) -> "subprocess.CompletedProcess[bytes]":
    """What an attempt comes to; once more where nobody answered in time, on a busy machine: then nothing was begun."""
    done = attempt()
    while done.returncode == UNANSWERED and tries > 1:
        done, tries = attempt(), tries - 1
    return done


def stand_ready(box: Sandbox) -> Ahead:
    """Have the boundaries that a sandbox builds ahead in its `with` block, where `RINGFENCE_SUPERVISOR` is not 0."""
    for _ in range(2):
        box.run(["true"])
    ahead = box._ahead
    assert ahead
    stand = paths.wait_until(lambda: len(ahead.standing) == 2 and all(one.is_built for one in ahead.standing))
    assert stand, (ahead.is_closed, [one.is_built for one in ahead.standing])
    return ahead


class Installation:
    """A workspace, and runs from it on one path."""

    def __init__(self, workspace: Path, home: Path, taken: str, programs: Path | None = None) -> None:
        self.workspace, self.home, self.taken = workspace, home, taken
        self.programs = programs  # where the native command is installed, if it is to be used
        self.state = home / ".local/state/ringfence"

    def environment(self, **more: str) -> dict[str, str]:
        """What ringfence is started with."""
        return {**os.environ, "PYTHONPATH": str(ROOT / "src"), **paths.variables(self.taken), **more}

    def words(self, argv: Sequence[str], options: Sequence[str] = ()) -> list[str]:
        """The command line; on a supervised path one that never falls back to carrying a run out itself."""
        if self.programs:
            return [str(self.programs / "ringfence"), "run", *options, "--", *argv]
        return [sys.executable, "-P", "-c", ENTRY if self.taken == "cold" else ASK, "run", *options, "--", *argv]

    def make_ready(self, options: Sequence[str] = (), **more: Any) -> None:
        """Have what the path needs for runs with these options."""
        words = [*self.command(), "run", *options, "--", "true"]
        settings: dict[str, Any] = {"cwd": self.workspace, "env": self.environment(), **more}
        nothing: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": TIMEOUT_S}
        paths.make_ready(lambda: subprocess.run(words, **settings, **nothing), self.state, self.taken)
        if self.programs:
            (self.programs / "ringfence-python").write_text(f"#!/bin/sh\nexit {UNANSWERED}\n")

    def stand_ready(self, options: Sequence[str] = ()) -> None:
        """Have two boundaries stand; again where nobody answered in time, or what they stand on was changed."""
        for _ in range(TRIES):
            self.make_ready(options)
            if paths.wait_until(lambda: paths.members(self.state) == len(paths.waiting(self.state)) == 2, STANDING_S):
                return
        raise AssertionError("no boundaries are built")

    def command(self) -> list[str]:
        """The words that run ringfence whatever becomes of it."""
        if self.programs is None:
            return [sys.executable, "-P", "-c", ENTRY]
        script = self.programs / "ringfence-python"
        script.write_text(f"#!{sys.executable}\n{ENTRY}\n")
        script.chmod(0o755)
        return [str(self.programs / "ringfence")]

    def start(self, argv: Sequence[str], options: Sequence[str] = (), **more: Any) -> "subprocess.Popen[bytes]":
        """Start a run and return at once."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        settings = {"cwd": self.workspace, "env": self.environment(), **pipes, **more}
        return subprocess.Popen(self.words(argv, options), **settings)

    def run(
        self,
        argv: Sequence[str],
        options: Sequence[str] = (),
        *,
        data: bytes | None = None,
        tries: int = TRIES,
        **more: Any,
    ) -> "subprocess.CompletedProcess[bytes]":
        """Carry a run out; see `answered`."""
        if data is not None:
            more["stdin"] = subprocess.PIPE

        def attempt() -> "subprocess.CompletedProcess[bytes]":
            with self.start(argv, options, **more) as process:
                out, error = process.communicate(data, TIMEOUT_S)
            return subprocess.CompletedProcess(process.args, process.returncode, out, error)

        return answered(attempt, tries)

    def begin(
        self, argv: Sequence[str], options: Sequence[str] = (), *, said: bytes = b"ready\n", **more: Any
    ) -> "subprocess.Popen[bytes]":
        """Start a run whose command says a line first, which has been read; again where nobody answered in time."""
        for _ in range(TRIES):
            process = self.start(argv, options, **more)
            assert process.stdout is not None
            line = process.stdout.readline()
            if line or process.wait(TIMEOUT_S) != UNANSWERED:
                assert line == said
                return process
            process.communicate()
        raise AssertionError("nobody answers")
