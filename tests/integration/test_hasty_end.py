"""Where the end of a run is told before its namespaces go (`Run.put_off`): who is dead by then all the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ringfence import Sandbox
from ringfence.sandbox.supervise import Outcome, Supervisor
from ringfence.session import run as session
from ringfence.session.exchange import is_readable
from ringfence.session.options import Options
from tests import paths
from tests.house.sources import ROOT
from tests.integration.resident_runs import stand_ready

pytestmark = pytest.mark.require("bubblewrap", "userns", "overlay")
POLICY = 'version = 1\n[limits]\nworkspace-size = "4MiB"\n'
# The first process is killed for it, and tells nothing; the kernel ends the others after it has closed what it had.
MANY = """
import os, time
for _ in range(150):
    if not os.fork():
        time.sleep(600)
for number in range(9):
    with open(f"filled{number}", "wb") as file:
        file.write(b"x" * (3 << 20))
time.sleep(600)
"""


def hasty(monkeypatch: pytest.MonkeyPatch, place: Path, code: str) -> tuple[session.Finished, list[bool]]:
    """How such a run ended, and whether its first process had when its supervision had."""
    monkeypatch.chdir(place)
    options = Options()
    options.policy_text = POLICY
    found: list[bool] = []
    serve = Supervisor.serve

    def looked(self: Supervisor, signals: int) -> Outcome:
        outcome = serve(self, signals)
        found.append(self.is_told or is_readable(self.handle, 0))
        return outcome

    monkeypatch.setattr(Supervisor, "serve", looked)
    run = session.prepared_run(options, ["/usr/bin/python3", "-I", "-c", code])
    run.own_signals, run.put_off = False, []
    finished = run.carry_out()
    while run.put_off:
        run.put_off.pop()()
    return finished, found


def test_a_run_whose_first_process_was_killed_has_ended_as_a_whole(
    monkeypatch: pytest.MonkeyPatch, open_path: Path
) -> None:
    finished, found = hasty(monkeypatch, open_path, MANY)
    assert finished.status == 137 and finished.limits == ["workspace-size"]
    assert found == [True]


def test_the_descriptor_of_a_command_that_waits_is_not_for_other_programs(
    monkeypatch: pytest.MonkeyPatch, open_path: Path
) -> None:
    """Whatever else is started by the process that embeds us must not hold what answers the command's calls."""
    monkeypatch.setenv("RINGFENCE_SUPERVISOR", "1")
    with Sandbox(directory=open_path) as box:
        for one in stand_ready(box).standing:
            assert one.run.supervisor and one.run.supervisor.listener > 2
            assert not os.get_inheritable(one.run.supervisor.listener)


IGNORING = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
words = ["run", "--no-supervisor", "--", "sh", "-c", "(true); echo ended"]
os.execv(sys.executable, [sys.executable, "-c", "from ringfence.cli.entry import main; main()", *words])
"""


def test_a_run_ends_under_a_program_that_ignores_the_end_of_its_children(open_path: Path) -> None:
    """Whatever is executed inherits that, and bubblewrap would wait for ever for what it is not told."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    words = [sys.executable, "-c", IGNORING]
    with subprocess.Popen(words, cwd=open_path, env=environment, stdout=subprocess.PIPE) as process:
        try:
            assert process.communicate(timeout=paths.PATIENCE_S)[0] == b"ended\n"
        finally:
            process.kill()
    assert process.returncode == 0
