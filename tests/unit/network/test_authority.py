"""Hosts, ports, targets and paths of requests: what has one meaning, and what has none or several."""

import re
import urllib.parse

import httpx
import pytest
import urllib3.util

from ringfence.network.authority import (
    Origin,
    Target,
    canonical_path,
    parse_authority,
    request_target,
    wire_host,
)
from ringfence.network.malformed import Malformed, Mismatch
from ringfence.policy.urls import resolved

HTTPS = Origin("https", "example.com", 443)
HTTP = Origin("http", "example.com", 80)

# ---- authorities

ACCEPTED = {
    b"example.com": ("example.com", 80),
    b"EXAMPLE.com": ("example.com", 80),
    b"example.com.": ("example.com", 80),
    b"example.com:8080": ("example.com", 8080),
    b"example.com:65535": ("example.com", 65535),
    b"_dmarc.example.com": ("_dmarc.example.com", 80),
    b"xn--bcher-kva.example": ("xn--bcher-kva.example", 80),
    b"localhost": ("localhost", 80),
    b"192.0.2.7:81": ("192.0.2.7", 81),
    b"[2001:DB8:0:0:0:0:0:1]": ("2001:db8::1", 80),
    b"[::1]:443": ("::1", 443),
    "example.com:1": ("example.com", 1),
}
REFUSED = [
    b"", b" ", b":", b":80", b".", b"..", b"example..com", b".example.com", b"example.com..",
    # ports
    b"example.com:", b"example.com:0", b"example.com:080", b"example.com:65536", b"example.com:99999",
    b"example.com:100000", b"example.com:+80", b"example.com:-1", b"example.com:8 0", b"example.com: 80",
    b"example.com:80 ", b"example.com:0x50", b"example.com:http", b"example.com:80:80", b"example.com:\xd9\xa8",
    # user information, paths, and what parsers of URLs disagree on
    b"user@example.com", b"user:pw@example.com", b"example.com@evil.test", b"example.com:80@evil.test",
    b"example.com#@evil.test", b"example.com?@evil.test", b"example.com\\@evil.test", b"example.com/", b"/example.com",
    b"//example.com", b"example.com\\.evil.test", b"example.com/.evil.test", b"http://example.com",
    # encodings and invisible characters
    b"example%2ecom", b"%65xample.com", b"example.com%00.evil.test", b"example.com\x00", b"\x00example.com",
    b"example.com\r\nX: y", b"example.com\n", b"\texample.com", b"exa mple.com", b"example.com\x7f",
    "exämple.com", "\uff45xample.com", "example\u3002com", "example.com\u200b", "example\u00ad.com", b"ex\xe4mple.com",
    "\udc80example.com", b"xn--.example", b"xn--a.example", b"-example.com", b"example-.com", b"a" * 64 + b".com",
    b"a." * 127 + b"com", b"*.example.com", b"*", b"example.com,evil.test", b"example.com;evil.test", b"a'b.com",
    # addresses in other spellings
    b"2130706433", b"0x7f000001", b"0177.0.0.1", b"127.1", b"127.0.1", b"127.0.0.0x1", b"1.2.3.4.5", b"256.0.0.1",
    b"01.02.03.04", b"1.2.3", b"0", b"1.2.3.4..", b"example.1", b"example.0x",
    b"::1", b"::1:80", b"[::1", b"::1]", b"[::1]80", b"[::1]:", b"[::1]:0", b"[fe80::1%eth0]", b"[fe80::1%25eth0]",
    b"[::ffff:127.0.0.1]", b"[127.0.0.1]", b"[example.com]", b"[]", b"[:]", b"[::1]]", b"[[::1]]", b"[::1::2]",
    b"[v1.fe80::a]", b"[1:2:3:4:5:6:7]", b"[12345::]",
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), ACCEPTED.items(), ids=repr)
def test_an_authority_has_one_host_and_one_port(text: bytes | str, expected: tuple[str, int]) -> None:
    assert parse_authority(text, default_port=80) == expected


@pytest.mark.parametrize("text", REFUSED, ids=repr)
def test_an_authority_with_no_meaning_or_several_is_refused(text: bytes | str) -> None:
    with pytest.raises(Malformed) as refusal:
        parse_authority(text, default_port=80)
    assert refusal.value.reason


def test_an_authority_without_a_port_is_refused_where_it_needs_one() -> None:
    with pytest.raises(Malformed, match="port is missing"):
        parse_authority(b"example.com", default_port=None)


@pytest.mark.parametrize("text", [*ACCEPTED, *REFUSED], ids=repr)
def test_other_parsers_agree_on_what_is_accepted(text: bytes | str) -> None:
    url = f"http://{text if isinstance(text, str) else text.decode('latin-1')}/"
    try:
        host, port = parse_authority(text, default_port=80)
    except Malformed:
        return  # ours may only be stricter
    for named, numbered in (
        (urllib.parse.urlsplit(url).hostname, urllib.parse.urlsplit(url).port),
        (urllib3.util.parse_url(url).host, urllib3.util.parse_url(url).port),
        (httpx.URL(url).raw_host.decode(), httpx.URL(url).port),
    ):
        assert named is not None
        assert (wire_host(named.strip("[]").encode()), numbered or 80) == (host, port)


# ---- targets

MEANT = [
    (b"GET", b"/a?b=c", b"example.com", HTTPS, ("https", "example.com", 443, "/a", "b=c")),
    (b"GET", b"/", b"EXAMPLE.COM:443", HTTPS, ("https", "example.com", 443, "/", "")),
    (b"GET", b"/", b"example.com.", HTTP, ("http", "example.com", 80, "/", "")),
    (b"GET", b"/", None, HTTP, ("http", "example.com", 80, "/", "")),
    (b"GET", b"/", b"example.com:8080", Origin("http", "example.com", 8080), ("http", "example.com", 8080, "/", "")),
    (b"GET", b"/", b"[::1]", Origin("http", "::1", 80), ("http", "::1", 80, "/", "")),
    (b"GET", b"http://example.com/a", b"example.com", HTTP, ("http", "example.com", 80, "/a", "")),
    (b"GET", b"http://example.com/a", b"example.com", None, ("http", "example.com", 80, "/a", "")),
    (b"GET", b"HTTPS://Example.com:8443", b"example.com:8443", None, ("https", "example.com", 8443, "/", "")),
    (b"GET", b"http://example.com?q=//", b"example.com:80", None, ("http", "example.com", 80, "/", "q=//")),
    (b"GET", b"http://example.com", None, None, ("http", "example.com", 80, "/", "")),
    (b"OPTIONS", b"*", b"example.com", HTTPS, ("https", "example.com", 443, "*", "")),
    (b"OPTIONS", b"http://example.com", b"example.com", None, ("http", "example.com", 80, "*", "")),
    (b"OPTIONS", b"http://example.com/", b"example.com", None, ("http", "example.com", 80, "/", "")),
    (b"CONNECT", b"example.com:443", b"example.com:443", None, ("", "example.com", 443, "", "")),
    (b"CONNECT", b"example.com:443", b"example.com", None, ("", "example.com", 443, "", "")),
    (b"CONNECT", b"[::1]:22", None, None, ("", "::1", 22, "", "")),
]
MEANINGLESS = [
    (b"GET", b"", b"example.com", HTTPS),
    (b"GET", b"a", b"example.com", HTTPS),
    (b"GET", b"*", b"example.com", HTTPS),
    (b"OPTIONS", b"**", b"example.com", HTTPS),
    (b"OPTIONS", b"*", b"example.com", None),
    (b"GET", b"/", b"example.com", None),
    (b"GET", b"/", b"", HTTPS),
    (b"GET", b"/", b"user@example.com", HTTPS),
    (b"GET", b"/", b"example.com, example.com", HTTPS),
    (b"GET", b"//evil.test/", b"example.com", HTTPS),
    (b"GET", b"ftp://example.com/", b"example.com", None),
    (b"GET", b"file:///etc/passwd", b"example.com", None),
    (b"GET", b"http:/example.com/", b"example.com", None),
    (b"GET", b"http:example.com/", b"example.com", None),
    (b"GET", b"http:///a", b"example.com", None),
    (b"GET", b"http://user@example.com/", b"example.com", None),
    (b"GET", b"http://example.com\\@evil.test/", b"example.com", None),
    (b"GET", b"http://example.com#@evil.test/", b"example.com", None),
    (b"GET", b"http://example.com/#f", b"example.com", None),
    (b"GET", b"http://example.com", b"example.com\x00", None),
    (b"GET", b"example.com:443", b"example.com", None),
    (b"connect", b"example.com:443", b"example.com", None),
    (b"CONNECT", b"example.com", b"example.com", None),
    (b"CONNECT", b"example.com:443/", b"example.com", None),
    (b"CONNECT", b"http://example.com:443", b"example.com", None),
    (b"CONNECT", b"/", b"example.com", None),
    (b"CONNECT", b"*", b"example.com", None),
    (b"CONNECT", b"example.com:443", b"example.com", HTTPS),
]
DISAGREEING = [
    (b"GET", b"/", b"evil.test", HTTPS),
    (b"GET", b"/", b"example.com:80", HTTPS),
    (b"GET", b"/", b"example.com:443", HTTP),
    (b"GET", b"/", b"www.example.com", HTTPS),
    (b"GET", b"http://evil.test/", b"example.com", HTTP),
    (b"GET", b"http://evil.test/", b"evil.test", HTTP),
    (b"GET", b"http://example.com/", b"evil.test", HTTP),
    (b"GET", b"http://example.com/", b"example.com", HTTPS),
    (b"GET", b"https://example.com/", b"example.com", HTTP),
    (b"GET", b"http://example.com:8080/", b"example.com", None),
    (b"GET", b"http://example.com/", b"evil.test", None),
    (b"OPTIONS", b"*", b"evil.test", HTTPS),
    (b"CONNECT", b"example.com:443", b"evil.test:443", None),
    (b"CONNECT", b"example.com:443", b"example.com:80", None),
]


@pytest.mark.parametrize(("method", "target", "host", "origin", "expected"), MEANT, ids=repr)
def test_a_request_is_to_one_place(
    method: bytes, target: bytes, host: bytes | None, origin: Origin | None, expected: tuple[str, str, int, str, str]
) -> None:
    meant = request_target(method, target, host, origin=origin)
    assert (meant.scheme, meant.host, meant.port, meant.path, meant.query) == expected


@pytest.mark.parametrize(("method", "target", "host", "origin"), MEANINGLESS, ids=repr)
def test_a_request_without_a_meaning_is_refused(
    method: bytes, target: bytes, host: bytes | None, origin: Origin | None
) -> None:
    with pytest.raises(Malformed) as refusal:
        request_target(method, target, host, origin=origin)
    assert refusal.value.code == "bad-request"


@pytest.mark.parametrize(("method", "target", "host", "origin"), DISAGREEING, ids=repr)
def test_a_request_that_names_two_places_is_refused(
    method: bytes, target: bytes, host: bytes, origin: Origin | None
) -> None:
    with pytest.raises(Mismatch) as refusal:
        request_target(method, target, host, origin=origin)
    assert refusal.value.code == "mismatch"


def test_a_target_is_written_for_the_upstream_server() -> None:
    target = Target(scheme="https", host="::1", port=443, path="/a", query="b=%zz")
    assert (target.wire, target.authority) == (b"/a?b=%zz", b"[::1]")
    other = Target(scheme="http", host="example.com", port=443, path="*")
    assert (other.wire, other.authority) == (b"*", b"example.com:443")


# ---- paths

CANONICAL = {
    b"/": ("/", ""),
    b"/a/b/": ("/a/b/", ""),
    b"/a?": ("/a", ""),
    b"/a?b?c/../d": ("/a", "b?c/../d"),
    b'/a?x=[1]&y={"z"}|^`\\%': ("/a", 'x=[1]&y={"z"}|^`\\%'),
    b"/%61%7E%2d%5F%30": ("/a~-_0", ""),
    b"/%c3%a9%20": ("/%C3%A9%20", ""),
    b"/!$&'()*+,;=:@": ("/!$&'()*+,;=:@", ""),
    b"/%3f%23%5b%40": ("/%3F%23%5B%40", ""),
    b"/a.b/.c/d./e..f/...g": ("/a.b/.c/d./e..f/...g", ""),
    b"/repos/o/r/compare/main...dev": ("/repos/o/r/compare/main...dev", ""),
    b"/github.com/!burnt!sushi/toml/@v/list": ("/github.com/!burnt!sushi/toml/@v/list", ""),
    b"/debian/pool/main/g/g%2b%2b_4%3a12_amd64.deb": ("/debian/pool/main/g/g%2B%2B_4%3A12_amd64.deb", ""),
    b"/a;v=1.2/b": ("/a;v=1.2/b", ""),
    b"/info/refs?service=git-upload-pack": ("/info/refs", "service=git-upload-pack"),
}
AMBIGUOUS = [
    b"", b"a", b"*", b"?", b"http://example.com/", b"%2Fa", b"\\a",
    # dot segments, plain and encoded, once and twice
    b"/.", b"/..", b"/./a", b"/../a", b"/a/.", b"/a/..", b"/a/../b", b"/a/./b", b"/...", b"/a/.../b", b"/%2e",
    b"/%2e%2e/a", b"/.%2e/a", b"/%2E./a", b"/a/%2e%2e%2fb", b"/%252e%252e/a", b"/%25%32%65/a", b"/%25252e/", b"/a%2Eb",
    b"/%c0%ae%c0%ae/a", b"/%e0%80%ae/a", b"/%u002e/", b"/%uff0e/", b"/..%20/a", b"/.%20./a", b"/%20/a",
    # path parameters in front of and behind dots
    b"/..;/a", b"/a/..;x=y/b", b"/.;/a", b"/a;/../b", b"/;../a", b"/a;..", b"/..%3b/a", b"/a%3B../b", b"/;a=b/c",
    b"/a%3Bx",
    # slashes of all kinds
    b"//", b"//a", b"/a//b", b"/a//", b"/a/;/b", b"/a%2fb", b"/a%2Fb", b"/a%5cb", b"/a%5Cb", b"/a\\b", b"/a\\..\\b",
    b"/%252f", b"/%c0%af", b"/%ef%bc%8f", b"/%ef%bc%8e%ef%bc%8e/", b"/%e2%84%80", b"/%EF%B9%A8",
    # controls, spaces, bytes and characters that must be encoded
    b"/%00", b"/a%00.txt", b"/%0a", b"/%0D%0A", b"/%1f", b"/%7f", b"/a b", b"/a\tb", b"/a\r\nb", b"/\x00", b"/\x7f",
    b"/\xc3\xa9", b"/%ff", b"/%c3", b"/%ed%a0%80", b'/"', b"/<a>", b"/^", b"/`", b"/{a}", b"/a|b", b"/[a]",
    # percent signs
    b"/%", b"/%2", b"/%zz", b"/%%41", b"/100%", b"/100%25", b"/%+1", b"/% 1",
    # fragments and queries
    b"/#", b"/a#b", b"/a?b#c", b"/a?b c", b"/a?\x00", b"/a?\xc3\xa9", b"/a?b\n", b"/a?\x7f",
]  # fmt: skip


@pytest.mark.parametrize(("raw", "expected"), CANONICAL.items(), ids=repr)
def test_a_path_has_one_form(raw: bytes, expected: tuple[str, str]) -> None:
    path, query = canonical_path(raw)
    assert (path, query) == expected
    assert canonical_path(path.encode()) == (path, "")


@pytest.mark.parametrize("raw", AMBIGUOUS, ids=repr)
def test_a_path_that_servers_disagree_on_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        canonical_path(raw)


@pytest.mark.parametrize("raw", [raw for raw in AMBIGUOUS if raw not in (b"/a%2fb", b"/a%2Fb")], ids=repr)
def test_allowing_encoded_slashes_allows_nothing_else(raw: bytes) -> None:
    with pytest.raises(Malformed):
        canonical_path(raw, encoded_slash=True)


@pytest.mark.parametrize(
    "raw",
    [b"/%2F", b"/a%2F/b", b"/a/%2fb", b"/a%2f%2fb", b"/a%2f../b", b"/..%2fa", b"/%2f..", b"/a%2F.%2Fb", b"/a;%2F"],
)
def test_an_encoded_slash_hides_no_empty_or_dotted_segment(raw: bytes) -> None:
    with pytest.raises(Malformed):
        canonical_path(raw, encoded_slash=True)


@pytest.mark.parametrize("raw", [b"/@scope%2fname", b"/projects/group%2Fname/issues"])
def test_an_encoded_slash_is_kept_where_it_is_allowed(raw: bytes) -> None:
    assert canonical_path(raw, encoded_slash=True) == (raw.decode().replace("%2f", "%2F"), "")


def test_a_request_has_an_encoded_slash_only_where_that_is_allowed() -> None:
    target = request_target(b"GET", b"/@scope%2fname", None, origin=HTTPS, encoded_slash=True)
    assert target.path == "/@scope%2Fname"
    with pytest.raises(Malformed, match="encoded slash"):
        request_target(b"GET", b"/@scope%2fname", None, origin=HTTPS)


@pytest.mark.parametrize("raw", [*CANONICAL, b"/@scope%2fname", b"/a/b%2Fc%2fd/"], ids=repr)
def test_policy_reads_a_path_in_two_ways_at_most(raw: bytes) -> None:
    path, _ = canonical_path(raw, encoded_slash=True)
    without_parameters = re.sub(";[^/]*", "", path)
    assert {path, resolved(path)} == {path, without_parameters, path.replace("%2F", "/")}


def test_the_error_is_a_value_error_with_a_reason() -> None:
    with pytest.raises(ValueError, match="host is not ASCII"):
        wire_host("é".encode())
