"""`ringfence hook` as an agent calls it, and its installation: whatever goes wrong, the call does not pass."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ringfence.inside import hook as inside_hook
from ringfence.integrations import hook_client, hook_resident, hook_setup
from ringfence.model.errors import HostError, UsageError
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


def hook(*words: str, event: Any = EVENT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Call it as an agent does."""
    return subprocess.run(
        [sys.executable, "-P", "-c", ENTRY, "hook", *words],
        input=event if isinstance(event, str) else json.dumps(event),
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **variables},
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


def test_a_resident_answers_as_the_process_itself_does(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = home / ".local/state/ringfence/hooks"
    place.mkdir(parents=True, mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        path = str(place / hook_client.name())
        monkeypatch.chdir(place)
        listener.bind(os.path.basename(path))
        listener.listen()
        monkeypatch.setattr(hook_resident, "LOOK_S", 0.1)
        serving = threading.Thread(target=hook_resident.serve, args=(listener, path))
        serving.start()
        found = hook_client.ask(("claude-code", "", str(home)), json.dumps(EVENT).encode())
        assert found is not None and found[0] == 0
        assert json.loads(found[1]) == json.loads(hook("claude-code").stdout)
        found = hook_client.ask(("claude-code", "", str(home)), b"garbage")
        assert found is not None and found[0] == 2
        os.unlink(path)
        serving.join(TIMEOUT_S)
    assert hook_client.ask(("claude-code", "", str(home)), b"{}") is None


class Settings:
    """A settings file, and `ringfence` on PATH."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program = home / "bin/ringfence"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\nPYTHONPATH={ROOT / 'src'} exec {sys.executable} -P -c '{ENTRY}' \"$@\"\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        self.path = home / ".claude/settings.json"
        self.path.parent.mkdir()

    def install(self, *, contain: bool = False) -> hook_setup.Change:
        change = hook_setup.installing(str(self.path), managed=False, contain=contain)
        hook_setup.carry_out(change, undo=False)
        return change

    def undo(self) -> None:
        hook_setup.carry_out(hook_setup.undoing(str(self.path)), undo=True)


@pytest.fixture
def settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return Settings(home, monkeypatch)


ODD = '{"model":  "opus",\n\t"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "x"}]}]}, "ü": 1}'


@pytest.mark.parametrize("text", [None, "", "{}", ODD, ODD.replace("\n", "\r\n")])
def test_undoing_gives_back_every_byte(settings: Settings, text: str | None) -> None:
    if text is not None:
        settings.path.write_bytes(text.encode())
    change = settings.install()
    assert "+" in change.difference
    hooks = json.loads(settings.path.read_text())["hooks"]
    assert {"PreToolUse", "PermissionRequest", "PostToolUse", "SessionStart", "UserPromptSubmit"} <= set(hooks)
    assert hook_setup.installing(str(settings.path), managed=False, contain=False).difference == ""
    settings.install(contain=True)
    settings.undo()
    assert settings.path.exists() == (text is not None)
    assert text is None or settings.path.read_bytes() == text.encode()


def test_undoing_leaves_what_somebody_has_changed_since(settings: Settings) -> None:
    settings.path.write_text(ODD)
    settings.install()
    changed = json.loads(settings.path.read_text()) | {"model": "sonnet"}
    settings.path.write_text(json.dumps(changed))
    settings.undo()
    assert json.loads(settings.path.read_text()) == json.loads(ODD) | {"model": "sonnet"}
    with pytest.raises(UsageError, match="no hook of ringfence"):
        settings.undo()


def test_the_installed_command_answers_and_refuses(settings: Settings) -> None:
    settings.install()
    (group,) = json.loads(settings.path.read_text())["hooks"]["PreToolUse"]
    command = group["hooks"][0]["command"]
    done = subprocess.run(["sh", "-c", command], input=json.dumps(EVENT), capture_output=True, text=True)
    assert decision(done) == "ask"
    shutil.rmtree(settings.path.parent.parent / "bin")
    done = subprocess.run(["sh", "-c", command], input=json.dumps(EVENT), capture_output=True, text=True)
    assert done.returncode == 2


@pytest.mark.parametrize("text", ["[]", "{", '{"hooks": []}', '{"hooks": 5}'])
def test_settings_that_are_not_understood_are_left_alone(settings: Settings, text: str) -> None:
    settings.path.write_text(text)
    with pytest.raises(UsageError):
        settings.install()
    assert settings.path.read_text() == text


def test_a_link_leads_to_where_the_settings_are_kept(settings: Settings, home: Path) -> None:
    kept = home / "dotfiles.json"
    kept.write_text("{}")
    settings.path.symlink_to(kept)
    path = hook_setup.settings_file(managed=False)
    hook_setup.carry_out(hook_setup.installing(path, managed=False, contain=False), undo=False)
    assert settings.path.is_symlink() and "PreToolUse" in kept.read_text()


def test_without_the_program_nothing_is_installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(HostError, match="no program"):
        hook_setup.installing(str(home / "settings.json"), managed=True, contain=False)
