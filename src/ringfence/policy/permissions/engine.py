"""Decides about one call of a tool."""

import re

import msgspec

from ringfence.model.decision import Decision, Verdict

from . import hosts
from .files import decide_file
from .findings import Finding, Weight, allowed, asked, by_rule
from .modes import settle
from .paths import PathFacts, Unresolved
from .rules import Rule
from .settings import RENAMED, Mode, Settings
from .shell import decide_shell

_READING = frozenset(("Read", "Glob", "Grep", "LS", "NotebookRead"))
_WRITING = frozenset(("Write", "Edit", "MultiEdit", "NotebookEdit"))
_HARMLESS = {
    "TodoWrite": "it keeps a list",
    "TaskCreate": "it keeps a list",
    "TaskUpdate": "it keeps a list",
    "TaskList": "it keeps a list",
    "TaskGet": "it keeps a list",
    "ToolSearch": "it looks up tools",
}
_PATH_FIELDS = ("file_path", "notebook_path", "path")
_ABOUT = {"Agent": "subagent_type", "Skill": "skill"}


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent asks for: a tool by its name, and its input as the agent wrote it."""

    tool: str
    input: dict[str, object] = {}

    def text(self, *fields: str) -> str:
        """Return the first of `fields` that holds a text, empty if none does."""
        for field in fields:
            value = self.input.get(field)
            if isinstance(value, str):
                return value
        return ""


def decide(settings: Settings, call: ToolCall, facts: PathFacts | None = None) -> Decision:
    """Decide about `call`: deny, then ask, then allow; then what the mode makes of a question."""
    return settle(examine(settings, call, facts or Unresolved()), settings.mode)


def examine(settings: Settings, call: ToolCall, facts: PathFacts) -> Finding:
    """Find what speaks for and against `call`, whatever the mode."""
    tool = RENAMED.get(call.tool, call.tool)
    denied = settings.on_whole_tool(Verdict.DENY, tool) or _by_input(settings, Verdict.DENY, tool, call)
    if denied is not None:
        return by_rule(denied, f"`{tool}`")
    finding = _by_tool(settings, tool, call, facts)
    if finding.verdict is Verdict.DENY:
        return finding
    # A question about the whole tool comes after every denial, the narrow ones too.
    questioned = settings.on_whole_tool(Verdict.ASK, tool) or _by_input(settings, Verdict.ASK, tool, call)
    return by_rule(questioned, f"`{tool}`") if questioned is not None else finding


def _by_tool(settings: Settings, tool: str, call: ToolCall, facts: PathFacts) -> Finding:
    """Find what speaks for and against what the call does with its tool."""
    if tool == "Bash":
        return _shell(settings, call, facts)
    if tool in _READING or tool in _WRITING:
        return _file(settings, call, facts)
    if tool == "WebFetch":
        return _fetch(settings, call)
    return _other(settings, tool, call)


def _by_input(settings: Settings, verdict: Verdict, tool: str, call: ToolCall) -> Rule | None:
    """Return the rule with `verdict` that is about a field of the input, or about what the call names."""
    named = call.text(_ABOUT[tool]) if tool in _ABOUT else None
    for rule in settings.about(verdict, tool):
        if rule.parameter is not None:
            value = call.input.get(rule.parameter.name)
            # A record of nothing but the command does not tell what the field was: what is unknown is not let through.
            if value is None and set(call.input) == {"command"}:
                return rule
            if value is not None and rule.parameter.value.fullmatch(_written(value)):
                return rule
        elif rule.what == named:
            return rule
    return None


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shell(settings: Settings, call: ToolCall, facts: PathFacts) -> Finding:
    command = call.input.get("command")
    if not isinstance(command, str):
        return asked("no command is given", Weight.FIRM)
    if call.input.get("dangerouslyDisableSandbox"):
        settings = msgspec.structs.replace(settings, contained=False)
    return decide_shell(command, settings, facts)


def _file(settings: Settings, call: ToolCall, facts: PathFacts) -> Finding:
    writes = call.tool in _WRITING
    unread = settings.on_whole_tool(Verdict.DENY, "Read")
    if writes and unread is not None:
        return by_rule(unread, "a file that may not be read")
    path = call.text(*_PATH_FIELDS) or ("" if writes or call.tool == "Read" else settings.places.cwd)
    return decide_file(call.tool, path, writes=writes, settings=settings, facts=facts)


def _fetch(settings: Settings, call: ToolCall) -> Finding:
    url = call.text("url")
    host = hosts.host_of(url)
    for verdict in (Verdict.DENY, Verdict.ASK, Verdict.ALLOW):
        for rule in settings.about(verdict, "WebFetch"):
            if _is_about(rule, host, url):
                return by_rule(rule, f"`{host or url[:80]}`")
    if hosts.is_documentation(url):
        return allowed("it is public documentation")
    return asked(f"no rule speaks of the host `{host}`" if host else "the URL names no host that a rule could be about")


def _is_about(rule: Rule, host: str, url: str) -> bool:
    if not rule.what:
        return True
    if host:
        return hosts.host_pattern(rule.what).fullmatch(host) is not None
    # What cannot be told apart for certain is denied where any part of it looks like what is denied.
    name = re.escape(rule.what.partition(":")[2].strip().lower().lstrip("*."))
    return rule.verdict is not Verdict.ALLOW and re.search(name, url.lower()) is not None


def _other(settings: Settings, tool: str, call: ToolCall) -> Finding:
    rule = settings.on_whole_tool(Verdict.ALLOW, tool) or _by_input(settings, Verdict.ALLOW, tool, call)
    if rule is not None:
        return by_rule(rule, f"`{tool}`")
    if tool in _HARMLESS:
        return allowed(_HARMLESS[tool])
    if tool in _ABOUT and settings.mode is not Mode.AUTO:
        return allowed("what it starts asks for itself")
    return asked(f"no rule speaks of `{tool}`")
