"""Where siblings meet: the audit that a run reports to, and the apply that ends it. Imported after the fork."""

import _json
import _thread
import fcntl
import os
import time

from ringfence.audit.writer import AuditWriter
from ringfence.model.errors import SandboxError
from ringfence.sandbox import garbage
from ringfence.workspace import layout

from . import ground, places

TERMS = "terms.json"

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from collections.abc import Callable

    from ringfence.model.ports import Companion
    from ringfence.sandbox.artefact import Artefact
    from ringfence.sandbox.supervise import Fields, Supervisor
    from ringfence.workspace.layout import Created

    from .egress import Way
    from .journal import Event, Journal
    from .mirroring import Mirroring
    from .run import Run
    from .tainting import Tainting


HINT_S = 2.0  # most programs have given up by then and said so themselves; npm would try for a minute
LOOKUP = "look-up of a name"  # sandbox/notify.py
NO_NETWORK = "ringfence: the network is off, so no name can be looked up; `--allow HOST` opens it to a host"
OUT_OF_REACH = ("unreachable", "timed-out", "not-found")
UNREACHED_KEPT = 100


class Kept:
    """What is kept of a run's events beside the audit."""

    __slots__ = ("denials", "limits", "notice", "unreached")

    def __init__(self) -> None:
        self.notice: Callable[[str], None] = lambda line: None
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
        self.going_on = _thread.allocate_lock()  # held until the end once a hint waits to be said
        self.lock = (
            _thread.allocate_lock()
        )  # the supervisor, the egress and the signals report from threads of their own
        self.journal: Journal | None = None
        self.deferred: list[Event] = []  # noted in the journal
        self.noting = _thread.allocate_lock()

    def report(self, kind: str, code: str, fields: "Fields") -> None:
        """Append one event; raise SandboxError when it cannot be recorded, which ends the run."""
        self.append([(kind, code, fields, time.time_ns())])
        if kind == "limit":
            self.kept.limits.append(code)
        if kind == "egress" and code in OUT_OF_REACH and len(self.kept.unreached) < UNREACHED_KEPT:
            self.kept.unreached.append(str(fields.get("target") or ""))
        if kind == "denial":
            self.kept.denials.append((code, str(fields.get("target") or fields.get("call") or "")))
            if fields.get("target") == LOOKUP and self.going_on.acquire(blocking=False):
                _thread.start_new_thread(self.hint, (HINT_S,))

    def hint(self, delay_s: float) -> None:
        """Say once, unless the run ends before, why a program waits; not where another one paints the screen."""
        if not self.going_on.acquire(timeout=delay_s) and not paints(2):
            self.kept.notice(NO_NETWORK)

    def defer(self, kind: str, code: str, fields: "Fields") -> None:
        """Append an event with the next one, or at the next `flush`; until then the journal has it."""
        if self.journal is None:
            self.report(kind, code, fields)
            return
        event = (kind, code, fields, time.time_ns())
        with self.noting:
            self.journal.note(event)
            self.deferred.append(event)

    def append(self, events: "list[Event]") -> None:
        """Append what was deferred, and then `events`."""
        with self.lock:
            with self.noting:
                found, self.deferred = self.deferred, []
                turned = self.journal.turn() if found and self.journal else -1
            self.writer.record_all(self.run, [*found, *events])
            if turned >= 0 and self.journal:
                self.journal.clear(turned)

    def flush(self) -> None:
        """Append what was deferred; raise SandboxError when it cannot be recorded."""
        if self.deferred:
            self.append([])

    def finish(self) -> None:
        """Append what was deferred; the run says nothing any more."""
        self.flush()
        if self.journal:
            self.journal.close()
        if self.going_on.locked():
            self.going_on.release()

    def make_durable(self) -> None:
        """Bring the run's records to disk as policy asks; raise SandboxError if that fails, which is recorded."""
        try:
            self.writer.close()
        except SandboxError as error:
            self.report("lost", "unsynced", {"reason": str(error)})
            raise

    def close(self) -> None:
        """Both."""
        self.finish()
        self.make_durable()


def paints(terminal: int) -> bool:
    """Whether a program has the terminal to itself: it reads keys, not lines."""
    import termios

    return os.isatty(terminal) and not termios.tcgetattr(terminal)[3] & termios.ICANON


def hold_mounts(run: "Run", supervisor: "Supervisor") -> None:
    """Keep the end of a run from waiting until they are gone, where an answer does not come before that."""
    if run.is_brief and run.put_off is None and not run.assignment:
        run.mounts = garbage.hold_mounts(supervisor.init)


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


def remove_skeleton(found: "ground.Ground") -> None:
    """Take away what hides names, and the parents of stand-ins that nothing was written to.

    SECURITY: by now the command may have put links in their place; none is followed (docs/threats.md, W1).
    """
    from ringfence.workspace import removal

    uppers = found.uppers()
    if found.artefact.whiteouts:
        from . import hiding

        hiding.reveal(found.artefact, uppers)
    while found.skeleton:
        number, relative = found.skeleton.pop()
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
    denied, known = (
        ", ".join(f"[{quoted(text)}, {str(said).lower()}]" for text, said in pairs)
        for pairs in (artefact.deny_write, artefact.interpreters)
    )
    fsync, rotate_bytes = artefact.audit
    text = f'{{"lowers": [{lowers}], "deny_write": [{denied}], "max_bytes": {artefact.workspace_bytes},'
    text += f' "interpreters": [{known}],'
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
                record_noted(place, record)
                record.report("lost", "", {"lost": name})
        except OSError:
            continue  # alive, or gone in the meantime
        finally:
            os.close(lock)


def record_noted(place: str, record: Recorder) -> None:
    """Append what a run that is lost had noted and not appended any more, in its name."""
    if not os.path.exists(f"{place}/journal.0"):
        return
    from . import journal

    record.writer.record_all(os.path.basename(place), journal.left(place))


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


def finish(run: "Run", created: "Created", record: Recorder, mirroring: "Mirroring | None" = None) -> "Ending | None":
    """Apply the overlay as policy asks, and record what was held back; a run that left nothing `is_spent`."""
    artefact = run.artefact
    if mirroring and mirroring.failure:
        record.report("limit", "live", {"target": mirroring.failure})
    mirrored = mirroring.applied if mirroring else frozenset()
    left = artefact.workspace[1] == "overlay" and written(created.directory, len(artefact.lowers))
    if not left and not mirrored:
        run.is_spent = True
        if run.put_off is not None:
            ground.withdraw(created)
        return None
    garbage.let_go(run.mounts)
    if run.supervisor:
        run.supervisor.settle()  # an overlay that is mounted is none of ours to change below
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
