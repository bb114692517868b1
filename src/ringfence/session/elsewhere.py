"""Where a run's layers lie if the state directory cannot hold them, as on the overlay that a container's root is.

Found out by trying, after a boundary could not be built, and remembered in the state directory; `places.runs` reads it.
What is found lies in memory: it is gone after a reboot, and with it what was not applied and the way back.
"""

import os
from collections.abc import Iterator

from ringfence.model.errors import HostError
from ringfence.sandbox import attempt, facts
from ringfence.sandbox.doctor import OVERLAY, Finding, Status

from . import places


def candidates() -> Iterator[tuple[str, str]]:
    """Directories of other file systems, each with the place that runs would get there."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        yield runtime, f"{runtime}/ringfence/runs"
    yield "/dev/shm", f"/dev/shm/ringfence-{os.geteuid()}/runs"


def search() -> str:
    """The first place where an overlay's layers can lie, found by building one; empty if there is none."""
    idmap = os.getuid() == 0 and facts.has_capability(facts.CAP_SYS_ADMIN)
    for directory, place in candidates():
        try:
            if attempt.start(facts.bubblewrap(), idmap=idmap, overlay_on=directory).ok:
                return place
        except (OSError, HostError):
            continue
    return ""


def weighed(findings: list[Finding]) -> list[Finding]:
    """The findings of `doctor.diagnose`, with an overlay that is missing degraded to one that lies elsewhere."""
    return [
        _weighed(found) if found.name == OVERLAY and found.status is Status.MISSING else found for found in findings
    ]


def _weighed(found: Finding) -> Finding:
    place = places.elsewhere(places.state()) or search()
    if not place:
        return found
    space = os.statvfs(os.path.dirname(os.path.dirname(place)))
    detail = f"{found.detail}; layers lie in memory at {place} ({space.f_bavail * space.f_frsize >> 20} MiB free)"
    remedy = "set XDG_STATE_HOME to a directory on ext4, xfs, btrfs or tmpfs, as a container's volume is"
    return Finding(name=OVERLAY, status=Status.DEGRADED, detail=detail, remedy=remedy)


def move() -> str:
    """Search, and let runs lie there from now on; empty if there is no place, or they lie elsewhere already."""
    if places.elsewhere(places.state()):
        return ""
    place = search()
    if place:
        with open(f"{places.state()}/{places.ELSEWHERE}", "xb") as file:
            file.write(os.fsencode(place))
    return place
