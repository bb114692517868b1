"""Whether a checkout's own settings may take effect in a run: policy, the user's decisions and what is there, joined.

Used by whatever prepares a run and by `ringfence trust`. Nothing of a checkout is parsed before the answer is known but
what `trust/` says; ringfence's own project policy is read only where the answer is yes.
"""

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator

import msgspec

from ringfence.audit.writer import AuditWriter
from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.model.event import EventKind
from ringfence.model.paths import HostPath
from ringfence.planner import git
from ringfence.planner.request import Request
from ringfence.policy.effective import PathRule, Policy, TrustRules
from ringfence.sandbox import facts
from ringfence.trust import scan, store
from ringfence.trust.manifest import Manifest

from . import places, progress

PULLS_IN = re.compile(rb"(?:^|\s|\()@\S|!`")  # a text that imports others, or runs commands when it is used


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """`why` says who trusted it, or what keeps it from being trusted; `manifest` is None where nobody asked."""

    trusted: bool
    why: str
    mode: str = "off"
    workspace: str = ""
    manifest: Manifest | None = None
    signed: frozenset[str] = frozenset()

    @property
    def hidden(self) -> tuple[str, ...]:
        """Host paths that must not exist in a run, none below another."""
        if self.manifest is None:
            return ()
        waiting = () if self.trusted else {*self.manifest.hidden} - self.signed
        found = sorted({*self.manifest.never, *waiting}, key=_components)
        kept: list[str] = []
        for path in found:
            if not kept or not path.startswith(f"{kept[-1]}/"):
                kept.append(path)
        return tuple(os.path.join(self.workspace, path) for path in kept)

    @property
    def recorded(self) -> dict[str, str]:
        """What the audit says: the standing, and the digest it is about."""
        if self.manifest is None:
            return {}
        return {"trust": self.why if self.trusted else f"not trusted: {self.why}", "manifest": self.manifest.digest}


def _components(path: str) -> list[str]:
    return path.split("/")


def standing(rules: TrustRules, workspace: str, given: str = "") -> Standing:
    """What may take effect in `workspace`; `given` is a digest that the caller vouches for.

    Raises UsageError where `given` is not the digest of what is there.
    """
    if rules.mode == "off" and not given:
        return Standing(trusted=True, why="nobody asked")
    return weighed(rules, workspace, given)


def weighed(rules: TrustRules, workspace: str, given: str = "") -> Standing:
    """The same, whether policy demands trust or not."""
    manifest = examine(workspace)
    signed = frozenset(approved(manifest, workspace, rules.signers)) if rules.signers else frozenset()
    why = settled(rules, manifest, workspace, given)
    if why in ("unknown", "not pinned") and not given and {*manifest.hidden} <= signed:
        why = "signed"
    if given and why != "given":
        was = f"`{manifest.digest}`" if why == "unknown" else f"one that policy does not let you trust ({why})"
        raise UsageError(f"the digest of this checkout is {was}", hint="`ringfence trust --diff` shows what changed")
    trusted = why in ("nothing to trust", "given", "pinned", "decided", "signed")
    kept = frozenset() if why == "forbidden" else signed
    return Standing(trusted=trusted, why=why, mode=rules.mode, workspace=workspace, manifest=manifest, signed=kept)


def settled(rules: TrustRules, manifest: Manifest, workspace: str, given: str) -> str:
    """Whose word decides: a prohibition before a pin, a pin before the caller's and the user's own."""
    digest = manifest.digest
    if digest in rules.forbidden:
        return "forbidden"
    if not manifest.hidden and given in ("", digest):
        return "given" if given else "nothing to trust"
    if digest in rules.pinned:
        return "given" if given == digest else "pinned"
    if rules.only_pinned:
        return "not pinned"
    if given == digest:
        return "given"
    return "decided" if not given and store.trusts(places.trust(), workspace, digest) else "unknown"


def approved(manifest: Manifest, workspace: str, signers: tuple[str, ...]) -> Iterator[str]:
    """Instruction files that are signed, and that pull in nothing that the signature does not cover."""
    from ringfence.trust import signatures  # cryptography costs 30 ms, and few name signers

    for one in manifest.entries:
        if one.top != one.path or one.kind != "file" or not one.path.lower().endswith(".md"):
            continue
        content, signature = (read(os.path.join(workspace, f"{one.path}{end}")) for end in ("", ".sig"))
        whole = hashlib.sha256(content).hexdigest() == one.digest and not PULLS_IN.search(content)
        if whole and signatures.is_signed(content, signature, signers):
            yield one.path


def read(path: str) -> bytes:
    """What is in a regular file, as far as one that somebody signs may be long; nothing where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with open(descriptor, "rb") as file:
        return file.read(scan.TEXT_LIMIT_BYTES) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""


def examine(workspace: str) -> Manifest:
    """The manifest of the checkout at `workspace`, with the git directory outside that it works with."""
    request = Request(argv=(), workspace=HostPath(workspace), cwd=HostPath(workspace), inside=HostPath(""))
    found = facts.gather([f"{workspace}/.git"], [], (), texts=[f"{workspace}/.git"])
    while more := [path for path in git.references(found, request) if path not in found.paths]:
        found = facts.look(found, more, {}, read=True)
    with progress.shown("looking for what takes effect by itself"):
        return scan.examine(workspace, git.repositories(found, request))


def decide(policy: Policy, workspace: str, manifest: Manifest) -> None:
    """Remember that the user trusts what is there now; raise OSError or SandboxError where that cannot be kept."""
    record(policy, "granted", workspace, manifest.digest)
    decision = store.Decision(
        workspace=workspace,
        inode=os.stat(workspace).st_ino,
        digest=manifest.digest,
        time_ns=time.time_ns(),
        contents=printable_contents(manifest),
    )
    store.remember(places.trust(), decision)


def revoke(policy: Policy, workspace: str) -> int:
    """Forget every decision about `workspace`; return how many there were."""
    count = store.revoke(places.trust(), workspace)
    if count:
        record(policy, "revoked", workspace, "")
    return count


def record(policy: Policy, code: str, workspace: str, digest: str) -> None:
    """Put the user's word in the audit, which belongs to no run."""
    writer = AuditWriter(places.audit(), fsync=policy.audit_fsync, rotate_bytes=policy.audit_rotate_bytes)
    fields = {"workspace": workspace, "manifest": digest or None}
    writer.record_fields(EventKind.TRUST.value, "", time.time_ns(), code, fields=fields)
    writer.close()


def changed(workspace: str, manifest: Manifest) -> list[tuple[str, str]] | None:
    """What is `new`, `changed` or `gone` since the latest decision, by path; None where there is no decision."""
    known = store.decisions(places.trust(), workspace)
    if not known:
        return None
    before, now = known[0].contents, printable_contents(manifest)
    paths = sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))
    return [("new" if path not in before else "changed" if path in now else "gone", path) for path in paths]


def printable_contents(manifest: Manifest) -> dict[str, str]:
    """`Manifest.contents` as text that can be stored and shown."""
    return {store.printable(path): store.printable(text) for path, text in manifest.contents().items()}


def refuse(standing: Standing, *, hides: bool = True) -> None:
    """Raise UsageError where nothing may run before the checkout is trusted; `hides`: it can be hidden instead."""
    if not standing.trusted and not (hides and standing.mode == "hide"):
        hint = "`ringfence trust` shows what would take effect here, and asks you"
        why = "" if standing.why == "unknown" else f" ({standing.why})"
        raise UsageError(f"this checkout is not trusted{why}, and `trust.mode` is `{standing.mode}`", hint=hint)


def hidden(standing: Standing, directory: str) -> tuple[str, ...]:
    """Host paths that must not exist in a run that works in `directory`.

    Raises UsageError where nothing may run, where a name is none that a plan can hold, or where `directory` is hidden.
    """
    refuse(standing)
    for path in standing.hidden:
        if any("\udc80" <= character <= "\udcff" for character in path):
            place = store.printable(path)
            raise UsageError(f"`{place}` is not trusted, and cannot be hidden: its name is not UTF-8", hint="rename it")
        if directory == path or directory.startswith(f"{path}/"):
            hint = "work in a directory above it, or look at it with `ringfence trust`"
            raise UsageError(f"`{directory}` is hidden, because nobody has trusted it", hint=hint)
    return standing.hidden


def covered(paths: Iterable[str]) -> Iterator[PathRule]:
    """Denials for what must not take effect, where there is no layer in which a name could be missing."""
    for path in paths:
        yield PathRule(pattern=path, literal=True, source=Source(scope="default"), reason="not trusted")


def remarks(standing: Standing) -> list[str]:
    """What a plan says of a checkout that is not trusted."""
    if standing.trusted:
        return []
    found = ["not trusted: what would take effect by itself is hidden, and git inside calls what is tracked deleted"]
    if os.path.lexists(places.project_policy(standing.workspace)):
        found.append("`ringfence.toml` is not read, so what it denies is not denied, until `ringfence trust`")
    return found
