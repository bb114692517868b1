"""Entries of `network.allow`, `ask` and `deny` to rules, and what is refused there."""

import pytest

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import DEFAULT_PORTS, EgressRule, Inspection
from ringfence.model.errors import UsageError
from ringfence.policy.document import HostEntry
from ringfence.policy.egress import EVERY_PORT, rule_text
from ringfence.policy.host_rules import host_rule, merged, network, published

ALLOW, ASK, DENY = Verdict.ALLOW, Verdict.ASK, Verdict.DENY
USER = Source(scope="user", file="policy.toml", line=4)
PROJECT = Source(scope="project", file="ringfence.toml", line=9)


def rule(entry: str | HostEntry, verdict: Verdict = ALLOW, source: Source = USER) -> EgressRule:
    return host_rule(entry, verdict, source)


def refused(entry: str | HostEntry, verdict: Verdict = ALLOW, source: Source = USER) -> UsageError:
    with pytest.raises(UsageError) as caught:
        host_rule(entry, verdict, source)
    assert caught.value.place == str(source)
    assert caught.value.hint and "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("example.net", "example.net:80,443"),
        ("Example.NET.", "example.net:80,443"),
        ("*.github.com:443", "*.github.com:443"),
        ("*.internal:8443", "*.internal:8443"),
        ("*.example.co.uk", "*.example.co.uk:80,443"),
        ("*.github.io", "*.github.io:80,443"),
        ("*.net.example", "*.net.example:80,443"),
        ("10.1.2.3:5432", "10.1.2.3:5432"),
        ("[fd00::1]:8080", "[fd00::1]:8080"),
        ("[::ffff:10.1.2.3]:80", "10.1.2.3:80"),
        ("host-loopback:5432", "host-loopback:5432"),
        ("example.com:8000-8010", "example.com:8000-8010"),
        ("example.com:443,8443,8444-8450", "example.com:443,8443-8450"),
        ("bücher.example:1", "xn--bcher-kva.example:1"),
    ],
)
def test_hosts_and_ports(entry: str, text: str) -> None:
    assert rule_text(rule(entry)) == text
    assert rule(entry).source == USER


def test_the_long_form() -> None:
    entry = HostEntry(
        host="api.example.com",
        ports=(8443, "9000-9001", 443),
        inspection="inspect",
        methods=("GET", "POST"),
        paths=("/v1/**",),
        http2=True,
        addresses=("10.0.0.0/8", "FD00::/8"),
        requests=5,
        bytes="1MB",
        rate=60,
        reason="tests",
    )
    assert rule(entry) == EgressRule(
        host="api.example.com",
        verdict=ALLOW,
        source=USER,
        ports=((443, 443), (8443, 8443), (9000, 9001)),
        inspection=Inspection.INSPECT,
        methods=("GET", "POST"),
        paths=("/v1/**",),
        http2=True,
        addresses=("10.0.0.0/8", "fd00::/8"),
        request_limit=5,
        byte_limit=1_000_000,
        rate=60,
        reason="tests",
    )


def test_paths_are_written_as_requests_are_decided() -> None:
    assert rule(HostEntry(host="example.com", paths=("/@a%2fb", "/%7Ejoe/**"))).paths == ("/@a%2Fb", "/~joe/**")


def test_a_denial_is_of_every_port_unless_it_names_some() -> None:
    assert rule("example.com", DENY).ports == EVERY_PORT
    assert rule("10.0.0.1", DENY).ports == EVERY_PORT
    assert rule("example.com:25", DENY).ports == ((25, 25),)
    assert rule("example.com", ASK).ports == DEFAULT_PORTS


@pytest.mark.parametrize(
    ("entry", "depth"),
    [
        ("example.com", Inspection.INSPECT),
        ("example.com:5432", Inspection.INSPECT),
        (HostEntry(host="example.com", inspection="sni"), Inspection.SNI),
        ("10.0.0.1:5432", Inspection.RAW),
        ("host-loopback:5432", Inspection.RAW),
        (HostEntry(host="host-loopback:3000", paths=("/api/**",)), Inspection.INSPECT),
        (HostEntry(host="host-loopback:3000", methods=("GET",)), Inspection.INSPECT),
        (HostEntry(host="host-loopback:3000", http2=True), Inspection.INSPECT),
        (HostEntry(host="host-loopback:3000", inspection="inspect"), Inspection.INSPECT),
    ],
)
def test_how_deep_is_looked_without_being_said(entry: str | HostEntry, depth: Inspection) -> None:
    assert rule(entry).inspection is depth


@pytest.mark.parametrize(
    ("entry", "message", "hint"),
    [
        ("https://example.com/x", "is a URL, not a host", "`paths`"),
        ("example.com/x", "a path is no part of a host", "write a name"),
        ("user@example.com", "a user name is no part", ""),
        ("*", "`*` alone is every host", 'unknown = "ask"'),
        ("*:443", "`*` alone is every host", ""),
        ("*.com", "every name that anybody registers", "`*.example.com`"),
        ("*.co.uk", "every name that anybody registers", "`*.example.co.uk`"),
        ("*.*", "is not a host", ""),
        ("ex*.com", "a wildcard stands only for all subdomains", ""),
        ("example.com:0", "`0` is not a port", "1 to 65535"),
        ("example.com:65536", "`65536` is not a port", ""),
        ("example.com:-1", "`-1` is half a range of ports", "both ends"),
        ("10.0.0.0/8:80", "is a network, not a host", "`addresses`"),
        ("10.0.0.0/8", "is a network, not a host", ""),
        ("fd00::/8", "is a network, not a host", ""),
        ("example.com/24", "a path is no part of a host", ""),
        ("example.com:http", "`http` is not a port", ""),
        ("example.com:1_0", "`1_0` is not a port", ""),
        ("example.com:443-", "`443-` is half a range of ports", ""),
        ("example.com:2-1", "empty range", "lower port first"),
        ("example.com:443,", "is not a port", ""),
        ("example.com:", "names no port", ""),
        (":443", "it is empty", ""),
        ("[::1]x", "is not a host", "`[ADDRESS]:PORT`"),
        ("[::1]:", "is not a host", ""),
        ("[fd00::1", "not an IPv6 address", ""),
        ("fd00::1", "needs a port", "`[fd00::1]:PORT`"),
        ("10.0.0.1", "needs a port", "`10.0.0.1:PORT`"),
        ("host-loopback", "needs a port", "`host-loopback:PORT`"),
        ("127.0.0.1:80", "the sandbox's own loopback", "`host-loopback:PORT`"),
        ("[::1]:80", "the sandbox's own loopback", ""),
        ("0.0.0.0:80", "the sandbox's own loopback", ""),
        ("localhost:80", "the sandbox's own loopback", ""),
        ("db.localhost:80", "the sandbox's own loopback", ""),
        ("198.18.0.5:80", "stands in for names", ""),
        ("224.0.0.1:80", "connection to many", ""),
        ("255.255.255.255:80", "connection to many", ""),
        ("[fe80::1]:80", "needs a zone", ""),
        ("0x7f.1", "not an IPv4 address", ""),
        (HostEntry(host="example.com:443", ports=(80,)), "ports of its own", "one place"),
        (HostEntry(host="example.com", ports=()), "`ports` is empty", ""),
        (HostEntry(host="example.com", ports=(0,)), "`0` is not a port", ""),
        (HostEntry(host="example.com", paths=("api",)), "does not begin with `/`", "/api/**"),
        (HostEntry(host="example.com", paths=("/a/../b",)), "can never match", ""),
        (HostEntry(host="example.com", addresses=("10.0.0.1/8",)), "`10.0.0.1/8` is not a network", "10.0.0.0/8"),
        (HostEntry(host="example.com", inspection="sni", methods=("GET",)), "`methods` needs what `sni`", "inspect"),
        (HostEntry(host="example.com", inspection="sni", paths=("/a",)), "`paths` needs what `sni`", "inspect"),
        (HostEntry(host="example.com", inspection="raw", http2=True), "`http2` needs what `raw`", ""),
    ],
)
def test_what_is_refused(entry: str | HostEntry, message: str, hint: str) -> None:
    error = refused(entry)
    assert message in error.message and hint in error.hint


@pytest.mark.parametrize(
    "entry",
    [
        HostEntry(host="example.com", inspection="raw"),
        HostEntry(host="example.com", http2=True),
        HostEntry(host="example.com", addresses=("10.0.0.0/8",)),
        HostEntry(host="example.com", requests=1),
        HostEntry(host="example.com", bytes=1),
        HostEntry(host="example.com", rate=1),
    ],
)
def test_what_only_takes_away_grants_nothing(entry: HostEntry) -> None:
    assert "a denial takes no" in refused(entry, DENY).message
    assert "a project can only tighten" in refused(entry, ASK, PROJECT).message
    assert rule(entry, ASK).verdict is ASK


def test_denials_may_be_broad() -> None:
    assert [rule(text, DENY).host for text in ("*.com", "localhost", "127.0.0.1")] == [
        "*.com",
        "localhost",
        "127.0.0.1",
    ]


@pytest.mark.parametrize(
    ("entry", "ports"), [(3000, (3000, 3000)), ("3000", (3000, 3000)), ("8080:3000", (8080, 3000))]
)
def test_published_ports(entry: int | str, ports: tuple[int, int]) -> None:
    assert published(entry, USER) == ports


@pytest.mark.parametrize("entry", [0, 65536, "0", "a", "80:0", ":80", "1:2:3", "80-90", "127.0.0.1:80"])
def test_what_cannot_be_published(entry: int | str) -> None:
    with pytest.raises(UsageError, match="is not a port"):
        published(entry, USER)


def test_networks() -> None:
    assert network("192.0.2.7", USER) == "192.0.2.7/32"
    with pytest.raises(UsageError, match="not a network"):
        network("example.com", USER)


def test_ranges_that_touch_are_one() -> None:
    assert merged(((5, 6), (1, 2), (3, 3), (8, 9), (8, 8))) == ((1, 3), (5, 6), (8, 9))
    assert merged(()) == ()


@pytest.mark.parametrize("suffix", "corp home internal intranet lan local localdomain private test".split())
def test_a_wildcard_below_what_nobody_registers(suffix: str) -> None:
    assert rule(f"*.{suffix}").host == f"*.{suffix}"


@pytest.mark.parametrize("label", "ac co com edu go gob gouv gov govt ltd mil ne net nom or org plc sch".split())
def test_a_wildcard_below_a_registry_s_second_label(label: str) -> None:
    assert "every name that anybody registers" in refused(f"*.{label}.uk").message
