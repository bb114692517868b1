"""`ringfence policy decide | explain | test | lint | diff | replay`, run as a person or CI would."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.house.sources import ROOT

TIMEOUT_S = 60
RULES = {"permissions": {"allow": ["Bash(npm run:*)"], "ask": ["Bash(git push *)"], "deny": ["Bash(rm:*)"]}}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "settings.json").write_text(json.dumps(RULES, indent=1))
    (tmp_path / "wide.json").write_text(json.dumps({"permissions": {"allow": ["Bash", "mcp__*"]}}))
    (tmp_path / "bad.json").write_text('{"permissions":\n {"deny": ["Bash("]}}')
    calls = [("npm run test", "allow"), ("git push origin", "ask"), ("rm x", "allow"), ("pfs", "ask")]
    log = [{"tool": "Bash", "input": {"command": text, "description": ""}, "verdict": said} for text, said in calls]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    return tmp_path


def policy(*words: str, cwd: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    run = "from ringfence.cli.entry import main; main()"
    return subprocess.run(
        [sys.executable, "-c", run, "policy", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        input=text,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


USER = ("--claude-settings", "user=settings.json")


def test_decide_answers_each_line_with_one(workspace: Path) -> None:
    done = policy("decide", *USER, cwd=workspace, text=(workspace / "log.jsonl").read_text())
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["verdict"] for answer in answers] == ["allow", "ask", "deny", "ask"]
    assert answers[2]["rule"] == "Bash(rm:*)"
    assert answers[2]["source"].endswith("settings.json:10")


def test_decide_takes_mode_places_trust_and_allowances(workspace: Path) -> None:
    options = ("--mode", "dontAsk", "--cwd", str(workspace), "--home", "/h", "--allowed-tools", "Bash(pfs *)")
    calls = "".join(
        json.dumps({"tool": "Bash", "input": {"command": text}}) + "\n" for text in ("pfs a", "other", "ls")
    )
    done = policy(
        "decide", *options, "--untrusted", "--claude-settings", "project=wide.json", cwd=workspace, text=calls
    )
    assert [json.loads(line)["verdict"] for line in done.stdout.splitlines()] == ["allow", "deny", "allow"], done.stderr


@pytest.mark.parametrize(
    ("words", "text", "said"),
    [
        (("--claude-settings", "user=bad.json"), "", "bad.json:2: rule `Bash(` is not a rule"),
        (("--claude-settings", "user=none.json"), "", "there is no"),
        (("--claude-settings", "settings.json"), "", "is not SCOPE=FILE"),
        (("--claude-settings", "other=settings.json"), "", "is not a scope"),
        ((), "{", "standard input:1: not a tool call"),
        (("word",), "", "unexpected word `word`"),
        (("--mode", "all"), "", "is not a value of `--mode`"),
    ],
)
def test_what_cannot_be_read_is_refused(workspace: Path, words: tuple[str, ...], text: str, said: str) -> None:
    done = policy("decide", *words, cwd=workspace, text=text)
    assert done.returncode == 2
    assert said in done.stderr


def test_explain_names_rule_line_risks_and_the_narrowest_rule(workspace: Path) -> None:
    denied = policy("explain", *USER, "Bash", "rm -rf x", cwd=workspace).stdout
    assert "deny" in denied and "Bash(rm:*)" in denied and "settings.json:10" in denied and "destroys files" in denied
    asked = policy("explain", *USER, "Bash", "make all && npm run x", cwd=workspace).stdout
    assert "Bash(make all)" in asked and "parts" in asked
    answer = json.loads(policy("explain", "--json", *USER, "Bash", "make all", cwd=workspace).stdout)
    assert answer["rules"] == ["Bash(make all)"]


def test_without_settings_the_own_policy_files_count(workspace: Path) -> None:
    (workspace / "ringfence.toml").write_text('version = 1\n[permissions]\ndeny = ["Bash(ls *)"]\n')
    answer = json.loads(policy("explain", "--json", "Bash", "ls -l", cwd=workspace).stdout)
    assert (answer["verdict"], answer["rule"]) == ("deny", "Bash(ls *)")
    assert answer["source"].endswith("ringfence.toml:3")


def test_lint(workspace: Path) -> None:
    done = policy("lint", *USER, cwd=workspace)
    assert done.returncode == 0 and done.stdout.endswith("nothing to complain about\n")
    assert "in ringfence's own rules" in policy("lint", cwd=workspace).stdout  # it has not looked at an agent's
    done = policy("lint", "--json", "--claude-settings", "user=wide.json", cwd=workspace)
    assert done.returncode == 1
    assert {complaint["code"] for complaint in json.loads(done.stdout)} == {"wide", "void"}


def test_diff_and_replay(workspace: Path) -> None:
    done = policy("diff", "user=settings.json", "user=wide.json", "log.jsonl", cwd=workspace)
    assert done.returncode == 1
    assert [line.split("  ")[0] for line in done.stdout.splitlines()] == [
        "ask -> allow",
        "deny -> allow",
        "ask -> allow",
    ]
    done = policy("replay", "--json", *USER, "log.jsonl", cwd=workspace)
    assert done.returncode == 1
    changes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(change["input"]["command"], change["after"]["verdict"]) for change in changes] == [("rm x", "deny")]
    assert policy("diff", "user=settings.json", "user=settings.json", "log.jsonl", cwd=workspace).returncode == 0


def test_expectations_and_junit(workspace: Path) -> None:
    (workspace / "expect.toml").write_text(
        'version = 1\nsettings = ["user=settings.json"]\n'
        '[[expect]]\ntool = "Bash"\ninput = "npm run x"\nverdict = "allow"\n'
        '[[expect]]\ntool = "Bash"\ninput = { command = "rm x" }\nverdict = "ask"\nbecause = "<it> is ours"\n'
    )
    done = policy("test", "--junit", "out.xml", "expect.toml", cwd=workspace)
    assert done.returncode == 1
    assert "expect.toml #2: expected ask, got deny" in done.stdout
    assert done.stdout.endswith("1 passed, 1 failed\n")
    suite = ET.parse(workspace / "out.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.find("failure") is None for case in suite] == [True, False]


@pytest.mark.parametrize(
    "text", ["", "version = 2\nexpect = []", "version = 1\nexpect = [{tool = 1}]", "x", "version = 1"]
)
def test_expectations_that_are_not_understood(workspace: Path, text: str) -> None:
    (workspace / "expect.toml").write_text(text)
    done = policy("test", "expect.toml", cwd=workspace)
    assert done.returncode == 2
    assert "expect.toml" in done.stderr and "`[[expect]]` with `tool`, `input` and `verdict`" in done.stderr


def test_the_way_to_a_run_does_not_load_the_engine() -> None:
    code = "import sys; import ringfence.cli.entry, ringfence.cli.run, ringfence.session.run; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    assert not [name for name in done.stdout.split() if "permissions" in name or name in ("bashkit", "tree_sitter")]


def record(command: str | dict[str, object], verdict: str, *, run: str = "hook", **fields: str) -> str:
    """A line of the audit, as a hook writes it."""
    tool = "Bash" if isinstance(command, str) else "Write"
    text = command if isinstance(command, str) else json.dumps(command)
    found = {"tool": tool, "input": text, "verdict": verdict, "mode": "default", "cwd": "/w/proj", **fields}
    return json.dumps({"v": 1, "kind": "decision", "code": "tool-call", "run": run, "fields": found}) + "\n"


def test_replay_understands_ringfence_s_own_audit(workspace: Path) -> None:
    told = {"kind": "decision", "code": "tool-call", "run": "hook", "fields": {"event": "PostToolUse", "tool": "Bash"}}
    other = {"kind": "launch", "code": "", "run": "r", "fields": {"argv": ["id"], "mode": "overlay"}}
    text = json.dumps(other) + "\n" + json.dumps(told) + "\n"
    text += record("npm run test", "allow") + record("rm x", "allow") + record("git push o", "ask")
    text += record("make", "ask", mode="bypassPermissions")  # decided in the mode it was made in
    text += record('{ "command": "rm y", "timeout": 5, "extra": 1 }', "allow")  # an input that is more than a command
    text += record("make", "allow", run="20261121-1") + record("x" * 9000, "allow")  # contained; cut off
    text += record({"file_path": "/etc/passwd", "content": ""}, "deny")
    (workspace / "audit.jsonl").write_text(text)
    done = policy("replay", "--json", *USER, "audit.jsonl", cwd=workspace)
    assert done.returncode == 1, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["before"], line["after"]["verdict"]) for line in found] == [
        ("allow", "deny"),
        ("ask", "allow"),
        ("allow", "deny"),
        ("deny", "ask"),
    ]
    assert found[2]["input"]["command"] == "rm y"
