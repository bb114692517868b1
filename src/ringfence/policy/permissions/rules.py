"""The language of permission rules: `Tool` or `Tool(what)`, as text and as values.

A rule that cannot be read refuses the settings it stands in, with its place and a remedy: a denial that is skipped is a
door left open (Claude Code skips it in silence when it runs without a person).
"""

import re

import msgspec

from ringfence.model.decision import Source, Verdict
from ringfence.model.errors import UsageError
from ringfence.policy.parse import shown

from .hosts import host_pattern

PATH_TOOLS = ("Read", "Edit")
"""Tools whose rules are about paths. Rules for the other writing tools are never consulted."""

_SHAPE = re.compile(r"(?P<tool>[A-Za-z_*?][\w*?.-]*)(?:\((?P<what>.+)\))?", re.S)
_PARAMETER = re.compile(r"(?P<name>[a-z][A-Za-z_]*):(?P<value>.+)", re.S)
_BASH_PARAMETERS = frozenset(("timeout", "description", "run_in_background", "dangerouslyDisableSandbox"))
_NO_PARAMETERS = frozenset(("Read", "Edit", "Cd"))


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A condition on one top-level field of a call's input; the value may hold `*`."""

    name: str
    value: re.Pattern[str]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule as written. `what` is empty where it is about every use of the tool.

    `anchor` is the directory that a path beginning with one slash starts at.
    """

    text: str
    verdict: Verdict
    tool: str
    what: str = ""
    source: Source
    anchor: str = ""
    parameter: Parameter | None = None
    ignored: str = ""

    @property
    def names(self) -> re.Pattern[str]:
        """The tools it is about."""
        return wildcard(self.tool)


def wildcard(text: str) -> re.Pattern[str]:
    """Compile a text in which `*` is any run of characters."""
    return re.compile(".*".join(re.escape(part) for part in text.split("*")), re.S)


def parse_rule(text: str, *, verdict: Verdict, source: Source, anchor: str) -> Rule:
    """Read one rule; raise `UsageError` with `source` as the place where it says nothing certain."""
    stripped = text.strip()
    match = _SHAPE.fullmatch(stripped)
    if match is None or stripped.endswith("()"):
        raise _error(text, source, "is not a rule", "write `Tool` or `Tool(what)`, such as `Bash(git status)`")
    tool, what = match["tool"], (match["what"] or "").strip() if match["tool"] != "Bash" else match["what"] or ""
    ignored = ""
    if tool.startswith("mcp__") and what:
        # A condition that means nothing: an allowance is void, a denial or question holds for every use.
        ignored, what = "an MCP tool has no conditions" if verdict is Verdict.ALLOW else "", ""
    if what == "*":
        what = ""
    if "*" in tool and what:
        raise _error(text, source, "has both a pattern of tools and a condition", "write one rule for each tool")
    rule = Rule(text=stripped, verdict=verdict, tool=tool, what=what, source=source, anchor=anchor, ignored=ignored)
    return _completed(rule)


def _completed(rule: Rule) -> Rule:
    """Add what follows from the tool: hosts are checked, parameters taken apart, rules without effect marked."""
    if rule.verdict is Verdict.ALLOW and "*" in rule.tool and not re.match(r"mcp__[\w-]*[A-Za-z0-9-]__", rule.tool):
        return msgspec.structs.replace(rule, ignored="an allowance cannot name tools by a pattern")
    if rule.tool == "WebFetch" and rule.what:
        try:
            host_pattern(rule.what)
        except ValueError as error:
            hint = "write `WebFetch(domain:example.com)`"
            raise _error(rule.text, rule.source, str(error), hint) from None
        return rule
    if rule.tool in ("Write", "Glob", "NotebookEdit") and rule.what:
        return msgspec.structs.replace(rule, ignored=f"paths are ruled by `Read` and `Edit`, not by `{rule.tool}`")
    return msgspec.structs.replace(rule, parameter=_parameter(rule))


def _parameter(rule: Rule) -> Parameter | None:
    """Read `Tool(field:value)`, which only denials and questions may use."""
    match = _PARAMETER.fullmatch(rule.what)
    if match is None or rule.verdict is Verdict.ALLOW or rule.tool in _NO_PARAMETERS:
        return None
    if rule.tool == "Bash" and match["name"] not in _BASH_PARAMETERS:
        return None
    return Parameter(name=match["name"], value=wildcard(match["value"]))


def _error(text: str, source: Source, problem: str, hint: str) -> UsageError:
    return UsageError(f"rule {shown(text)} {problem}", place=str(source), hint=hint)
