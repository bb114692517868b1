"""The `network` tables of all layers to the egress in force.

- Entries of `allow`, `ask` and `deny` are joined, highest layer first, behind them the hosts of presets. Any denial
  beats every question, that every allowance.
- Hosts of a preset apply where a layer other than a project's and the built-in default names the preset.
- A project cannot allow. What it asks about is only asked where it would be allowed without it (`policy.egress`);
  its `mode = "off"`, `unknown = "deny"` and budgets count where they are tighter than what the others say.
- `off` counts, whoever says so, except that `--allow`, `--ask`, `--publish` and `--network allow-list` turn the network
  on again where only the user or the project turned it off.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import DEFAULT_PORTS, Egress, EgressRule
from ringfence.model.errors import UsageError
from ringfence.model.guest_network import PROXY

from .document import HostEntry, Layer, PresetName
from .egress import grants
from .forge_hosts import PUSH
from .gateways import gateways
from .git_rules import egress_rules, remotes
from .host_rules import host_rule, network, port, published
from .hosts import bracketed, canonical_host, is_address
from .inspected import check_inspected
from .parse import shown
from .presets import PRESETS
from .units import size_bytes, time_s

MAX_LISTEN = 240  # their descriptors, and a few more, go to the proxy in one message of at most 253 (SCM_MAX_FD)
RESERVED = frozenset({53, PROXY[1]})  # what answers there inside is ours; the proxy takes requests for these ports
_HERE = Source(scope="default")
_VERDICTS = {"deny": Verdict.DENY, "ask": Verdict.ASK, "allow": Verdict.ALLOW}
_UNKNOWN = {"deny": Verdict.DENY, "ask": Verdict.ASK}
_OPERATOR_KEYS = ("allow", "ask_timeout", "proxy_variables", "parent_proxy", "publish", "gateways")
"""What a project may not say; `ask`, `deny`, `denied_addresses` and the rest only tighten."""


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """The egress in force, or None where the network is off, and where each single value was written.

    `single_values` has no rule: what is said of a network, on or off.
    """

    egress: Egress | None
    single_values: Egress
    origins: dict[str, Source]

    @property
    def mode(self) -> str:
        """Return `off` or `allow-list`."""
        return "off" if self.egress is None else "allow-list"


def merge_network(ordered: Sequence[Layer], presets: Sequence[PresetName]) -> Network:
    """Merge the `network` tables of `ordered`, highest layer first; `presets` are those that name hosts.

    Raises `UsageError`, with file and line, for an entry that is not sound.
    """
    values = _Values(ordered)
    written = tuple(rule for layer in ordered for rule in _rules(layer))
    git = remotes(ordered)
    pushed = {one.remote.host for one in git if one.remote.push}
    bundled = (rule for name in presets for rule in preset_rules(name))
    # A preset denies every push; the operator says which refs instead, and the proxy looks at each (network/git_*.py).
    kept = (rule for rule in bundled if rule.reason != PUSH or rule.host not in pushed)
    rules = (*written, *(rule for one in git for rule in egress_rules(one)), *kept)
    for one in git:
        place = one.remote.source
        check_inspected(one.remote.host, one.ports, rules, what="of a git remote", place=place)
    unknown = values.tightest("unknown", _UNKNOWN.__getitem__, max)
    said = Egress(
        unknown=unknown,
        ask_timeout_s=_ask_timeout(values),
        request_limit=values.tightest("requests", size_bytes, _smaller),
        byte_limit=values.tightest("bytes", size_bytes, _smaller),
        proxy_variables=bool(values.highest("proxy_variables")),
        parent_proxy=_parent_proxy(values),
    )
    egress = msgspec.structs.replace(
        said,
        rules=rules,
        listen=_listen(rules, unknown),
        literals=tuple(dict.fromkeys(rule.host for rule in rules if grants(rule) and is_address(rule.host))),
        denied_addresses=tuple(dict.fromkeys(_denied_addresses(ordered))),
        publish=_publish(ordered),
        git_remotes=tuple(one.remote for one in git),
    )
    egress = msgspec.structs.replace(egress, gateways=gateways(ordered, egress))
    wanted = unknown is not Verdict.DENY or bool(egress.publish) or any(grants(rule) for rule in rules)
    mode, source = _mode(ordered, wanted=wanted)
    values.origins["network.mode"] = source
    return Network(egress=egress if mode == "allow-list" else None, single_values=said, origins=values.origins)


def refuse_loosening(layer: Layer, hint: str) -> None:
    """Raise `UsageError` for what a project's `network` table may not say."""
    table = layer.document.network
    keys = [name for name in _OPERATOR_KEYS if getattr(table, name) not in (UNSET, ())]
    keys += ["mode"] if table.mode == "allow-list" else []
    keys += ["unknown"] if table.unknown == "ask" else []
    for name in keys:
        key = name.replace("_", "-")
        place = layer.source("network", key, 0)  # of a list the first entry
        said = getattr(table, name)
        what = f"`network.{key}` {shown(said)}" if isinstance(said, str) else f"`network.{key}`"
        raise UsageError(f"a project's policy can only tighten, so it may not set {what}", place=str(place), hint=hint)


class _Values:
    """The single values of the tables, and where the one that counts was written."""

    def __init__(self, ordered: Sequence[Layer]) -> None:
        self.ordered = ordered
        self.origins: dict[str, Source] = {}

    def highest(self, name: str) -> Any:
        """Return what the highest layer says that says anything, or UNSET."""
        key = name.replace("_", "-")
        for layer in self.ordered:
            value = getattr(layer.document.network, name)
            if value is not UNSET:
                self.origins[f"network.{key}"] = layer.source("network", key)
                return value
        self.origins[f"network.{key}"] = Source(scope="default")
        return UNSET

    def tightest(self, name: str, read: Callable[[Any], Any], tighter: Callable[[Any, Any], Any]) -> Any:
        """Return what the highest of the operator's layers says, or what a project says where that is tighter."""
        operator = _Values([layer for layer in self.ordered if layer.scope != "project"])
        value = read(operator.highest(name))
        project = _Values([layer for layer in self.ordered if layer.scope == "project"])
        theirs = project.highest(name)
        found = value if theirs is UNSET else tighter(value, read(theirs))
        self.origins |= operator.origins if found == value else project.origins
        return found


def _smaller(one: int, other: int) -> int:
    """Return the tighter of two limits; 0 is none."""
    return min(one or other, other or one)


def _rules(layer: Layer) -> list[EgressRule]:
    found = []
    for name, verdict in _VERDICTS.items():
        entries = getattr(layer.document.network, name)
        for index, entry in enumerate(() if entries is UNSET else entries):
            found.append(host_rule(entry, verdict, layer.source("network", name, index)))
    return found


def preset_rules(name: PresetName) -> list[EgressRule]:
    """Return the rules of a preset."""
    source = Source(scope="preset", file=f"preset:{name}")
    return [
        host_rule(
            HostEntry(host=item.host, ports=item.ports, methods=item.methods, paths=item.paths, reason=item.reason),
            _VERDICTS[item.verdict],
            source,
        )
        for item in PRESETS[name].hosts
    ]


def _mode(ordered: Sequence[Layer], *, wanted: bool) -> tuple[str, Source]:
    """Return the mode, and who says so."""
    asked = next((layer for layer in ordered if layer.scope == "cli" and _opens(layer)), None)
    for layer in ordered:
        overruled = asked is not None and layer.scope in ("user", "project")
        if layer.document.network.mode == "off" and not overruled:
            return "off", layer.source("network", "mode")
    for layer in ordered:
        if layer.document.network.mode == "allow-list":
            return "allow-list", layer.source("network", "mode")
    return ("allow-list", _first_grant(ordered)) if wanted else ("off", Source(scope="default"))


def _opens(layer: Layer) -> bool:
    table = layer.document.network
    return table.mode == "allow-list" or any(
        getattr(table, name) not in (UNSET, ()) for name in ("allow", "ask", "publish")
    )


def _first_grant(ordered: Sequence[Layer]) -> Source:
    """Tell where the network was first opened: an entry, a question about all, a port, or a preset."""
    operators = [layer for layer in ordered if layer.scope != "project"]
    opened = (
        layer.source("network", name)
        for layer in operators
        for name in ("allow", "ask", "unknown", "publish")
        if getattr(layer.document.network, name) not in (UNSET, (), "deny")
    )
    remotes_named = (layer.source("git", "remotes") for layer in operators if layer.document.git.remotes)
    presets = (layer.source("extends") for layer in operators if layer.document.extends)
    return next(opened, None) or next(remotes_named, None) or next(presets)


def _listen(rules: Sequence[EgressRule], unknown: Verdict) -> tuple[int, ...]:
    """Return the ports that must be captured; raise where there are more than a run can listen on."""
    ports = {low for low, _ in DEFAULT_PORTS} if unknown is not Verdict.DENY else set()
    for rule in (rule for rule in rules if grants(rule)):
        for low, high in rule.ports:
            # Cut short, so that a range of all ports is not counted through for each of many rules.
            ports |= set(range(low, min(high, low + MAX_LISTEN) + 1))
        if len(ports) > MAX_LISTEN:
            raise UsageError(
                f"more than {MAX_LISTEN} ports would be open: {shown(bracketed(rule.host))} adds the last",
                place=str(rule.source),
                hint="name the ports that are needed, not wide ranges",
            )
    return tuple(sorted(ports - RESERVED))


def _denied_addresses(ordered: Sequence[Layer]) -> list[str]:
    found = []
    for layer in ordered:
        listed = layer.document.network.denied_addresses
        for index, text in enumerate(() if listed is UNSET else listed):
            found.append(network(text, layer.source("network", "denied-addresses", index)))
    return found


def _ask_timeout(values: _Values) -> int:
    seconds = time_s(values.highest("ask_timeout"))
    if not 1 <= seconds <= 86400:
        place = str(values.origins["network.ask-timeout"])
        raise UsageError("`network.ask-timeout` must be between 1 second and 1 day", place=place, hint='write "60s"')
    return seconds


def _parent_proxy(values: _Values) -> str:
    """Return the parent proxy as `http://HOST:PORT`, canonical."""
    url = values.highest("parent_proxy")
    return "" if url is UNSET else parent_proxy(url, values.origins["network.parent-proxy"])


def parent_proxy(url: str, source: Source = _HERE) -> str:
    """Return the canonical form of a parent proxy's URL; raise `UsageError` at `source` for what is none."""
    found = re.fullmatch(r"http://(\[[^\]@]*\]|[^\[\]/?#:@]*):([^/?#:@]*)/?", url, re.IGNORECASE)
    # SECURITY: neither shown nor kept: policy files are read by many, and what is in force is written to the audit.
    if "@" in url:
        hint = "credentials of a parent proxy cannot be given here; use a proxy that asks for none"
        raise UsageError("`network.parent-proxy` holds credentials", place=str(source), hint=hint)
    if found is None:
        hint = "write `http://HOST:PORT`"
        raise UsageError(f"`network.parent-proxy` {shown(url)} is not a proxy's URL", place=str(source), hint=hint)
    try:
        host = canonical_host(found[1])
    except ValueError as error:
        message = f"`network.parent-proxy` {shown(url)} names no host: {error}"
        raise UsageError(message, place=str(source), hint="write `http://HOST:PORT`") from None
    return f"http://{bracketed(host)}:{port(found[2], source)}"


def _publish(ordered: Sequence[Layer]) -> tuple[tuple[int, int], ...]:
    """Join the published ports; of two on one port of the host the higher layer's stays; one layer has no two."""
    found: dict[int, int] = {}
    for layer in ordered:
        here: dict[int, int] = {}
        listed = layer.document.network.publish
        for index, entry in enumerate(() if listed is UNSET else listed):
            place = layer.source("network", "publish", index)
            outer, inner = published(entry, place)
            if outer in here:
                hint = "give each a port of its own, as in `8081:3000`"
                raise UsageError(f"port {outer} of the host is published twice", place=str(place), hint=hint)
            here[outer] = inner
        found |= {outer: inner for outer, inner in here.items() if outer not in found}
    return tuple(found.items())
