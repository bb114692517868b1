"""Where a path leads, what rules say about it, and which paths no rule may give away.

Pure: what depends on the disk (where links lead) is asked of `PathFacts`, which the caller gathers. Each path is judged
in every spelling that is known: as written, made absolute, and with its links followed. A denial holds where one
spelling matches; an allowance has to hold for all of them.
"""

import posixpath
import re
from functools import lru_cache
from typing import Protocol

import msgspec

from ringfence.model.decision import Verdict
from ringfence.model.errors import UsageError
from ringfence.policy.effective import PathRule
from ringfence.policy.patterns import Pattern, compile_rule, escape, fold

from .protected_names import DIRECTORIES, EXCEPTIONS, FILES
from .rules import Rule


class PathFacts(Protocol):
    """What the disk says."""

    def resolve(self, path: str) -> str:
        """Return the absolute `path` with every link followed, as far as it exists."""
        ...

    def repository_inside(self, directory: str) -> str:
        """Return a directory below the absolute `directory`, or itself, that is a bare git repository, or nothing."""
        ...


class Unresolved:
    """Facts for a disk that nobody looks at: every path is where it is written."""

    def resolve(self, path: str) -> str:
        """Return `path`."""
        return path

    def repository_inside(self, directory: str) -> str:
        """Return nothing."""
        return ""


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """The directories that paths are relative to. `roots` are the workspace and what was added to it, resolved.

    SECURITY: `cwd` is where one call is made, which the agent chooses; rules and roots start at `workspace`, which it
    cannot change by `cd`.
    """

    cwd: str
    workspace: str
    home: str
    roots: tuple[str, ...]


_PROC_ROOT = re.compile(r"^/proc/(?:self|thread-self|\d+)(?:/task/\d+)?/root(?=/|$)")
_PROC_CWD = re.compile(r"^/proc/(?:self|thread-self)(?:/task/\d+)?/cwd(?=/|$)")


def absolute(path: str, places: Places, cwd: str = "") -> str:
    """Make `path` absolute and normal: `~`, `$HOME`, `/proc/self/root`, `.` and `..` are resolved as text."""
    for start in ("~", "$HOME", "${HOME}"):
        if path == start or path.startswith(f"{start}/"):
            path = places.home + path[len(start) :]
    for start in ("$PWD", "${PWD}"):
        if path == start or path.startswith(f"{start}/"):
            path = (cwd or places.cwd) + path[len(start) :]
    path = posixpath.join(cwd or places.cwd, path)
    path = _PROC_CWD.sub(lambda _: cwd or places.cwd, _PROC_ROOT.sub("", path))
    return posixpath.normpath("/" + path.lstrip("/"))


def spellings(path: str, places: Places, facts: PathFacts, cwd: str = "") -> tuple[str, ...]:
    """Return every name that `path` is known by, the written one first."""
    written = absolute(path, places, cwd)
    resolved = facts.resolve(written)
    return (written,) if resolved == written else (written, resolved)


def inside(path: str, roots: tuple[str, ...]) -> bool:
    """Tell whether the absolute `path` is one of `roots` or below it."""
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


@lru_cache(maxsize=4096)
def pattern_of(rule: Rule, workspace: str, home: str) -> Pattern:
    """Compile the path of a `Read` or `Edit` rule; raise `UsageError` where it is no pattern.

    `//x` is absolute, `~/x` in the home directory, `/x` below the rule's anchor, anything else below the workspace; a
    name alone is meant at any depth, and so is `name/**` in denials.
    """
    what = rule.what
    floats = rule.verdict is not Verdict.ALLOW or not what.endswith("/**")
    # A directory that is ruled with all it holds is ruled itself: listing it is reading it.
    stem = what[:-3] if what.endswith("/**") and len(what) > 3 and what != "//**" else what
    if stem.startswith("//"):
        pattern = stem[1:]
    elif stem.startswith("~"):
        pattern = escape(home) + stem[1:]
    elif stem.startswith("/"):
        pattern = escape(rule.anchor) + stem
    elif stem.startswith("./"):
        pattern = escape(workspace) + stem[1:]
    elif "/" in stem or floats:
        pattern = stem
    else:
        pattern = f"{escape(workspace)}/{stem}"
    try:
        return compile_rule(
            PathRule(pattern=pattern, source=rule.source),
            workspace=workspace,
            ignore_case=rule.verdict is not Verdict.ALLOW,
        )
    except ValueError as error:
        raise UsageError(
            f"rule `{rule.text}` holds no valid path: {error}",
            place=str(rule.source),
            hint="paths are gitignore's patterns; put `\\` before a character that is meant itself",
        ) from None


def is_protected(path: str) -> bool:
    """Tell whether nothing but a person may have the absolute `path` written: what is there runs or steers later."""
    names = [fold(name) for name in path.split("/")]
    for at, name in enumerate(names):
        if name in DIRECTORIES and not (names[at + 1 :] and f"{name}/{names[at + 1]}" in EXCEPTIONS):
            return True
        if f"{names[at - 1]}/{name}" in DIRECTORIES or re.search(r"~\d|[. ]$", name):
            return True
    return names[-1] in FILES


def is_critical(path: str, places: Places) -> bool:
    """Tell whether removing the absolute `path` takes away a system, a home or the workspace."""
    if path.count("/") <= 1:
        return True
    return any(root == path or root.startswith(f"{path}/") for root in (places.cwd, places.workspace, places.home))
