"""Everything that is set about permissions, merged, in the form in which calls are decided."""

from enum import Enum
from functools import cached_property

import msgspec

from ringfence.model.decision import Verdict

from .bash_rules import Matcher, matcher
from .paths import Places
from .rules import Rule

RENAMED = {
    "Task": "Agent",
    "KillShell": "TaskStop",
    "KillBash": "TaskStop",
    "ListPeers": "ListAgents",
    "Brief": "SendUserMessage",
    "ListMcpResources": "ListMcpResourcesTool",
    "ReadMcpResource": "ReadMcpResourceTool",
    "ReadMcpResourceDir": "ReadMcpResourceDirTool",
    "ProposeGoal": "SetGoal",
}
"""Tools by the names that they had before: rules and calls under either name mean the same tool."""


class Mode(Enum):
    """How much is done without asking."""

    DEFAULT = "default"
    ACCEPT_EDITS = "acceptEdits"
    PLAN = "plan"
    DONT_ASK = "dontAsk"
    AUTO = "auto"
    BYPASS = "bypassPermissions"


class Settings(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What is in force. `rules` holds every rule of every scope; `contained` that commands run inside a boundary.

    `uncontained` are patterns of commands that run outside it. The boundary is either ringfence's own, or one that the
    settings promise.
    """

    rules: tuple[Rule, ...]
    mode: Mode
    places: Places
    contained: bool
    uncontained: tuple[str, ...]

    @cached_property
    def by_tool(self) -> dict[tuple[Verdict, str], tuple[Rule, ...]]:
        """The rules that may speak of a tool, in the order of their scopes."""
        found: dict[tuple[Verdict, str], list[Rule]] = {}
        for rule in self.rules:
            if not rule.ignored:
                found.setdefault((rule.verdict, RENAMED.get(rule.tool, rule.tool)), []).append(rule)
        return {key: tuple(rules) for key, rules in found.items()}

    @cached_property
    def name_patterns(self) -> tuple[Rule, ...]:
        """The rules that name tools by a pattern, and those about a whole MCP server."""
        return tuple(
            rule
            for rule in self.rules
            if not rule.ignored and ("*" in rule.tool or (rule.tool.startswith("mcp__") and rule.tool.count("__") == 1))
        )

    @cached_property
    def shell_rules(self) -> dict[Verdict, tuple[tuple[Rule, Matcher], ...]]:
        """The rules about certain commands, each with its test of a command's text."""
        return {
            verdict: tuple((rule, matcher(rule.what)) for rule in self.about(verdict, "Bash") if rule.parameter is None)
            for verdict in Verdict
        }

    def about(self, verdict: Verdict, tool: str) -> tuple[Rule, ...]:
        """Return the rules with `verdict` that name exactly `tool`."""
        return self.by_tool.get((verdict, tool), ())

    def on_whole_tool(self, verdict: Verdict, tool: str) -> Rule | None:
        """Return the first rule with `verdict` that is about every use of `tool`."""
        for rule in self.about(verdict, tool):
            if not rule.what:
                return rule
        for rule in self.name_patterns:
            if rule.verdict is verdict and _names(rule, tool):
                return rule
        return None


def _names(rule: Rule, tool: str) -> bool:
    if "*" in rule.tool:
        return rule.names.fullmatch(tool) is not None
    return tool.startswith(f"{rule.tool}__")
