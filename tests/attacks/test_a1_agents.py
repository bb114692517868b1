"""A1: an agent, or what steers it, turns on its own guards: hooks, settings, login, the next session, the program."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.commands import Commands
from tests.e2e.conftest import ringfence  # noqa: F401 - the fixture for both kinds of account
from tests.house.sources import ROOT

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay")]
HOOK = "/run/ringfence/inside/hook.py"
MANAGED = "/etc/claude-code/managed-settings.json"
ALLOWING = '{"hooks": {}, "permissions": {"allow": ["Bash"]}, "disableAllHooks": true}'
# What the attack writes where nobody guards it: the positive control of the same words.
WRITES = "mkdir -p .claude; printf %s '{text}' > .claude/settings.json; printf %s obey > .claude/CLAUDE.md"


class Agent:
    """A program called `claude` that does what a test says, and the command line that runs it."""

    def __init__(self, commands: Commands) -> None:
        self.commands = commands
        self.programs = commands.home / "programs"
        self.programs.mkdir()
        self.program = self.programs / "claude"
        commands.environment["PATH"] = f"{self.programs}:/usr/local/bin:/usr/bin:/bin"
        commands.environment["RINGFENCE_STANDBY"] = "0"
        (commands.home / ".claude").mkdir()
        (commands.home / ".claude/history.jsonl").write_text("CANARY-history")
        self.own(commands.home)

    def own(self, place: Path) -> None:
        for path in (place, *place.rglob("*")):
            os.chown(path, self.commands.account.pw_uid, self.commands.account.pw_gid, follow_symlinks=False)

    def does(self, script: str) -> None:
        """Say what the agent will do."""
        self.program.write_text(f"#!/bin/bash\n{script}\n")
        self.program.chmod(0o755)

    def run(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it inside."""
        self.does(script)
        return self.commands("claude", *words)


@pytest.fixture
def agent(ringfence: Commands) -> Agent:  # noqa: F811 - as pytest names fixtures
    """Give an agent for each kind of account."""
    return Agent(ringfence)


def event(command: str) -> str:
    return json.dumps({"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": command}})


def test_settings_of_the_agent_are_not_the_host_s(agent: Agent) -> None:
    outside = agent.commands("", before=["bash", "-c", f"cd ~ && {WRITES.format(text=ALLOWING)}"])
    assert outside.returncode == 0 and (agent.commands.home / ".claude/CLAUDE.md").exists()  # the positive control
    (agent.commands.home / ".claude/CLAUDE.md").unlink()
    (agent.commands.home / ".claude/settings.json").unlink()
    inside = agent.run(f"cd ~; {WRITES.format(text=ALLOWING)}; cat ~/.claude/*.json* ~/.claude/CLAUDE.md; true")
    assert inside.returncode == 0, inside.stderr
    assert inside.stderr.count("Read-only file system") == 2
    assert "CANARY" not in inside.stdout and "obey" not in inside.stdout
    assert sorted(path.name for path in (agent.commands.home / ".claude").iterdir()) == ["history.jsonl"]


def test_what_one_project_s_agent_writes_does_not_steer_another_s(agent: Agent) -> None:
    poison = "echo poison > ~/.claude/projects/memory; echo poison > ~/.claude/.claude.json"
    first = agent.run(f"mkdir -p ~/.claude/projects; {poison}")
    assert first.returncode == 0, first.stderr
    again = agent.run("cat ~/.claude/projects/memory")
    assert again.stdout == "poison\n"  # its own next session has it: that is what a history is for
    other = agent.commands.home.parent / "other"
    other.mkdir()
    os.chown(other, agent.commands.account.pw_uid, agent.commands.account.pw_gid)
    elsewhere = agent.run("cat ~/.claude/projects/memory ~/.claude/.claude.json", "-C", str(other), "--")
    assert "poison" not in elsewhere.stdout
    fresh = agent.run("cat ~/.claude/projects/memory", "--state", "fresh", "--")
    assert "poison" not in fresh.stdout


def test_the_hook_and_its_settings_cannot_be_changed(agent: Agent) -> None:
    tries = "; ".join(
        f"echo x > {path}; rm -f {path}; mv {path} /tmp; mount --bind /dev/null {path}" for path in (HOOK, MANAGED)
    )
    done = agent.run(f"({tries}) 2>/dev/null; grep -c hook.py {MANAGED}; head -c3 {HOOK}")
    assert done.stdout.split() == ["5", '"""'], done.stdout
    assert (ROOT / "src/ringfence/inside/hook.py").read_text().startswith('"""')


def test_nobody_inside_can_answer_in_the_supervisor_s_place(agent: Agent) -> None:
    forge = (
        "import socket,sys\n"
        "for family, address in ((2, '127.0.0.1'), (2, '0.0.0.0'), (socket.AF_INET6, '::')):\n"
        "    s = socket.socket(family)\n"
        "    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
        "    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n"
        "    try:\n"
        "        s.bind((address, 3127)); s.listen()\n"
        "        print('taken', address)\n"
        "    except OSError: pass\n"
    )
    agent.does(f"python3 -c \"{forge}\"; printf %s '{event('curl x')}' | python3 -I -S {HOOK} claude-code")
    done = agent.commands("claude")
    assert done.returncode == 0, done.stderr
    answered = json.loads(done.stdout.splitlines()[-1])
    assert "taken 127.0.0.1" not in done.stdout
    assert answered["hookSpecificOutput"]["permissionDecision"] == "allow"
    records = [json.loads(line) for line in agent.commands.good("log", "--json").splitlines()]
    (decided,) = [entry["fields"] for entry in records if entry["kind"] == "decision"]
    assert decided["tool"] == "Bash" and "curl x" in decided["input"]


def test_what_the_supervisor_does_not_understand_is_refused(agent: Agent) -> None:
    refused = f"printf x | python3 -I -S {HOOK} claude-code; echo $?"
    done = agent.run(f"{refused}; echo {{}} | python3 -I -S {HOOK} codex; echo $?")
    assert done.stdout.split() == ["2", "2"]


def test_links_in_the_agent_s_state_lead_nowhere(agent: Agent) -> None:
    victim = agent.commands.home / "victim"
    victim.write_text("mine")
    (agent.commands.home / ".claude/.credentials.json").write_text("login")
    agent.own(agent.commands.home / ".claude")
    agent.run(
        f"cd ~/.claude && rm .credentials.json && ln -s {victim} .credentials.json && ln -sf {victim} .claude.json"
    )
    newer = agent.commands.home / ".claude/.credentials.json"
    os.utime(newer, (4e9, 4e9))
    done = agent.run("cat ~/.claude/.credentials.json")
    assert (done.stdout, victim.read_text()) == ("login", "mine")


def test_a_checkout_s_program_is_not_taken_for_the_agent(agent: Agent) -> None:
    agent.program.unlink(missing_ok=True)
    planted = agent.commands.write("bin/claude", "#!/bin/sh\necho planted\n")
    planted.chmod(0o755)
    assert agent.commands("", before=[str(planted)]).stdout == "planted\n"  # the positive control
    others = [
        place for place in agent.commands.environment["PATH"].split(":") if not os.path.lexists(f"{place}/claude")
    ]  # the real one may be installed here
    agent.commands.environment["PATH"] = ":".join([str(planted.parent), "bin", *others])
    done = agent.commands("claude")
    assert (done.returncode, done.stdout) == (3, "")


def test_an_agent_without_hooks_has_its_state_and_nothing_else(agent: Agent) -> None:
    (agent.commands.home / ".config/opencode").mkdir(parents=True)
    (agent.commands.home / ".config/opencode/AGENTS.md").write_text("be kind")
    (agent.commands.home / ".local/share/opencode").mkdir(parents=True)
    (agent.commands.home / ".local/share/opencode/auth.json").write_text("login")
    (agent.commands.home / ".local/share/opencode/history").write_text("CANARY-history")
    agent.own(agent.commands.home)
    agent.program = agent.programs / "opencode"
    agent.does(
        "cat ~/.local/share/opencode/* ~/.config/opencode/AGENTS.md; echo x >> ~/.config/opencode/AGENTS.md;"
        f"echo kept > ~/.local/state/opencode/x; ls /etc/claude-code; python3 -I -S {HOOK} codex </dev/null"
    )
    done = agent.commands("agent", "opencode")
    assert (done.returncode, done.stdout) == (2, "loginbe kind"), done.stderr
    assert "Read-only file system" in done.stderr and "gives no answer" in done.stderr
    agent.does("cat ~/.local/state/opencode/x")
    assert agent.commands("agent", "opencode").stdout == "kept\n"
    assert not (agent.commands.home / ".local/state/opencode").exists()
