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
