"""The workspace in the view, and what policy denies anywhere in the view covered.

A denial acts on what is exposed and on nothing else: it is looked up in the mounts of the view, by host path and by
the path it has inside, and becomes a mount over just that place (SECURITY: binding a denied path that was not in the
view would expose it). Pins and read-only places are made by depth among the mounts of the view, so that none of them
uncovers another; what may not be read is covered last (tests/properties/test_planner_denials.py).

On an overlay a stand-in can be mounted over a name that does not exist: it exists in the run's own upper
layer while mounting and is then removed there, which leaves the mount (so the name cannot be created) but no
entry in any listing (so `git add .` and `ls` do not see it). A directory bound live from the host has no such
layer; there only names that exist can be covered, and each of their parents is pinned by a mount of its own,
because renaming a parent would carry the cover away (docs/threats.md, F4).
"""

import posixpath
from collections.abc import Iterable, Sequence

import msgspec

from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.model.paths import GuestPath, HostPath
from ringfence.model.plan import HostFacts, Mount, MountKind, PathKind
from ringfence.policy.effective import PathRule, Policy

from .mounts import DECOY_TEXT, INSIDE, fact
from .request import Request
from .search import Sought, sought
from .view import HOST, LIVE, deciding, places, within

NEEDED = ("/usr",)  # without it no program starts
PINNED = "pinned in place"


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the view that a rule denies: `host` shows at `guest`, which lies on `mount`."""

    host: HostPath
    guest: GuestPath
    mount: Mount
    rule: PathRule


def base(policy: Policy, request: Request, repositories: Sequence[HostPath]) -> Iterable[Mount]:
    """The workspace itself and the git directories outside it that it needs."""
    kinds = {"overlay": MountKind.OVERLAY, "direct": MountKind.BIND, "readonly": MountKind.RO_BIND}
    kind = kinds[policy.workspace_mode]
    origin = policy.origins.get("workspace.mode", Source(scope="default"))
    for path, reason in ((request.workspace, "workspace"), *((path, "git directory") for path in repositories)):
        yield Mount(kind=kind, source=path, target=GuestPath(path), reason=reason, origin=origin)


def untrusted(view: Sequence[Mount], request: Request) -> Iterable[Mount]:
    """What nobody has trusted does not exist on the overlays; what another mount lies over is not there anyway."""
    for path in request.hidden:
        if deciding(view, path).kind is MountKind.OVERLAY:
            yield Mount(kind=MountKind.WHITEOUT, target=GuestPath(path), reason="not trusted: see `ringfence trust`")


def exposed(view: Iterable[Mount]) -> list[tuple[str, str]]:
    """Where denied names have to be searched for: host path and path in the view of each mount of the host's files."""
    return [(m.source, m.target) for m in view if m.kind in HOST and m.source is not None and m.target != INSIDE]


def matched(rules: Sequence[Sought], view: Sequence[Mount], facts: HostFacts, *, links: bool = True) -> list[Match]:
    """Every place in the view that a rule denies.

    A link counts with what it leads to, which is where its content can be covered; `links` False refuses a link in
    a live directory instead, since there it could be replaced (UsageError).
    """
    hosts = {source for source, _ in exposed(view)} | {one.real for one in rules if one.pattern.literal_path}
    hosts |= {path for found, paths in facts.matches.items() if found.endswith("/") for path in paths}
    found: dict[str, Match] = {}
    for host in sorted(hosts):
        known = fact(facts, host)
        for mount, guest in places(view, host):
            rule = next((one.rule for one in rules if one.matches(host) or one.matches(guest)), None)
            if rule is None or known.kind is PathKind.ABSENT or mount.target == INSIDE:
                continue
            if known.kind is not PathKind.SYMLINK:
                found[guest] = Match(host=HostPath(host), guest=guest, mount=mount, rule=rule)
            elif mount.kind is MountKind.BIND and not links:
                raise UsageError(
                    f"`{host}` is a link, which cannot be protected in a live directory",
                    place=str(rule.source),
                    hint="deny the path that it leads to, or use `workspace.mode = overlay`",
                )
            elif fact(facts, known.resolved).kind is not PathKind.ABSENT:
                for over, behind in places(view, known.resolved):
                    match = Match(host=HostPath(known.resolved), guest=behind, mount=over, rule=rule)
                    found.setdefault(behind, match)
    return list(found.values())


def outermost(matches: Iterable[Match], *, across: bool = True) -> list[Match]:
    """Drop what lies below another one, in the order of paths; `across` False only if it is on the same mount."""
    kept: list[Match] = []
    for match in sorted(matches, key=lambda match: match.guest.split("/")):
        over = (one for one in kept if across or one.mount is match.mount)
        if not any(within(match.guest, one.guest) for one in over):
            kept.append(match)
    return kept


def _hidden(view: Sequence[Mount], policy: Policy, facts: HostFacts, request: Request) -> list[Match]:
    return outermost(matched(sought(policy.deny_read, facts, request.workspace), view, facts))


def sealed(view: Sequence[Mount], policy: Policy, facts: HostFacts, request: Request) -> list[Mount]:
    """What keeps existing names from being written; to be made by depth, among the mounts of `view`.

    Raises UsageError where nothing could run, or where a link could be replaced.
    """
    hidden = _hidden(view, policy, facts, request)
    for match in hidden:
        if any(within(path, match.guest) for path in (*NEEDED, request.workspace)):
            raise UsageError(
                f"deny-read `{match.rule.pattern}` hides `{match.guest}`, without which nothing can run",
                place=str(match.rule.source),
                hint="deny what is in it that must not be read",
            )
    writes = matched(sought(policy.deny_write, facts, request.workspace), view, facts, links=False)
    found = outermost([*surfaces(view, facts, request), *writes], across=False)
    found = [match for match in found if match.mount.kind in LIVE and _free(match, hidden)]
    return [*pins([*found, *hidden]), *(_read_only(match) for match in found)]


def covers(view: Sequence[Mount], policy: Policy, facts: HostFacts, request: Request) -> list[Mount]:
    """What is laid over the finished `view`: over names that may not be created, then over what may not be read."""
    hidden = _hidden(view, policy, facts, request)
    names = outermost(absent(sought(policy.deny_write, facts, request.workspace), view, facts))
    kept_away = [_absent(match) for match in names if _free(match, hidden)]
    return kept_away + [_cover(match, view, facts) for match in hidden]


def surfaces(view: Sequence[Mount], facts: HostFacts, request: Request) -> list[Match]:
    """At the top of each live directory: names that exist and that programs outside load by themselves.

    Nothing can be mounted over a link: what it leads to is held, while the link itself can be replaced.
    """
    rule = PathRule(pattern="", source=Source(scope="default"), reason="loaded by programs outside the sandbox")
    found = []
    for host, name in surface_names(view, facts, request):
        known = fact(facts, f"{host}/{name}")
        direct = known.resolved == f"{fact(facts, host).resolved}/{name}"
        path = HostPath(f"{host}/{name}" if direct else known.resolved)
        if fact(facts, path).kind in (PathKind.FILE, PathKind.DIRECTORY):
            shown = [(mount, guest) for mount, guest in places(view, path) if guest != mount.target]
            found += [Match(host=path, guest=guest, mount=mount, rule=rule) for mount, guest in shown]
    return found


def surface_names(view: Iterable[Mount], facts: HostFacts, request: Request) -> list[tuple[str, str]]:
    """Pairs of live directory and name in it; of a git directory by itself those that are in `.git` elsewhere."""
    live = [str(mount.source) for mount in view if mount.kind is MountKind.BIND]
    git = [name.removeprefix(".git/") for name in request.surfaces if name.startswith(".git/")]
    found = [(path, name) for path in live for name in request.surfaces]
    # A linked worktree keeps its own index and HEAD in `worktrees`.
    return found + [(path, name) for path in live for name in git if name != "worktrees" and _is_git(facts, path)]


def _is_git(facts: HostFacts, path: str) -> bool:
    return fact(facts, f"{path}/HEAD").kind is PathKind.FILE


def pins(matches: Iterable[Match]) -> list[Mount]:
    """Mounts that keep the parents of what is covered in a live directory from being renamed, outermost first."""
    found: dict[str, Mount] = {}
    for match in matches:
        host, guest = posixpath.dirname(match.host), posixpath.dirname(match.guest)
        while match.mount.kind is MountKind.BIND and guest != match.mount.target and within(guest, match.mount.target):
            found[guest] = Mount(kind=MountKind.BIND, source=HostPath(host), target=GuestPath(guest), reason=PINNED)
            host, guest = posixpath.dirname(host), posixpath.dirname(guest)
    return [found[guest] for guest in sorted(found, key=lambda path: path.split("/"))]


def absent(rules: Iterable[Sought], view: Sequence[Mount], facts: HostFacts) -> Iterable[Match]:
    """On an overlay: fixed names that do not exist and that may not be created, their parents being directories."""
    for one in rules:
        if one.pattern.literal_path is None or fact(facts, one.named).kind is not PathKind.ABSENT:
            continue
        for mount, guest in places(view, one.real):
            above, parents = posixpath.dirname(one.real), []
            while above != mount.source and within(above, str(mount.source)):
                parents.append(fact(facts, above).kind)
                above = posixpath.dirname(above)
            made = any(within(other.target, guest) for other in view)  # to mount something there
            if mount.kind is MountKind.OVERLAY and not made and {*parents} <= {PathKind.ABSENT, PathKind.DIRECTORY}:
                yield Match(host=HostPath(one.real), guest=guest, mount=mount, rule=one.rule)


def _free(match: Match, hidden: Iterable[Match]) -> bool:
    return not any(within(match.guest, over.guest) for over in hidden)


def _reason(rule: PathRule, name: str) -> str:
    return rule.reason or f"{name} `{rule.pattern}`"


def _absent(match: Match) -> Mount:
    reason = _reason(match.rule, "deny-write")
    return Mount(kind=MountKind.COVER, target=match.guest, absent=True, reason=reason, origin=match.rule.source)


def _read_only(match: Match) -> Mount:
    reason = _reason(match.rule, "deny-write")
    return Mount(kind=MountKind.RO_BIND, source=match.host, target=match.guest, reason=reason, origin=match.rule.source)


def _cover(match: Match, view: Iterable[Mount], facts: HostFacts) -> Mount:
    """An empty directory over what may not be read.

    On an overlay a directory even over a file: opening it succeeds, which the host sees and records, while reading
    it fails with EISDIR and reveals nothing. Over a file on a mount inside an overlay's path, where neither the
    overlay's stand-in nor a directory fits, a notice.
    """
    directory = fact(facts, match.host).kind is PathKind.DIRECTORY
    overlaid = any(mount.kind is MountKind.OVERLAY and within(match.guest, mount.target) for mount in view)
    return Mount(
        kind=MountKind.COVER,
        target=match.guest,
        directory=directory,
        text=DECOY_TEXT if overlaid and not directory and match.mount.kind is not MountKind.OVERLAY else "",
        reason=_reason(match.rule, "deny-read"),
        origin=match.rule.source,
    )
