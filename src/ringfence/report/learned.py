"""What a run reached over the network, as the narrowest rules that would have let it through. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

from ringfence.model.decision import Verdict
from ringfence.model.egress import Egress
from ringfence.policy.egress import Request, decide_connection, decide_request

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that passed, from an `egress` record; `method` is empty for a tunnel."""

    host: str
    port: int
    scheme: str = ""
    method: str = ""
    path: str = ""
    program: str = ""
    received_bytes: int = 0
    sent_bytes: int = 0


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A rule, and what was seen that it rests on. `inspection` is empty for the default."""

    host: str
    ports: tuple[int, ...]
    methods: tuple[str, ...]
    inspection: str
    seen: int
    programs: tuple[str, ...]
    paths: tuple[str, ...]
    sent_bytes: int
    received_bytes: int

    @property
    def writes(self) -> bool:
        """Whether more than reading was seen, or what was seen could not be looked into."""
        return not self.methods or not _READING.issuperset(self.methods)


def propose(records: Iterable[Seen], egress: Egress) -> list[Proposal]:
    """One rule for each host that `egress` does not allow already, in the order of first use."""
    groups: dict[tuple[str, bool], list[Seen]] = {}
    for seen in records:
        if not _allowed(egress, seen):
            groups.setdefault((seen.host, bool(seen.method)), []).append(seen)
    return [_proposal(host, found, inspected=inspected) for (host, inspected), found in groups.items()]


def _allowed(egress: Egress, seen: Seen) -> bool:
    if not seen.method:
        return decide_connection(egress, seen.host, seen.port).verdict is Verdict.ALLOW
    request = Request(
        host=seen.host, port=seen.port, scheme=seen.scheme or "https", method=seen.method, path=seen.path or "/"
    )
    return decide_request(egress, request).verdict is Verdict.ALLOW


def _proposal(host: str, found: Sequence[Seen], *, inspected: bool) -> Proposal:
    return Proposal(
        host=host,
        ports=tuple(sorted({seen.port for seen in found})),
        methods=tuple(sorted({seen.method for seen in found if seen.method})),
        inspection="" if inspected else "sni" if all(seen.scheme == "tls" for seen in found) else "raw",
        seen=len(found),
        programs=tuple(sorted({seen.program for seen in found if seen.program})),
        paths=tuple(dict.fromkeys(seen.path for seen in found if seen.path)),
        sent_bytes=sum(seen.sent_bytes for seen in found),
        received_bytes=sum(seen.received_bytes for seen in found),
    )


def as_entry(proposal: Proposal, reason: str) -> dict[str, object]:
    """The proposal as an entry of `network.allow` in a policy file."""
    entry: dict[str, object] = {"host": proposal.host}
    if set(proposal.ports) != {80, 443}:
        entry["ports"] = list(proposal.ports)
    if proposal.inspection:
        entry["inspection"] = proposal.inspection
    if proposal.methods:
        entry["methods"] = list(proposal.methods)
    return {**entry, "reason": reason}
