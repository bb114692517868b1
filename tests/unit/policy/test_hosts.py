"""Host names and addresses: one form for each, and the spellings that have none (the hazards of names, as a table)."""

import builtins
from typing import Any

import pytest

from ringfence.policy.hosts import bracketed, canonical_host, canonical_pattern, is_address, matches


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("example.com", "example.com"),
        ("EXAMPLE.Com", "example.com"),
        ("example.com.", "example.com"),
        ("localhost", "localhost"),
        ("host-loopback", "host-loopback"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("under_score.example.com", "under_score.example.com"),
        ("r3---sn-4g5e6nsz.example.com", "r3---sn-4g5e6nsz.example.com"),
        ("1.example.com", "1.example.com"),
        ("127.0.0.1.example.com", "127.0.0.1.example.com"),
        ("0x7f.example", "0x7f.example"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
        (".".join(["a" * 49] * 5) + ".abc", ".".join(["a" * 49] * 5) + ".abc"),
        (".".join(["a" * 49] * 5) + ".abc.", ".".join(["a" * 49] * 5) + ".abc"),
        # Internationalised names become A-labels, non-transitionally (RFC 5891; UTS #46).
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("例え.example", "xn--r8jz45g.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("_x.bücher.example", "_x.xn--bcher-kva.example"),
        # Addresses, as RFC 5952 writes them; an IPv4-mapped one is the IPv4 address that is connected to.
        ("127.0.0.1", "127.0.0.1"),
        ("255.255.255.255", "255.255.255.255"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("2001:DB8:0:0:0:0:0:5", "2001:db8::5"),
        ("[2001:db8::0.0.0.5]", "2001:db8::5"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("[::FFFF:7f00:1]", "127.0.0.1"),
        ("64:ff9b::10.0.0.1", "64:ff9b::a00:1"),
    ],
)
def test_one_form(text: str, host: str) -> None:
    assert canonical_host(text) == host
    assert canonical_host(host) == host


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (".", "empty label"),
        ("..", "empty label"),
        ("a..b", "empty label"),
        (".example.com", "empty label"),
        ("example.com..", "empty label"),
        # What inet_aton() reads as 127.0.0.1 or 10.0.0.1, and relatives of it.
        ("2130706433", "not an IPv4 address"),
        ("0x7f000001", "not an IPv4 address"),
        ("0X7F.1", "not an IPv4 address"),
        ("0177.0.0.1", "not an IPv4 address"),
        ("127.0.0.01", "not an IPv4 address"),
        ("127.1", "not an IPv4 address"),
        ("127.0.1", "not an IPv4 address"),
        ("0", "not an IPv4 address"),
        ("0x", "not an IPv4 address"),
        ("1.2.3.4.5", "not an IPv4 address"),
        ("256.0.0.1", "not an IPv4 address"),
        ("127.0.0.1.", "not an IPv4 address"),
        ("example.1", "not an IPv4 address"),
        ("example.0x7f", "not an IPv4 address"),
        ("\uff11\uff12\uff17.0.0.1", "look-alikes"),
        ("127\u30020.0.1", "look-alikes"),
        # IPv6 that is none, or has a zone.
        ("::1%lo", "zones"),
        ("[fe80::1%25eth0]", "zones"),
        ("[::1", "not an IPv6 address"),
        ("::1]", "not an IPv6 address"),
        ("1::1]", "not an IPv6 address"),
        ("[[::1]]", "not an IPv6 address"),
        ("[]", "not an IPv6 address"),
        ("[127.0.0.1]", "not an IPv6 address"),
        ("[example.com]", "not an IPv6 address"),
        ("1::2::3", "not an IPv6 address"),
        ("::ffff:127.1", "not an IPv6 address"),
        ("::ffff:0x7f.0.0.1", "not an IPv6 address"),
        ("example.com:443", "not an IPv6 address"),
        ("v1.fe80::a", "not an IPv6 address"),
        # What stands around a host in a URL.
        ("user@example.com", "user name"),
        ("allowed.example@evil.example", "user name"),
        ("example.com/", "path"),
        ("example.com\\@evil.example", "backslash"),
        ("example.com#.evil.example", "fragment"),
        ("example.com?.evil.example", "query"),
        ("example%2ecom", "percent"),
        ("evil.example%00.example.com", "percent"),
        # Characters that no name has.
        ("example.com\x00.evil.example", "\\x00"),
        ("example.com\r\nHost: evil.example", "not an IPv6 address"),
        ("example.com\n", "\\n"),
        ("example .com", "` `"),
        (" example.com", "` `"),
        ("example.com\t", "\\t"),
        ("exam,ple.com", "`,`"),
        ("exa'mple.com", "`'`"),
        ("$(id).example.com", "`$`"),
        ("*", "wildcard"),
        ("*.example.com", "wildcard"),
        ("a.*.example.com", "wildcard"),
        ("-rf.example.com", "hyphen"),
        ("example-.com", "hyphen"),
        ("-", "hyphen"),
        # Look-alikes and invisible characters.
        ("\uff45xample.com", "look-alikes"),
        ("\uff25\uff38\uff21\uff2d\uff30\uff2c\uff25.com", "look-alikes"),
        ("example。com", "look-alikes"),
        ("exam\u00adple.com", "look-alikes"),
        ("exam\u200bple.com", "look-alikes"),
        ("\u212aernel.org", "look-alikes"),
        ("example\uff0ecom", "look-alikes"),
        ("a\u2024b", "not a valid internationalised name"),
        ("ex\u202eample.com", "not a valid internationalised name"),
        ("\ud800.example", "not a valid internationalised name"),
        ("bü\u2488.example", "not a valid internationalised name"),
        ("❤.example", "not a valid internationalised name"),
        # What only looks like an A-label.
        ("xn--.example", "hyphen"),
        ("xn--example-.com", "hyphen"),
        ("xn--a.example", "not the encoding"),
        ("xn---tda.example", "not the encoding"),
        ("xn--bcher-kv.example", "not the encoding"),
        ("xn--99999999999.example", "not the encoding"),
        ("xn--a-ecp.xn--0.example", "not the encoding"),
        # Lengths.
        ("a" * 64 + ".example", "label is longer than 63"),
        ("ü" * 60 + ".example", "valid internationalised"),
        ("a." * 127 + "b", "longer than 253"),
        ("a." * 126 + "ab", "longer than 253"),
        ("ü." * 100 + "example", "longer than 253"),
        ("a" * 1000, "longer than 253"),
        ("1" * 1000, "longer than 253"),
    ],
)
def test_what_has_more_than_one_meaning_has_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        canonical_host(text)
    assert why in str(caught.value)
    assert str(caught.value).isprintable()


def test_without_files_to_load_tables_from_a_name_outside_ascii_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def confined(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("idna"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", confined)
    assert canonical_host("xn--bcher-kva.example") == "xn--bcher-kva.example"
    with pytest.raises(ValueError, match="not in ASCII"):
        canonical_host("bücher.example")


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("*.Example.COM.", "*.example.com"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("A.b", "a.b"),
        ("::1", "::1"),
    ],
)
def test_one_form_of_a_pattern(text: str, pattern: str) -> None:
    assert canonical_pattern(text) == pattern == canonical_pattern(pattern)


@pytest.mark.parametrize(
    "text", ["*", "*.", "*ab.c", "**.a.b", "*a.b", "a.*", "*.*.a", "*.1.2.3.4", "*.::1", "*.2.3", "?.a.b", ""]
)
def test_other_wildcards_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical_pattern(text)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("1.2.3.4", True),
        ("::1", True),
        ("example.com", False),
        ("a1", False),
        ("1.a", False),
        ("1.2.3.4.example", False),
    ],
)
def test_addresses_are_told_from_names(host: str, address: bool) -> None:
    assert is_address(host) is address


@pytest.mark.parametrize(
    ("pattern", "host", "found"),
    [
        ("example.com", "example.com", True),
        ("example.com", "www.example.com", False),
        ("*.example.com", "www.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*.example.com", "example.com.evil.example", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", True),
    ],
)
def test_matching(pattern: str, host: str, found: bool) -> None:
    assert matches(pattern, host) is found


def test_brackets() -> None:
    assert [bracketed(host) for host in ("a.b", "1.2.3.4", "::1")] == ["a.b", "1.2.3.4", "[::1]"]
