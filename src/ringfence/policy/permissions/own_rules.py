"""The `[permissions]` table of ringfence's own policy files, as one more scope beside Claude Code's settings."""

from ringfence.model.decision import Verdict
from ringfence.policy.document import Layer

from .modes import mode_of
from .paths import pattern_of
from .rules import PATH_TOOLS, parse_rule
from .scopes import Scope

_LISTS = (("deny", Verdict.DENY), ("ask", Verdict.ASK), ("allow", Verdict.ALLOW))


def scope_of(layer: Layer, *, home: str, workspace: str) -> Scope:
    """Return what `layer` says about tools; raise `UsageError`, with the line, for a rule that cannot be read.

    A path that begins with one slash starts at the workspace.
    """
    table = layer.document.permissions
    rules = []
    for name, verdict in _LISTS:
        for index, text in enumerate(getattr(table, name) or ()):
            source = layer.source("permissions", name, index)
            rule = parse_rule(text, verdict=verdict, source=source, anchor=workspace)
            if rule.tool in PATH_TOOLS:
                pattern_of(rule, workspace, home)
            rules.append(rule)
    return Scope(
        name=layer.scope,
        source=layer.source("permissions"),
        rules=tuple(rules),
        directories=tuple(table.directories or ()),
        mode=mode_of(table.mode) if table.mode else None,
    )
