"""Where a variable that names another model API leads, and whether a key can be put into requests there."""

import pytest

from ringfence.integrations.agents import Address, address
from ringfence.model.errors import UsageError


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("https://gw.example.com", Address("gw.example.com:443", "gw.example.com", 443)),
        ("https://gw.example.com:8443/v1", Address("gw.example.com:8443", "gw.example.com", 8443)),
        ("http://gw.example.com", Address("gw.example.com:80", "", 80)),
        ("https://10.0.0.1", Address("10.0.0.1:443", "", 443)),
        ("https://[fd00::1]:8443", Address("[fd00::1]:8443", "", 8443)),
        ("http://127.0.0.1:4000", Address("host-loopback:4000", "", 4000)),
        ("https://localhost:4000", Address("host-loopback:4000", "", 4000)),
        ("", None),
    ],
)
def test_where_it_leads(monkeypatch: pytest.MonkeyPatch, value: str, found: Address | None) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", value)
    assert address("ANTHROPIC_BASE_URL") == found


@pytest.mark.parametrize("value", ["gw.example.com", "ftp://gw.example.com", "https://gw.example.com:99999"])
def test_what_is_no_address(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", value)
    with pytest.raises(UsageError, match="`ANTHROPIC_BASE_URL` is not an address"):
        address("ANTHROPIC_BASE_URL")
