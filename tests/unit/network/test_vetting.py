"""What the dialer decides for itself: connections again, and every address that a name has."""

import pytest

from ringfence.model.decision import Verdict
from ringfence.model.egress import HOST_LOOPBACK, Egress
from ringfence.network import vetting
from ringfence.network.messages import Dial
from ringfence.network.resolver import Answer
from tests.unit.network.loopback import rule

PUBLIC = "93.184.216.34"


def dial(host: str, port: int = 443) -> Dial:
    return Dial(request=1, connection=1, host=host, port=port)


def elsewhere(address: str) -> bool:
    return False


def here(address: str) -> bool:
    return True


def vet(egress: Egress, host: str, *addresses: str) -> Answer:
    return vetting.vet(egress, dial(host), addresses, elsewhere)


def plain(host: str, *addresses: str) -> Egress:
    return Egress(rules=(rule(host, addresses=addresses),))


@pytest.mark.parametrize(
    "host",
    [
        "Example.com",
        "example.com.",
        "",
        "127.1",
        "0x7f000001",
        "2130706433",
        "[::1]",
        "::ffff:127.0.0.1",
        "0:0:0:0:0:0:0:1",
        "fe80::1%eth0",
        "example.com\0.evil",
        "user@example.com",
        "ex\uff41mple.com",
        "a..b",
        "host loopback",
    ],
)
def test_a_host_that_is_not_canonical_is_refused_whatever_the_rules(host: str) -> None:
    assert vetting.refusal(Egress(unknown=Verdict.ALLOW), dial(host), set())


@pytest.mark.parametrize("port", [0, -1, 65536, 1 << 32])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    assert vetting.refusal(Egress(unknown=Verdict.ALLOW), dial("example.com", port), set())


def test_policy_decides_on_host_and_port() -> None:
    egress = Egress(rules=(rule("example.com", port=443),))
    assert vetting.refusal(egress, dial("example.com"), set()) == ""
    assert vetting.refusal(egress, dial("example.com", 80), set())
    assert vetting.refusal(egress, dial("www.example.com"), set())


def test_a_question_counts_as_no_until_it_is_answered_for_this_host_and_port() -> None:
    egress = Egress(rules=(rule("example.com", Verdict.ASK),))
    assert vetting.refusal(egress, dial("example.com"), set())
    assert vetting.refusal(egress, dial("example.com"), {("example.com", 80), ("www.example.com", 443)})
    assert vetting.refusal(egress, dial("example.com"), {("example.com", 443)}) == ""


def test_a_yes_does_not_outweigh_a_denial() -> None:
    egress = Egress(rules=(rule("example.com", Verdict.ASK), rule("example.com", Verdict.DENY)))
    assert vetting.refusal(egress, dial("example.com"), {("example.com", 443)})


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "a loopback address"),
        ("127.255.1.2", "a loopback address"),
        ("::1", "a loopback address"),
        ("0.0.0.0", "an unspecified address"),
        ("10.1.2.3", "a private address"),
        ("172.31.0.1", "a private address"),
        ("fd12::1", "a private address"),
        ("169.254.169.254", "a metadata address"),
        ("169.254.1.1", "a link-local address"),
        ("fe80::1%eth0", "a link-local address"),
        ("100.64.0.1", "a carrier-grade NAT address"),
        ("224.0.0.1", "a multicast address"),
        ("::ffff:127.0.0.1", "an IPv4 in IPv6 address"),
        ("::ffff:93.184.216.34", "an IPv4 in IPv6 address"),
        ("::127.0.0.1", "an IPv4 in IPv6 address"),
        ("64:ff9b::7f00:1", "a NAT64 address"),
        ("2002:7f00:1::1", "a 6to4 address"),
        ("2001:0:1::1", "a Teredo address"),
    ],
)
def test_a_name_may_not_resolve_to_special_addresses(address: str, kind: str) -> None:
    found = vet(plain("example.com"), "example.com", address)
    assert (found.addresses, found.code) == ((), "address-denied")
    assert found.reason == f"example.com resolved to {kind}"
    assert found.address == address


def test_bad_addresses_among_good_ones_are_left_out() -> None:
    assert vet(plain("example.com"), "example.com", "127.0.0.1", PUBLIC, "::1").addresses == (PUBLIC,)


def test_all_that_was_wrong_is_said_once() -> None:
    found = vet(plain("example.com"), "example.com", "127.0.0.1", "10.0.0.1", "127.0.0.2")
    assert found.reason == "example.com resolved to a loopback address and a private address"


def test_a_rule_opens_the_networks_that_it_names() -> None:
    assert vet(plain("db.example.com", "10.0.0.0/8"), "db.example.com", "10.1.2.3").addresses == ("10.1.2.3",)
    assert not vet(plain("db.example.com", "10.0.0.0/16"), "db.example.com", "10.1.2.3").addresses


def test_addresses_that_policy_denies_are_denied_even_where_a_rule_names_them() -> None:
    egress = Egress(rules=(rule("db.example.com", addresses=("10.0.0.0/8",)),), denied_addresses=("10.1.0.0/16",))
    assert vet(egress, "db.example.com", "10.1.2.3", "10.2.2.3").addresses == ("10.2.2.3",)
    public = Egress(rules=(rule("example.com", addresses=()),), denied_addresses=("93.184.0.0/16",))
    assert vet(public, "example.com", PUBLIC).reason == "example.com resolved to an address that policy denies"


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:220:1::1"])
def test_a_public_address_of_this_host_needs_a_rule_that_names_it_exactly(address: str) -> None:
    width = "128" if ":" in address else "32"
    wide = "2606:2800::/32" if ":" in address else "93.184.0.0/16"

    def on_this_host(*addresses: str) -> Answer:
        return vetting.vet(plain("example.com", *addresses), dial("example.com"), (address,), here)

    assert on_this_host().reason == "example.com resolved to an address of this host"
    assert on_this_host(wide).code == "address-denied"
    assert on_this_host(f"{address}/{width}").addresses == (address,)
    literal = vetting.vet(plain(address), dial(address), (address,), here)
    assert literal.addresses == (address,)


def test_a_private_network_that_a_rule_opens_does_not_open_this_host_in_it() -> None:
    egress = plain("db.example.com", "10.0.0.0/8")
    found = vetting.vet(egress, dial("db.example.com"), ("10.1.2.3", "10.1.2.4"), lambda address: address == "10.1.2.3")
    assert found.addresses == ("10.1.2.4",)


def test_a_literal_is_that_very_address_and_needs_a_rule_if_it_is_special() -> None:
    assert vet(plain("10.1.2.3"), "10.1.2.3", "10.1.2.3").addresses == ("10.1.2.3",)
    learning = Egress(unknown=Verdict.ALLOW)
    assert vet(learning, PUBLIC, PUBLIC).addresses == (PUBLIC,)
    assert vet(learning, "10.1.2.3", "10.1.2.3").reason == "10.1.2.3 is a private address"


def test_the_host_s_loopback_needs_a_rule_of_its_own() -> None:
    found = vetting.vet(plain(HOST_LOOPBACK), dial(HOST_LOOPBACK), ("127.0.0.1", "::1"), here)
    assert found.addresses == ("127.0.0.1", "::1")
    learning = vetting.vet(Egress(unknown=Verdict.ALLOW), dial(HOST_LOOPBACK), ("127.0.0.1", "::1"), here)
    assert learning.code == "address-denied"


def test_a_rule_about_another_port_opens_no_address() -> None:
    egress = Egress(rules=(rule("example.com", port=80), rule("example.com", addresses=(), port=443)))
    assert vet(egress, "example.com", "127.0.0.1").code == "address-denied"
