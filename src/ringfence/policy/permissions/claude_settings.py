"""Reads Claude Code settings files as they are, as far as they are about permissions.

The files hold much else; keys that are not about permissions are left alone. What is about permissions and is not
understood refuses the file.
"""

import json

import msgspec

from ringfence.model.decision import Source, Verdict
from ringfence.model.errors import UsageError
from ringfence.policy.parse import shown

from .modes import mode_of
from .rules import Rule, parse_rule
from .scopes import Scope, anchor_of, known_scope
from .settings import Mode

MAX_TEXT = 1024 * 1024


class _Permissions(msgspec.Struct, rename="camel"):
    allow: list[str] = []
    ask: list[str] = []
    deny: list[str] = []
    additional_directories: list[str] = []
    default_mode: str | None = None
    disable_bypass_permissions_mode: str | None = None
    disable_auto_mode: str | None = None


class _Sandbox(msgspec.Struct, rename="camel"):
    enabled: bool | None = None
    auto_allow_bash_if_sandboxed: bool | None = None
    excluded_commands: list[str] = []


class _Document(msgspec.Struct, rename="camel"):
    permissions: _Permissions = msgspec.field(default_factory=_Permissions)
    sandbox: _Sandbox = msgspec.field(default_factory=_Sandbox)
    allow_managed_permission_rules_only: bool = False
    disable_auto_mode: str | None = None


def read_settings(text: str, *, scope: str, file: str, cwd: str) -> Scope:
    """Read the settings `text` found in `file`; raise `UsageError` with the place of what cannot be understood."""
    known_scope(scope)
    where = Source(scope=scope, file=file)
    if len(text) > MAX_TEXT:
        raise UsageError(f"settings are longer than {MAX_TEXT} characters", place=str(where))
    try:
        document = msgspec.json.decode(text.encode("utf-8", "surrogatepass"), type=_Document)
    except msgspec.ValidationError as error:
        raise UsageError(f"settings are not understood: {_lower(str(error))}", place=str(where)) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise UsageError(f"settings are not valid JSON: {_lower(str(error))}", place=str(where)) from None
    return _scope(document, text, where, cwd)


def _scope(document: _Document, text: str, where: Source, cwd: str) -> Scope:
    permissions, sandbox = document.permissions, document.sandbox
    anchor = anchor_of(where.scope, where.file, cwd)
    listed = ((Verdict.DENY, permissions.deny), (Verdict.ASK, permissions.ask), (Verdict.ALLOW, permissions.allow))
    rules = tuple(
        parse_rule(rule, verdict=verdict, source=_place(rule, text, where), anchor=anchor)
        for verdict, written in listed
        for rule in written
    )
    return Scope(
        name=where.scope,
        source=where,
        rules=rules,
        directories=tuple(permissions.additional_directories),
        mode=_mode(permissions.default_mode, where),
        forbidden_modes=_forbidden(document),
        managed_rules_only=document.allow_managed_permission_rules_only,
        sandboxed=sandbox.enabled,
        allows_sandboxed=sandbox.auto_allow_bash_if_sandboxed,
        unsandboxed=tuple(sandbox.excluded_commands),
    )


def _mode(name: str | None, where: Source) -> Mode | None:
    if name is None:
        return None
    mode = mode_of(name)
    if mode is None:
        hint = "one of " + ", ".join(mode.value for mode in Mode)
        raise UsageError(f"`permissions.defaultMode` is {shown(name)}", place=str(where), hint=hint)
    return mode


def _forbidden(document: _Document) -> frozenset[Mode]:
    """The modes that these settings switch off; any value but nothing does, since it was meant to."""
    permissions = document.permissions
    pairs = (
        (Mode.BYPASS, permissions.disable_bypass_permissions_mode),
        (Mode.AUTO, permissions.disable_auto_mode or document.disable_auto_mode),
    )
    return frozenset(mode for mode, value in pairs if value)


def _place(rule: str, text: str, where: Source) -> Source:
    """Find the line that a rule stands in, as it is usually written."""
    for written in (json.dumps(rule), json.dumps(rule, ensure_ascii=False)):
        before, found, _ = text.partition(written)
        if found:
            return Source(scope=where.scope, file=where.file, line=before.count("\n") + 1)
    return where


def allowed_tools(listed: str) -> list[str]:
    """Split the value of `--allowed-tools` at commas and spaces outside parentheses."""
    found, depth, current = [], 0, ""
    for character in listed:
        depth += (character == "(") - (character == ")")
        if character in ", " and depth == 0:
            found.append(current)
            current = ""
        else:
            current += character
    return [rule for rule in (*found, current) if rule]


def command_line(listed: list[str], *, cwd: str) -> list[Rule]:
    """Read the allowances given on the command line."""
    where = Source(scope="cli")
    written = [rule for value in listed for rule in allowed_tools(value)]
    return [parse_rule(rule, verdict=Verdict.ALLOW, source=where, anchor=cwd) for rule in written]


def lowest_rules(rules: list[Rule]) -> Scope:
    """Return the scope of the command line's own rules."""
    return Scope(name="cli", source=Source(scope="cli"), rules=tuple(rules))


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
