"""What becomes of `network` in settings of sandbox-runtime: rules, ports, refusals, variables."""

from typing import Any

import msgspec
import pytest

from ringfence.integrations.srt_network import (
    LOCAL_NETWORKS,
    WEB_PORTS,
    egress,
    entries,
    parent_proxy,
    trusted_upstream,
    variables,
    without,
)
from ringfence.integrations.srt_settings import Network, SettingsError
from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress, EgressRule, Inspection
from ringfence.policy.egress import decide_connection, inspection, resolves_to

SOURCE = Source(scope="cli", file="s.json")
ALLOW, DENY = Verdict.ALLOW, Verdict.DENY


def network(*allowed: str, denied: tuple[str, ...] = (), **more: Any) -> Network:
    return msgspec.convert({"allowedDomains": allowed, "deniedDomains": denied, **more}, Network)


def made(*allowed: str, denied: tuple[str, ...] = (), own: Egress | None = None, **more: Any) -> Egress:
    return egress(network(*allowed, denied=denied, **more), own or Egress(), SOURCE)


def verdict(found: Egress, host: str, port: int = 443) -> Verdict:
    return decide_connection(found, host, port).verdict


def reaches(found: Egress, host: str, address: str, port: int = 443) -> bool:
    return resolves_to(found, host, port, address).verdict is ALLOW


def test_an_allowed_domain_is_allowed_on_every_port() -> None:
    found = made("a.com", "*.b.com")
    for host in ("a.com", "x.b.com", "x.y.b.com"):
        for port in (22, 80, 443, 9999, 65535):
            assert verdict(found, host, port) is ALLOW
    for host in ("b.com", "xb.com", "c.com", "www.a.com"):
        assert verdict(found, host) is DENY
    assert found.listen == WEB_PORTS


def test_a_port_behind_the_colon_is_the_only_one_and_is_captured() -> None:
    found = made("a.com:9000", "[2001:db8::1]:443")
    assert (verdict(found, "a.com", 9000), verdict(found, "a.com", 443)) == (ALLOW, DENY)
    assert found.listen == (80, 443, 8443, 9000)
    assert found.literals == ("2001:db8::1",)


def test_nothing_is_captured_where_nothing_is_allowed() -> None:
    assert made() == Egress()
    assert made("a.com", denied=("*",)).listen == ()
    assert made("a.com:53", "b.com:3128").listen == WEB_PORTS


@pytest.mark.parametrize("entry", ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "127.9.9.9:8080"])
def test_loopback_is_the_hosts(entry: str) -> None:
    found = made(entry)
    assert verdict(found, "host-loopback", 8080) is ALLOW
    assert verdict(found, "host-loopback", 8081) is DENY
    assert reaches(found, "host-loopback", "127.0.0.1", 8080)
    assert (8080 in found.listen, found.literals) == (True, ())


def test_denials_win_and_carry_their_reason() -> None:
    found = made("*.a.com", denied=("x.a.com", "*.y.a.com:22"), deniedDomainReasons={"x.a.com": "because"})
    assert decide_connection(found, "x.a.com", 443).reason == "because"
    assert (verdict(found, "z.y.a.com", 22), verdict(found, "z.y.a.com", 443)) == (DENY, ALLOW)


def test_a_star_denies_every_host() -> None:
    assert verdict(made("a.com", denied=("*",)), "a.com") is DENY
    found = made("a.com", "b.com:22", denied=("*:22",))
    assert (verdict(found, "a.com", 22), verdict(found, "b.com", 22), verdict(found, "a.com", 23)) == (
        DENY,
        DENY,
        ALLOW,
    )


def test_names_may_be_on_the_local_network_but_not_on_this_host() -> None:
    found = made("a.com")
    assert all(reaches(found, "a.com", address) for address in ("8.8.8.8", "10.1.2.3", "192.168.0.1", "fd12::1"))
    special = ["127.0.0.1", "169.254.169.254", "169.254.1.1", "0.0.0.0", "100.100.100.200", "224.0.0.1", "::1"]
    special += ["fd00:ec2::254", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
    assert not any(reaches(found, "a.com", address) for address in special)


def test_a_name_may_be_at_an_address_that_is_allowed_itself() -> None:
    assert reaches(made("a.com", "169.254.169.254"), "a.com", "169.254.169.254")
    assert not reaches(made("a.com", "169.254.169.254:80"), "a.com", "169.254.169.254")


def test_resolved_addresses_can_be_denied() -> None:
    found = made("a.com", deniedResolvedAddresses=["10.1.2.3/8", "::1", "[fd00::9]"])
    assert found.denied_addresses == ("10.0.0.0/8", "::1/128", "fd00::9/128")
    assert not reaches(found, "a.com", "10.1.2.3")


def test_tls_passes_through_unless_it_is_to_be_opened() -> None:
    assert inspection(made("a.com"), "a.com", 443) is Inspection.SNI
    opened = made("a.com", "*.b.com", tlsTerminate={"excludeDomains": ["*.b.com"]})
    assert inspection(opened, "a.com", 443) is Inspection.INSPECT
    assert inspection(opened, "x.b.com", 443) is Inspection.SNI


def test_named_ports_that_are_not_the_webs_carry_any_bytes() -> None:
    found = made("*.a.com", "git.a.com:22", "10.0.0.1", "localhost:5432", "b.com:8443")
    assert inspection(found, "git.a.com", 22) is Inspection.RAW
    assert inspection(found, "git.a.com", 443) is Inspection.SNI
    assert inspection(found, "10.0.0.1", 443) is Inspection.RAW
    assert inspection(found, "host-loopback", 5432) is Inspection.RAW
    assert inspection(found, "b.com", 8443) is Inspection.SNI
    assert verdict(found, "other.a.com", 22) is DENY


def test_policy_of_our_own_stays_in_force() -> None:
    rules = [
        EgressRule(host="a.com", verdict=DENY, source=Source(scope="managed"), ports=((1, 65535),)),
        EgressRule(host="x.b.com", verdict=Verdict.ASK, source=Source(scope="user")),
        EgressRule(host="c.com", verdict=Verdict.ASK, source=Source(scope="user")),
        EgressRule(host="d.com", verdict=ALLOW, source=Source(scope="user")),
    ]
    own = Egress(rules=tuple(rules), denied_addresses=("10.0.0.0/8",), byte_limit=5, parent_proxy="http://p:1")
    found = made("a.com", "*.b.com", own=own)
    assert verdict(found, "a.com") is DENY
    assert verdict(found, "x.b.com") is Verdict.ASK
    assert (verdict(found, "c.com"), verdict(found, "d.com")) == (DENY, DENY)
    assert not reaches(found, "y.b.com", "10.0.0.1")
    assert (found.byte_limit, found.parent_proxy) == (5, "http://p:1")


@pytest.mark.parametrize(
    "entry",
    ["0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.9", "[fe80::1]", "0x7f.1", "127.1", "a_b..com", "1.2.3"],
)
def test_what_is_ambiguous_or_no_host_is_refused(entry: str) -> None:
    with pytest.raises(SettingsError, match="allowedDomains"):
        list(entries([entry], "allowedDomains"))


def test_entries_are_canonical() -> None:
    found = [
        (entry.host, entry.port) for entry in entries(["A.com", "*.\u4f8b.Example.org:8080", "[2001:DB8:0::1]"], "x")
    ]
    assert found == [("a.com", 0), ("*.xn--fsq.example.org", 8080), ("2001:db8::1", 0)]


def test_ports_can_be_taken_out_of_ranges() -> None:
    assert without(((1, 65535),), {80, 22}) == ((1, 21), (23, 79), (81, 65535))
    assert without(((22, 22),), {22}) == ()
    assert without(((1, 5),), {1, 5}) == ((2, 4),)
    assert without(((1, 5),), set()) == ((1, 5),)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ""),
        ({"httpProxyPort": 8888, "socksProxyPort": 8889}, "http://127.0.0.1:8888"),
        ({"parentProxy": {"http": "http://Proxy.corp:3128"}}, "http://proxy.corp:3128"),
        ({"parentProxy": {"http": "http://p.corp:1", "https": "http://p.corp:1"}}, "http://p.corp:1"),
        ({"parentProxy": {"https": "http://[2001:db8::1]:1"}}, "http://[2001:db8::1]:1"),
        ({"parentProxy": {}}, ""),
    ],
)
def test_other_proxies_are_gone_through(more: dict[str, Any], expected: str) -> None:
    assert parent_proxy(network(**more)) == expected


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"mitmProxy": {"socketPath": "/s", "domains": ["a.com"]}}, "mitmProxy"),
        ({"socksProxyPort": 1080}, "socksProxyPort"),
        ({"parentProxy": {"http": "http://p:1", "noProxy": "a.com"}}, "noProxy"),
        ({"parentProxy": {"http": "http://p:1", "https": "http://q:1"}}, "differ"),
        ({"parentProxy": {"http": "http://user:secret@p:1"}}, "http://HOST:PORT"),
        ({"parentProxy": {"http": "https://p:1"}}, "http://HOST:PORT"),
        ({"parentProxy": {"http": "http://0x7f.1:1"}}, "parentProxy"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(more: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named) as caught:
        parent_proxy(network(**more))
    assert "secret" not in str(caught.value)


def test_programs_are_told_of_the_proxy_and_its_password() -> None:
    found = variables(made("a.com"), "pw")
    assert found["HTTP_PROXY"] == found["https_proxy"] == found["ALL_PROXY"] == "http://srt:pw@localhost:3128"
    assert found["FTP_PROXY"] == "socks5h://srt:pw@localhost:3128"
    assert "SSL_CERT_FILE" not in found
    assert "SSL_CERT_FILE" in variables(made("a.com", tlsTerminate={}), "pw")
    assert variables(None, "pw") == {}


def test_more_authorities_are_added_to_the_hosts(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("host.pem", "extra.pem"):
        (tmp_path / name).write_text(f"{name}\n\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "host.pem"))
    found = network("a.com", tlsTerminate={"extraCaCertPaths": [str(tmp_path / "extra.pem")]})
    opened = egress(found, Egress(), SOURCE)
    place = trusted_upstream(found, opened, str(tmp_path))
    with open(place, encoding="ascii") as file:
        assert file.read() == "host.pem\nextra.pem\n"
    assert trusted_upstream(found, opened, str(tmp_path)) == place
    for other in (None, Egress(), made("a.com")):
        assert trusted_upstream(found, other, str(tmp_path)) == ""
    assert trusted_upstream(network("a.com", tlsTerminate={}), opened, str(tmp_path)) == ""


def test_an_authority_that_cannot_be_read_is_named(tmp_path: Any) -> None:
    found = network("a.com", tlsTerminate={"extraCaCertPaths": ["/nowhere/ca.crt"]})
    with pytest.raises(SettingsError, match=r"extraCaCertPaths: `/nowhere/ca.crt`"):
        trusted_upstream(found, egress(found, Egress(), SOURCE), str(tmp_path))


def test_local_networks_are_canonical() -> None:
    import ipaddress

    assert [str(ipaddress.ip_network(text)) for text in LOCAL_NETWORKS] == list(LOCAL_NETWORKS)
