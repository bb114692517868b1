"""The settings that `policy decide` and its kin work under, from their options."""

import os

from ringfence.model.errors import HostError, UsageError
from ringfence.policy.permissions import claude_settings, own_rules, scopes
from ringfence.policy.permissions.modes import mode_of
from ringfence.policy.permissions.settings import Mode, Settings
from ringfence.sandbox import facts
from ringfence.session import deployments, options, places, prepare
from ringfence.session.path_facts import DiskFacts

from . import arguments


def settings_of(
    given: arguments.Arguments, files: list[str] | None = None, *, mode: str = "", made_in: str = ""
) -> Settings:
    """Read every settings file named and put them together; raise UsageError with the place of what is wrong.

    `mode` holds where none is given, `made_in` is where one call was made.
    """
    cwd = os.path.abspath(given.text("cwd") or given.text("directory") or os.getcwd())
    home = os.path.abspath(given.text("home") or facts.home_directory())
    named = given.texts("claude-settings") if files is None else files
    read = [scope_of(file, cwd) for file in named] or own_scopes(cwd, home)
    rules = claude_settings.command_line(given.texts("allowed-tools"), cwd=cwd)
    if rules:
        read.append(claude_settings.lowest_rules(rules))
    request = scopes.Request(
        cwd=made_in if made_in.startswith("/") else cwd,
        workspace=cwd,
        home=home,
        mode=_mode(given.text("mode") or mode),
        trusted=not given.has("untrusted"),
    )
    return scopes.merge(read, request, DiskFacts())


def own_scopes(cwd: str, home: str) -> list[scopes.Scope]:
    """The `[permissions]` of the policy files of ringfence that are in force in `cwd`."""
    workspace = options.workspace_of(cwd)
    files = (
        (places.MANAGED_POLICY, "managed"),
        (places.user_policy(), "user"),
        (places.project_policy(workspace), "project"),
    )
    layers = [layer for path, scope in files for layer in prepare.read_layer(path, scope)]
    return [own_rules.scope_of(layer, home=home, workspace=workspace) for layer in deployments.expanded(layers)]


def scope_of(named: str, cwd: str) -> scopes.Scope:
    """Read one `SCOPE=FILE`."""
    scope, equals, path = named.partition("=")
    if not equals or not path:
        raise UsageError(f"`{named}` is not SCOPE=FILE", hint="such as `user=~/.claude/settings.json`")
    path = os.path.abspath(os.path.expanduser(path))
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(claude_settings.MAX_TEXT + 1)
    except UnicodeDecodeError:
        raise UsageError("settings are not UTF-8", place=path) from None
    except FileNotFoundError:
        raise UsageError(f"there is no `{path}`", hint="name the settings file that is meant") from None
    except OSError as error:
        raise HostError(f"`{path}` cannot be read: {error.strerror}", hint="check its permissions") from None
    return claude_settings.read_settings(text, scope=scope, file=path, cwd=cwd)


def _mode(name: str) -> Mode | None:
    if not name:
        return None
    mode = mode_of(name)
    if mode is None:
        raise UsageError(f"`{name}` is no mode", hint="one of " + ", ".join(mode.value for mode in Mode))
    return mode
