"""Hosts whose requests must be seen: a rule that lets them pass unseen there contradicts another, and is an error."""

from collections.abc import Iterable

from ringfence.model.decision import Source
from ringfence.model.egress import EgressRule, Inspection
from ringfence.model.errors import UsageError

from .egress import rule_text
from .hosts import bracketed, matches
from .parse import shown

Ports = tuple[tuple[int, int], ...]


def check_inspected(host: str, ports: Ports, rules: Iterable[EgressRule], *, what: str, place: Source) -> None:
    """Raise `UsageError` for a rule about `host` and `ports` by which requests pass unseen."""
    for rule in (rule for rule in rules if meet(rule, host, ports)):
        said = "http2 = true" if rule.http2 else f'inspection = "{rule.inspection.value}"'
        if rule.http2 or rule.inspection is not Inspection.INSPECT:
            message = (
                f"{shown(bracketed(host))} {what} is not inspected: `{rule_text(rule)}` at {rule.source} has `{said}`"
            )
            hint = f"remove `{said}` there, or write an `inspect` rule for other ports" if rule.source.file else ""
            raise UsageError(message, place=str(place), hint=hint)


def meet(rule: EgressRule, host: str, ports: Ports) -> bool:
    """Tell whether a rule and a pattern of hosts have a connection in common."""
    hosts = matches(rule.host, host) or matches(host, rule.host)
    return hosts and any(low <= high_ and low_ <= high for low, high in rule.ports for low_, high_ in ports)
