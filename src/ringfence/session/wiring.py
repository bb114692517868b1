"""Where siblings meet: the audit that a run reports to, and the apply that ends it. Imported after the fork."""

import _json
import _thread
import fcntl
import os
import time

from ringfence.audit.writer import AuditWriter
from ringfence.workspace import layout

from . import places

TERMS = "terms.json"

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from ringfence.model.ports import Companion
    from ringfence.sandbox.artefact import Artefact
    from ringfence.sandbox.supervise import Fields, Supervisor
    from ringfence.workspace.layout import Created

    from .egress import Way
    from .ground import Ground
    from .mirroring import Mirroring
    from .run import Run
    from .tainting import Tainting


OUT_OF_REACH = ("unreachable", "timed-out", "not-found")
UNREACHED_KEPT = 100


class Kept:
    """What is kept of a run's events beside the audit."""

    __slots__ = ("denials", "limits", "unreached")

    def __init__(self) -> None:
        self.denials: list[tuple[str, str]] = []
        self.limits: list[str] = []
        self.unreached: list[str] = []


class Recorder:
    """Events of one run, to the audit; denials, limits and what was out of reach are kept for the lines at the end."""

    def __init__(self, run: str, policy: "tuple[str, int]", kept: "Kept | Run") -> None:
        fsync, rotate_bytes = policy
        self.run = run
        self.kept = kept
        self.writer = AuditWriter(places.audit(), fsync=fsync, rotate_bytes=rotate_bytes)
        self.lock = (
            _thread.allocate_lock()
        )  # the supervisor, the egress and the signals report from threads of their own

    def report(self, kind: str, code: str, fields: "Fields") -> None:
        """Append one event; raise SandboxError when it cannot be recorded, which ends the run."""
        with self.lock:
            self.writer.record_fields(kind, self.run, time.time_ns(), code, fields=fields)
        if kind == "limit":
            self.kept.limits.append(code)
        if kind == "egress" and code in OUT_OF_REACH and len(self.kept.unreached) < UNREACHED_KEPT:
            self.kept.unreached.append(str(fields.get("target") or ""))
        if kind == "denial":
            self.kept.denials.append((code, str(fields.get("target") or fields.get("call") or "")))

    def close(self) -> None:
        """Make the run's records durable as policy asks."""
        self.writer.close()


def begin(artefact: "Artefact", created: "Created") -> None:
    """What has to be written down before the command starts: the terms of this run."""
    if artefact.lowers and not artefact.whiteouts:
        remember(created.directory, artefact)


def described(run: "Run") -> "Fields":
    """The fields of the launch record."""
    path, mode, _ = run.artefact.workspace
    return {
        "argv": list(run.argv),
        "cwd": run.directory,
        "workspace": path,
        "mode": mode,
        "seccomp": run.artefact.profile,
        "plan": run.artefact.plan_digest,
        **run.artefact.trust,
    }


def remove_skeleton(ground: "Ground") -> None:
    """Take away what hides names, and the parents of stand-ins that nothing was written to.

    SECURITY: by now the command may have put links in their place; none is followed (docs/threats.md, W1).
    """
    from ringfence.workspace import removal

    uppers = ground.uppers()
    if ground.artefact.whiteouts:
        from . import hiding

        hiding.reveal(ground.artefact, uppers)
    while ground.skeleton:
        number, relative = ground.skeleton.pop()
        removal.remove_empty(uppers[number], relative.split("/"))


def companions(artefact: "Artefact") -> "list[Companion]":
    """What serves the command from outside because policy says so."""
    if not artefact.signing:
        return []
    from . import signing

    return [signing.signer(artefact)]


def watch_secrets(artefact: "Artefact", directory: str, supervisor: "Supervisor", way: "Way | None") -> "Tainting":
    """Have the supervisor see who reaches for a secret, and the network narrowed for it; before the command starts."""
    from .tainting import Tainting

    found = Tainting(artefact, directory, supervisor.report)
    supervisor.tripwires = found.tripwires()
    supervisor.tripped = found.tripped
    if way:
        way.tainting = found
        way.look = supervisor.observe
        found.notice = way.notice
    return found


def remember(directory: str, artefact: "Artefact") -> None:
    """Keep with the run under which terms it takes place: its options are not known any more when it is applied.

    `session/changes.py` reads it as `Terms`.
    """
    quoted = _json.encode_basestring_ascii
    lowers = ", ".join(quoted(path) for path in artefact.lowers)
    denied = ", ".join(f"[{quoted(pattern)}, {str(literal).lower()}]" for pattern, literal in artefact.deny_write)
    fsync, rotate_bytes = artefact.audit
    text = f'{{"lowers": [{lowers}], "deny_write": [{denied}], "max_bytes": {artefact.workspace_bytes},'
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(f"{directory}/{TERMS}", flags, 0o600), "wb") as file:
        file.write(f'{text} "audit": [{quoted(fsync)}, {rotate_bytes}]}}\n'.encode("ascii"))


def report_lost(runs: str, record: Recorder) -> None:
    """Record runs whose supervisor ended without recording their end: killed, or the machine went down.

    Such a run is dead (its boundary ends with its supervisor); what it wrote can still be applied or discarded.
    While the command starts: a user may have hundreds of runs lying about, each of which costs 15 us.
    """
    for name in os.listdir(runs):
        place = f"{runs}/{name}"
        try:
            lock = os.open(f"{place}/{layout.LOCK}", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if layout.mark_ended(place):
                record.report("lost", "", {"lost": name})
        except OSError:
            continue  # alive, or gone in the meantime
        finally:
            os.close(lock)


class Ending:
    """What became of the workspace: how many changes were applied, which were held back or in conflict, and why."""

    __slots__ = ("applied", "kept", "pending")

    def __init__(self) -> None:
        self.applied = 0
        self.kept: list[tuple[str, str]] = []
        self.pending = False


def mirror(artefact: "Artefact", created: "Created") -> "Mirroring | None":
    """Begin to carry files over while the run goes on, where policy asks for it."""
    if artefact.workspace[1:] != ("overlay", "live"):
        return None
    from . import mirroring

    return mirroring.Mirroring(artefact, created)


def finish(
    artefact: "Artefact", created: "Created", record: Recorder, mirroring: "Mirroring | None" = None
) -> "Ending | None":
    """Apply the overlay as policy asks, record what was held back, and remove an empty run directory."""
    if mirroring and mirroring.failure:
        record.report("limit", "live", {"target": mirroring.failure})
    mirrored = mirroring.applied if mirroring else frozenset()
    left = artefact.workspace[1] == "overlay" and written(created.directory, len(artefact.lowers))
    if not left and not mirrored:
        from ringfence.workspace import removal

        removal.remove_tree(created.directory)
        return None
    from . import applying

    return applying.finish(artefact, created, record, mirrored)


def written(directory: str, layers: int) -> bool:
    """Whether any upper layer holds anything."""
    uppers = [f"{directory}/upper"] + [f"{directory}/upper.{number}" for number in range(1, layers)]
    for upper in uppers:
        with os.scandir(upper) as entries:
            if next(entries, None) is not None:
                return True
    return False
