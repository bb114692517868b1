"""How closely somebody watches an agent: modes that hold whatever it says, and what asking nothing takes."""

import os
from pathlib import Path

import pytest

from ringfence.integrations import agent_catalogue, agents, hook_rules
from ringfence.model.errors import UsageError
from ringfence.policy.permissions.settings import Mode
from ringfence.session import options as options_module
from ringfence.session import places


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "ws"
    found.mkdir()
    monkeypatch.chdir(found)
    return found


def options(*words: str) -> options_module.Options:
    return options_module.parse(list(words))[0]


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        (("--preset", "triage"), Mode.PLAN),
        (("--preset", "daily"), None),
        (("--preset", "pipeline"), None),
        ((), None),
    ],
)
def test_a_mode_that_changes_nothing_holds(workspace: Path, words: tuple[str, ...], mode: Mode | None) -> None:
    assert hook_rules.rules_for("codex", options(*words), str(workspace)).held is mode


def test_a_mode_of_the_user_s_own_policy_holds_too(workspace: Path) -> None:
    path = Path(places.user_policy())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('version = 1\npermissions.mode = "dontAsk"\n')
    assert hook_rules.rules_for("codex", options(), str(workspace)).held is Mode.DONT_ASK
    assert hook_rules.rules_for("codex", options("--preset", "daily"), str(workspace)).held is None


def test_asking_nothing_needs_the_floor_of_a_run_that_nobody_watches(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "claude").write_text("#!/bin/sh\n")
    (folder / "claude").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for words, key in ((("--workspace", "direct"), "workspace.mode"), (("--trust", "off"), "trust.mode")):
        with pytest.raises(UsageError, match=f"an agent that asks nothing refuses to start: `{key}` is"):
            agents.run(
                agent_catalogue.find("claude"),
                options(*words),
                ["-p", "x", "--dangerously-skip-permissions"],
                state="fresh",
                offer=lambda standing: False,
            )


def test_the_words_by_which_asking_nothing_is_chosen() -> None:
    claude, gemini = agent_catalogue.find("claude"), agent_catalogue.find("gemini")
    assert agents.bypasses(claude, ["--dangerously-skip-permissions"])
    assert agents.bypasses(claude, ["--permission-mode", "bypassPermissions"])
    assert agents.bypasses(claude, ["--permission-mode=bypassPermissions"])
    assert agents.bypasses(gemini, ["--approval-mode=yolo"])
    assert not agents.bypasses(claude, ["-p", "bypass"])
    assert not agents.bypasses(gemini, ["--dangerously-skip-permissions"])
