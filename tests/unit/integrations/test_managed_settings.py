"""The settings that agents find inside."""

import json
import tomllib

from ringfence.integrations import managed_settings
from ringfence.integrations.managed_settings import (
    CLAUDE_EVENTS,
    claude_settings,
    codex_requirements,
    files,
    hook_command,
)
from ringfence.model import guest_network


def test_claude_has_our_hook_and_no_other() -> None:
    settings = json.loads(claude_settings("hook", bypass=False))
    assert set(settings["hooks"]) == set(CLAUDE_EVENTS)
    assert settings["allowManagedHooksOnly"] is True and settings["disableAllHooks"] is False
    assert settings["permissions"]["disableBypassPermissionsMode"] == "disable"
    assert all(group["hooks"][0]["command"] == "hook" for (group,) in settings["hooks"].values())


def test_only_the_operator_chooses_the_mode_that_asks_nothing() -> None:
    assert "permissions" not in json.loads(claude_settings("hook", bypass=True))


def test_codex_has_our_hook_and_no_other() -> None:
    found = tomllib.loads(codex_requirements('a "hook"'))
    assert found["allow_managed_hooks_only"] is True and found["features"]["hooks"] is True
    (group,) = found["hooks"]["PreToolUse"]
    assert group["hooks"][0]["command"] == 'a "hook"'


def test_whatever_ends_a_hook_is_a_refusal() -> None:
    command = hook_command("/usr/bin/python3", "codex")
    assert command == "/usr/bin/python3 -I -S /run/ringfence/inside/hook.py codex || exit 2"


def test_each_client_has_its_files() -> None:
    assert [place for place, _ in files("claude-code", "p", bypass=False)] == ["/etc/claude-code/managed-settings.json"]
    places = [place for place, _ in files("codex", "p", bypass=False)]
    assert places == ["/etc/codex/requirements.toml", "/etc/codex/managed_config.toml"]


def test_the_hook_asks_where_the_supervisor_listens() -> None:
    from ringfence.inside import hook

    assert hook.ADDRESS == guest_network.HOOKS
    assert hook.TIMEOUT_S < managed_settings.HOOK_TIMEOUT_S
