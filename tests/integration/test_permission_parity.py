"""The engine against decisions of the real client: never looser, and nearly always the same.

claude-decisions.jsonl.gz was measured on Claude Code 2.1.329 by hand-picked cases; measured.jsonl.gz by every option of
the commands that only read, and by commands put together at random. The classes in which the engine is stricter are
described in docs/permissions.md. differences.jsonl lists every decision that is another one than the client's: no other
decision may come to differ, and none of these may come to be the same unnoticed.
"""

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ringfence.model.errors import UsageError
from ringfence.policy.permissions import claude_settings, scopes
from ringfence.policy.permissions.engine import decide
from ringfence.policy.permissions.modes import mode_of
from ringfence.session.path_facts import DiskFacts
from tests import permission_cases as cases
from tests.permission_cases import DATA

GROUPS = 132
ORDER = {"allow": 0, "ask": 1, "deny": 2}
PLACES = {
    "user": "home/.claude/settings.json",
    "project": "proj/.claude/settings.json",
    "local": "proj/.claude/settings.local.json",
    "managed": "managed-settings.json",
}
# Measured otherwise than it can be looked up again, or on a notation that is not worth its rule.
KNOWN = {
    "pfs > ../other/x": "the measurement's root was not below /tmp, which one of its rules allows to be written",
    "for i in a b; do cat %y; done": "asked about by the client for a reason that is not known",
    "diff a.txt #z =a": "the client takes a comment for a word",
    "env --stat ~/x": "an option that env does not have",
    "docker logs ! ~/x | pfc ~/x": "a container named `!`",
}
# What the engine says of these depends on where the tests lie: on /tmp, or below /var/tmp.
PLACED = {"pfs > ../other/x", "rm -rf /var/tmp"}


def judged(root: Path, group: dict[str, Any], calls: list[tuple[str, Any]]) -> list[str]:
    """The engine's verdicts on calls that share settings; a refusal of the settings denies them all."""
    cwd, home = cases.prepare(root, group["setup"])
    read = []
    try:
        for scope, path in PLACES.items():
            if group.get(scope):
                text = json.dumps(cases.place(group[scope], root))
                read.append(claude_settings.read_settings(text, scope=scope, file=str(root / path), cwd=cwd))
        for flag, value in zip(group.get("args", []), group.get("args", [])[1:], strict=False):
            if flag == "--allowedTools":
                rules = claude_settings.command_line([value], cwd=cwd)
                read.append(claude_settings.lowest_rules(rules))
            elif flag == "--settings":
                read.append(claude_settings.read_settings(value, scope="cli", file=str(root / "cli.json"), cwd=cwd))
        mode = mode_of(group["mode"])
        request = scopes.Request(cwd=cwd, home=home, mode=mode, trusted=group.get("trusted", True))
        settings = scopes.merge(read, request, DiskFacts())
    except UsageError:
        return ["deny"] * len(calls)
    facts = DiskFacts()
    return [decide(settings, cases.call(*cases.place(call, root)), facts).verdict.name.lower() for call in calls]


def compare(found: list[tuple[str, str, str]]) -> tuple[Counter[str], list[str]]:
    """Count equal, looser and stricter answers; list the looser ones."""
    tally: Counter[str] = Counter()
    looser = []
    for what, client, engine in found:
        kind = "equal" if client == engine else "looser" if ORDER[engine] < ORDER[client] else "stricter"
        tally[kind] += 1
        if kind == "looser":
            looser.append(f"{what}: the client says {client}, the engine {engine}")
    return tally, looser


def hand_picked() -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The lines of the first file, by the settings they share."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for line in cases.lines("claude-decisions.jsonl.gz"):
        if any("setting-sources" in word for word in line["args"]):
            line["project"] = line["local"] = None  # the client was told to ignore them
        keys = ("group", "mode", "user", "project", "local", "managed", "trusted", "setup", "args")
        groups.setdefault(json.dumps([line[key] for key in keys]), []).append(line)
    return [(found[0], found) for found in groups.values()]


def as_recorded(line: dict[str, Any]) -> tuple[str, Any]:
    """The call of a line: what is recorded is the command alone, or an input as JSON."""
    tool, text = line["tool"], line["input"]
    if tool == "Bash":
        return tool, {"command": text}
    return tool, json.loads(text) if text.startswith("{") else text


def test_hand_picked_decisions(tmp_path: Path) -> None:
    found = []
    differing = {}
    for number, (group, listed) in enumerate(hand_picked()):
        answers = judged(tmp_path / str(number), group, [as_recorded(line) for line in listed])
        for line, answer in zip(listed, answers, strict=True):
            found.append((line["input"], line["verdict"], answer))
            if line["verdict"] != answer:
                differing[f"hand-picked {number}", json.dumps([line["tool"], line["input"]])] = answer
    tally, looser = compare(found)
    assert looser == []
    assert tally["equal"] >= 0.95 * len(found), tally
    assert differing == {key: answer for key, answer in differences().items() if key[0].startswith("hand-picked")}


@cache
def groups() -> list[dict[str, Any]]:
    """The measured calls, by the settings they share."""
    return list(cases.lines("measured.jsonl.gz"))


@cache
def differences() -> dict[tuple[str, str], str]:
    """What the engine says where it says something else than the client, by group and call."""
    lines = map(json.loads, (DATA / "differences.jsonl").read_text(encoding="utf-8").splitlines())
    return {(line["group"], json.dumps(line["call"])): line["engine"] for line in lines}


@pytest.mark.parametrize("number", range(GROUPS))
def test_measured_decisions(tmp_path: Path, number: int) -> None:
    group = groups()[number]
    answers = judged(tmp_path, group, [(tool, value) for tool, value, _ in group["calls"]])
    pairs = list(zip(group["calls"], answers, strict=True))
    found = [(str(value), client, answer) for (_, value, client), answer in pairs]
    _, looser = compare([entry for entry in found if entry[0] not in KNOWN])
    assert looser == []
    told = {json.dumps([tool, value]): answer for (tool, value, client), answer in pairs if client != answer}
    known = {call: answer for (name, call), answer in differences().items() if name == str(number)}
    placed = {json.dumps(["Bash", value]) for value in PLACED}
    assert {call: told[call] for call in told.keys() - placed} == {call: known[call] for call in known.keys() - placed}


def test_nearly_all_measured_decisions_are_the_same() -> None:
    assert len(differences()) <= 0.05 * sum(len(group["calls"]) for group in groups())


def test_the_data_is_all_there() -> None:
    assert sum(1 for _ in cases.lines("claude-decisions.jsonl.gz")) > 600
    assert len(groups()) == GROUPS
    assert sum(len(group["calls"]) for group in groups()) > 20_000
    assert (DATA / "nasty.jsonl").is_file()
