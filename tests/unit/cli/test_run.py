"""The last lines of a run."""

import pytest

from ringfence.cli.run import summarise
from ringfence.session.run import Finished
from ringfence.session.shell_proxy import VARIABLES


def finished(*unreached: str) -> Finished:
    found = Finished.__new__(Finished)
    found.run, found.status, found.standing, found.ending = "r", 0, "", None
    found.denials, found.limits, found.unreached = [], [], list(unreached)
    return found


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_the_shells_proxy_is_named_where_a_host_was_out_of_reach(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@proxy.example:3128")
    summarise(finished("a.example:443", "b.example:443"))
    said = capsys.readouterr().err
    assert said.startswith("ringfence: no way to a.example:443; HTTPS_PROXY of this shell is not used: ")
    assert "`network.parent-proxy`" in said and said.count("\n") == 1 and "hunter2" not in said


@pytest.mark.parametrize(("variable", "hosts"), [("", ["a:443"]), ("HTTPS_PROXY", [])])
def test_otherwise_nothing_is_said_of_proxies(
    variable: str, hosts: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv(variable, "http://proxy.example:3128")
    summarise(finished(*hosts))
    assert capsys.readouterr().err == ""


def test_a_denial_says_what_why_and_how(capsys: pytest.CaptureFixture[str]) -> None:
    found = finished()
    found.denials = [("seccomp-listener", "seccomp"), ("namespace-denied", "clone")]
    summarise(found)
    assert capsys.readouterr().err == (
        "ringfence: denied namespace-denied: clone and 1 more: a sandbox or container of one's own opens most of the "
        "kernel's privileged surface; `--seccomp nested` allows it; `ringfence log --run r` shows all\n"
    )


def test_a_denial_of_which_nothing_is_known_is_told_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    found = finished()
    found.denials = [("new-code", "target")]
    summarise(found)
    assert capsys.readouterr().err == "ringfence: denied new-code: target; `ringfence log --run r` shows all\n"
