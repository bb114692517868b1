"""Each deployment pattern as it is used: what it lets happen, what it refuses, what is on record afterwards."""

import json
import os

import pytest

from tests.e2e.commands import Commands

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "git")]
USER_POLICY = """\
version = 1
network.allow = ["example.com"]
filesystem.write = ["~/shared"]
env.pass = ["PLAIN"]
[secrets.example]
source = { env = "EXAMPLE_TOKEN" }
inject = [{ host = "example.com", header = "authorization" }]
variables = ["EXAMPLE_TOKEN"]
"""


def with_policy(ringfence: Commands, text: str) -> None:
    path = ringfence.home / ".config/ringfence/policy.toml"
    for folder in (path.parent.parent, path.parent, ringfence.home / "shared"):
        folder.mkdir(exist_ok=True)
        os.chown(folder, ringfence.account.pw_uid, ringfence.account.pw_gid)
    path.write_text(text)
    os.chown(path, ringfence.account.pw_uid, ringfence.account.pw_gid)


def kinds(ringfence: Commands) -> set[str]:
    lines = (ringfence.state / "audit/audit.jsonl").read_text().splitlines()
    return {json.loads(line)["kind"] for line in lines}


def test_daily_writes_into_the_project_and_nowhere_else(ringfence: Commands) -> None:
    (ringfence.workspace / "kept").mkdir()
    os.chown(ringfence.workspace / "kept", ringfence.account.pw_uid, ringfence.account.pw_gid)
    script = "echo new > file; test ! -e ~/.config; echo x > /etc/hostname || echo refused"
    done = ringfence("run", "--preset", "daily", "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, "refused\n")
    assert (ringfence.workspace / "file").read_text() == "new\n"
    plan = ringfence.json("plan", "--preset", "daily")
    assert plan["workspace"]["apply"] == "live"
    assert "refuses to start" in ringfence.refused(2, "run", "--preset", "daily", "--workspace", "direct", "true")


def test_refactor_applies_edits_at_the_end_and_reaches_no_other_host(ringfence: Commands) -> None:
    ringfence.write("old.py", "old\n")
    script = "mv old.py new.py; printf 'touch x' > .envrc"
    assert ringfence("run", "--preset", "refactor", "--", "sh", "-c", script).returncode == 0
    assert sorted(path.name for path in ringfence.workspace.iterdir()) == ["new.py"]  # what runs by itself is held
    assert "connect  no" in ringfence("explain", "--preset", "refactor", "example.com:443").stdout
    error = ringfence.refused(2, "learn", "--preset", "refactor", "true")
    assert "keeps hosts that no rule names out of reach" in error


def test_triage_reads_a_hostile_checkout_and_nothing_else_happens(ringfence: Commands) -> None:
    with_policy(ringfence, USER_POLICY)
    ringfence.write("README", "run me\n")
    ringfence.write(".claude/settings.json", '{"hooks": {}}')
    connect = "import socket; socket.create_connection(('192.0.2.1', 443), 2)"
    script = (
        "cat README; cat .claude/settings.json || echo hidden; echo x > new || echo read-only; echo x > ~/shared/x;"
        f' env | grep -c -e TOKEN -e PLAIN; python3 -c "{connect}" || echo no network'
    )
    given = ("run", "--preset", "triage", "--", "sh", "-c", script)
    done = ringfence(*given, EXAMPLE_TOKEN="value-0b6c1d", PLAIN="plain")
    assert done.stdout.splitlines() == ["run me", "hidden", "read-only", "0", "no network"], done.stderr
    assert sorted(path.name for path in ringfence.workspace.iterdir()) == [".claude", "README"]
    assert list((ringfence.home / "shared").iterdir()) == []
    for words in (("--workspace", "overlay"), ("--write", "~/shared"), ("--trust", "off")):
        assert "`triage` refuses to start" in ringfence.refused(2, "run", "--preset", "triage", *words, "true")


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("--workspace", "direct"), "workspace.mode"),
        (("--seccomp", "nested"), "isolation.seccomp"),
        (("--trust", "off"), "trust.mode"),
    ],
)
def test_pipeline_refuses_to_start_below_its_floor(ringfence: Commands, words: tuple[str, ...], key: str) -> None:
    error = ringfence.refused(2, "run", "--preset", "pipeline", *words, "--", "touch", "started")
    assert f"`pipeline` refuses to start: `{key}` is `{words[1]}`" in error
    assert list(ringfence.workspace.iterdir()) == []


def test_pipeline_runs_unattended_and_on_record(ringfence: Commands) -> None:
    with_policy(ringfence, USER_POLICY)
    script = "echo built > artefact; echo $EXAMPLE_TOKEN; printf '#!/bin/sh' > .envrc"
    done = ringfence("run", "--preset", "pipeline", "--", "sh", "-c", script, EXAMPLE_TOKEN="value-0b6c1d")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() and "value-0b6c1d" not in done.stdout
    assert [path.name for path in ringfence.workspace.iterdir()] == ["artefact"]
    assert {"launch", "exit"} <= kinds(ringfence)
    assert ringfence("log", "verify").returncode == 0
    with_policy(ringfence, 'version = 1\nnetwork.unknown = "ask"\nextends = ["pipeline"]\n')
    assert "`network.unknown` is `ask`" in ringfence.refused(2, "run", "true")


def test_a_checkout_cannot_choose_how_it_is_watched(ringfence: Commands) -> None:
    ringfence.write("ringfence.toml", 'version = 1\nextends = ["daily"]\n')
    error = ringfence.refused(2, "run", "true")
    assert "ringfence.toml:2: a project cannot choose the pattern `daily`" in error


def test_the_list_of_presets_says_what_is_untested_and_what_a_pattern_needs(ringfence: Commands) -> None:
    text = ringfence.good("policy", "presets")
    assert "\naider (untested)\n" in text
    assert "\nclaude\n" in text
    assert "needs readonly" in text
