"""The other base view: the whole host readable, except what is denied; writable only where it was granted.

`ringfence run` starts from nothing and names what exists. Settings of sandbox-runtime start from everything and
name what is hidden, so their view begins with the host's own root, read-only, and regions are laid over it.

Rules, for one path:
- the deepest region decides about reading; of several on one path READ beats DENY, and DENY beats WRITE;
- a path is writable at or below a WRITE region, unless it is at or below a SEAL, or denied;
- nothing at or below a `firm` denial opens again.

Theory of operation: regions are visited parents first with the state of their surroundings on a stack, and a
mount is made only where the state changes. A mount covers what was below it, so the deepest word is the last.
Directories are writable through an overlay, single files live. /run is private: sockets and session secrets of
the host lie there, and the sandbox needs a place of its own.
"""

from collections.abc import Iterable, Sequence
from enum import Enum

import msgspec

from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.model.paths import GuestPath, HostPath
from ringfence.model.plan import HostFacts, Identity, Mount, MountKind, PathKind, Plan, Variable, Watch, WorkspacePlan
from ringfence.policy.effective import Policy

from . import egress, system, trust_store
from .build import framed
from .mounts import INSIDE, fact
from .request import Request

TEMPORARY = GuestPath("/run/tmp")
NO_UNIX_SOCKETS = "no-unix"
_OWN = ("/proc", "/dev")  # made anew for every run: nothing of the host's is there to deny
_EMPTY_BYTES = 1 << 20
_NAME_TEXTS = {
    "/etc/resolv.conf": "",
    "/etc/nsswitch.conf": system.GENERATED_NSSWITCH,
    "/etc/hosts": system.GENERATED_HOSTS.format(hostname="ringfence"),
}


class Access(Enum):
    """What a region asks for."""

    DENY = "deny"
    READ = "read"
    WRITE = "write"
    SEAL = "seal"  # never written, whoever grants it


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """A path with everything below it. `text` stands in for a denied file's content."""

    path: HostPath
    access: Access
    reason: str
    origin: Source
    firm: bool = False
    text: str = ""


class _State(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    readable: bool
    writable: bool = False
    sealed: bool = False
    firm: bool = False


_HOST = _State(path="/", readable=True)
_DEFAULT = Source(scope="default")
_RUN = Region(path=HostPath("/run"), access=Access.DENY, reason="private run-time state", origin=_DEFAULT)


def below(path: str, top: str) -> bool:
    """Whether `path` is `top` or lies under it."""
    return top in ("/", path) or path.startswith(top + "/")


def build(
    policy: Policy,
    facts: HostFacts,
    request: Request,
    *,
    regions: Sequence[Region],
    variables: tuple[Variable, ...],
    held: tuple[str, ...],
) -> Plan:
    """Return everything one run is promised; limits and profile are policy's.

    `held` are patterns of what must not reach the host when the run ends. `facts` must know every region's path
    and every directory above the writable ones, the home and the working directory. Raises UsageError where no
    program could start in the view.
    """
    frame = framed(policy, facts, request)
    mounts = view(policy, facts, frame.identity, request, regions=regions)
    if not facts.native_init and not shown(mounts, facts.python):
        raise UsageError("no program could start: `/usr` is denied", hint="allow reading `/usr`, `/bin` and `/lib`")
    overlays = [mount.source for mount in mounts if mount.kind is MountKind.OVERLAY]
    covers = [mount.target for mount in mounts if mount.kind is MountKind.COVER and not (mount.absent or mount.text)]
    return msgspec.structs.replace(
        frame,
        cwd=GuestPath(request.cwd if shown(mounts, request.cwd) else "/"),
        mounts=tuple(mounts),
        environment=variables,
        workspace=WorkspacePlan(
            path=HostPath(overlays[0] if overlays and overlays[0] else request.workspace),
            mode="overlay" if overlays else "readonly",
            apply=policy.workspace_apply,
            deny_write=tuple((pattern, False) for pattern in held),
        ),
        watches=tuple(Watch(target=target, on="open", code="path-protected") for target in covers),
    )


def shown(mounts: Sequence[Mount], path: str) -> bool:
    """Whether the host's `path` is readable in the view: the last mount at or above it shows the host's content."""
    over = [mount for mount in mounts if below(path, mount.target) and mount.kind is not MountKind.READ_ONLY]
    return bool(over) and over[-1].kind in (MountKind.BIND, MountKind.RO_BIND, MountKind.OVERLAY)


def view(
    policy: Policy, facts: HostFacts, who: Identity, request: Request, *, regions: Sequence[Region]
) -> list[Mount]:
    """Return every mount of the view, in order."""
    kept = [region for region in regions if not any(below(region.path, own) for own in _OWN)]
    root = _decide("/", {region.access: region for region in kept if region.path == "/"}, _HOST)
    base = [_bind("/", "the host, read-only")] if root.readable else []
    if who.idmap and root.readable:
        base += [_bind(path, "for a uid without privileges") for path in _closed(facts, request, kept)]
    base += [
        Mount(kind=MountKind.PROC, target=GuestPath("/proc"), reason="the sandbox's own processes"),
        Mount(kind=MountKind.DEV, target=GuestPath("/dev"), reason="null zero full random urandom tty ptmx"),
        _tmpfs("/dev/shm", 0o1777, policy.limits.shm_bytes, reason="POSIX shared memory"),
    ]
    laid = list(_lay([*kept, _RUN], facts, root))
    fixed = [mount.target for mount in laid if mount.kind is MountKind.TMPFS]
    code = Mount(kind=MountKind.RO_BIND, source=request.inside, target=INSIDE, reason="the first process's own code")
    temporary = _tmpfs(TEMPORARY, 0o700, policy.limits.tmp_bytes, reason="private temporary files")
    seals = [Mount(kind=MountKind.READ_ONLY, target=GuestPath(path), reason="fixed") for path in (*fixed, "/dev", "/")]
    return [*base, *laid, *names(policy, facts), *egress.trust(policy, facts), code, temporary, *seals]


def covered(policy: Policy) -> tuple[list[str], list[str]]:
    """Paths and patterns of what egress replaces in the host's view; `facts` must know them."""
    if policy.egress is None:
        return [], []
    inspected = egress.inspected(policy)
    return [*_NAME_TEXTS, *(trust_store.PATHS if inspected else ())], [*(trust_store.GLOBS if inspected else ())]


def names(policy: Policy, facts: HostFacts) -> Iterable[Mount]:
    """The tables by which names are looked up, where the host has them: its own would ask whom nobody can reach."""
    texts = _NAME_TEXTS | {"/etc/resolv.conf": egress.resolver(policy.egress)[0]}
    for path, text in texts.items() if policy.egress else ():
        known = fact(facts, path)
        if known.kind is not PathKind.ABSENT:
            target = GuestPath(known.resolved or path)
            yield Mount(kind=MountKind.COVER, target=target, text=text, reason="names that policy allows resolve")


def _closed(facts: HostFacts, request: Request, regions: Sequence[Region]) -> list[str]:
    """As root: the trees that only an id-mapped mount opens to the command's unprivileged uid, and /tmp.

    /tmp because staging lays its own over the host's (sandbox/staging.py); of every place the command was given,
    the topmost directory that others may not enter.
    """
    found = {"/tmp"}
    for path in (facts.home, request.cwd, *(region.path for region in regions if region.access is Access.WRITE)):
        parts = path.split("/")
        above = ["/".join(parts[: depth + 1]) for depth in range(1, len(parts))]
        known = ((top, fact(facts, top)) for top in above)
        found.update([top for top, what in known if what.kind is PathKind.DIRECTORY and not what.others_read][:1])
    return sorted(path for path in found if not any(path != top and below(path, top) for top in found))


def _lay(regions: Sequence[Region], facts: HostFacts, root: _State) -> Iterable[Mount]:
    groups: dict[str, dict[Access, Region]] = {}
    for region in sorted(regions, key=lambda region: (region.path.split("/"), region.firm)):
        groups.setdefault(region.path, {})[region.access] = region
    opened = [region.path for region in regions if region.access in (Access.READ, Access.WRITE)]
    stack = [root]
    for path, asked in groups.items():
        while not below(path, stack[-1].path):
            stack.pop()
        here = stack[-1]
        link = fact(facts, path).kind is PathKind.SYMLINK and Access.READ not in asked
        if here.firm or path == "/" or link:  # what a link leads to has a region of its own
            continue
        state = _decide(path, asked, here)
        if path != _RUN.path and fact(facts, path).kind is PathKind.ABSENT:
            # Only a name that must not appear needs something done before it exists.
            if here.writable and Access.SEAL in asked:
                yield msgspec.structs.replace(_mount(MountKind.COVER, asked[Access.SEAL]), absent=True)
            continue
        emptied = path == _RUN.path or (not state.firm and any(p != path and below(p, path) for p in opened))
        yield from _change(asked, here, state, facts, emptied=emptied)
        stack.append(state)


def _decide(path: str, asked: dict[Access, Region], here: _State) -> _State:
    """What holds at `path`, given its surroundings and the regions on it."""
    denial = asked.get(Access.DENY)
    sealed = here.sealed or Access.SEAL in asked
    if denial and (denial.firm or Access.READ not in asked):
        return _State(path=path, readable=False, sealed=sealed, firm=denial.firm)
    readable = here.readable or Access.READ in asked or Access.WRITE in asked
    writable = not sealed and (here.writable or Access.WRITE in asked)
    return _State(path=path, readable=readable, writable=writable, sealed=sealed)


def _change(
    asked: dict[Access, Region], here: _State, state: _State, facts: HostFacts, *, emptied: bool
) -> Iterable[Mount]:
    """The mount that leads from one state to the other, if they differ."""
    known = fact(facts, state.path)
    region = next(iter(asked.values()))
    if here.readable and not state.readable:
        denial = asked[Access.DENY]
        if emptied:
            yield _tmpfs(state.path, 0o755, _EMPTY_BYTES, reason=denial.reason)
        else:
            cover = _mount(MountKind.COVER, denial)
            directory = known.kind is PathKind.DIRECTORY
            yield msgspec.structs.replace(cover, directory=directory, text=denial.text)
    elif state.writable and not here.writable:
        kind = MountKind.OVERLAY if known.kind is PathKind.DIRECTORY else MountKind.BIND
        yield msgspec.structs.replace(_mount(kind, asked[Access.WRITE]), source=state.path)
    elif not here.readable and state.readable and known.kind is PathKind.SYMLINK:
        yield msgspec.structs.replace(_mount(MountKind.SYMLINK, region), text=known.link)
    elif (here.readable, here.writable) != (state.readable, state.writable):
        yield msgspec.structs.replace(_mount(MountKind.RO_BIND, region), source=state.path)


def _mount(kind: MountKind, region: Region) -> Mount:
    return Mount(kind=kind, target=GuestPath(region.path), reason=region.reason, origin=region.origin)


def _bind(path: str, reason: str) -> Mount:
    return Mount(kind=MountKind.RO_BIND, source=HostPath(path), target=GuestPath(path), reason=reason)


def _tmpfs(path: str, mode: int, size_bytes: int, *, reason: str) -> Mount:
    return Mount(kind=MountKind.TMPFS, target=GuestPath(path), mode=mode, size_bytes=size_bytes, reason=reason)
