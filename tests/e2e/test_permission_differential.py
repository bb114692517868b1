"""The engine against the real client, on commands that nobody has looked at: generated anew for each seed.

None changes the directory: the client keeps it from one call to the next, the engine is told it with each.

The seed is the day's number in CI where RINGFENCE_SEED names one, else fixed, so that a failure can be repeated.
"""

import json
import os
import random
from pathlib import Path

import pytest

from ringfence.policy.permissions import claude_settings, scopes
from ringfence.policy.permissions.engine import decide
from ringfence.policy.permissions.modes import mode_of
from ringfence.session.path_facts import DiskFacts
from tests import client_oracle
from tests.permission_cases import call

ORDER = {"allow": 0, "ask": 1, "deny": 2}
SETUP = "mkdir -p sub other; echo a > a.txt; echo {} > a.json; git init -q ."
HEADS = (
    "pfs,pfc,ls,cat,echo,grep x,head -n 1,git status,git log --oneline,wc -l,sort,sed -n 1p,true,other,date,"
    "timeout 5 pfs,nice pfs,nohup pfs,command pfs,CI=1 pfs,FOO=b pfs,xargs pfs,env pfs,cd .,jq .,diff a.txt,stat,"
    "du -sh,cut -c1,touch,mkdir,cp a.txt,python3,npm run,docker ps,git branch,git add,chmod +x,curl,bash -c,"
    "find . -name,id,pgrep"
).split(",")
WORDS = (
    "a a.txt sub -x --flag --k=v 'c;d' *.txt $HOME ~/x /etc/passwd ../other {a,b} $X \"$(id)\" `id` a=b - --"
).split()
JOINTS = (" && ", " || ", "; ", " | ", "\n")
REDIRECTS = ("", "", "", " > out", " 2>&1", " >/dev/null", " < a.txt", " >> sub/x", " < /etc/passwd", " > .git/x")
RULES = {
    "default": {"allow": ["Bash(pfs *)", "Bash(npm run:*)", "Bash(git add *)"]},
    "acceptEdits": {"allow": ["Bash(pfs *)"], "ask": ["Bash(curl *)"]},
    "bypassPermissions": {"deny": ["Bash(pfs *)", "Read(a.txt)", "Edit(sub/**)"], "ask": ["Bash(npm *)"]},
}


def generated(mode: str, count: int) -> list[str]:
    """Commands that are the same for the same seed."""
    source = random.Random(f"{mode}{os.environ.get('RINGFENCE_SEED', '1')}")

    def simple() -> str:
        words = source.sample(WORDS, source.randint(0, 2))
        return " ".join([source.choice(HEADS), *words]) + source.choice(REDIRECTS)

    return [source.choice(JOINTS).join(simple() for _ in range(source.choice((1, 1, 1, 2)))) for _ in range(count)]


@pytest.mark.timeout(600)
@pytest.mark.require("claude", "node", "bubblewrap")
@pytest.mark.parametrize("mode", RULES)
def test_the_engine_is_never_looser_than_the_client(open_path: Path, mode: str) -> None:
    commands = generated(mode, 60)
    rules = {"permissions": RULES[mode]}
    root = open_path / "measured"
    client = client_oracle.measure(root, rules, SETUP, commands, mode)
    cwd, home = str(root / "w/proj"), str(root / "w/home")
    read = claude_settings.read_settings(json.dumps(rules), scope="user", file=f"{home}/.claude/s.json", cwd=cwd)
    settings = scopes.merge([read], scopes.Request(cwd=cwd, home=home, mode=mode_of(mode)), DiskFacts())
    found = [decide(settings, call("Bash", command), DiskFacts()).verdict.name.lower() for command in commands]
    pairs = list(zip(commands, client, found, strict=True))
    assert [pair for pair in pairs if ORDER[pair[2]] < ORDER[pair[1]]] == []
    assert sum(theirs == ours for _, theirs, ours in pairs) >= 0.85 * len(pairs), [p for p in pairs if p[1] != p[2]]
