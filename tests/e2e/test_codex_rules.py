"""The engine against Codex's exec policy, where the two languages say the same: prefixes of plain words.

Codex decides about the words of one command: `prefix_rule(["git", "push"], "prompt")` is `ask: Bash(git push:*)`. Shell
notation, files, hosts and modes are not in its language. It looks at the first words only, so a denied command behind
`env` or `timeout` is denied by the engine alone: there the engine may be stricter, never looser.
"""

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from ringfence.policy.permissions.engine import decide
from tests.permission_cases import call, settings

pytestmark = [pytest.mark.require("codex"), pytest.mark.timeout(600)]

SAID = {"allow": "allow", "prompt": "ask", "forbidden": "deny"}
ORDER = ("allow", "ask", "deny")
PROGRAMS = ("pfs", "other", "dny", "tool")
WORDS = ("a", "b", "run", "-x", "--flag", "a.b", "c=d")
LAUNCHERS = (("env",), ("timeout", "5"), ("sudo", "-n"))
COUNT = 80


def chosen(source: random.Random) -> list[tuple[tuple[str, ...], str]]:
    """Rules: the first words of a command, and what is decided."""
    found = []
    for _ in range(source.randint(1, 4)):
        words = (source.choice(PROGRAMS), *source.sample(WORDS, source.randint(0, 2)))
        found.append((words, source.choice(tuple(SAID))))
    return found


def codex(place: Path, rules: list[tuple[tuple[str, ...], str]], words: list[str]) -> str:
    """What the real program decides; empty where no rule speaks."""
    lines = [f"prefix_rule(pattern={json.dumps(pattern)}, decision={json.dumps(said)})" for pattern, said in rules]
    (place / "rules").write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [shutil.which("codex") or "codex", "execpolicy", "check", "--rules", str(place / "rules"), "--", *words],
        env={**os.environ, "CODEX_HOME": str(place), "HOME": str(place)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return SAID.get(json.loads(done.stdout).get("decision", ""), "")


def engine(rules: list[tuple[tuple[str, ...], str]], words: list[str]) -> tuple[str, bool]:
    """What the engine decides, and whether a rule did."""
    lists: dict[str, list[str]] = {"allow": [], "ask": [], "deny": []}
    for pattern, said in rules:
        lists[SAID[said]].append(f"Bash({' '.join(pattern)}:*)")
    decision = decide(
        settings(allow=lists["allow"], ask=lists["ask"], deny=lists["deny"]), call("Bash", " ".join(words))
    )
    return decision.verdict.name.lower(), bool(decision.rule)


def test_the_same_prefixes_mean_the_same(tmp_path: Path) -> None:
    source = random.Random(os.environ.get("RINGFENCE_SEED", "1"))
    spoken = 0
    for _ in range(COUNT):
        rules = chosen(source)
        like = source.choice(rules)[0] if source.random() < 0.7 else (source.choice(PROGRAMS),)
        words = [*source.choice(((), (), *LAUNCHERS)), *like, *source.sample(WORDS, source.randint(0, 2))]
        theirs = codex(tmp_path, rules, words)
        ours, by_rule = engine(rules, words)
        spoken += bool(theirs)
        if theirs:
            assert (ours, by_rule) == (theirs, True), (rules, words)
        elif by_rule:
            behind = any(words[: len(launcher)] == list(launcher) for launcher in LAUNCHERS)
            assert (behind and ours != "allow") or words[0] == "timeout", (rules, words, ours)
    assert spoken > COUNT // 4
