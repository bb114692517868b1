"""The settings that an agent finds where its administrator would put them. Pure.

They are mounted read-only, name our hook and no other, and cannot be overruled from inside: measured with the real
programs, tests/e2e/test_agents.py. What they allow beyond that is nothing: rules are decided by the hook.
"""

import json
import shlex

from ringfence.model.paths import GuestPath

CLAUDE_SETTINGS = GuestPath("/etc/claude-code/managed-settings.json")
CODEX_REQUIREMENTS = GuestPath("/etc/codex/requirements.toml")
CODEX_DEFAULTS = GuestPath("/etc/codex/managed_config.toml")
HOOK = "/run/ringfence/inside/hook.py"
HOOK_TIMEOUT_S = 600
"""Longer than inside/hook.py waits: an agent that gives up on its hook lets the call pass."""

CLAUDE_EVENTS = ("PreToolUse", "PermissionRequest", "PostToolUse", "SessionStart", "UserPromptSubmit")
CODEX_EVENTS = CLAUDE_EVENTS


def hook_command(python: str, client: str) -> str:
    """The command line of our hook inside; agents take only the status 2 for a refusal, whatever ended the hook."""
    return shlex.join((python, "-I", "-S", HOOK, client)) + " || exit 2"


def claude_hooks(command: str) -> dict[str, object]:
    """Our hook for every event, in the form that Claude Code's settings have."""
    one = {"type": "command", "command": command, "timeout": HOOK_TIMEOUT_S}
    return {
        event: [{"matcher": "*", "hooks": [one]} if event.endswith(("ToolUse", "Request")) else {"hooks": [one]}]
        for event in CLAUDE_EVENTS
    }


def claude_settings(command: str, *, bypass: bool) -> str:
    """Managed settings for Claude Code; `bypass` where the operator has asked for the mode that asks nothing.

    Its own sandbox is off: one that cannot start inside would only stop its commands.
    """
    settings: dict[str, object] = {
        "hooks": claude_hooks(command),
        "disableAllHooks": False,
        "allowManagedHooksOnly": True,
        "allowManagedPermissionRulesOnly": True,
        "sandbox": {"enabled": False},
        "skipWebFetchPreflight": True,
    }
    if not bypass:
        settings["permissions"] = {"disableBypassPermissionsMode": "disable", "disableAutoMode": "disable"}
    return json.dumps(settings, indent=2) + "\n"


def codex_requirements(command: str) -> str:
    """Requirements for Codex: our hook, and no other."""
    lines = ["allow_managed_hooks_only = true", "", "[features]", "hooks = true", ""]
    lines += ["[hooks]", f"managed_dir = {json.dumps(HOOK.rpartition('/')[0])}"]
    for event in CODEX_EVENTS:
        lines += ["", f"[[hooks.{event}]]", f"[[hooks.{event}.hooks]]", 'type = "command"']
        lines += [f"command = {json.dumps(command)}", f"timeout = {HOOK_TIMEOUT_S}"]
    return "\n".join(lines) + "\n"


def codex_defaults() -> str:
    """Settings for Codex: its own sandbox, which cannot start inside ours, is off, and it asks nobody."""
    return 'sandbox_mode = "danger-full-access"\napproval_policy = "never"\n'


def files(client: str, python: str, *, bypass: bool) -> list[tuple[GuestPath, str]]:
    """What is mounted for a client: place and text."""
    command = hook_command(python, client)
    if client == "claude-code":
        return [(CLAUDE_SETTINGS, claude_settings(command, bypass=bypass))]
    return [(CODEX_REQUIREMENTS, codex_requirements(command)), (CODEX_DEFAULTS, codex_defaults())]
