"""Which addresses are special: every range of the registries at both ends, and what lies just outside."""

import ipaddress

import pytest

from ringfence.policy.addresses import SPECIAL, canonical_network, in_networks, is_single, special


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("0.1.2.3", "this network"),
        ("10.255.255.255", "private"),
        ("172.16.0.0", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("fc00::1", "private"),
        ("fdff:ffff::1", "private"),
        ("169.254.0.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("febf::1", "link-local"),
        ("fec0::1", "site-local"),
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("192.0.0.192", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("100.127.255.255", "carrier-grade NAT"),
        ("192.0.0.8", "protocol assignments"),
        ("192.0.2.1", "documentation"),
        ("198.51.100.1", "documentation"),
        ("203.0.113.255", "documentation"),
        ("2001:db8::1", "documentation"),
        ("3fff:fff::1", "documentation"),
        ("198.18.0.1", "benchmarking"),
        ("198.19.255.255", "benchmarking"),
        ("2001:2::1", "benchmarking"),
        ("192.88.99.1", "6to4 relay"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("ff02::fb", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        # IPv4 within IPv6, whatever it holds.
        ("::ffff:127.0.0.1", "IPv4 in IPv6"),
        ("::ffff:93.184.215.14", "IPv4 in IPv6"),
        ("::127.0.0.1", "IPv4 in IPv6"),
        ("::93.184.215.14", "IPv4 in IPv6"),
        ("::ffff:0:127.0.0.1", "IPv4 in IPv6"),
        ("64:ff9b::169.254.169.254", "NAT64"),
        ("64:ff9b:1::10.0.0.1", "NAT64"),
        ("2002:7f00:1::", "6to4"),
        ("2001::53aa:64c:0:7f57:3ce8", "Teredo"),
        ("2001:20::1", "protocol assignments"),
        ("100::1", "discard"),
        ("100:0:0:1::1", "dummy"),
        ("5f00::1", "segment routing"),
        # Outside of all that IANA gives out.
        ("4000::1", "reserved"),
        ("400::1", "reserved"),
        ("fe00::1", "reserved"),
        # Public.
        ("1.1.1.1", ""),
        ("169.254.170.23", "metadata"),
        ("fd00:ec2::23", "metadata"),
        ("10.0.0.1%eth0", "private"),
        ("9.255.255.255", ""),
        ("11.0.0.0", ""),
        ("100.63.255.255", ""),
        ("100.128.0.0", ""),
        ("126.255.255.255", ""),
        ("128.0.0.0", ""),
        ("168.63.129.15", ""),
        ("169.253.255.255", ""),
        ("172.15.255.255", ""),
        ("172.32.0.0", ""),
        ("192.167.255.255", ""),
        ("198.17.255.255", ""),
        ("198.20.0.0", ""),
        ("223.255.255.255", ""),
        ("2001:200::1", ""),
        ("2606:4700::1111", ""),
        ("2a00:1450::1", ""),
        ("3ffe:ffff::1", ""),
    ],
)
def test_what_an_address_is(address: str, what: str) -> None:
    assert special(address) == what


@pytest.mark.parametrize("entry", SPECIAL, ids=lambda entry: entry.network)
def test_every_network_of_the_table_is_special_at_both_ends(entry: object) -> None:
    network = ipaddress.ip_network(entry.network)  # type: ignore[attr-defined]  # pytest's ids want a plain object
    assert special(str(network[0])) and special(str(network[-1]))


@pytest.mark.parametrize("text", ["", "example.com", "1.2.3", "0x7f.1", "::g", "1.2.3.4/32"])
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        special(text)


@pytest.mark.parametrize(
    ("address", "networks", "found"),
    [
        ("10.1.2.3", ["10.0.0.0/8"], True),
        ("11.1.2.3", ["10.0.0.0/8"], False),
        ("10.1.2.3", ["192.168.0.0/16", "10.1.2.3"], True),
        ("10.1.2.3", [], False),
        ("fd00::1", ["fd00::/8"], True),
        ("fd00::1%eth0", ["fd00::/8"], True),
        ("10.1.2.3%eth0", ["10.0.0.0/8"], True),
        ("fd00::1", ["0.0.0.0/0"], False),
        ("::ffff:10.1.2.3", ["10.0.0.0/8"], True),
        ("::ffff:10.1.2.3", ["::/0"], True),
        ("10.1.2.3", ["::/0"], False),
    ],
)
def test_networks(address: str, networks: list[str], found: bool) -> None:
    assert in_networks(address, networks) is found


def test_one_form_of_a_network() -> None:
    assert [canonical_network(text) for text in ("10.0.0.1", "FD00:0::/8")] == ["10.0.0.1/32", "fd00::/8"]
    assert [is_single(text) for text in ("10.0.0.1/32", "fd00::/8")] == [True, False]
    with pytest.raises(ValueError, match="host bits"):
        canonical_network("10.0.0.1/8")
