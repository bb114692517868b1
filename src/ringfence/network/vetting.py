"""What the dialer decides for itself, believing nothing that the proxy says: the connection, then each address."""

from collections.abc import Callable, Container

from ringfence.model.decision import Verdict
from ringfence.model.egress import Egress
from ringfence.policy.addresses import in_networks, is_single, special
from ringfence.policy.egress import decide_connection, matching, resolves_to
from ringfence.policy.hosts import canonical_host, is_address

from .messages import Dial
from .resolver import Answer


def refusal(egress: Egress, dial: Dial, granted: Container[tuple[str, int]]) -> str:
    """Say why policy does not allow a connection; empty if it does. `granted` holds what the operator said yes to."""
    try:
        canonical = canonical_host(dial.host)
    except ValueError as error:
        return str(error)
    if canonical != dial.host or not 0 < dial.port < 1 << 16:
        return "the host or port is not written as policy writes it"
    decision = decide_connection(egress, dial.host, dial.port)
    unanswered = decision.verdict is Verdict.ASK and (dial.host, dial.port) not in granted
    return decision.reason if unanswered or decision.verdict is Verdict.DENY else ""


def vet(egress: Egress, dial: Dial, addresses: tuple[str, ...], leads_here: Callable[[str], bool]) -> Answer:
    """Keep those addresses that policy lets the host of `dial` have; where none is left, say what they were."""
    denied = {address: objection(egress, dial, address, leads_here) for address in addresses}
    if good := tuple(address for address in addresses if not denied[address]):
        return Answer(good)
    verb = "is" if is_address(dial.host) else "resolved to"
    kinds = " and ".join(dict.fromkeys(denied.values()))
    return Answer(code="address-denied", reason=f"{dial.host} {verb} {kinds}", address=addresses[0])


def objection(egress: Egress, dial: Dial, address: str, leads_here: Callable[[str], bool]) -> str:
    """Say what an address is that the host of `dial` may not have; empty for one that it may have."""
    kind = special(address)
    if resolves_to(egress, dial.host, dial.port, address).verdict is Verdict.DENY:
        article = "an" if kind[:1] in "uI" else "a"
        return f"{article} {kind} address" if kind else "an address that policy denies"
    # SECURITY: what listens on 0.0.0.0 of this host is reached by every address of it, also by one in a network that
    # a rule opens. Loopback addresses have been judged already: a rule that has them means this host.
    if kind != "loopback" and leads_here(address) and not names_exactly(egress, dial, address):
        return "an address of this host"
    return ""


def names_exactly(egress: Egress, dial: Dial, address: str) -> bool:
    """Tell whether a rule has this very address, as its host or as a network of one."""
    rules = [rule for rule in matching(egress, dial.host, dial.port) if rule.verdict is not Verdict.DENY]
    named = [network for rule in rules for network in rule.addresses if is_single(network)]
    return any(rule.host == address for rule in rules) or in_networks(address, named)
