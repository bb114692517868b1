"""Taints a run that has reached for a secret: recorded, told to the operator, and its network narrowed at once.

Three things taint: a decoy that no program opens unasked, a file of the workspace that holds secrets (both are seen by
inotify, sandbox/watch.py), and a placeholder where it may not be. What is lost follows from policy's `on-taint`
(policy/taint.py). A workspace secret is there to be read, by tests that load `.env`: with `no-new-hosts` the hosts that
rules name in full stay within reach then, connected to before or not. The others lose what they have not spoken with.

A run stays tainted until its end. What the operator allows afterwards, by name, holds; a second cause of the same
weight changes nothing, a heavier one narrows further what the operator has not named.

Import budget: built-in modules only, until something is tainted; every run loads this while its boundary is built.
"""

import _thread
import os
from itertools import islice

from ringfence.planner import secret_files, system

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from ringfence.model.egress import Egress, EgressRule
    from ringfence.sandbox.artefact import Artefact

    from .answering import Answering

    Fields = Mapping[str, str | int | bool | list[str] | None]
    Report = Callable[[str, str, Fields], None]

MARK = "tainted"
"""A file in the run's directory: its text is the first cause."""
DEPTH = 3
NAMES_AT_MOST = 4096
WATCHED_AT_MOST = 64
BEGINNING_BYTES = 4096
CAUSES_AT_MOST = 100
READ, REACHED = 1, 2  # how much a cause weighs
CODES = {"secret-read": READ}
WORDS = {
    "secret-read": "it has opened a file with secrets",
    "decoy-opened": "it has opened a decoy",
    "events-lost": "it has opened more than can be seen",
    "secret-misuse": "it has sent a placeholder where it may not go",
    "secret-leak": "it has sent what looks like a secret, which did not leave",
}


class Tainting:
    """What one run has reached for, and what it lost; methods may be called from any thread."""

    def __init__(self, artefact: "Artefact", directory: str, report: "Report") -> None:
        self.artefact = artefact
        self.directory = directory
        self.report = report
        self.notice: Callable[[str], None] = lambda line: None
        self.answering: Answering | None = None
        self.lock = _thread.allocate_lock()
        self.weight = self.narrowed = 0
        self.causes: set[tuple[str, str]] = set()
        self.code = ""  # of the first cause
        self.whole: Egress | None = None  # the rules before the first narrowing
        self.left: Egress | None = None  # what was left by the last narrowing
        self.reasons: dict[str, str] = {}

    def tripwires(self) -> "list[tuple[str, str]]":
        """Paths inside whose opening taints, each with the code of that.

        Only on the overlay: a file that is bound directly is opened on the host as well, and nobody could tell.
        """
        path, mode, _ = self.artefact.workspace
        if mode == "overlay":
            covered = frozenset(target for target, *_ in self.artefact.watches)
            self.reasons = dict(find(path, covered))
        return [(one, "secret-read") for one in self.reasons]

    def tripped(self, code: str, path: str) -> None:
        """Something was opened: a tripwire, a decoy or a denied path; on the supervisor's thread."""
        if code == "secret-read":
            self.taint(code, {"target": path, "what": self.reasons.get(path, "")})
        elif code == "path-protected" and (what := bait(path, self.artefact.cwd)):
            self.taint("decoy-opened", {"target": path, "what": what})
        elif code == "events-lost":  # SECURITY: what was opened behind a flood of other openings
            self.taint(code, {"target": "", "what": "too much was opened at once to be seen"})

    def taint(self, code: str, fields: "Fields") -> None:
        """Record a cause, once for each code and target, and narrow the network; raise SandboxError if unrecorded."""
        key = code, str(fields.get("target") or "")
        with self.lock:
            if key in self.causes or len(self.causes) >= CAUSES_AT_MOST:
                return
            first = not self.causes
            self.causes.add(key)
            self.weight = max(self.weight, CODES.get(code, REACHED))
            response = self.artefact.on_taint
            self.report("taint", code, {**fields, "response": response})
            if first:
                self.code = code
                self.mark(code, key[1])
            self.narrow()
        if first:
            self.tell(code, key[1], response)

    def join(self, answering: "Answering") -> None:
        """Take note of who answers for the network; what was tainted before narrows it before the first answer."""
        with self.lock:
            self.answering = answering
            self.narrow()

    def narrow(self) -> None:
        """Put tighter rules in force, where the weight has grown; the lock is held."""
        if self.answering is None or self.weight <= self.narrowed:
            return
        self.narrowed = self.weight
        answering = self.answering
        with answering.changing:
            self.whole = self.whole or answering.egress
            self.left = narrowed(
                answering.egress,
                self.left,
                self.artefact.on_taint,
                frozenset(answering.contacted),
                named=self.weight == READ,
            )
            answering.replace(self.left)

    def lost(self, fields: "Fields") -> str:
        """Why what a denial is about is refused, where only the taint refuses it; else empty."""
        if self.whole is None or self.answering is None:
            return ""
        import msgspec

        from ringfence.model.decision import Verdict
        from ringfence.policy import connect

        try:
            what = connect.asked(str(fields.get("target") or ""))
        except ValueError:
            return ""
        if fields.get("method"):
            method, path = str(fields["method"]), str(fields.get("path") or "/")
            what = msgspec.structs.replace(what, scheme="https", method=method, path=path)
        before, now = (connect.decide(egress, what) for egress in (self.whole, self.answering.egress))
        if now.verdict is not Verdict.DENY or now.rule or before.verdict is Verdict.DENY:
            return ""
        return f"lost when the run was tainted ({self.code})"

    def mark(self, code: str, target: str) -> None:
        """Leave word for `ringfence runs`."""
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(f"{self.directory}/{MARK}", flags, 0o600), "w", encoding="utf-8", errors="replace") as file:
            file.write(f"{code} {target}\n")

    def tell(self, code: str, target: str, response: str) -> None:
        """Say it to the operator."""
        if not self.artefact.egress or response == "record":
            return
        run = os.path.basename(self.directory)
        why = f"{WORDS.get(code, code)} ({target})" if target else WORDS.get(code, code)
        how = f"`ringfence allow --run {run} HOST` gives a host back"
        self.notice(f"ringfence: this run is tainted: {why}; from now on: {response}; {how}")


def narrowed(
    egress: "Egress",
    left: "Egress | None",
    response: str,
    contacted: "frozenset[tuple[str, int]]",
    *,
    named: bool,
) -> "Egress":
    """The rules from now on; what the operator has added since the rules were narrowed to `left` stays as it is.

    SECURITY: rules that are too many for one message to the proxy would end it, and the network with it; then nothing
    is taken for spoken with.
    """
    import msgspec

    from ringfence.model.secrets import TaintResponse
    from ringfence.network.messages import PACKET_BYTES
    from ringfence.policy.taint import tainted

    own: tuple[EgressRule, ...] = ()
    if left is not None:
        own = tuple(rule for rule in egress.rules if rule not in left.rules)
        egress = msgspec.structs.replace(egress, rules=tuple(rule for rule in egress.rules if rule in left.rules))

    def after(spoken: "frozenset[tuple[str, int]]") -> "Egress":
        found = tainted(egress, TaintResponse(response), spoken, named=named)
        return msgspec.structs.replace(found, rules=(*own, *found.rules))

    found = after(contacted)
    return found if len(msgspec.json.encode(found)) < PACKET_BYTES - 1024 else after(frozenset())


def mark_of(directory: str) -> str:
    """What a kept run was first tainted by; empty where it was not."""
    try:
        with open(f"{directory}/{MARK}", encoding="utf-8", errors="replace") as file:
            return file.read(4096).strip()
    except OSError:
        return ""


def bait(path: str, home: str) -> str:
    """What stands behind a decoy that no program opens unasked; empty for any other path."""
    name = path.removeprefix(f"{home}/")
    if name == path or name in system.OPENED_UNASKED:
        return ""
    return dict(system.DECOYS).get(name, "")


def find(workspace: str, covered: "Collection[str]" = ()) -> "Iterator[tuple[str, str]]":
    """Files below `workspace` that hold secrets, each with what it is; no link is followed.

    SECURITY: those that are `covered` are none of ours, and may be the source of a value that this process never holds.

    Looks at the upper levels first, and no further than `DEPTH` levels, `NAMES_AT_MOST` names and `WATCHED_AT_MOST`
    files: it has the time in which the boundary is built.
    """
    level, names, count = [workspace], 0, 0
    for _ in range(DEPTH):
        below: list[str] = []
        for directory in level:
            for entry in listed(directory):
                names += 1
                if names > NAMES_AT_MOST or count >= WATCHED_AT_MOST:
                    return
                if entry.is_dir(follow_symlinks=False):
                    below += [entry.path] if entry.name not in secret_files.PASSED_OVER else []
                elif entry.path not in covered and (reason := holds_secret(entry)) is not None:
                    count += 1
                    yield entry.path, reason
        level = below


def listed(directory: str) -> "list[os.DirEntry[str]]":
    """What is in a directory, no more than is looked at; nothing where it cannot be read."""
    try:
        with os.scandir(directory) as entries:
            return list(islice(entries, NAMES_AT_MOST))
    except OSError:
        return []


def holds_secret(entry: "os.DirEntry[str]") -> "str | None":
    """What a file is, where its name and its beginning say that it holds a secret."""
    kind = secret_files.kind(entry.name)
    if kind is None or not entry.is_file(follow_symlinks=False):
        return None
    markers, reason = kind
    try:
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return reason if secret_files.is_marked(markers, os.read(descriptor, BEGINNING_BYTES)) else None
    finally:
        os.close(descriptor)
