"""Whether an address is this host, as the kernel sees it."""

import pytest

from ringfence.network.routes import leads_here


@pytest.mark.parametrize("address", ["127.0.0.1", "127.200.1.9", "0.0.0.0", "224.0.0.1", "255.255.255.255"])
def test_addresses_of_this_host_and_of_everybody(address: str) -> None:
    assert leads_here(address)


@pytest.mark.parametrize("address", ["203.0.113.7", "2001:db8:ffff::1", "2606:2800:220:1::1"])
def test_addresses_of_others(address: str) -> None:
    assert not leads_here(address)
