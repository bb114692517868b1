"""`log` and `log verify` over an audit that real runs wrote."""

import json

import pytest

from tests.e2e.commands import Commands

pytestmark = pytest.mark.require("bubblewrap", "userns", "overlay")


@pytest.fixture
def logged(ringfence: Commands) -> Commands:
    """Give the command line after two runs."""
    for word in ("one", "two"):
        assert ringfence("run", "--", "echo", word).returncode == 0
    return ringfence


def records(ringfence: Commands, *words: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in ringfence.good("log", "--json", *words).splitlines()]


def test_records_are_shown_oldest_first(logged: Commands) -> None:
    found = records(logged)
    assert [item["kind"] for item in found] == ["launch", "exit", "launch", "exit"]
    assert len(logged.good("log").splitlines()) == 4


def test_records_are_selected(logged: Commands) -> None:
    every = records(logged)
    run = str(every[-1]["run"])
    assert records(logged, "--run", run) == every[2:]
    assert records(logged, "--kind", "exit") == [every[1], every[3]]
    assert records(logged, "-n", "1") == every[3:]
    assert records(logged, "--since", "1h") == every
    assert records(logged, "--since", "2200-01-01") == []


@pytest.mark.parametrize("options", [(), ("--allow", "host.example")])
def test_an_audit_that_others_can_read_is_the_only_reason_that_is_given(
    options: tuple[str, ...], logged: Commands
) -> None:
    """The boundary, which was being built meanwhile, goes without a word."""
    (logged.state / "audit").chmod(0o755)
    assert "is open to other users" in logged.refused(125, "run", *options, "--", "true")
    (logged.state / "audit").chmod(0o700)
    assert logged.good("run", *options, "--", "echo", "again") == "again\n"


def test_an_empty_audit_is_no_error(ringfence: Commands) -> None:
    assert ringfence.good("log") == ""
    assert "0 records" in ringfence.good("log", "verify")


@pytest.mark.parametrize(
    "words",
    [
        ["--kind", "nothing"],
        ["--since", "then"],
        ["-n", "x"],
        ["--anchor", "1:2"],
        ["verify", "--anchor", "1:2"],
        ["verify", "--run", "x"],
        ["certify"],
    ],
)
def test_words_that_mean_nothing_are_refused(ringfence: Commands, words: list[str]) -> None:
    ringfence.refused(2, "log", *words)


def test_a_run_of_which_nothing_is_recorded_is_said(logged: Commands) -> None:
    told = logged.refused(2, "log", "--run", "nosuch")
    assert "no record of a run `nosuch`" in told and "ringfence log --kind launch" in told
    run = str(records(logged)[0]["run"])
    assert records(logged, "--run", run, "--denied") == []  # a run that there is, of which nothing was refused


def test_names_cannot_steer_the_terminal(ringfence: Commands) -> None:
    assert ringfence("run", "--", "true", "\x1b]0;owned\x07").returncode == 0
    assert "\x1b" not in ringfence.good("log") + ringfence.good("log", "--json")


def test_the_chain_verifies_until_somebody_edits_it(logged: Commands) -> None:
    report = logged.json("log", "verify")
    assert report["ok"] is True
    number, hash_ = report["last"]
    logged.good("log", "verify", "--anchor", f"{number}:{hash_}")
    audit = logged.state / "audit/audit.jsonl"
    audit.write_text(audit.read_text().replace('"one"', '"eno"'))
    done = logged("log", "verify")
    assert done.returncode == 1
    assert "edited  audit.jsonl:1: " in done.stdout


def test_an_audit_that_was_removed_is_found_by_its_anchor(logged: Commands) -> None:
    number, hash_ = logged.json("log", "verify")["last"]
    for path in (logged.state / "audit").iterdir():
        path.unlink()
    (logged.state / "audit").rmdir()
    assert logged("log", "verify", "--anchor", f"{number}:{hash_}").returncode == 1


def test_an_audit_that_cannot_be_read_is_the_hosts_error(ringfence: Commands) -> None:
    ringfence.good("log")
    ringfence.state.mkdir(parents=True)
    (ringfence.state / "audit").write_text("")
    assert "cannot read the audit" in ringfence.refused(3, "log")
