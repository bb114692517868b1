"""Addresses that stand for names: stable, in their range, bounded, never another's too early."""

from ipaddress import IPv4Address, IPv4Network

from ringfence.network.synthetic import LIMIT, SyntheticAddresses


def given(addresses: SyntheticAddresses, name: str) -> str:
    address = addresses.address_of(name)
    assert address is not None
    return address


def test_a_name_keeps_its_address_and_an_address_its_name() -> None:
    addresses = SyntheticAddresses()
    first, second = given(addresses, "a.test"), given(addresses, "b.test")
    assert first != second
    assert (addresses.address_of("a.test"), addresses.name_of(second)) == (first, "b.test")
    assert addresses.name_of("198.18.0.1") is None
    assert addresses.name_of("192.0.2.1") is None


def test_every_address_is_in_our_half_of_the_range() -> None:
    addresses = SyntheticAddresses()
    found = {IPv4Address(given(addresses, f"n{number}.test")) for number in range(LIMIT)}
    assert len(found) == LIMIT
    assert all(address in IPv4Network("198.18.0.0/15") for address in found)
    assert not any(address in IPv4Network("198.18.0.0/24") for address in found)


def test_the_name_longest_unused_makes_room() -> None:
    addresses = SyntheticAddresses(limit=2)
    first, second = given(addresses, "a.test"), given(addresses, "b.test")
    given(addresses, "a.test")
    third = given(addresses, "c.test")
    assert (addresses.name_of(first), addresses.name_of(second), addresses.name_of(third)) == ("a.test", None, "c.test")
    assert third not in (first, second)
    assert addresses.address_of("b.test") not in (None, first, second, third)


def test_a_name_with_an_open_connection_stays() -> None:
    addresses = SyntheticAddresses(limit=1)
    address = given(addresses, "a.test")
    assert (addresses.hold(address), addresses.hold(address)) == ("a.test", "a.test")
    addresses.release(address)
    assert addresses.address_of("b.test") is None
    assert addresses.address_of("a.test") == address
    addresses.release(address)
    assert addresses.address_of("b.test") is not None
    assert addresses.name_of(address) is None


def test_what_stands_for_nothing_cannot_be_held() -> None:
    assert SyntheticAddresses().hold("198.18.1.0") is None
