"""What may be reached: names, connections, requests and addresses, decided by the rules of one run.

A deny rule beats an ask rule, that an allow rule, and that the verdict on what no rule speaks of; an ask rule of a
project only asks where all else would allow. Rules with methods or paths speak of requests only: the connection is
allowed where one of them could allow something, and each request on it is decided again. Where requests cannot be seen
(`inspection` says INSPECT, and the bytes are neither HTTP nor TLS with HTTP in it) nothing of what such rules allow is
allowed: the tunnel must be refused.

Preconditions: hosts are canonical (`hosts.canonical_host`), paths begin with `/`, without query, their percent-encoded
unreserved characters decoded.
INVARIANT: adding a deny rule never loosens a decision (tests/properties/test_egress_policy.py).
"""

from collections.abc import Sequence

import msgspec

from ringfence.model.decision import Decision, Source, Verdict
from ringfence.model.egress import DEFAULT_PORTS, HOST_LOOPBACK, Egress, EgressRule, Inspection

from . import urls
from .addresses import METADATA, in_networks, is_single, special
from .hosts import bracketed, canonical_host, is_address, matches

EVERY_PORT = ((1, 65535),)

_NO_RULE = "no rule allows it"
_REASONS = {Verdict.ALLOW: "allowed by a rule", Verdict.ASK: "a rule asks first", Verdict.DENY: "denied by a rule"}
_UNKNOWN = {
    Verdict.ALLOW: "no rule denies it, and this run learns",
    Verdict.ASK: "no rule speaks of it, and what is unknown is asked about",
    Verdict.DENY: _NO_RULE,
}
# Rules that match a host and port, for the rules asked about last: every request asks several times. Threads may
# look at the same time; each sees the rules and the answers of one moment.
_MATCHED = 4096
_matched: tuple[tuple[EgressRule, ...], dict[tuple[str, int], tuple[EgressRule, ...]]] = ((), {})
_DEPTHS = (Inspection.INSPECT, Inspection.SNI, Inspection.RAW)  # deepest first


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request; `scheme` is `http` or `https`."""

    host: str
    port: int
    scheme: str
    method: str
    path: str


def matching(egress: Egress, host: str, port: int) -> tuple[EgressRule, ...]:
    """Return the rules about `host` on `port`, of every verdict, in the order of the policy."""
    global _matched
    rules, found = _matched
    if rules is not egress.rules:
        found = {}
        _matched = (egress.rules, found)
    answer = found.get((host, port))
    if answer is None:
        answer = tuple(rule for rule in egress.rules if matches(rule.host, host) and _covers(rule, port))
        if len(found) >= _MATCHED:
            found.clear()
        found[host, port] = answer
    return answer


def decide_name(egress: Egress, host: str) -> Decision:
    """Decide whether a name may be answered: as loosely as a connection to some port of it would be.

    The loosest port is the first of a range in a rule, the one behind such a range, or one that is listened on.
    """
    rules = tuple(rule for rule in egress.rules if matches(rule.host, host))
    ports = {low for rule in rules for low, _ in rule.ports}
    ports |= {high + 1 for rule in rules for _, high in rule.ports if high < 65535}
    ports |= {low for low, _ in DEFAULT_PORTS} | set(egress.listen)
    decisions = [_connection(egress, [rule for rule in rules if _covers(rule, port)]) for port in sorted(ports)]
    return min(decisions, key=lambda decision: decision.verdict)


def decide_connection(egress: Egress, host: str, port: int) -> Decision:
    """Decide on a connection; what only rules with methods or paths allow is allowed, to be decided by request.

    An ASK is one question about host and port. `decide_request` gives an equal Decision for every request that the
    same rule covers, so that whoever asked once can tell that it has been answered.
    """
    return _connection(egress, matching(egress, host, port))


def decide_request(egress: Egress, request: Request) -> Decision:
    """Decide on one request. It includes the decision on its connection: what that denies is denied."""
    rules = [rule for rule in matching(egress, request.host, request.port) if _speaks_of(rule, request)]
    return _settle(rules, _unknown(egress))


def inspection(egress: Egress, host: str, port: int) -> Inspection:
    """Return the deepest look that a rule about `host` and `port` demands; without a rule it is INSPECT.

    A rule with methods or paths demands INSPECT, also one that denies: unseen, it could not deny.
    """
    rules = matching(egress, host, port)
    if any(_is_partial(rule) for rule in rules):
        return Inspection.INSPECT
    demanded = {rule.inspection for rule in rules if rule.verdict is not Verdict.DENY}
    return next((depth for depth in _DEPTHS if depth in demanded), Inspection.INSPECT)


def needs_inspection(egress: Egress) -> bool:
    """Tell whether anything is inspected, so that the run needs a certificate authority."""
    return egress.unknown is not Verdict.DENY or any(
        _is_partial(rule) or (grants(rule) and rule.inspection is Inspection.INSPECT) for rule in egress.rules
    )


def resolves_to(egress: Egress, host: str, port: int, address: str) -> Decision:
    """Decide whether `host`, whose connection on `port` is allowed, may be connected to at `address`.

    A public address may be; a special one only where a rule about host and port names it: as its host, by
    `addresses`, or as `host-loopback`. Metadata services must be named by themselves, not by a network around them.
    """
    if in_networks(address, egress.denied_addresses):
        return _denied(f"{address} is in `denied-addresses`")
    literal = address.partition("%")[0]
    for rule in matching(egress, canonical_host(literal), port):
        if rule.verdict is Verdict.DENY and not _is_partial(rule):
            return _by(rule)
    if is_address(host) and not in_networks(address, [host]):
        return _denied(f"{address} is not {host}")
    what = special(address)
    if not what and host != HOST_LOOPBACK:
        return Decision(verdict=Verdict.ALLOW, reason="a public address")
    for rule in matching(egress, host, port):
        if grants(rule) and _names(rule, address, what):
            return Decision(verdict=Verdict.ALLOW, reason="named by a rule", rule=rule_text(rule), source=rule.source)
    return _denied(f"{address} is special: {what}" if what else f"{address} is not this host's loopback")


def learning(egress: Egress) -> Egress:
    """Return the rules of a run that learns: what they do not deny is allowed, at public addresses, and recorded."""
    ports = {low for low, _ in DEFAULT_PORTS} | set(egress.listen)
    return msgspec.structs.replace(egress, unknown=Verdict.ALLOW, listen=tuple(sorted(ports)), learning=True)


def grants(rule: EgressRule) -> bool:
    """Tell whether a rule can let anything through."""
    return rule.verdict is not Verdict.DENY and not _is_extra(rule)


def rule_text(rule: EgressRule) -> str:
    """Write host and ports of a rule the way a policy file does; a denial of every port names none."""
    if rule.ports == EVERY_PORT:
        return bracketed(rule.host)
    ports = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in rule.ports)
    return f"{bracketed(rule.host)}:{ports}"


def _connection(egress: Egress, rules: Sequence[EgressRule]) -> Decision:
    granting = next((rule for rule in rules if grants(rule)), None)
    otherwise = _unknown(egress)
    if granting is not None:  # by some requests: what it grants as a whole is settled below
        text = rule_text(granting)
        otherwise = Decision(verdict=Verdict.ALLOW, reason="decided by request", rule=text, source=granting.source)
    return _settle([rule for rule in rules if not _is_partial(rule)], otherwise)


def _covers(rule: EgressRule, port: int) -> bool:
    return any(low <= port <= high for low, high in rule.ports)


def _is_partial(rule: EgressRule) -> bool:
    """Tell whether a rule speaks of some requests only."""
    return bool(rule.methods or rule.paths)


def _settle(rules: list[EgressRule], otherwise: Decision) -> Decision:
    """Return what the first of the tightest rules says, `otherwise` without one; a project's question last."""
    found = max((rule for rule in rules if not _is_extra(rule)), key=lambda rule: rule.verdict, default=None)
    decision = otherwise if found is None else _by(found)
    extra = next((rule for rule in rules if _is_extra(rule)), None)
    return _by(extra) if extra is not None and decision.verdict is Verdict.ALLOW else decision


def _is_extra(rule: EgressRule) -> bool:
    """Tell whether a rule asks on a project's word, which counts only where all else would allow."""
    return rule.verdict is Verdict.ASK and rule.source.scope == "project"


def _speaks_of(rule: EgressRule, request: Request) -> bool:
    """Tell whether a rule is about a request; methods and paths of denials are taken in any letter case."""
    if rule.verdict is Verdict.DENY:
        return (not rule.methods or request.method.upper() in rule.methods) and (
            not rule.paths or urls.denies(rule.paths, request.path)
        )
    return (not rule.methods or request.method in rule.methods) and (
        not rule.paths or urls.allows(rule.paths, request.path)
    )


def _names(rule: EgressRule, address: str, what: str) -> bool:
    if rule.host == HOST_LOOPBACK:
        return what == "loopback"
    networks = [network for network in rule.addresses if what != METADATA or is_single(network)]
    return is_address(rule.host) or in_networks(address, networks)


def _by(rule: EgressRule) -> Decision:
    reason = rule.reason or _REASONS[rule.verdict]
    return Decision(verdict=rule.verdict, reason=reason, rule=rule_text(rule), source=rule.source)


def _unknown(egress: Egress) -> Decision:
    return Decision(verdict=egress.unknown, reason=_UNKNOWN[egress.unknown])


def _denied(reason: str) -> Decision:
    return Decision(verdict=Verdict.DENY, reason=reason, source=Source(scope="default"))
