"""Where siblings meet: the audit that a run reports to, and the apply that ends it. Imported after the fork."""

import fcntl
import os
import time

from ringfence.audit.writer import AuditWriter
from ringfence.workspace import layout

from . import places

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from ringfence.sandbox.artefact import Artefact
    from ringfence.sandbox.supervise import Fields
    from ringfence.workspace.layout import Created


class Recorder:
    """Events of one run, to the audit; denials and limits are also kept for the lines at the end."""

    def __init__(
        self, run: str, policy: "tuple[str, int]", denials: "list[tuple[str, str]]", limits: "list[str]"
    ) -> None:
        fsync, rotate_bytes = policy
        self.run = run
        self.denials = denials
        self.limits = limits
        self.writer = AuditWriter(places.audit(), fsync=fsync, rotate_bytes=rotate_bytes)

    def report(self, kind: str, code: str, fields: "Fields") -> None:
        """Append one event; raise SandboxError when it cannot be recorded, which ends the run."""
        self.writer.record_fields(kind, self.run, time.time_ns(), code, fields=fields)
        if kind == "limit":
            self.limits.append(code)
        if kind == "denial":
            self.denials.append((code, str(fields.get("target") or fields.get("call") or "")))

    def close(self) -> None:
        """Make the run's records durable as policy asks."""
        self.writer.close()


def report_lost(runs: str, record: Recorder) -> None:
    """Record runs whose supervisor ended without recording their end: killed, or the machine went down.

    Such a run is dead (its boundary ends with its supervisor); what it wrote can still be applied or discarded.
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


def finish(artefact: "Artefact", created: "Created", record: Recorder) -> "Ending | None":
    """Apply the overlay as policy asks, record what was held back, and remove an empty run directory."""
    if artefact.workspace[1] != "overlay" or not written(created.directory, len(artefact.lowers)):
        from ringfence.workspace import removal

        removal.remove_tree(created.directory)
        return None
    from . import applying

    return applying.finish(artefact, created, record)


def written(directory: str, layers: int) -> bool:
    """Whether any upper layer holds anything."""
    uppers = [f"{directory}/upper"] + [f"{directory}/upper.{number}" for number in range(1, layers)]
    for upper in uppers:
        with os.scandir(upper) as entries:
            if next(entries, None) is not None:
                return True
    return False
