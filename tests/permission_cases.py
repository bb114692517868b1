"""Permission settings, and decisions measured on the real client, for every suite that needs them."""

import gzip
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ringfence.policy.permissions import claude_settings, scopes
from ringfence.policy.permissions.engine import ToolCall, decide
from ringfence.policy.permissions.modes import mode_of
from ringfence.policy.permissions.paths import PathFacts, Unresolved
from ringfence.policy.permissions.settings import Settings

DATA = Path(__file__).parent / "data/permissions"
CWD, HOME = "/w/proj", "/w/home"
FIELD = {"Bash": "command", "WebFetch": "url", "Agent": "subagent_type"}


def settings(
    *,
    allow: Sequence[str] = (),
    ask: Sequence[str] = (),
    deny: Sequence[str] = (),
    mode: str = "default",
    facts: PathFacts | None = None,
    **more: Any,
) -> Settings:
    """One user's rules, in the workspace /w/proj of a machine that has no links."""
    text = json.dumps({"permissions": {"allow": [*allow], "ask": [*ask], "deny": [*deny]}, **more})
    user = claude_settings.read_settings(text, scope="user", file=f"{HOME}/.claude/settings.json", cwd=CWD)
    request = scopes.Request(cwd=CWD, home=HOME, mode=mode_of(mode))
    return scopes.merge([user], request, facts or Unresolved())


def call(tool: str, value: str | dict[str, object]) -> ToolCall:
    """A call of `tool`; a text is the value of its main field, beside which a client gives others."""
    if isinstance(value, dict):
        return ToolCall(tool=tool, input=value)
    return ToolCall(tool=tool, input={FIELD.get(tool, "file_path"): value, "description": ""})


def verdict(rules: Settings, tool: str, value: str | dict[str, object], facts: PathFacts | None = None) -> str:
    """What is decided about one call."""
    return decide(rules, call(tool, value), facts).verdict.name.lower()


def lines(name: str) -> Iterator[dict[str, Any]]:
    """The objects of a file of measurements."""
    with gzip.open(DATA / name, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def place(value: Any, root: Path) -> Any:
    """`value` with the measurement's /work moved to `root`."""
    return json.loads(json.dumps(value).replace("/work/", f"{root}/"))


def prepare(root: Path, setup: str) -> tuple[str, str]:
    """Make the workspace and home of a measurement below `root`, as its set-up script does."""
    cwd, home = root / "proj", root / "home"
    for folder in (cwd / ".claude", home / ".claude"):
        folder.mkdir(parents=True)
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
    subprocess.run(["bash", "-c", place(setup, root)], cwd=cwd, env=environment, capture_output=True, timeout=60)
    return str(cwd), str(home)
