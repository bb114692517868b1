"""The real Claude Code inside the boundary with a person in front of it: its own screen, its own questions."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.e2e.commands import ENTRY
from tests.e2e.terminal import Terminal
from tests.house.sources import ROOT
from tests.integration.lab.models import SCENARIO
from tests.lab import Lab
from tests.paths import wait_until

pytestmark = [
    pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab", "setsid", "claude"),
    pytest.mark.timeout(400),
]
KEY = "lab-key-lab-key-lab-key"
DOWN, ENTER, ESCAPE = b"\x1b[B", b"\r", b"\x1b"
CHOSEN = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT} [0-9]*[.]? *"


def choose(person: Terminal, answer: str) -> None:
    """Move to another answer; the dialog begins anew while it learns about the terminal, and forgets."""
    for _ in range(20):
        until_quiet(person)  # a key more, for one that is answered late, would move on
        try:
            person.shows(CHOSEN + answer, within_s=0)
        except AssertionError:
            person.send(DOWN)
        else:
            return
    person.shows(CHOSEN + answer)


def until_quiet(person: Terminal) -> None:
    """Wait until the screen has not changed for a while."""
    for _ in range(20):
        try:
            person.expect(r"(?s:.+)", within_s=1)
        except AssertionError:
            return


def prepared(lab: Lab, home: Path, turns: list[object]) -> dict[str, str]:
    """Write down what the model says; give an environment with Claude Code in it."""
    (lab.place / SCENARIO).write_text(json.dumps({"turns": turns}))
    claude = shutil.which("claude")
    assert claude is not None
    environment = {name: value for name, value in lab.environment().items() if not name.startswith("XDG_")}
    environment |= {"HOME": str(home), "PATH": f"{os.path.dirname(claude)}:/usr/bin:/bin", "TERM": "xterm-256color"}
    return environment | {"ANTHROPIC_API_KEY": KEY, "PYTHONPATH": str(ROOT / "src"), "LANG": "C.UTF-8"}


def test_the_operator_is_asked_on_the_terminal_outside(lab: Lab, open_path: Path) -> None:
    home, workspace = open_path / "home", open_path / "ws"
    for place in (home / ".claude", workspace):
        place.mkdir(parents=True)
    (home / ".claude/settings.json").write_text('{"permissions": {"ask": ["Bash(touch:*)"]}}')
    names = ("once", "refused", "session", "session")
    turns = [[{"tool": "Bash", "input": {"command": f"touch {name}", "description": "x"}}] for name in names]
    environment = prepared(lab, home, [*turns])
    argv = lab.words([sys.executable, "-P", "-c", ENTRY, "claude", "-p", "x"], cwd=workspace)
    with Terminal(argv, directory=workspace, environment=environment, account={}) as person:
        for name, answer in (("once", "y"), ("refused", "use another name"), ("session", "s")):
            person.expect("the agent asks for Bash")
            person.expect(f"touch {name}")
            person.expect("because: .*asked about by a rule")
            person.expect("type a reason: ")
            person.send(answer + "\n")
        person.expect("DONE")
        assert person.wait() == 0
    assert sorted(path.name for path in workspace.iterdir()) == ["once", "session"]


def test_the_operator_is_asked_by_claude_s_permission_prompt(lab: Lab, open_path: Path) -> None:
    home, workspace = open_path / "home", open_path / "ws"
    for place in (home, workspace):
        place.mkdir(parents=True)
    turns = [[{"tool": "Bash", "input": {"command": f"touch {name}", "description": "x"}}] for name in ("one", "two")]
    server = {"command": sys.executable, "args": ["-P", "-c", ENTRY, "hook", "permission-prompt"]}
    servers = json.dumps({"mcpServers": {"ringfence": server}})
    prompt = ["--permission-prompt-tool", "mcp__ringfence__approve", "--mcp-config", servers]
    argv = lab.words(["claude", "-p", "x", *prompt], cwd=workspace)
    with Terminal(argv, directory=workspace, environment=prepared(lab, home, [*turns]), account={}) as person:
        for name, answer in (("one", "y"), ("two", "n")):
            person.expect(f"touch {name}")
            person.expect("type a reason: ")
            person.send(answer + "\n")
        person.expect("DONE")
        assert person.wait() == 0
    assert [path.name for path in workspace.iterdir()] == ["one"]


def test_a_person_sits_in_front_of_claude(lab: Lab, open_path: Path) -> None:
    home, workspace = open_path / "home", open_path / "ws"
    for place in (home, workspace):
        place.mkdir()
    known = {"hasCompletedOnboarding": True, "theme": "dark"}
    known |= {"customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []}}
    (home / ".claude.json").write_text(json.dumps(known | {"mcpServers": {"x": {"command": "touch"}}}))
    steered = {"file_path": str(workspace / ".claude/settings.json"), "content": "{}"}
    turns = [
        [{"tool": "Bash", "input": {"command": "echo made > made.txt", "description": "make it"}}],
        [{"tool": "Write", "input": steered}],
    ]
    environment = prepared(lab, home, [*turns])
    argv = lab.words([sys.executable, "-P", "-c", ENTRY, "claude"], cwd=workspace)
    with Terminal(argv, directory=workspace, environment=environment, account={}) as person:
        person.shows("Yes, I trust this folder(?s:.*)Enter to confirm")
        choose(person, "Yes, I trust this folder")
        person.send(ENTER)
        person.shows("[?] for shortcuts")
        person.send("do it")
        person.press(ENTER, "esc to interrupt|Create file")  # and no key more, which would be its answer
        person.shows("Do you want to create")
        made = workspace / "made.txt"  # applied as it was written, before the end
        assert wait_until(lambda: made.exists() and made.read_text() == "made\n")
        person.press(ESCAPE, "Rejected|rejected|declined", every_s=10.0)
        person.send("/exit")
        person.insist(ENTER, "Resume")
        assert person.wait() == 0
    assert not (workspace / ".claude").exists()
    copied = next((home / ".local/state/ringfence/agents/claude").glob("*/0/.claude.json"))
    assert "mcpServers" not in json.loads(copied.read_text())
    assert {path.name for path in home.iterdir()} <= {".cache", ".claude.json", ".local"}
