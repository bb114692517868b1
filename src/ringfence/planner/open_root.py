"""The other base view: the whole host readable, except what is denied; writable only where it was granted.

`ringfence run` starts from nothing and names what exists. Settings of sandbox-runtime start from everything and
name what is hidden, so their view begins with the host's own root, read-only, and regions are laid over it.

Rules, for one path:
- the deepest region decides about reading; of several on the same path READ beats DENY, and DENY beats WRITE;
- a path is writable at or below a WRITE region, unless it is at or below a SEAL, or denied;
- nothing at or below a `firm` denial opens again.

Theory of operation: regions are visited parents first with the state of their surroundings on a stack, and a
mount is made only where the state changes. A mount covers what was below it, so the deepest word is the last.
Directories are writable through an overlay, single files live. /run is private: sockets and session secrets of
the host live there, and the sandbox needs a place of its own.
"""

from collections.abc import Iterable, Sequence
from enum import Enum

import msgspec

from ringfence.model.decision import Source
from ringfence.model.paths import GuestPath, HostPath
from ringfence.model.plan import HostFacts, Identity, Limits, Mount, MountKind, PathKind

from .build import INSIDE
from .mounts import fact
from .request import Request

TEMPORARY = GuestPath("/run/tmp")
_OWN = ("/proc", "/dev")  # made anew for every run: nothing of the host's is there to deny


class Access(Enum):
    """What a region asks for."""

    DENY = "deny"
    READ = "read"
    WRITE = "write"
    SEAL = "seal"  # may be read, never written


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """A path with everything below it. `text` stands in for a denied file's content."""

    path: HostPath
    access: Access
    reason: str
    origin: Source
    firm: bool = False
    text: str = ""


class _State(msgspec.Struct, frozen=True):
    path: str
    readable: bool
    writable: bool = False
    sealed: bool = False
    firm: bool = False


def below(path: str, top: str) -> bool:
    """Whether `path` is `top` or lies under it."""
    return top == "/" or path == top or path.startswith(top + "/")


def view(regions: Sequence[Region], facts: HostFacts, who: Identity, limits: Limits, *, request: Request) -> list[Mount]:
    """Return every mount of the view, in order."""
    private = Region(path=HostPath("/run"), access=Access.DENY, reason="private run-time state", origin=_DEFAULT)
    kept = [region for region in regions if not any(below(region.path, own) for own in _OWN)]
    open_root = not any(region.path == "/" and region.access is Access.DENY for region in kept)
    base = [*(_bind("/", "the host, read-only") for _ in range(open_root))]
    base += [_bind(path, "the user's own files, for an unprivileged uid") for path in _closed(facts, who, request, kept)]
    base += [
        Mount(kind=MountKind.PROC, target=GuestPath("/proc"), reason="the sandbox's own processes"),
        Mount(kind=MountKind.DEV, target=GuestPath("/dev"), reason="null zero full random urandom tty ptmx"),
        _tmpfs("/dev/shm", 0o1777, limits.shm_bytes, reason="POSIX shared memory"),
    ]
    laid = list(_lay([*kept, private], facts, open_root=open_root))
    sealed = [mount.target for mount in laid if mount.kind is MountKind.TMPFS]
    way_in = Mount(kind=MountKind.RO_BIND, source=request.inside, target=INSIDE, reason="the first process's own code")
    temporary = _tmpfs(TEMPORARY, 0o700, limits.tmp_bytes, reason="private temporary files")
    seals = [Mount(kind=MountKind.READ_ONLY, target=path, reason="the view is fixed") for path in (*sealed, "/dev", "/")]
    return [*base, *laid, way_in, temporary, *seals]


_DEFAULT = Source(scope="default")


def _closed(facts: HostFacts, who: Identity, request: Request, regions: Sequence[Region]) -> list[str]:
    """As root: the trees that only an id-mapped mount opens to the command's unprivileged uid, and /tmp.

    /tmp because staging hides the host's behind its own (sandbox/staging.py); of every place the command was
    given, the topmost directory that others may not enter.
    """
    if not who.idmap or any(region.path == "/" and region.access is Access.DENY for region in regions):
        return []
    found = {"/tmp"}
    for path in (facts.home, request.cwd, *(region.path for region in regions if region.access is Access.WRITE)):
        parts = path.split("/")
        above = ("/".join(parts[: depth + 1]) for depth in range(1, len(parts)))
        closed = next((top for top in above if _is_closed(facts, top)), "")
        found |= {closed} if closed else set()
    return sorted(path for path in found if not any(path != top and below(path, top) for top in found))


def _is_closed(facts: HostFacts, path: str) -> bool:
    known = fact(facts, path)
    return known.kind is PathKind.DIRECTORY and not known.others_read


def _lay(regions: Sequence[Region], facts: HostFacts, *, open_root: bool) -> Iterable[Mount]:
    groups: dict[str, list[Region]] = {}
    for region in sorted(regions, key=lambda region: region.path.split("/")):
        groups.setdefault(region.path, []).append(region)
    opened = [r.path for r in regions if r.access in (Access.READ, Access.WRITE)]
    stack = [_State("/", open_root)]
    for path, group in groups.items():
        while not below(path, stack[-1].path):
            stack.pop()
        here, absent = stack[-1], fact(facts, path).kind is PathKind.ABSENT and path != "/run"
        if here.firm or path == "/":
            continue
        state = _decide(path, {region.access: region for region in group}, here)
        if absent:
            # A name that is sealed before it exists; what does not exist needs no other treatment.
            if here.writable and state.sealed and not here.sealed:
                yield _mount(MountKind.COVER, group[0], absent=True)
            continue
        nested = not state.firm and any(other != path and below(other, path) for other in opened)
        yield from _change(group, here, state, facts, nested=nested)
        stack.append(state)


def _decide(path: str, asked: dict[Access, Region], here: _State) -> _State:
    """What holds at `path`, given its surroundings and the regions on it."""
    denial = asked.get(Access.DENY)
    sealed = here.sealed or Access.SEAL in asked
    if denial and (denial.firm or Access.READ not in asked):
        return _State(path, readable=False, sealed=sealed, firm=denial.firm)
    writable = not sealed and (here.writable or Access.WRITE in asked)
    opened = here.readable or Access.READ in asked or Access.WRITE in asked
    return _State(path, readable=opened, writable=writable and opened, sealed=sealed)


def _change(group: list[Region], here: _State, state: _State, facts: HostFacts, *, nested: bool) -> Iterable[Mount]:
    """The mount that leads from one state to the other, if they differ."""
    region = group[0]
    kind = fact(facts, region.path).kind
    if here.readable and not state.readable:
        denial = next(region for region in group if region.access is Access.DENY)
        if nested or region.path == "/run":
            yield _tmpfs(region.path, 0o755, _EMPTY_BYTES, reason=denial.reason)
        else:
            yield _mount(MountKind.COVER, denial, directory=kind is PathKind.DIRECTORY, text=denial.text)
    elif state.writable and not here.writable:
        yield _mount(MountKind.OVERLAY if kind is PathKind.DIRECTORY else MountKind.BIND, region, source=region.path)
    elif state.readable and not here.readable and kind is PathKind.SYMLINK:
        yield _mount(MountKind.SYMLINK, region, text=fact(facts, region.path).link)
    elif state.readable != here.readable or state.writable != here.writable:
        yield _mount(MountKind.RO_BIND, region, source=region.path)


_EMPTY_BYTES = 1 << 20


def _mount(kind: MountKind, region: Region, **fields: object) -> Mount:
    known = {"target": GuestPath(region.path), "reason": region.reason, "origin": region.origin}
    return msgspec.convert({"kind": kind, **known, **fields}, Mount)


def _bind(path: str, reason: str) -> Mount:
    return Mount(kind=MountKind.RO_BIND, source=HostPath(path), target=GuestPath(path), reason=reason)


def _tmpfs(path: str, mode: int, size_bytes: int, *, reason: str) -> Mount:
    return Mount(kind=MountKind.TMPFS, target=GuestPath(path), mode=mode, size_bytes=size_bytes, reason=reason)
