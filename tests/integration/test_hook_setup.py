"""`ringfence setup claude-code`: what is put into the settings, and that all of it is taken out again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ringfence.integrations import hook_setup
from ringfence.model.errors import HostError, UsageError
from tests.house.sources import ROOT
from tests.integration.test_agent_hooks import ENTRY, EVENT, decision


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


def test_a_second_installation_over_a_changed_file_is_taken_out_as_well(settings: Settings) -> None:
    settings.path.write_text(ODD)
    settings.install()
    settings.path.write_text(json.dumps(json.loads(settings.path.read_text()) | {"model": "sonnet"}))
    settings.install(contain=True)
    settings.undo()
    assert json.loads(settings.path.read_text()) == json.loads(ODD) | {"model": "sonnet"}


def test_hooks_that_somebody_has_put_beside_ours_stay(settings: Settings) -> None:
    settings.install()
    now = json.loads(settings.path.read_text())
    mine = {"type": "command", "command": "echo ringfence hook claude-code"}
    now["hooks"]["PreToolUse"][0]["hooks"].append(mine)
    settings.path.write_text(json.dumps(now))
    settings.undo()
    assert json.loads(settings.path.read_text()) == {"hooks": {"PreToolUse": [{"matcher": "*", "hooks": [mine]}]}}


@pytest.mark.parametrize("before", [None, {"allowManagedHooksOnly": False}, {"disableAllHooks": False, "a": 1}])
def test_managed_settings_that_somebody_has_changed_keep_nothing_of_ours(
    settings: Settings, before: dict[str, object] | None
) -> None:
    path = str(settings.path)
    if before is not None:
        settings.path.write_text(json.dumps(before))
    hook_setup.carry_out(hook_setup.installing(path, managed=True, contain=False), undo=False)
    now = json.loads(settings.path.read_text())
    assert now["allowManagedHooksOnly"] is True and now["disableAllHooks"] is False
    settings.path.write_text(json.dumps(now | {"model": "opus"}))
    settings.undo()
    assert json.loads(settings.path.read_text()) == (before or {}) | {"model": "opus"}


def test_a_directory_that_was_made_is_removed_again(settings: Settings) -> None:
    settings.path.parent.rmdir()
    settings.install()
    settings.undo()
    assert not settings.path.parent.exists()


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', '{"a": 1e999}'])
def test_settings_that_cannot_be_written_again_are_left_alone(settings: Settings, text: str) -> None:
    settings.path.write_text(text)
    with pytest.raises(UsageError, match="cannot be written again"):
        settings.install()
    assert settings.path.read_text() == text
    assert [path.name for path in settings.path.parent.iterdir()] == [settings.path.name]


def test_a_damaged_memory_is_said(settings: Settings) -> None:
    settings.install()
    Path(hook_setup.memory(str(settings.path))).write_text("{")
    with pytest.raises(UsageError, match="not known"):
        settings.undo()
