"""The workspace in the view: overlay, direct or read-only, with what policy denies covered.

On the overlay a stand-in can be mounted over a name that does not exist: it exists in the run's own upper
layer while mounting and is then removed there, which leaves the mount (so the name cannot be created) but no
entry in any listing (so `git add .` and `ls` do not see it). A directory bound live from the host has no such
layer; there only names that exist can be covered, and each of their parents is pinned by a mount of its own,
because renaming a parent would carry the cover away (docs/threats.md, F4).
"""

import posixpath
from collections.abc import Iterable, Sequence

from ringfence.model.decision import Source
from ringfence.model.paths import GuestPath, HostPath
from ringfence.model.plan import HostFacts, Mount, MountKind, PathKind
from ringfence.policy.effective import PathRule, Policy
from ringfence.policy.patterns import compile_rule

from .mounts import fact
from .request import Request


def literal_path(rule: PathRule, workspace: str) -> str:
    """The one path that `rule` names, or an empty string where it has wildcards or matches at any depth."""
    pattern = rule.pattern.rstrip("/")
    if not rule.literal and any(mark in pattern for mark in "*?["):
        return ""
    if pattern.startswith("/"):
        return pattern
    while pattern.startswith("./"):
        pattern = pattern[2:]
    if not rule.literal and "/" not in pattern and not rule.pattern.startswith("./"):
        return ""
    return posixpath.normpath(f"{workspace}/{pattern}")


def needs_tree(policy: Policy) -> bool:
    """Whether a rule may match names that only a walk of the workspace finds."""
    return bool(policy.deny_read or policy.deny_write)


def base(policy: Policy, request: Request, repositories: Sequence[HostPath]) -> Iterable[Mount]:
    """The workspace itself and the git directories outside it that it needs."""
    kinds = {"overlay": MountKind.OVERLAY, "direct": MountKind.BIND, "readonly": MountKind.RO_BIND}
    kind = kinds[policy.workspace_mode]
    origin = policy.origins.get("workspace.mode", Source(scope="default"))
    for path, reason in ((request.workspace, "workspace"), *((path, "git directory") for path in repositories)):
        yield Mount(kind=kind, source=path, target=GuestPath(path), reason=reason, origin=origin)


def _outermost(paths: Iterable[tuple[str, PathRule]]) -> list[tuple[str, PathRule]]:
    """Drop paths that lie below another one in the list."""
    kept: list[tuple[str, PathRule]] = []
    for path, rule in sorted(paths, key=lambda item: item[0]):
        if not kept or not (path == kept[-1][0] or path.startswith(kept[-1][0] + "/")):
            kept.append((path, rule))
    return kept


def matches(rules: Sequence[PathRule], facts: HostFacts, workspace: str) -> list[tuple[str, PathRule]]:
    """Existing paths that a rule denies, outermost first; symlinks count with what they lead to."""
    found: list[tuple[str, PathRule]] = []
    for rule in rules:
        pattern = compile_rule(rule, workspace=workspace)
        found += [(f"{workspace}/{name}", rule) for name in facts.tree if pattern.matches(f"{workspace}/{name}")]
        literal = literal_path(rule, workspace)
        if literal and fact(facts, literal).kind is not PathKind.ABSENT:
            found.append((literal, rule))
    targets = [(fact(facts, path).resolved, rule) for path, rule in found if fact(facts, path).kind is PathKind.SYMLINK]
    plain = [(path, rule) for path, rule in found if fact(facts, path).kind is not PathKind.SYMLINK]
    return _outermost(plain + [(path, rule) for path, rule in targets if path])


def denied_reads(policy: Policy, facts: HostFacts, request: Request) -> Iterable[Mount]:
    """An empty directory over everything that may not be read.

    A directory even over a file: opening it succeeds, which the host sees and records, while reading it
    fails with EISDIR and reveals nothing.
    """
    for path, rule in matches(policy.deny_read, facts, request.workspace):
        yield Mount(
            kind=MountKind.COVER,
            target=GuestPath(path),
            directory=fact(facts, path).kind is PathKind.DIRECTORY,
            reason=rule.reason or f"deny-read `{rule.pattern}`",
            origin=rule.source,
        )


def denied_writes(policy: Policy, facts: HostFacts, request: Request) -> Iterable[Mount]:
    """What exists appears read-only; on the overlay, what does not exist is kept from being created."""
    covered = [path for path, _ in matches(policy.deny_read, facts, request.workspace)]
    for path, rule in matches(policy.deny_write, facts, request.workspace):
        if path in covered:
            continue
        yield from _pins(path, request, policy)
        yield _read_only(path, rule.reason or f"deny-write `{rule.pattern}`", rule.source)
    if policy.workspace_mode == "overlay":
        for rule in policy.deny_write:
            literal = literal_path(rule, request.workspace)
            inside = literal.startswith(request.workspace + "/")
            if inside and fact(facts, literal).kind is PathKind.ABSENT:
                reason = rule.reason or f"deny-write `{rule.pattern}`"
                yield Mount(
                    kind=MountKind.COVER, target=GuestPath(literal), absent=True, reason=reason, origin=rule.source
                )


def surfaces(facts: HostFacts, request: Request, policy: Policy) -> Iterable[Mount]:
    """With a live workspace: names that programs load by themselves appear read-only where they exist."""
    if policy.workspace_mode != "direct":
        return
    existing = [
        f"{request.workspace}/{name}"
        for name in request.surfaces
        if fact(facts, f"{request.workspace}/{name}").kind in (PathKind.FILE, PathKind.DIRECTORY)
    ]
    rules = [(path, PathRule(pattern=path, source=Source(scope="default"))) for path in existing]
    for path, _ in _outermost(rules):
        yield from _pins(path, request, policy)
        yield _read_only(path, "loaded by programs outside the sandbox", Source(scope="default"))


def _pins(path: str, request: Request, policy: Policy) -> Iterable[Mount]:
    """Mounts that keep the parents of `path`, below the workspace, from being renamed."""
    parent = posixpath.dirname(path)
    parents = []
    while policy.workspace_mode == "direct" and parent.startswith(request.workspace + "/"):
        parents.append(parent)
        parent = posixpath.dirname(parent)
    for name in reversed(parents):
        yield Mount(kind=MountKind.BIND, source=HostPath(name), target=GuestPath(name), reason="pinned in place")


def _read_only(path: str, reason: str, origin: Source) -> Mount:
    return Mount(
        kind=MountKind.RO_BIND, source=HostPath(path), target=GuestPath(path), reason=reason, origin=origin
    )
