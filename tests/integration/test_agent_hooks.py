"""`ringfence hook` as an agent calls it, and its installation: whatever goes wrong, the call does not pass."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ringfence.inside import hook as inside_hook
from ringfence.integrations import hook_client, hook_resident
from tests.house.sources import ROOT

ENTRY = "from ringfence.cli.entry import main; main()"
TIMEOUT_S = 60
EVENT = {
    "session_id": "s",
    "cwd": "/w",
    "permission_mode": "default",
    "hook_event_name": "PreToolUse",
    "tool_name": "Bash",
    "tool_input": {"command": "make", "description": "d"},
    "tool_use_id": "t",
    "something_new": {"a": 1},
}


def hook(
    *words: str, event: Any = EVENT, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Call it as an agent does."""
    return subprocess.run(
        [sys.executable, "-P", "-c", ENTRY, "hook", *words],
        input=event if isinstance(event, str) else json.dumps(event),
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **variables},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def decision(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)["hookSpecificOutput"]
    assert answer["permissionDecisionReason"]
    return str(answer["permissionDecision"])


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout) == (2, ""), done
    assert len(done.stderr.splitlines()) == 1 and "denied" in done.stderr
    return done.stderr


def test_a_call_is_decided_and_recorded(home: Path) -> None:
    assert decision(hook("claude-code")) == "ask"
    assert decision(hook("codex")) == "deny"
    records = (home / ".local/state/ringfence/audit/audit.jsonl").read_text().splitlines()
    verdicts = [json.loads(line)["fields"]["verdict"] for line in records]
    assert verdicts == ["ask", "deny"]


def test_rules_of_policy_and_of_settings_both_hold(home: Path) -> None:
    (home / ".claude").mkdir()
    (home / ".claude/settings.json").write_text('{"permissions": {"deny": ["Bash(git push:*)"]}}')
    (home / ".config/ringfence").mkdir(parents=True)
    (home / ".config/ringfence/policy.toml").write_text('version = 1\n[permissions]\ndeny = ["Bash(make:*)"]\n')
    assert decision(hook("claude-code")) == "deny"
    assert decision(hook("claude-code", event=EVENT | {"tool_input": {"command": "git push"}})) == "deny"
    assert decision(hook("claude-code", event=EVENT | {"tool_input": {"command": "git status"}})) == "allow"


def test_commands_are_run_in_a_boundary_where_that_is_asked_for() -> None:
    done = hook("claude-code", "--contain")
    assert decision(done) == "allow"
    changed = json.loads(done.stdout)["hookSpecificOutput"]["updatedInput"]
    assert changed == {"command": "ringfence run --apply live -- /bin/bash -c make", "description": "d"}


@pytest.mark.parametrize(
    "event", ["", "{", "[]", "null", '{"hook_event_name": "Unheard"}', '{"hook_event_name": "PreToolUse"}', "\x00" * 10]
)
def test_what_is_not_understood_is_refused(event: str) -> None:
    refused(hook("claude-code", event=event))


def test_a_rule_that_cannot_be_read_is_refused_with_its_place(home: Path) -> None:
    (home / ".claude").mkdir()
    (home / ".claude/settings.json").write_text('{"permissions": {"deny": ["Bash(((("]}}')
    assert "settings.json:1" in refused(hook("claude-code"))
    (home / ".claude/settings.json").write_text("not json")
    refused(hook("claude-code"))


def test_wrong_words_are_refused() -> None:
    for words in ((), ("unknown",), ("claude-code", "codex"), ("claude-code", "--what")):
        refused(hook(*words))


def test_an_audit_that_cannot_be_written_is_refused(home: Path) -> None:
    (home / ".local/state").mkdir(parents=True)
    (home / ".local/state/ringfence").write_text("in the way")
    refused(hook("claude-code"))


@pytest.mark.parametrize("ending", ["exit 1", "exit 3", "kill -9 $$", "kill -SEGV $$", "nonexistent-program"])
def test_what_ends_the_program_itself_is_refused(ending: str) -> None:
    done = subprocess.run(["bash", "-c", f"(bash -c '{ending}') || exit 2"], capture_output=True, timeout=TIMEOUT_S)
    assert done.returncode == 2


def test_the_hook_inside_refuses_without_a_supervisor() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", inside_hook.__file__, "claude-code"],
        input=json.dumps(EVENT),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert "gives no answer" in refused(done)


@pytest.mark.parametrize("answer", [b"", b"0 5\n{}", b"0 2\n", b"1 2\n{}", b"x\n", b"0 2 3\n{}", b"0 2\n{}more"])
def test_the_hook_inside_refuses_half_an_answer(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(inside_hook, "ADDRESS", listener.getsockname())

        def respond() -> None:
            peer, _ = listener.accept()
            with peer:
                while peer.recv(65536):
                    pass
                peer.sendall(answer)

        threading.Thread(target=respond, daemon=True).start()
        with pytest.raises(ValueError, match=r".*"):
            inside_hook.ask("claude-code", b"{}")


ASK = """
import sys
from ringfence.integrations import hook_client
found = hook_client.ask(("claude-code", "", sys.argv[1]), b"garbage")
print("not answered" if found is None else "answered")
"""


def test_a_resident_answers_as_the_process_itself_does(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = home / ".local/state/ringfence/hooks"
    place.mkdir(parents=True, mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        path = str(place / hook_client.name())
        monkeypatch.chdir(place)
        shown = hook_resident.show()
        listener.bind(os.path.basename(path))
        listener.listen()
        monkeypatch.setattr(hook_resident, "LOOK_S", 0.1)
        serving = threading.Thread(target=hook_resident.serve, args=(listener, path, shown))
        serving.start()
        found = hook_client.ask(("claude-code", "", str(home)), json.dumps(EVENT).encode())
        assert found is not None and found[0] == 0
        assert json.loads(found[1]) == json.loads(hook("claude-code").stdout)
        found = hook_client.ask(("claude-code", "", str(home)), b"garbage")
        assert found is not None and found[0] == 2
        asked = [sys.executable, "-c", ASK, str(home)]
        walls = ["setpriv", "--no-new-privs"]
        code = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        told = [subprocess.run([*before, *asked], capture_output=True, text=True, env=code) for before in ([], walls)]
        assert [done.stdout for done in told] == ["answered\n", "not answered\n"], told  # who decides by itself
        os.unlink(path)
        serving.join(TIMEOUT_S)
    shown.close()
    assert hook_client.ask(("claude-code", "", str(home)), b"{}") is None


def test_a_client_that_is_not_known_is_refused_in_a_sentence() -> None:
    done = hook("somebody")
    assert done.returncode == 2 and done.stderr.startswith("ringfence: `ringfence hook` takes the name of a client: ")


def test_where_an_agent_has_moved_to_is_not_its_workspace(home: Path) -> None:
    """A hook runs where the agent is; rules and roots are those of where it was started (catalogue, 58)."""
    project, elsewhere = home / "project", home / "elsewhere"
    for folder in (project / "sub/.git", project / ".git", elsewhere):
        folder.mkdir(parents=True)
    (project / "ringfence.toml").write_text('version = 1\n[permissions]\ndeny = ["Bash(make:*)", "Read(./keys/**)"]\n')

    def said(cwd: Path, command: str, started: Path | None = project) -> str:
        call = EVENT | {"cwd": str(cwd), "tool_input": {"command": command, "description": "d"}}
        variables = {"CLAUDE_PROJECT_DIR": str(started)} if started else {}
        return decision(hook("claude-code", event=call, cwd=cwd, **variables))

    assert said(project / "sub", "make", started=None) == "ask"  # what it would be without the variable
    assert said(project, "make") == said(project / "sub", "make") == "deny"
    assert said(project / "sub", "cat ../keys/k") == "deny"
    assert said(elsewhere, "cat notes", started=None) == "allow"
    assert said(elsewhere, "cat notes") == "ask"
    assert said(project / "sub", "cat ../a.txt") == "allow"
