"""`[network.gateways.NAME]` to `Gateway`: unix sockets inside that speak HTTP to one host each, which is allowed."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress, Gateway
from ringfence.model.errors import UsageError
from ringfence.model.guest_network import GATEWAYS

from .document import GatewayTable, Layer
from .egress import grants
from .host_rules import host_rule
from .hosts import bracketed
from .inspected import meet
from .parse import shown

MOST = 8  # their descriptors travel beside those of 240 ports (`network.MAX_LISTEN`), at most 253 in all
_PATH = "{path}"


def gateways(ordered: Sequence[Layer], egress: Egress) -> tuple[Gateway, ...]:
    """Return the gateways of the operator's layers, highest first; of one name the highest layer's.

    Raises `UsageError`, with file and line, for one that is not sound, or whose host `egress` lets nobody reach.
    """
    found: dict[str, Gateway] = {}
    filled: dict[str, str] = {}
    for layer in (layer for layer in ordered if layer.scope != "project"):
        listed = layer.document.network.gateways
        for name, table in ({} if listed is UNSET else listed).items():
            if name not in found:
                found[name] = _gateway(name, table, layer.source("network", "gateways", name), egress)
    for one in found.values():
        for variable, _ in one.variables:
            if (other := filled.setdefault(variable, one.name)) != one.name:
                message = f"the gateways `{other}` and `{one.name}` both set `{variable}`"
                raise UsageError(message, place=str(one.source), hint="a variable can name one socket")
    if len(found) > MOST:
        place = str(list(found.values())[MOST].source)
        raise UsageError(f"there are more than {MOST} gateways", place=place, hint="leave some out")
    return tuple(found[name] for name in sorted(found))


def _gateway(name: str, table: GatewayTable, source: Source, egress: Egress) -> Gateway:
    """Read one, and require that a rule allows its host."""
    rule = host_rule(table.host, Verdict.ALLOW, source)
    written = host_rule(table.host, Verdict.DENY, source).ports
    (low, high), *more = written if written != ((1, 65535),) else ((443, 443) if table.tls else (80, 80),)
    if rule.host.startswith("*") or more or low != high:
        raise UsageError(f"{shown(table.host)} is not one host and port", place=str(source), hint="write `HOST:PORT`")
    for variable, text in table.variables.items():
        if _PATH not in text:
            hint = f"`{_PATH}` stands for where the socket is, as in `unix://{_PATH}`"
            raise UsageError(f"`{variable}` does not say where the socket is", place=str(source), hint=hint)
    allowed = any(grants(one) and meet(one, rule.host, ((low, high),)) for one in egress.rules)
    if egress.unknown is Verdict.DENY and not allowed:
        where = f"{bracketed(rule.host)}:{low}"
        hint = f'add `allow = ["{where}"]` to `[network]`, or name a preset that allows it'
        raise UsageError(
            f"the gateway `{name}` leads to {shown(where)}, which no rule allows", place=str(source), hint=hint
        )
    path = f"{GATEWAYS}/{name}.sock"
    variables = tuple((variable, text.replace(_PATH, path)) for variable, text in sorted(table.variables.items()))
    made = Gateway(name=name, host=rule.host, port=low, tls=table.tls, variables=variables, source=source)
    return msgspec.structs.replace(made, reason=table.reason)
