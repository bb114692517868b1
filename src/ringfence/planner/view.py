"""What a path in a view is: the mount it lies on, where host paths show, what can be read and written there.

Rules, as the kernel has them: mounts are made in order, a later one hides what was at and below its target, and a
path lies on the last mount made at or above it. Links that the view itself makes are followed; links on the host
are not known here, so callers ask again about what a path resolves to.
"""

import posixpath
from collections.abc import Iterator, Sequence

import msgspec

from ringfence.model.paths import GuestPath, HostPath
from ringfence.model.plan import Mount, MountKind, Plan

HOST = frozenset({MountKind.BIND, MountKind.RO_BIND, MountKind.OVERLAY})
LIVE = frozenset({MountKind.BIND, MountKind.OVERLAY})
_GONE = frozenset({MountKind.COVER, MountKind.WHITEOUT})
_MOUNTED = HOST | _GONE | {MountKind.TMPFS, MountKind.PROC, MountKind.DEV, MountKind.RUN_FILE}
_WRITABLE = LIVE | {MountKind.TMPFS, MountKind.PROC, MountKind.DEV}
_ENTRIES = frozenset({MountKind.FILE, MountKind.SECRET_FILE, MountKind.DIRECTORY})
_LINKS = 40  # as many as the kernel follows, path_resolution(7)

ROOT = Mount(kind=MountKind.TMPFS, target=GuestPath("/"), reason="what is not named does not exist")


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What can be done at `path`, and the operation of the Plan that decides, with its reason and origin.

    `path` is where the view's own links led; `source` the host path whose content shows there, None where what
    is there belongs to the run. A write to an overlay succeeds and is kept apart. File permissions are not known.
    """

    path: GuestPath
    readable: bool
    writable: bool
    mount: Mount
    source: HostPath | None = None


def within(path: str, directory: str) -> bool:
    """Whether `path` is `directory` or lies below it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def deciding(view: Sequence[Mount], path: str) -> Mount:
    """The mount that `path` lies on; the view's empty root where none is at or above it."""
    over = (mount for mount in reversed(view) if mount.kind in _MOUNTED and within(path, mount.target))
    return next(over, ROOT)


def follow(view: Sequence[Mount], path: str) -> GuestPath:
    """Resolve the links that the view makes; a path that leads in a circle comes back as it is."""
    place = path
    for _ in range(_LINKS):
        links = [number for number, mount in enumerate(view) if mount.kind is MountKind.SYMLINK]
        over = [view[n] for n in links if within(place, view[n].target) and _stands(view, n)]
        if not over:
            return GuestPath(place)
        start = posixpath.dirname(over[-1].target)
        place = posixpath.normpath(posixpath.join(start, over[-1].text) + place[len(over[-1].target) :])
    return GuestPath(path)


def _stands(view: Sequence[Mount], number: int) -> bool:
    """Whether no later mount hides what the operation at `number` made."""
    return deciding(view[number + 1 :], view[number].target) is ROOT


def places(view: Sequence[Mount], host: str) -> Iterator[tuple[Mount, GuestPath]]:
    """Every place where the host's `host` shows: the mount that brings it and the path in the view."""
    for mount in view:
        if mount.kind in HOST and mount.source is not None and within(host, mount.source):
            guest = GuestPath(f"{mount.target.rstrip('/')}{host[len(mount.source.rstrip('/')) :]}")
            if deciding(view, guest) is mount:
                yield mount, guest


def reach(plan: Plan, path: str) -> Reach:
    """Tell whether the absolute `path` can be read and written in the view of `plan`, and what decides."""
    view = plan.mounts
    place = follow(view, posixpath.normpath(path))
    mount = deciding(view, place)
    own = [
        entry for n, entry in enumerate(view) if entry.kind in _ENTRIES and entry.target == place and _stands(view, n)
    ]
    readable = mount.kind not in _GONE
    if mount is ROOT:
        readable = any(within(other.target, place) for other in view)
    sealed = mount.kind is not MountKind.DEV and any(
        seal.kind is MountKind.READ_ONLY and seal.target == mount.target for seal in view
    )
    source = None
    if mount.source is not None and mount.kind in HOST:
        source = HostPath(f"{mount.source}{place[len(mount.target) :]}")
    return Reach(
        path=place,
        readable=readable,
        writable=mount.kind in _WRITABLE and not sealed,
        mount=own[-1] if own and mount.kind not in HOST else mount,
        source=source,
    )
