"""From `network` of sandbox-runtime settings to egress, and what programs inside are told of it.

Rules, as sandbox-runtime has them: an allowed domain is allowed on every port, or on the one behind its colon;
denials win; a name may resolve to a private address, but not to this host, a link-local or a metadata address, unless
that address is allowed itself. `localhost` and the loopback addresses are the host's. TLS passes through where its
server name is the one allowed, and is opened with `tlsTerminate`.

Programs that take a proxy from their environment reach every allowed port. Others are captured on WEB_PORTS and on
each port that is named, no more: a captured port is one that no server inside can listen on. Named ports that are
not the web's carry any bytes, because what speaks there (ssh, a database) is not known to begin with TLS.
"""

import hashlib
import ipaddress
import os
import re
from collections.abc import Iterable, Iterator

import msgspec

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import HOST_LOOPBACK, Egress, EgressRule, Inspection
from ringfence.model.guest_network import PROXY
from ringfence.planner import trust_store
from ringfence.policy.addresses import special
from ringfence.policy.effective import Policy
from ringfence.policy.egress import EVERY_PORT, needs_inspection
from ringfence.policy.hosts import canonical_host, canonical_pattern, is_address, matches

from .srt_settings import Network, Settings, SettingsError

WEB_PORTS = (80, 443, 8443)
_WEB_OR_TLS = frozenset({*WEB_PORTS, 8080})
_RESERVED_PORTS = frozenset({53, PROXY[1]})  # ours inside; a proxy's clients reach them all the same
# To what a name may resolve beside public addresses. Documentation's are no host's, and sandbox-runtime lets them pass.
LOCAL_NETWORKS = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "2001:db8::/32",
    "fc00::/7",
)
_NO_HOST = frozenset({"unspecified", "this network", "multicast", "broadcast", "benchmarking"})
_PARENT = re.compile(r"http://([^/?#@]+):([0-9]{1,5})/?")
USER = "srt"

Ports = tuple[tuple[int, int], ...]


class Entry(msgspec.Struct, frozen=True):
    """One entry of a list of domains: a canonical pattern, `*` for all, and a port or 0."""

    host: str
    port: int
    text: str


def entries(texts: Iterable[str], key: str) -> Iterator[Entry]:
    """Read a list of domains; raise SettingsError for what is ambiguous or no host."""
    for text in texts:
        host, _, rest = text[1:].partition("]") if text.startswith("[") else text.partition(":")
        try:
            found = host if host == "*" else canonical_pattern(host.partition("%")[0])
        except ValueError as error:
            raise SettingsError(f"network.{key}: `{text}`: {error}") from error
        what = special(found) if is_address(found) else ""
        if what in _NO_HOST or (what == "link-local" and ":" in found):
            raise SettingsError(f"network.{key}: `{text}` is {what}: no host has that address")
        if what == "loopback" or found == "localhost" or found.endswith(".localhost"):
            found = HOST_LOOPBACK
        yield Entry(found, int(rest.lstrip(":") or 0), text)


def in_force(policy: Policy, found: Settings, place: str) -> Policy:
    """The policy with the egress of settings read from `place`, less what it denies; off where it insists on that."""
    if policy.egress is None:
        return policy
    source = Source(scope="cli", file=place)
    return msgspec.structs.replace(policy, egress=egress(found.network, policy.egress, source), network="allow-list")


def egress(network: Network, own: Egress, source: Source) -> Egress:
    """Turn settings into rules; of `own`, ringfence's own policy, everything that tightens stays."""
    allowed = list(entries(network.allowed_domains, "allowedDomains"))
    denied = list(entries(network.denied_domains, "deniedDomains"))
    rules = [*_denials(denied, network, source), *_allowances(allowed, denied, network, source)]
    granted = [rule for rule in rules if rule.verdict is Verdict.ALLOW]
    asked = [rule for rule in own.rules if rule.verdict is Verdict.ASK and _within(rule, granted)]
    networks = [str(ipaddress.ip_network(text.strip("[]"), strict=False)) for text in network.denied_resolved_addresses]
    named = {low for rule in granted for low, high in rule.ports if low == high}
    return Egress(
        rules=(*(rule for rule in own.rules if rule.verdict is Verdict.DENY), *asked, *rules),
        listen=tuple(sorted({*WEB_PORTS, *named} - _RESERVED_PORTS)) if granted else (),
        literals=tuple(dict.fromkeys(rule.host for rule in granted if is_address(rule.host))),
        denied_addresses=tuple(dict.fromkeys([*own.denied_addresses, *networks])),
        ask_timeout_s=own.ask_timeout_s,
        request_limit=own.request_limit,
        byte_limit=own.byte_limit,
        parent_proxy=parent_proxy(network) or own.parent_proxy,
    )


def _within(rule: EgressRule, granted: list[EgressRule]) -> bool:
    return any(other.host == rule.host or matches(other.host, rule.host) for other in granted)


def _denials(denied: list[Entry], network: Network, source: Source) -> Iterator[EgressRule]:
    for entry in denied:
        if entry.host != "*":
            ports = ((entry.port, entry.port),) if entry.port else EVERY_PORT
            reason = network.denied_domain_reasons.get(entry.text, "")
            yield EgressRule(host=entry.host, verdict=Verdict.DENY, source=source, ports=ports, reason=reason)


def _allowances(allowed: list[Entry], denied: list[Entry], network: Network, source: Source) -> Iterator[EgressRule]:
    closed = {entry.port for entry in denied if entry.host == "*"}
    literals = tuple(_network(entry.host) for entry in allowed if is_address(entry.host) and not entry.port)
    other = [entry for entry in allowed if entry.port and _is_fixed(entry)]
    for entry in allowed:
        # Where two rules have a port the stricter look counts, so what carries any bytes has its port for itself.
        taken = {each.port for each in other if matches(entry.host, each.host)} if not entry.port else set()
        ports = without(((entry.port, entry.port),) if entry.port else EVERY_PORT, closed | taken)
        if ports and 0 not in closed:
            addresses = () if is_address(entry.host) or entry.host == HOST_LOOPBACK else (*LOCAL_NETWORKS, *literals)
            look = Inspection.RAW if _is_fixed(entry) else _look(entry.host, network)
            yield EgressRule(
                host=entry.host, verdict=Verdict.ALLOW, source=source, ports=ports, inspection=look, addresses=addresses
            )


def _is_fixed(entry: Entry) -> bool:
    """Whether there is no other place that bytes could be led to, or none that is known to look at their start."""
    return is_address(entry.host) or entry.host == HOST_LOOPBACK or (entry.port or 443) not in _WEB_OR_TLS


def _look(host: str, network: Network) -> Inspection:
    if network.tls_terminate is None:
        return Inspection.SNI
    excluded = network.tls_terminate.exclude_domains
    return Inspection.SNI if any(covers(text, host) for text in excluded) else Inspection.INSPECT


def covers(text: str, host: str) -> bool:
    """Whether a domain as it is written is `host`, or a pattern for it."""
    pattern = canonical_pattern(text)
    return host == pattern or matches(pattern, host)


def _network(address: str) -> str:
    return str(ipaddress.ip_network(address))


def without(ranges: Ports, ports: set[int]) -> Ports:
    """Take single ports out of ranges."""
    found = ranges
    for port in sorted(ports):
        parts = (part for low, high in found for part in ((low, min(high, port - 1)), (max(low, port + 1), high)))
        found = tuple((low, high) for low, high in parts if low <= high) if port else found
    return tuple(dict.fromkeys(found))


def parent_proxy(network: Network) -> str:
    """The URL of the proxy that everything allowed goes through; raise SettingsError for one that cannot be used.

    An `httpProxyPort` is that of a proxy on the host, which sandbox-runtime uses in place of its own: here it is asked
    after our own decision, so that what either refuses is refused.
    """
    if network.mitm_proxy is not None:
        hint = "`network.tlsTerminate` opens TLS; `network.parentProxy` leads through another proxy"
        raise SettingsError("network.mitmProxy is not supported", hint=hint)
    if network.socks_proxy_port and not network.http_proxy_port:
        raise SettingsError("network.socksProxyPort is not supported", hint="an HTTP proxy can be: `httpProxyPort`")
    if network.http_proxy_port:
        return f"http://127.0.0.1:{network.http_proxy_port}"
    if network.parent_proxy is None:
        return ""
    parent = network.parent_proxy
    if parent.no_proxy:
        raise SettingsError("network.parentProxy.noProxy is not supported", hint="everything goes through the proxy")
    urls = {url for url in (parent.http, parent.https) if url}
    if len(urls) > 1:
        raise SettingsError("network.parentProxy: `http` and `https` differ", hint="name one proxy for both")
    return _plain_url(urls.pop()) if urls else ""


def _plain_url(url: str) -> str:
    parted = _PARENT.fullmatch(url)
    if parted is None:
        raise SettingsError("network.parentProxy: not `http://HOST:PORT`", hint="credentials cannot be given")
    try:
        host = canonical_host(parted[1])
    except ValueError as error:
        raise SettingsError(f"network.parentProxy: {error}") from error
    return f"http://[{host}]:{parted[2]}" if ":" in host else f"http://{host}:{parted[2]}"


def variables(found: Egress | None, password: str) -> dict[str, str]:
    """What the environment says of proxies, as sandbox-runtime has it, and of certificate authorities."""
    if found is None:
        return {}
    place = f"localhost:{PROXY[1]}"
    proxy, socks = f"http://{USER}:{password}@{place}", f"socks5h://{USER}:{password}@{place}"
    values = {"RSYNC_PROXY": place, "NO_PROXY": "localhost,127.0.0.1,::1", "no_proxy": "localhost,127.0.0.1,::1"}
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GRPC_PROXY"):
        values |= {name: proxy, name.lower(): proxy}
    values |= {"FTP_PROXY": socks, "ftp_proxy": socks, "DOCKER_HTTP_PROXY": proxy, "DOCKER_HTTPS_PROXY": proxy}
    values |= {
        "CLOUDSDK_PROXY_TYPE": "http",
        "CLOUDSDK_PROXY_ADDRESS": "localhost",
        "CLOUDSDK_PROXY_PORT": str(PROXY[1]),
    }
    values |= {"CLOUDSDK_PROXY_USERNAME": USER, "CLOUDSDK_PROXY_PASSWORD": password}
    # Git would ask a credential helper for the proxy's password when it is challenged, whatever the URL holds.
    values["GIT_CONFIG_PARAMETERS"] = "'http.proxyAuthMethod=basic'"
    if needs_inspection(found):
        values |= {name: str(path) for name, path, _ in trust_store.VARIABLES}
    return values


def trusted_upstream(network: Network, found: Egress | None, state: str) -> str:
    """A file in `state` with the host's authorities and `extraCaCertPaths`; empty where none are named or asked for."""
    extra = network.tls_terminate.extra_ca_cert_paths if network.tls_terminate else ()
    if not extra or found is None or not needs_inspection(found):
        return ""
    import ssl

    host = (ssl.get_default_verify_paths().cafile, *(path for path, _ in trust_store.BUNDLE_PATHS))
    first = [path for path in host if path and os.path.isfile(path)][:1]
    content = b"".join(_certificates(path) for path in dict.fromkeys([*first, *extra]))
    # Named by its content: a proxy that was prepared with the same authorities can be used again.
    place = f"{state}/authorities-{hashlib.blake2b(content, digest_size=12).hexdigest()}.pem"
    with open(f"{place}.{os.getpid()}", "wb") as file:
        file.write(content)
    os.replace(f"{place}.{os.getpid()}", place)
    return place


def _certificates(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read().rstrip() + b"\n"
    except OSError as error:
        raise SettingsError(f"network.tlsTerminate.extraCaCertPaths: `{path}`: {error.strerror}") from error
