"""Egress policy: hosts have one form, denials only tighten, a project cannot loosen, special addresses stay out."""

import ipaddress
import socket

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ringfence.model.decision import Decision, Source, Verdict
from ringfence.model.egress import Egress, EgressRule, Inspection
from ringfence.policy import urls
from ringfence.policy.addresses import in_networks, special
from ringfence.policy.egress import (
    EVERY_PORT,
    Request,
    decide_connection,
    decide_name,
    decide_request,
    inspection,
    learning,
    needs_inspection,
    resolves_to,
)
from ringfence.policy.hosts import canonical_host, canonical_pattern, is_address, matches

HOSTS = ["a.example", "b.a.example", "c.b.a.example", "example", "10.0.0.1", "fd00::1", "host-loopback"]
PATTERNS = [*HOSTS, "*.a.example", "*.b.a.example", "*.example"]
PORTS = st.sampled_from(
    [((80, 80), (443, 443)), ((443, 443),), ((1, 442),), ((444, 65535),), ((5432, 5432),), EVERY_PORT]
)
PATHS = ["/", "/a", "/a/b", "/A/b", "/a/../b", "/a%2fb", "/x//y"]
GLOBS = ["/", "/a", "/a/**", "/**/b", "/*", "/**"]
ADDRESSES = [
    "93.184.215.14",
    "10.0.0.1",
    "10.9.9.9",
    "127.0.0.1",
    "169.254.169.254",
    "fd00::1",
    "2606:4700::1111",
    "::1",
]
NETWORKS = ["10.0.0.0/8", "127.0.0.0/8", "169.254.169.254/32", "fd00::/8", "0.0.0.0/0", "93.184.215.14/32"]


def subsets(values: list[str], largest: int = 2) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), max_size=largest, unique=True).map(tuple)


def rules(verdicts: list[Verdict], scopes: tuple[str, ...] = ("user", "project")) -> st.SearchStrategy[EgressRule]:
    return st.builds(
        EgressRule,
        host=st.sampled_from(PATTERNS),
        verdict=st.sampled_from(verdicts),
        source=st.sampled_from([Source(scope=scope, line=line) for scope in scopes for line in (1, 2)]),
        ports=PORTS,
        inspection=st.sampled_from(Inspection),
        methods=subsets(["GET", "POST", "PUT"]),
        paths=subsets(GLOBS),
        addresses=subsets(NETWORKS),
    )


EGRESS = st.builds(
    Egress,
    rules=st.lists(rules(list(Verdict)), max_size=6).map(tuple),
    unknown=st.sampled_from(Verdict),
    listen=subsets(["80", "443", "5432"], 3).map(lambda ports: tuple(int(port) for port in ports)),
    denied_addresses=subsets(NETWORKS),
)
REQUESTS = st.builds(
    Request,
    host=st.sampled_from(HOSTS),
    port=st.sampled_from([80, 443, 5432, 8000]),
    scheme=st.just("https"),
    method=st.sampled_from(["GET", "POST", "PUT", "get"]),
    path=st.sampled_from(PATHS),
)


def added(egress: Egress, *more: EgressRule) -> Egress:
    return msgspec.structs.replace(egress, rules=(*egress.rules, *more))


def decisions(egress: Egress, asked: Request) -> list[Decision]:
    return [
        decide_name(egress, asked.host),
        decide_connection(egress, asked.host, asked.port),
        decide_request(egress, asked),
        *(resolves_to(egress, asked.host, asked.port, address) for address in ADDRESSES),
    ]


def never_looser(before: Egress, after: Egress, asked: Request) -> None:
    for one, other in zip(decisions(before, asked), decisions(after, asked), strict=True):
        assert other.verdict >= one.verdict


@given(EGRESS, rules([Verdict.DENY]), REQUESTS)
def test_adding_a_denial_never_loosens(egress: Egress, denial: EgressRule, asked: Request) -> None:
    never_looser(egress, added(egress, denial), asked)
    at = len(egress.rules) // 2
    never_looser(egress, msgspec.structs.replace(egress, rules=(*egress.rules[:at], denial, *egress.rules[at:])), asked)


@given(EGRESS, rules([Verdict.DENY, Verdict.ASK], scopes=("project",)), REQUESTS)
def test_nothing_that_a_project_adds_loosens(egress: Egress, rule: EgressRule, asked: Request) -> None:
    never_looser(egress, added(egress, rule), asked)


@given(EGRESS, st.sampled_from(NETWORKS), REQUESTS)
def test_denying_an_address_never_loosens(egress: Egress, network: str, asked: Request) -> None:
    never_looser(egress, msgspec.structs.replace(egress, denied_addresses=(*egress.denied_addresses, network)), asked)


@given(EGRESS, rules(list(Verdict)), REQUESTS)
def test_no_rule_makes_inspection_shallower_than_a_rule_demands(
    egress: Egress, rule: EgressRule, asked: Request
) -> None:
    depths = [Inspection.INSPECT, Inspection.SNI, Inspection.RAW]
    before, after = (inspection(found, asked.host, asked.port) for found in (egress, added(egress, rule)))
    demanding = [
        rule
        for rule in egress.rules
        if rule.verdict is not Verdict.DENY and decide_connection(Egress(rules=(rule,)), asked.host, asked.port).rule
    ]
    if demanding:
        assert depths.index(after) <= depths.index(before)


@given(EGRESS, REQUESTS)
def test_a_request_is_decided_at_least_as_tightly_as_what_leads_to_it(egress: Egress, asked: Request) -> None:
    connection = decide_connection(egress, asked.host, asked.port)
    assert decide_request(egress, asked).verdict >= connection.verdict
    if asked.port in (80, 443, *egress.listen) or connection.rule:
        assert decide_name(egress, asked.host).verdict <= connection.verdict


@given(EGRESS, REQUESTS)
def test_what_may_be_seen_is_seen(egress: Egress, asked: Request) -> None:
    """Where a request could be denied on an allowed connection, the connection is inspected, with an authority."""
    connection, request = decide_connection(egress, asked.host, asked.port), decide_request(egress, asked)
    if connection.verdict is Verdict.ALLOW and request.verdict > connection.verdict:
        assert inspection(egress, asked.host, asked.port) is Inspection.INSPECT
        assert needs_inspection(egress)


@given(EGRESS, REQUESTS, st.sampled_from(ADDRESSES))
def test_a_special_address_needs_a_rule_that_names_it(egress: Egress, asked: Request, address: str) -> None:
    for found in (egress, learning(egress)):
        decision = resolves_to(found, asked.host, asked.port, address)
        if special(address) and decision.verdict is not Verdict.DENY:
            assert decision.rule
            assert not in_networks(address, found.denied_addresses)


# ---- hosts

TEXTS = st.text(st.sampled_from("aB1.-_:[]%0xFn*@/\\ ü。\uff45\u00ad\u2488\x00é"), max_size=24) | st.text(max_size=12)


@given(TEXTS)
@example("xn--bcher-kva.example")
@example("[::FFFF:1.2.3.4]")
@example("BÜCHER.example.")
def test_a_host_has_one_form(text: str) -> None:
    try:
        host = canonical_host(text)
    except ValueError:
        return
    assert canonical_host(host) == host
    assert host.isascii() and host == host.lower() and 0 < len(host) <= 253
    assert set(host) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_:")
    assert matches(canonical_pattern(text), host)


@given(TEXTS)
def test_what_the_c_library_takes_for_an_address_is_one_or_nothing(text: str) -> None:
    try:
        host = canonical_host(text)
    except ValueError:
        return
    try:
        packed = socket.inet_aton(host)
    except OSError:
        return
    assert is_address(host) and ipaddress.ip_address(host).packed == packed


def spellings(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[str]:
    if isinstance(address, ipaddress.IPv4Address):
        number, parts = int(address), str(address).split(".")
        tail = number & 0xFFFFFF
        mapped = ipaddress.IPv6Address(f"::ffff:{address}")
        return [
            *(str(address), f"::ffff:{address}", mapped.exploded, f"[{mapped.exploded.upper()}]"),
            *(str(number), hex(number), f"0{number:o}", f"{parts[0]}.{tail}", f"0{parts[0]}.{'.'.join(parts[1:])}"),
            *(".".join(hex(int(part)) for part in parts), f"{address}.", f"{parts[0]}.{parts[1]}.{number & 0xFFFF}"),
        ]
    exploded = address.exploded
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return [
        *(exploded, exploded.upper(), address.compressed, f"[{exploded}]", f"{address}%lo", f"{exploded[:30]}{low}"),
        ":".join(part.lstrip("0") or "0" for part in exploded.split(":")),
    ]


ANY_ADDRESS = st.ip_addresses() | st.sampled_from([ipaddress.ip_address(text) for text in ADDRESSES])


@given(ANY_ADDRESS)
def test_every_accepted_spelling_of_an_address_is_the_same_address(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    accepted = set()
    for text in spellings(address):
        try:
            accepted.add(canonical_host(text))
        except ValueError:
            continue
    assert len(accepted) == 1
    assert ipaddress.ip_address(accepted.pop()) == (mapped or address)


@given(st.ip_addresses())
@settings(max_examples=400)
def test_every_address_that_is_not_global_is_special(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert special(str(address))


@given(
    st.sampled_from(
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 \
192.0.2.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 ::/96 ::ffff:0:0/96 \
64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 \
ff00::/8".split()
    ),
    st.integers(min_value=0),
)
def test_every_address_of_the_registries_is_special(text: str, number: int) -> None:
    network = ipaddress.ip_network(text)
    assert special(str(network[number % network.num_addresses]))


# ---- paths

SEGMENTS = st.lists(st.text(st.sampled_from("ab*.;%2fF5cCeE\\"), max_size=5), min_size=1, max_size=5)


@given(SEGMENTS)
def test_the_generous_reading_is_final(segments: list[str]) -> None:
    found = urls.resolved("/" + "/".join(segments))
    assert found.startswith("/") and "//" not in found and "/../" not in found + "/"


@given(SEGMENTS, st.lists(st.sampled_from(["a", "b", "*", "**", "a*", ""]), min_size=1, max_size=4))
def test_what_is_allowed_is_denied_by_the_same_pattern(segments: list[str], pattern: list[str]) -> None:
    path, glob = "/" + "/".join(segments), "/" + "/".join(pattern)
    if urls.allows([glob], path):
        assert urls.denies([glob], path)
