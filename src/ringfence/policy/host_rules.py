"""Hosts as people write them to rules: `HOST[:PORTS]` or a table, checked, in canonical form.

SECURITY: an allowance that reaches further than it looks is refused: wildcards below a public suffix, an address
without a port, the sandbox's own loopback by another name.
"""

import re

from msgspec import UNSET

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import DEFAULT_PORTS, HOST_LOOPBACK, EgressRule, Inspection
from ringfence.model.errors import UsageError

from . import urls
from .addresses import canonical_network, special
from .document import HostEntry
from .egress import EVERY_PORT
from .hosts import bracketed, canonical_pattern, is_address
from .parse import shown
from .units import size_bytes

Ports = tuple[tuple[int, int], ...]

# Names below which nobody registers; `*` in front of any other single label is a wildcard on a public suffix.
_PRIVATE_SUFFIXES = frozenset("internal intranet private corp home lan local localdomain test".split())
_NETWORK = re.compile(r"\[?[0-9A-Fa-f.:]*[.:][0-9A-Fa-f.:]*\]?/[0-9]+(:.*)?")
# What registries of country codes have as second labels (publicsuffix.org lists all; these are the usual ones).
_SECOND_LABELS = frozenset("ac co com edu gob gov govt gouv go ltd mil ne net nom or org plc sch".split())
_OWN_ADDRESSES = {"loopback", "unspecified"}
_UNREACHABLE = {
    "multicast": "a connection to many is not possible",
    "broadcast": "a connection to many is not possible",
    "benchmarking": "ringfence stands in for names with such addresses",
    "link-local": "it needs a zone, which differs from machine to machine",
}
# What gives a rule more than host, ports, methods and paths.
_GRANTS = ("inspection", "http2", "addresses", "requests", "bytes", "rate")


def host_rule(entry: str | HostEntry, verdict: Verdict, source: Source) -> EgressRule:
    """Turn an entry of `allow`, `ask` or `deny` into a rule; raise `UsageError` at `source` for what is not sound."""
    entry = HostEntry(host=entry) if isinstance(entry, str) else entry
    host, written = _host_and_ports(entry.host, source)
    if written and entry.ports is not UNSET:
        raise _error(f"{shown(entry.host)} has ports of its own beside `ports`", source, "write them in one place")
    texts = written.split(",") if written else [] if entry.ports is UNSET else list(entry.ports)
    ports = tuple(_port_range(text, source) for text in texts)
    if not ports and entry.ports is not UNSET:
        raise _error("`ports` is empty", source, "leave it out, or name a port")
    if verdict is Verdict.DENY or source.scope == "project":
        _refuse_grants(entry, source)
    if verdict is not Verdict.DENY:
        _refuse_broad(host, ports, source)
    _check_requests(entry, source)
    return EgressRule(
        host=host,
        verdict=verdict,
        source=source,
        ports=merged(ports) or (EVERY_PORT if verdict is Verdict.DENY else DEFAULT_PORTS),
        inspection=_inspection(entry, host),
        methods=entry.methods,
        paths=tuple(urls.canonical(path) for path in entry.paths),
        http2=entry.http2,
        addresses=tuple(network(text, source) for text in entry.addresses),
        request_limit=entry.requests,
        byte_limit=size_bytes(entry.bytes),
        rate=entry.rate,
        reason=entry.reason,
    )


def network(text: str, source: Source) -> str:
    """Return the canonical form of a network or address in CIDR notation."""
    try:
        return canonical_network(text)
    except ValueError as error:
        hint = "write it as `10.0.0.0/8` or `fd00::/8`, without bits behind the prefix"
        raise _error(f"{shown(text)} is not a network", source, hint) from error


def published(entry: int | str, source: Source) -> tuple[int, int]:
    """Return the host's port and the port inside of an entry of `publish`."""
    outer, _, inner = str(entry).partition(":")
    return port(outer, source), port(inner or outer, source)


def port(text: str, source: Source) -> int:
    """Return a port number from 1 to 65535."""
    # ASCII digits: int() would also take `1_0`, ` 80` and digits of other scripts.
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise _error(f"{shown(text)} is not a port", source, "ports are whole numbers from 1 to 65535")
    return int(text)


def merged(ports: Ports) -> Ports:
    """Sort ranges of ports and join those that touch."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ports):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


def _error(message: str, source: Source, hint: str) -> UsageError:
    return UsageError(message, place=str(source), hint=hint)


def _host_and_ports(text: str, source: Source) -> tuple[str, str]:
    """Split `HOST[:PORTS]`; return the host in canonical form."""
    if "://" in text:
        hint = "write the host, as in `example.com:443`; `paths` of a table `{ host, paths }` takes paths"
        raise _error(f"{shown(text)} is a URL, not a host", source, hint)
    host, ports = text, ""
    if text.startswith("["):
        host, closed, rest = text.partition("]")
        host, ports = host + closed, rest.removeprefix(":")
        if rest and not (rest.startswith(":") and ports):
            raise _error(f"{shown(text)} is not a host", source, "write `[ADDRESS]:PORT`")
    elif text.count(":") == 1:
        host, _, ports = text.partition(":")
        if not ports:
            raise _error(f"{shown(text)} names no port behind the `:`", source, "write `HOST` or `HOST:PORT`")
    if _NETWORK.fullmatch(host):
        hint = "a rule names one host or address; `addresses` of a table `{ host, addresses }` takes networks"
        raise _error(f"{shown(text)} is a network, not a host", source, hint)
    if host == "*":
        hint = 'name the hosts; `unknown = "ask"` asks about all others, `mode = "off"` denies all'
        raise _error("`*` alone is every host", source, hint)
    try:
        return canonical_pattern(host), ports
    except ValueError as error:
        hint = "write a name, `*.name`, an address, `[IPv6]:PORT` or `host-loopback:PORT`"
        raise _error(f"{shown(text)} is not a host: {error}", source, hint) from None


def _port_range(text: int | str, source: Source) -> tuple[int, int]:
    low, dash, high = str(text).partition("-")
    if dash and not (low and high):
        raise _error(f"{shown(text)} is half a range of ports", source, "write both ends, as in `8000-8010`")
    first = port(low, source)
    last = port(high, source) if dash else first
    if first > last:
        raise _error(f"{shown(text)} is an empty range of ports", source, "write the lower port first")
    return first, last


def _refuse_grants(entry: HostEntry, source: Source) -> None:
    """Raise for keys that have no meaning where something is only taken away."""
    for name in _GRANTS:
        if getattr(entry, name) not in (UNSET, 0, ()):  # and False, which is 0
            what = "a project can only tighten, so an entry of its `ask`" if source.scope == "project" else "a denial"
            raise _error(f"{what} takes no `{name}`", source, f"remove `{name}`")


def _refuse_broad(host: str, ports: Ports, source: Source) -> None:
    """Raise for an allowance that reaches further than it looks, or that cannot be reached."""
    if host.startswith("*."):
        labels = host.split(".")[1:]
        below_registry = len(labels) == 2 and len(labels[1]) == 2 and labels[0] in _SECOND_LABELS
        if below_registry or (len(labels) == 1 and labels[0] not in _PRIVATE_SUFFIXES):
            hint = f"name the owner as well, as in `*.example.{host[2:]}`"
            raise _error(f"{shown(host)} is every name that anybody registers below it", source, hint)
    what = special(host) if is_address(host) else ""
    if what in _OWN_ADDRESSES or host == "localhost" or host.endswith(".localhost"):
        hint = f"write `{HOST_LOOPBACK}:PORT` for a service of this host"
        raise _error(f"{shown(host)} is the sandbox's own loopback, which is always reachable", source, hint)
    if what in _UNREACHABLE:
        raise _error(f"{shown(host)} cannot be allowed: {_UNREACHABLE[what]}", source, "name another host")
    if not ports and (host == HOST_LOOPBACK or is_address(host)):
        hint = f"write `{bracketed(host)}:PORT`"
        raise _error(f"{shown(host)} needs a port: every service there would be meant", source, hint)


def _check_requests(entry: HostEntry, source: Source) -> None:
    for path in entry.paths:
        wrong = urls.check_pattern(urls.canonical(path))
        if wrong:
            hint = "write `/` and segments, `*` within one, `**` for any number, as in `/api/**`"
            raise _error(f"{shown(path)} is not a path: {wrong}", source, hint)
    for name in ("methods", "paths", "http2"):
        if getattr(entry, name) and entry.inspection in ("sni", "raw"):
            hint = 'leave `inspection` out, or write `inspection = "inspect"`'
            raise _error(f"`{name}` needs what `{entry.inspection}` does not look at", source, hint)


def _inspection(entry: HostEntry, host: str) -> Inspection:
    """Return how deep to look; a fixed address, or a service of this host, is no way to any other place."""
    if entry.inspection is not UNSET:
        return Inspection(entry.inspection)
    fixed = is_address(host) or host == HOST_LOOPBACK
    return Inspection.RAW if fixed and not (entry.methods or entry.paths or entry.http2) else Inspection.INSPECT
