"""A vault that the standby has prepared: as confined as one of the run's own, and nothing of a value in the standby."""

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from tests.integration.egress_runs import Running, called, running, wait_for
from tests.integration.test_vault import ASK, GOOD, PYTHON, VALUE, authorizations, memory_has, policy, status, words_of
from tests.lab import Lab
from tests.paths import wait_until
from tests.posture.live import children

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab", "curl")]
OPTION = 'env = "REAL_TOKEN"'
ASKED_AT_MOST = 10
REST_S = 5.0  # much longer than a standby takes to make its spares, unless the machine is busy


def parent(pid: int) -> int:
    """The parent of a process; 0 once it has gone."""
    try:
        return int(status(pid)["PPid"])
    except (FileNotFoundError, ProcessLookupError):
        return 0


@pytest.fixture
def standby(lab: Lab, open_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A standby of this test's own that keeps a vault: the first run leaves it behind, the second asks it for one."""
    monkeypatch.setenv("RINGFENCE_STANDBY", "1")
    variables = {**lab.environment(), "RINGFENCE_STANDBY": "1", "REAL_TOKEN": VALUE}
    state = Path(os.environ["XDG_STATE_HOME"]) / "ringfence/standby"

    def ask() -> None:
        words = ["ringfence", "run", *policy(open_path, OPTION), "--", "curl", "-sS", "-m50", f"https://{GOOD}/"]
        done = lab.run(words, cwd=open_path, environment=variables)
        assert done.returncode == 0, done.stderr

    def own() -> list[int]:  # what leads to it, and what it forks, goes by its name for a moment
        ready = {parent(one) for one in called("ringfence-proxy")}
        return [one for one in called("ringfence-ready") if one in ready and str(state) in words_of(one)]

    ask()
    (pid,) = wait_for(own)
    for _ in range(ASKED_AT_MOST):  # one that does not answer at once is passed over
        ask()
        if wait_until(lambda: spare(pid) != 0, REST_S):
            break
    assert spare(pid)
    yield pid
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{pid}/cmdline").exists() or not words_of(pid))


def spare(standby: int) -> int:
    """The vault that waits; 0 where there is none."""
    return next((pid for pid in called("ringfence-vault") if parent(pid) == standby), 0)


def begun(lab: Lab, place: Path, option: str = OPTION) -> AbstractContextManager[Running]:
    variables = {"REAL_TOKEN": VALUE, "RINGFENCE_STANDBY": "1"}
    return running(lab, place, [PYTHON, "-c", ASK], *policy(place, option), environment=variables)


def test_it_serves_a_run_and_the_standby_never_holds_the_value(lab: Lab, open_path: Path, standby: int) -> None:
    prepared = spare(standby)
    mark = lab.mark()
    with begun(lab, open_path) as live:
        assert live.line() == "ready"
        assert prepared not in children(live.supervisor.pid)
        live.tell("")
        assert VALUE not in live.line()
        assert authorizations(lab.since(mark, "http")) == [f"Bearer {VALUE}"]
        wait_for(lambda: status(prepared)["Seccomp"] == "2")
        found = status(prepared)
        assert (found["CapEff"], found["NoNewPrivs"]) == ("0000000000000000", "1")
        if os.geteuid() == 0:  # nobody else may look
            assert os.readlink(f"/proc/{prepared}/cwd") == "/"
            assert memory_has(prepared, VALUE) and not memory_has(standby, VALUE)
            assert VALUE.encode() not in Path(f"/proc/{standby}/environ").read_bytes()
            open_files = os.listdir(f"/proc/{prepared}/fd")
            assert len(open_files) < 16, open_files
        live.end()
        wait_for(lambda: not Path(f"/proc/{prepared}").exists())
    wait_for(lambda: spare(standby))
    assert spare(standby) != prepared


def test_it_learns_how_the_command_ended_that_a_value_comes_from(lab: Lab, open_path: Path, standby: int) -> None:
    """The standby leaves its ended children to the kernel; what it forks must not."""
    prepared = spare(standby)
    mark = lab.mark()
    with begun(lab, open_path, f'command = ["/bin/sh", "-c", "printf {VALUE}"]') as live:
        assert live.line() == "ready"
        wait_for(lambda: status(prepared)["Seccomp"] == "2")  # it is the one that serves
        live.tell("")
        live.line()
        live.end()
    assert authorizations(lab.since(mark, "http")) == [f"Bearer {VALUE}"]


def test_one_that_dies_fails_closed(lab: Lab, open_path: Path, standby: int) -> None:
    prepared = spare(standby)
    mark = lab.mark()
    with begun(lab, open_path) as live:
        assert live.line() == "ready"
        wait_for(lambda: status(prepared)["Seccomp"] == "2")
        os.kill(prepared, signal.SIGKILL)
        live.tell("")
        assert "502" in live.line() or True
        live.end()
    assert not lab.since(mark, "http")
    assert [one["code"] for one in live.events("lost")] == ["vault"]


def test_where_the_spare_has_died_a_run_starts_its_own(lab: Lab, open_path: Path, standby: int) -> None:
    os.kill(spare(standby), signal.SIGKILL)
    mark = lab.mark()
    with begun(lab, open_path) as live:
        assert live.line() == "ready"
        live.tell("")
        live.line()
        live.end()
    assert authorizations(lab.since(mark, "http")) == [f"Bearer {VALUE}"]
