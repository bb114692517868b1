"""Merges what the scopes say about permissions: managed > cli > local > project > user.

Rules of all scopes are joined, and since denials come first, no scope can take back another's. A single value is taken
from the highest scope that sets it, except where only some may: a checkout cannot choose a mode in which less is asked,
nor claim that commands are contained. Until a checkout is trusted, its scopes can only deny and ask.
"""

import posixpath
import re
from collections.abc import Iterable, Sequence

import msgspec

from ringfence.model.decision import Source, Verdict
from ringfence.model.errors import UsageError

from .paths import PathFacts, Places, absolute, pattern_of
from .rules import PATH_TOOLS, Rule
from .settings import Mode, Settings

ORDER = ("managed", "cli", "local", "project", "user", "default")
"""Scopes, the highest first; `default` is ringfence's own, and holds no rules."""

_CHECKOUT = frozenset(("project", "local"))
_RISKY_MODES = frozenset((Mode.BYPASS, Mode.AUTO))
# Allowances that would let a classifier's mode run anything at all.
_BROAD = re.compile(
    r"Bash|Bash\((?:\*|:\*)\)|Agent.*|Task.*|Monitor.*"
    r"|Bash\((?:python[\d.]*|node|ruby|perl|php|bash|sh|zsh|npx|npm|pnpm|yarn|bun|bunx|uv|uvx|pipx|deno|env|sudo|xargs|eval)\b.*\)"
)


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What one file or the command line says. None where it says nothing."""

    name: str
    source: Source
    rules: tuple[Rule, ...] = ()
    directories: tuple[str, ...] = ()
    mode: Mode | None = None
    forbidden_modes: frozenset[Mode] = frozenset()
    managed_rules_only: bool = False
    sandboxed: bool | None = None
    allows_sandboxed: bool | None = None
    unsandboxed: tuple[str, ...] = ()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how the calls are made; `contained` where ringfence itself holds what they start.

    `workspace` is where the agent was started, `cwd` if empty.
    """

    cwd: str
    home: str
    workspace: str = ""
    mode: Mode | None = None
    trusted: bool = True
    contained: bool = False


def merge(scopes: Sequence[Scope], request: Request, facts: PathFacts) -> Settings:
    """Put `scopes`, in any order, together; raise `UsageError` for a rule whose path is no pattern."""
    ordered = sorted(scopes, key=lambda scope: ORDER.index(scope.name))
    mode = _mode(ordered, request)
    workspace = request.workspace or request.cwd
    own = Places(cwd=request.cwd, workspace=workspace, home=request.home, roots=())
    roots = [facts.resolve(workspace), workspace]
    for scope in ordered:
        if request.trusted or scope.name not in _CHECKOUT:
            added = [absolute(directory, own, workspace) for directory in scope.directories]
            roots += [spelling for path in added for spelling in (path, facts.resolve(path))]
    rules = tuple(_in_force(ordered, mode, trusted=request.trusted))
    for rule in rules:
        if rule.tool in PATH_TOOLS and rule.what:
            pattern_of(rule, workspace, request.home)
    return Settings(
        rules=rules,
        mode=mode,
        places=msgspec.structs.replace(own, roots=tuple(dict.fromkeys(roots))),
        contained=mode in (Mode.DEFAULT, Mode.ACCEPT_EDITS) and (request.contained or _contained(ordered)),
        uncontained=tuple(what for scope in ordered for what in scope.unsandboxed),
    )


def _in_force(scopes: Iterable[Scope], mode: Mode, *, trusted: bool) -> Iterable[Rule]:
    """Yield the rules that count, allowances only from those who may give them."""
    listed = list(scopes)
    managed_only = any(scope.managed_rules_only for scope in listed if scope.name == "managed")
    for scope in listed:
        for rule in sorted(scope.rules, key=lambda rule: (rule.verdict, rule.text), reverse=True):
            if rule.verdict is Verdict.ALLOW:
                if (managed_only and scope.name != "managed") or (not trusted and scope.name in _CHECKOUT):
                    continue
                if mode is Mode.AUTO and _BROAD.fullmatch(rule.text):
                    continue
            yield rule


def _mode(scopes: Iterable[Scope], request: Request) -> Mode:
    listed = list(scopes)
    chosen = request.mode
    for scope in listed:
        if chosen is None:
            chosen = None if scope.name in _CHECKOUT and scope.mode in _RISKY_MODES else scope.mode
    chosen = chosen or Mode.DEFAULT
    forbidden = {mode for scope in listed for mode in scope.forbidden_modes}
    return Mode.DEFAULT if chosen in forbidden else chosen


def _contained(scopes: Iterable[Scope]) -> bool:
    """Tell whether commands run in the client's sandbox and are allowed for it; a checkout can only say no."""
    sandboxed = allows = None
    for scope in scopes:
        if sandboxed is None and not (scope.name in _CHECKOUT and scope.sandboxed):
            sandboxed = scope.sandboxed
        if allows is None and not (scope.name in _CHECKOUT and scope.allows_sandboxed):
            allows = scope.allows_sandboxed
    return bool(sandboxed and allows)


def anchor_of(scope: str, file: str, cwd: str) -> str:
    """Return the directory that `/x` in a path rule of this scope starts at."""
    return cwd if scope in ("project", "local") or not file else posixpath.dirname(file)


def known_scope(name: str) -> str:
    """Return `name` if it is a scope, else raise `UsageError`."""
    if name not in ORDER[:-1]:
        raise UsageError(f"`{name}` is not a scope", hint="one of " + ", ".join(ORDER[:-1]))
    return name
