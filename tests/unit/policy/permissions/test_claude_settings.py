"""Settings files of Claude Code as they are: where their rules stand, what they switch off, what refuses them."""

import json

import pytest

from ringfence.model.decision import Verdict
from ringfence.model.errors import UsageError
from ringfence.policy.permissions.claude_settings import MAX_TEXT, allowed_tools, command_line, read_settings
from ringfence.policy.permissions.settings import Mode

FILE = "/w/proj/.claude/settings.json"


def places(text: str, scope: str = "project") -> list[str]:
    read = read_settings(text, scope=scope, file=FILE, cwd="/w/proj")
    return [f"{rule.text} {rule.verdict.name} {rule.source}" for rule in read.rules]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"permissions": {"deny": ["Bash(x)"]}}', f"{FILE}:1"),
        ('\n{"permissions":\n{"deny": [\n"Bash(x)"]}}', f"{FILE}:4"),
        ('{"permissions": {"deny": ["\\u0042ash(x)"]}}', FILE),
    ],
)
def test_a_rule_is_found_in_the_line_it_stands_in(text: str, line: str) -> None:
    assert places(text) == [f"Bash(x) DENY {line}"]


def test_a_rule_is_found_with_its_letters_as_they_are_and_escaped() -> None:
    written = {"permissions": {"allow": ["Bash(é)"]}}
    for ensure_ascii in (True, False):
        assert places("\n" + json.dumps(written, ensure_ascii=ensure_ascii)) == [f"Bash(é) ALLOW {FILE}:2"]


def test_each_list_is_what_its_name_says() -> None:
    text = json.dumps({"permissions": {"allow": ["Read"], "ask": ["Edit"], "deny": ["Bash"]}})
    assert places(text) == [f"Bash DENY {FILE}:1", f"Edit ASK {FILE}:1", f"Read ALLOW {FILE}:1"]


@pytest.mark.parametrize(
    ("said", "modes"),
    [
        ({}, set()),
        ({"permissions": {"disableBypassPermissionsMode": "disable"}}, {Mode.BYPASS}),
        ({"permissions": {"disableAutoMode": "disable"}}, {Mode.AUTO}),
        ({"disableAutoMode": "yes"}, {Mode.AUTO}),
        ({"permissions": {"disableBypassPermissionsMode": ""}}, set()),
    ],
)
def test_modes_are_switched_off_by_any_value(said: object, modes: set[Mode]) -> None:
    assert read_settings(json.dumps(said), scope="user", file=FILE, cwd="/w/proj").forbidden_modes == modes


@pytest.mark.parametrize(
    ("listed", "rules"),
    [
        ("Read", ["Read"]),
        ("Read,Edit", ["Read", "Edit"]),
        ("Read, Edit  Write", ["Read", "Edit", "Write"]),
        ("Bash(git log, x) Read", ["Bash(git log, x)", "Read"]),
        ("Bash(a (b) c),Read", ["Bash(a (b) c)", "Read"]),
        ("", []),
        (" , ", []),
    ],
)
def test_allowed_tools_are_split_outside_parentheses(listed: str, rules: list[str]) -> None:
    assert allowed_tools(listed) == rules
    read = command_line([listed, "Glob"], cwd="/w/proj")
    assert [(rule.text, rule.verdict, str(rule.source)) for rule in read] == [
        (text, Verdict.ALLOW, "cli") for text in (*rules, "Glob")
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not valid JSON"),
        ('{"permissions": {"deny": "Bash"}}', "not understood: expected `array`"),
        ('{"permissions": {"defaultMode": "bold"}}', "`permissions.defaultMode` is"),
        ('{"a": "' + "x" * (MAX_TEXT - 8) + '"}', f"longer than {1024 * 1024} characters"),
        ('{"permissions": {"deny": ["\udc80"]}}', "not"),
    ],
)
def test_what_is_not_understood_refuses_the_file(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as raised:
        places(text)
    assert raised.value.place == FILE


def test_the_longest_file_is_read() -> None:
    assert places('{"a": "' + "x" * (MAX_TEXT - 9) + '"}') == []


def test_an_unknown_mode_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError) as raised:
        places('{"permissions": {"defaultMode": "bold"}}')
    assert raised.value.hint == "one of default, acceptEdits, plan, dontAsk, auto, bypassPermissions"
