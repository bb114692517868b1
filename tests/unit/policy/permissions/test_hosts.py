"""Which host a URL leads to, and which hosts a rule means."""

import pytest

from ringfence.policy.permissions.documentation_hosts import DOCUMENTATION_PATHS
from ringfence.policy.permissions.hosts import host_of, host_pattern, is_documentation


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.com/a", "example.com"),
        ("HTTPS://EXAMPLE.COM", "example.com"),
        ("https://example.com.", "example.com"),
        ("http://example.com:8080/?x", "example.com"),
        ("https://user:pw@example.com/", "example.com"),
        ("https://example.com@evil.net/", "evil.net"),
        ("https://evil.net#example.com", "evil.net"),
        ("https://evil.net?@example.com", "evil.net"),
        ("https://bad.com\\@example.com/", "bad.com"),
        ("https://example.com%2eevil.net/", ""),
        ("https://ex\u0430mple.com/", ""),
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://0x7f000001/", ""),
        ("http://2130706433/", ""),
        ("http://[::1]/", ""),
        ("file:///etc/passwd", ""),
        ("https:example.com", ""),
        ("https://exa\tmple.com/", ""),
        ("", ""),
    ],
)
def test_the_host_is_the_one_that_is_connected_to(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("rule", "yes", "no"),
    [
        ("example.com", ["example.com"], ["www.example.com", "example.com.evil.net", "xexample.com"]),
        ("*.sub.org", ["a.sub.org", "a.b.sub.org"], ["sub.org", "xsub.org"]),
        ("ex.*", ["ex.com"], ["ex.evil.com"]),
        ("EXAMPLE.com.", ["example.com"], []),
        ("*", ["anything.example"], []),
    ],
)
def test_patterns_of_hosts(rule: str, yes: list[str], no: list[str]) -> None:
    pattern = host_pattern(f"domain:{rule}")
    assert all(pattern.fullmatch(host) for host in yes)
    assert not any(pattern.fullmatch(host) for host in no)


@pytest.mark.parametrize("what", ["example.com", "domain:", "domain:a/b", "domain:a b", "host:x"])
def test_what_names_no_host_is_refused(what: str) -> None:
    with pytest.raises(ValueError, match=r"names no host|does not say"):
        host_pattern(what)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://docs.python.org/3/", True),
        ("https://vercel.com/docs/x", True),
        ("https://vercel.com/docs/../x", False),
        ("https://vercel.com/docsx", False),
        ("https://docs.python.org.evil.com/", False),
        ("https://docs.python.org@evil.com/", False),
        ("https://a.docs.python.org/", False),
        ("file://docs.python.org/", False),
    ],
)
def test_documentation(url: str, expected: bool) -> None:
    assert is_documentation(url) is expected


def test_a_url_with_a_control_character_leads_nowhere_for_certain() -> None:
    assert host_of("https://a.example/\x01x") == ""


@pytest.mark.parametrize(("host", "start"), DOCUMENTATION_PATHS.items())
def test_documentation_below_a_path(host: str, start: str) -> None:
    assert is_documentation(f"https://{host}{start}/a.html")
    assert not any(is_documentation(f"https://{host}{path}") for path in (f"{start}/../x", "/", f"{start}/%2e%2e/x"))


def test_a_blank_in_a_path_says_nothing_of_the_host() -> None:
    assert host_of("https://a.example/a b") == "a.example"
