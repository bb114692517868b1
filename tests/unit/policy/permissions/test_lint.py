"""Complaints about rules, the narrowest rules, and known risks."""

import json
from typing import Any

import pytest

from ringfence.policy.permissions.lint import lint
from ringfence.policy.permissions.risks import Risk, launches, risks_of
from ringfence.policy.permissions.suggest import rules_for
from tests.permission_cases import DATA, call, settings, verdict


@pytest.mark.parametrize(
    ("lists", "codes"),
    [
        ({"allow": ["Bash(git status)"], "deny": ["Bash(x)"]}, []),
        ({"allow": ["Bash"]}, ["wide"]),
        ({"allow": ["Edit"]}, ["wide"]),
        ({"allow": ["Bash(timeout:*)"]}, ["launcher"]),
        ({"allow": ["Bash(env *)"]}, ["launcher"]),
        ({"allow": ["Bash(npm run *)"]}, []),
        ({"allow": ["Bash(* --version)"]}, ["wide"]),
        ({"allow": ["mcp__*"]}, ["void"]),
        ({"allow": ["bash(x)"]}, ["unknown-tool"]),
        ({"allow": ["Bash(git push)"], "deny": ["Bash(git *)"]}, ["shadowed"]),
        ({"allow": ["Read(a)"], "ask": ["Read"]}, ["shadowed"]),
        ({"deny": ["Bash(git *)", "Bash(git push *)"]}, ["repeated"]),
        ({"deny": ["Bash(git *)", "Bash(gitk)"]}, []),
        ({"allow": [f"Bash(a{number})" for number in range(12)]}, ["grown"]),
        ({"allow": [f"Bash(a{number})" for number in range(10)]}, []),
        ({"allow": [f"Bash(a{number})" for number in range(11)]}, ["grown"]),
        ({"allow": [f"Bash(a{number})" for number in range(12)], "ask": [f"Bash(b{n})" for n in range(12)]}, []),
        (
            {"allow": [f"Bash(a{number})" for number in range(13)], "deny": [f"Bash(b{n})" for n in range(12)]},
            ["grown"],
        ),
        ({"allow": ["mcp__*", *(f"Bash(a{number})" for number in range(10))]}, ["void"]),
        ({"allow": ["WebFetch"]}, ["wide"]),
        ({"allow": ["Monitor"]}, ["wide"]),
        ({"allow": ["PowerShell"]}, ["wide"]),
        ({"allow": ["Read"]}, []),
        ({"allow": ["Edit(a)"]}, []),
        ({"ask": ["Bash", "Edit"]}, []),
        ({"deny": ["T*", "mcp__s", "mcp__s__t"]}, []),
        ({"allow": ["mcp__s__t"]}, []),
        ({"deny": ["read(a)", "Nothing"]}, ["unknown-tool", "unknown-tool"]),
        ({"allow": ["Bash(/usr/bin/env *)"]}, ["launcher"]),
        ({"allow": ["Bash(env)"]}, []),
        ({"allow": ["Bash(env x *)"]}, []),
        ({"allow": ["Bash(ls *)"]}, []),
        ({"allow": ["Bash(env*)"]}, ["wide"]),
        ({"allow": ["Bash(git push)"], "deny": ["Bash(git pull *)"]}, []),
        ({"allow": ["Bash(git push *)"], "ask": ["Bash(git *)"]}, ["shadowed"]),
        ({"allow": ["Bash(git *)"], "ask": ["Bash(git push)"]}, ["launcher"]),
        ({"allow": ["Bash(a b *)"], "deny": ["Bash(a b)"]}, []),
        ({"allow": ["Bash(a b *)"], "deny": ["Bash(a *b)"]}, []),
        ({"allow": ["Bash(a * b)"], "deny": ["Bash(a *)"]}, []),
        ({"allow": ["Bash(a b)"], "deny": ["Bash(timeout:5)"]}, []),
        ({"allow": ["Bash(a b)"], "deny": ["Bash(a b)"]}, ["shadowed"]),
        ({"allow": ["Bash(timeout:5)"], "deny": ["Bash(timeout:5)"]}, []),
        ({"allow": ["Read(a)"], "deny": ["Read(a)"]}, ["shadowed"]),
        ({"allow": ["Read(a)"], "deny": ["Read(**)"]}, []),
        ({"allow": ["Bash"], "deny": ["Bash(a *)"]}, ["wide"]),
        ({"deny": ["Read", "Read(a)"]}, ["repeated"]),
        ({"deny": ["Read(a)", "Read(a)"]}, ["repeated"]),
        ({"deny": ["Bash(a *)", "Bash(a b)", "Bash(a:*)"]}, ["repeated", "repeated", "repeated"]),
        ({"deny": ["Bash(a)", "Bash(timeout:5)", "Bash(timeout:6)"]}, []),
        ({"deny": ["Bash", "Bash(timeout:5)"]}, []),
        ({"deny": ["Bash(timeout:5)", "Bash(timeout:5)"]}, []),
        ({"deny": ["Agent(x)"], "ask": ["Agent(x)"]}, []),
    ],
)
def test_complaints(lists: dict[str, Any], codes: list[str]) -> None:
    assert [complaint.code for complaint in lint(settings(**lists))] == codes


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"allow": ["bash(x)"]}, "no tool has this name; `Bash` has"),
        ({"deny": ["Nothing"]}, "no tool has this name"),
        (
            {"allow": ["Bash(a)"], "deny": ["Bash(a)"]},
            "what it allows is denied by `Bash(a)` (/w/home/.claude/settings.json:1)",
        ),
        (
            {"allow": ["Bash(a)"], "ask": ["Bash(a)"]},
            "what it allows is asked about by `Bash(a)` (/w/home/.claude/settings.json:1)",
        ),
        ({"deny": ["Read(a)", "Read"]}, "`Read` (/w/home/.claude/settings.json:1) says it already"),
    ],
)
def test_what_complaints_say(lists: dict[str, Any], message: str) -> None:
    assert [complaint.message for complaint in lint(settings(**lists))] == [message]


TOOLS = """
Agent Bash Cd Edit EnterPlanMode ExitPlanMode Glob Grep KillShell LS Monitor MultiEdit NotebookEdit NotebookRead
PowerShell Read Skill SlashCommand Task TaskCreate TaskGet TaskList TaskOutput TaskUpdate TodoWrite ToolSearch WebFetch
WebSearch Workflow Write AskUserQuestion BashOutput
"""


@pytest.mark.parametrize("tool", TOOLS.split())
def test_tools_that_there_are(tool: str) -> None:
    assert lint(settings(deny=[tool])) == []


@pytest.mark.parametrize(
    ("tool", "value", "expected"),
    [
        ("Bash", "pfs a", ["Bash(pfs a)"]),
        ("Bash", "pfs a && other b", ["Bash(pfs a)", "Bash(other b)"]),
        ("Bash", "pfs $(id)", []),
        ("Bash", "pfs *", []),
        ("Bash", "pfs 'a\nb'", []),
        ("Bash", "pfs a; pfs a", ["Bash(pfs a)"]),
        ("Bash", "pfs 'a", []),
        ("Bash", "CI=1", []),
        ("Bash", "a; b; c; d; e", ["Bash(a)", "Bash(b)", "Bash(c)", "Bash(d)", "Bash(e)"]),
        ("Read", "", []),
        ("Edit", r"a\b?*", [r"Edit(//w/proj/a\\b\?\*)"]),
        ("NotebookEdit", {"notebook_path": "/w/x"}, ["Edit(//w/x)"]),
        ("Read", "/etc/a[1]", [r"Read(//etc/a\[1])"]),
        ("Write", "/w/proj/a", ["Edit(//w/proj/a)"]),
        ("WebFetch", "https://example.com/x", ["WebFetch(domain:example.com)"]),
        ("WebFetch", "http://2130706433", []),
        ("mcp__s__t", "", ["mcp__s__t"]),
        ("WebSearch", "", []),
    ],
)
def test_the_narrowest_rules(tool: str, value: str | dict[str, object], expected: list[str]) -> None:
    asked = call(tool, value)
    places = settings().places
    assert rules_for(asked, places) == expected
    if expected:
        assert verdict(settings(allow=expected), tool, asked.input) == "allow"


def test_no_more_than_five_rules_are_proposed() -> None:
    assert len(rules_for(call("Bash", "a; b; c; d; e; f"), settings().places)) == 5


def test_each_risk_is_known_of_what_is_written_down() -> None:
    written = json.loads((DATA / "risks.json").read_text(encoding="utf-8"))
    assert {command: sorted(fact.risk.value for fact in risks_of(command.split())) for command in written} == written
    assert all(launches(command) for command, risks in written.items() if "executes" in risks and " " not in command)
    assert launches("ls") == ""
    assert sum(map(len, written.values())) > 250


@pytest.mark.parametrize(
    ("words", "risks"),
    [
        (["git", "push", "--force"], {Risk.EXECUTES, Risk.NETWORK, Risk.PUBLISHES, Risk.REWRITES_HISTORY}),
        (["/usr/bin/npm", "publish"], {Risk.EXECUTES, Risk.PUBLISHES}),
        (["kubectl", "apply", "-f", "x"], {Risk.NETWORK, Risk.DEPLOYS}),
        (["env"], {Risk.EXECUTES, Risk.READS_SECRET}),
        (["curl", "x"], {Risk.EXECUTES, Risk.NETWORK}),
        (["ls"], set()),
        ([], set()),
    ],
)
def test_known_risks(words: list[str], risks: set[Risk]) -> None:
    assert {fact.risk for fact in risks_of(words)} == risks
    assert all(fact.reason for fact in risks_of(words))
