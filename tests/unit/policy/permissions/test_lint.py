"""Complaints about rules, the narrowest rules, and known risks."""

from typing import Any

import pytest

from ringfence.policy.permissions.lint import lint
from ringfence.policy.permissions.risks import Risk, risks_of
from ringfence.policy.permissions.suggest import rules_for
from tests.permission_cases import call, settings, verdict


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
    ],
)
def test_complaints(lists: dict[str, Any], codes: list[str]) -> None:
    assert [complaint.code for complaint in lint(settings(**lists))] == codes


@pytest.mark.parametrize(
    ("tool", "value", "expected"),
    [
        ("Bash", "pfs a", ["Bash(pfs a)"]),
        ("Bash", "pfs a && other b", ["Bash(pfs a)", "Bash(other b)"]),
        ("Bash", "pfs $(id)", []),
        ("Bash", "pfs *", []),
        ("Read", "/etc/a[1]", [r"Read(//etc/a\[1])"]),
        ("Write", "/w/proj/a", ["Edit(//w/proj/a)"]),
        ("WebFetch", "https://example.com/x", ["WebFetch(domain:example.com)"]),
        ("WebFetch", "http://2130706433", []),
        ("mcp__s__t", "", ["mcp__s__t"]),
        ("WebSearch", "", []),
    ],
)
def test_the_narrowest_rules(tool: str, value: str, expected: list[str]) -> None:
    asked = call(tool, value)
    places = settings().places
    assert rules_for(asked, places) == expected
    if expected:
        assert verdict(settings(allow=expected), tool, asked.input) == "allow"


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
