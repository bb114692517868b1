"""Which of several rules and findings about one command decides, and what it says."""

import json

import pytest

from ringfence.policy.permissions.claude_settings import read_settings
from ringfence.policy.permissions.engine import decide
from ringfence.policy.permissions.lint import lint
from ringfence.policy.permissions.paths import Unresolved
from ringfence.policy.permissions.scopes import Request, merge
from ringfence.policy.permissions.suggest import rules_for
from tests.permission_cases import CWD, call, settings, verdict

BOXED = {"enabled": True, "autoAllowBashIfSandboxed": True}
LONG = " " + "a" * 200_001


@pytest.mark.parametrize(
    ("rule", "command"),
    [
        ("Bash(a | b)", "a | b"),
        ('Bash(dny "b")', 'x; dny "b"'),
        ("Bash(dny *)", "/bin/dny x"),
        ("Bash(dny *)", "eval '/bin/dny x'"),
        ("Bash(dny *)", "eval dny x\n'"),
        ("Bash(dny *)", "eval dny x\n'" + " " * 10_000),
        ("Bash(dny *)", "eval dny x\n'" + " " * 9_988),
        ("Edit(secret/**)", "cd $X && a > y"),
        ("Read(//w/proj/k)", "cd sub; cat k"),
        ("Read(//w/proj/sub/k)", "cd sub; cat ../k"),
        ("Read(k)", "cd $X; cat k"),
        ("Edit(secret.txt)", "a 'b > secret.txt"),
        ("Bash(dny * z*)", 'a; dny "x z'),
        ("Bash(dny *)", "if :; then dny x\n'"),
        ("Bash(dny *)", "for i in a; do dny x\n'"),
        ("Bash(dny *)", "if a; then b; else dny x\n'"),
        ("Bash(dny)", "d*y"),
    ],
)
def test_what_is_denied(rule: str, command: str) -> None:
    assert verdict(settings(deny=[rule], mode="bypassPermissions"), "Bash", command) == "deny"


@pytest.mark.parametrize(
    ("rule", "command"),
    [
        ("Read(secret/**)", "cd $X && a > y"),
        ("Read(secret/**)", "cd $X && cd y"),
        ("Read(secret/**)", "cd $X && cat /x"),
        ("Read(secret/**)", "cd $X && cat ~/x"),
        ("Read(secret/**)", "cd $X && ls ."),
        ("Read(//w/proj)", '"/x'),
        ("Read(//w/proj/k)", "cat ../k"),
        ("Edit(secret.txt)", "a 'b secret.txt"),
        ("Bash(x *)", "/bin/dny x"),
    ],
)
def test_what_a_denial_is_not_about(rule: str, command: str) -> None:
    assert verdict(settings(deny=[rule], mode="bypassPermissions"), "Bash", command) == "allow"


@pytest.mark.parametrize("command", ["cat .env" + LONG, "eval dny x;" + LONG])
def test_what_is_too_long_to_be_read_is_asked_about(command: str) -> None:
    rules = settings(deny=["Read(.env)", "Bash(dny *)"], mode="bypassPermissions")
    assert verdict(rules, "Bash", command) == "ask"


def test_a_question_about_a_file_holds_wherever_the_file_may_be() -> None:
    rules = settings(ask=["Read(//w/proj/k)"], mode="bypassPermissions")
    assert verdict(rules, "Bash", "cd sub && cat ../k") == "ask"
    assert verdict(rules, "Bash", "cd sub && cat k") == "ask"
    assert verdict(rules, "Bash", "cd sub && cat x") == "allow"
    assert verdict(rules, "Bash", "cd $X && cat x") == "allow"


def test_what_is_edited_does_not_vouch_for_the_rest() -> None:
    assert verdict(settings(mode="acceptEdits"), "Bash", "rm a; other") == "ask"
    assert verdict(settings(mode="acceptEdits"), "Bash", "rm a; rm b") == "allow"


def test_more_than_can_be_followed_is_asked_about_in_every_mode() -> None:
    assert verdict(settings(mode="bypassPermissions"), "Bash", "eval " * 9 + "x") == "ask"


@pytest.mark.parametrize(
    ("allow", "command", "expected"),
    [
        ("Bash(a $(x) *)", "a $(x) *", "ask"),
        ("Bash(a $(x))", "a $(x)", "allow"),
        ("Bash(touch .git/x)", "touch .git/x", "ask"),
        ("Bash(a 'b)", "a 'b", "ask"),
        ("Bash", "cd $X && mv ../proj y", "ask"),
        ("Bash(a || b)", "a || b", "allow"),
        ("Bash(a | b)", "a | b", "ask"),
        ("Bash(a & b)", "a & b", "ask"),
        ("Bash((a))", "(a)", "ask"),
        ("Bash({ a; })", "{ a; }", "ask"),
        ("Bash", "a", "allow"),
        ("Bash", "cd sub && mv ../../proj y", "ask"),
        ("Bash", "cp .bashrc x", "ask"),
        ("Bash", "mv .bashrc x", "ask"),
    ],
)
def test_what_an_allowance_settles(allow: str, command: str, expected: str) -> None:
    assert verdict(settings(allow=[allow]), "Bash", command) == expected


@pytest.mark.parametrize(
    ("excluded", "command", "expected"),
    [
        ([], "a 'b", "allow"),
        (["docker *"], "a 'b", "ask"),
        (["docker *"], "npm test", "allow"),
        (["docker *"], "eval 'docker run x'", "ask"),
    ],
)
def test_what_the_boundary_contains(excluded: list[str], command: str, expected: str) -> None:
    rules = settings(sandbox={**BOXED, "excludedCommands": excluded})
    assert verdict(rules, "Bash", command) == expected


@pytest.mark.parametrize(
    ("allow", "command", "reason"),
    [
        (["Bash"], "a 'b", "it is not a complete, correct command"),
        (["Bash"], "a & b", "it goes on while a part runs in the background"),
        ([], "a 'b", "it is not a complete, correct command"),
        ([], "a $X", "the command holds the variable `$X`"),
        ([], "ls", "it only reads: handles names of files"),
        ([], "ls; ls", "every part of it is allowed"),
        ([], "cd ../proj && ls", "every part of it is allowed"),
        ([], "cd ./ && git status", "every part of it is allowed"),
        ([], "cd sub && cat k", "every part of it is allowed"),
        ([], "cd sub && touch x", "it changes the directory and writes or redirects"),
        ([], "cd sub && cat < k", "it changes the directory and writes or redirects"),
        ([], "cd sub && cat /proc/self/cwd/k", "it changes the directory and reads above it"),
        (
            [],
            "cd sub && timeout 5 git status",
            "it changes the directory and runs git, which obeys the configuration it finds there",
        ),
        (["Bash"], "touch .git/x", "what is in `/w/proj/.git/x` is run or obeyed later"),
        (["Bash"], "mv ~ x", "`~` is critical: moving it takes it away"),
        (["Bash(a & b)"], "a & b", "the command holds a command in the background"),
        (
            [],
            "rm -rf /; " + "eval " * 9 + "x",
            "`/` is critical: removing it takes away more than a workspace can lose",
        ),
    ],
)
def test_why(allow: list[str], command: str, reason: str) -> None:
    assert decide(settings(allow=allow), call("Bash", command)).reason == reason


@pytest.mark.parametrize(
    ("rule", "tool", "given", "expected"),
    [
        ("Monitor(command:x*)", "Monitor", {"command": "y"}, "allow"),
        ("Monitor(command:x*)", "Monitor", {"command": "x1"}, "deny"),
        ("Bash(timeout:*)", "Bash", {"command": "timeout 5 ls", "description": ""}, "allow"),
        ("mcp__s__t", "mcp__s__t__x", {}, "allow"),
        ("mcp__s", "mcp__s__t", {}, "deny"),
        ("mcp__s", "mcp__s2__t", {}, "allow"),
        ("a__b", "a__b__c", {}, "allow"),
    ],
)
def test_what_a_rule_about_a_tool_is_about(rule: str, tool: str, given: dict[str, object], expected: str) -> None:
    assert verdict(settings(deny=[rule], mode="bypassPermissions"), tool, given) == expected


def test_nothing_is_proposed_for_what_cannot_be_read() -> None:
    assert rules_for(call("Bash", "a b"), settings().places) == ["Bash(a b)"]
    assert rules_for(call("Bash", "a\u00a0b"), settings().places) == []


def test_a_rule_about_a_field_repeats_no_rule_about_a_command() -> None:
    assert lint(settings(deny=["Bash(timeout:*)", "Bash(timeout 5 x)"])) == []


def test_what_has_grown_is_placed_at_the_last_allowance() -> None:
    rules = [f"Bash(a{at})" for at in range(11)]
    text = json.dumps({"permissions": {"allow": rules}}, indent=1)
    user = read_settings(text, scope="user", file="s.json", cwd=CWD)
    merged = merge([user], Request(cwd=CWD, home="/w/home", mode=None), Unresolved())
    (complaint,) = lint(merged)
    assert complaint.source == merged.rules[-1].source != merged.rules[-2].source
