"""What is left of the network once something in a run has reached for a secret: rules that only get tighter.

No denial is added: what is lost is lost because nothing allows it any more, so that an operator who names a host in
`ringfence allow --run` gives it back. Budgets stay with the rules they belong to.
INVARIANT: no name, connection, request or address is decided more loosely than before, and nothing is looked into less
deeply (tests/properties/test_taint_policy.py).
"""

from collections.abc import Iterable
from typing import assert_never

import msgspec

from ringfence.model.decision import Verdict
from ringfence.model.egress import HOST_LOOPBACK, Egress, EgressRule, Inspection
from ringfence.model.secrets import TaintResponse

from .egress import decide_connection, grants, matching
from .hosts import matches

READING = ("GET", "HEAD", "OPTIONS")
"""Methods that ask a server to change nothing (RFC 9110, 9.2.1)."""


def tainted(
    egress: Egress, response: TaintResponse, contacted: frozenset[tuple[str, int]], *, named: bool = False
) -> Egress:
    """Return the rules from now on. `contacted` are hosts and ports that connections were made to.

    With `named`, a host that a rule names in full is not new either.
    """
    match response:
        case TaintResponse.RECORD:
            return egress
        case TaintResponse.ASK:
            rules = [_asked(rule) for rule in egress.rules]
            return _with(egress, rules, max(egress.unknown, Verdict.ASK))
        case TaintResponse.NO_NEW_HOSTS:
            return _with(egress, _known_only(egress, contacted, named=named), Verdict.DENY)
        case TaintResponse.NO_WRITES:
            rules = [rule for rule in (*egress.rules, *_unruled(egress, contacted)) if not _only_writes(rule)]
            return _with(egress, [_read_only(rule) for rule in rules], Verdict.DENY)
        case TaintResponse.OFF:
            return _with(egress, [rule for rule in egress.rules if rule.verdict is Verdict.DENY], Verdict.DENY)
    assert_never(response)


def _with(egress: Egress, rules: Iterable[EgressRule], unknown: Verdict) -> Egress:
    return msgspec.structs.replace(egress, rules=tuple(rules), unknown=unknown)


def _asked(rule: EgressRule) -> EgressRule:
    return msgspec.structs.replace(rule, verdict=Verdict.ASK) if rule.verdict is Verdict.ALLOW else rule


def _only_writes(rule: EgressRule) -> bool:
    return rule.verdict is Verdict.ALLOW and bool(rule.methods) and not set(rule.methods) & set(READING)


def _read_only(rule: EgressRule) -> EgressRule:
    """Narrow an allowance to requests that can be seen to change nothing; a question stays, for the operator knows."""
    if rule.verdict is Verdict.DENY:
        return rule
    if rule.verdict is Verdict.ASK:
        return msgspec.structs.replace(rule, inspection=Inspection.INSPECT)
    methods = tuple(method for method in rule.methods or READING if method in READING)
    return msgspec.structs.replace(rule, methods=methods, inspection=Inspection.INSPECT)


def _known_only(egress: Egress, contacted: frozenset[tuple[str, int]], *, named: bool) -> list[EgressRule]:
    """Narrow each rule that grants something to the hosts that are not new; the others stay as they are."""
    hosts = {host for host, _ in contacted if host != HOST_LOOPBACK}
    if named:
        hosts |= {rule.host for rule in egress.rules if grants(rule) and not rule.host.startswith("*.")}
    found: list[EgressRule] = []
    for rule in egress.rules:
        if not grants(rule) or rule.host in hosts:
            found.append(rule)
        elif rule.host == HOST_LOOPBACK:  # each of its ports is another service
            found += _at_ports(rule, sorted(port for host, port in contacted if host == rule.host))
        else:
            found += [msgspec.structs.replace(rule, host=host) for host in sorted(hosts) if matches(rule.host, host)]
    return [*found, *_unruled(egress, contacted)]


def _at_ports(rule: EgressRule, ports: list[int]) -> list[EgressRule]:
    kept = tuple((port, port) for port in ports if any(low <= port <= high for low, high in rule.ports))
    return [msgspec.structs.replace(rule, ports=kept)] if kept else []


def _unruled(egress: Egress, contacted: frozenset[tuple[str, int]]) -> list[EgressRule]:
    """Return rules for what was reached because no rule speaks of it, and is to stay within reach."""
    if egress.unknown is Verdict.DENY:
        return []
    return [
        EgressRule(
            host=host,
            verdict=egress.unknown,
            source=decide_connection(egress, host, port).source,
            ports=((port, port),),
            reason="reached before the run was tainted",
        )
        for host, port in sorted(contacted)
        if not any(not rule.methods and not rule.paths for rule in matching(egress, host, port))
    ]
