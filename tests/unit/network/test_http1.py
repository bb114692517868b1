"""HTTP/1 heads: what h11 takes and we do not, and which fields travel on."""

import h11
import pytest

from ringfence.network.http1 import (
    HEAD_BYTES,
    MAX_FIELDS,
    Head,
    check_head_bytes,
    forwarded_headers,
    head_problem,
    response_headers,
    trailers,
)
from ringfence.network.malformed import Malformed

GOOD = b"GET /a HTTP/1.1\r\nHost: example.com\r\nAccept:*/*\r\nX-Name: \xc3\xa9 \t\r\n\r\n"
Fields = list[tuple[bytes, bytes]]


def head(*lines: bytes, first: bytes = b"GET / HTTP/1.1", host: bool = True) -> bytes:
    return b"\r\n".join((first, *((b"Host: example.com",) if host else ()), *lines, b"", b""))


def read(data: bytes) -> Head:
    found = check_head_bytes(data)
    assert found is not None
    return found


def test_a_head_is_read() -> None:
    assert read(GOOD + b"body\n") == Head(
        method=b"GET",
        target=b"/a",
        version=b"1.1",
        headers=((b"host", b"example.com"), (b"accept", b"*/*"), (b"x-name", b"\xc3\xa9")),
        length=len(GOOD),
    )
    assert (read(GOOD).host, read(GOOD).problem, read(GOOD).websocket) == (b"example.com", "", False)


def test_a_head_is_waited_for() -> None:
    assert [check_head_bytes(GOOD[:length]) for length in range(len(GOOD))] == [None] * len(GOOD)


FORMLESS = {
    "an empty line first": b"\r\n" + GOOD,
    "a bare LF first": b"\n" + GOOD,
    "bare LFs": GOOD.replace(b"\r\n", b"\n"),
    "one bare LF": GOOD.replace(b"\r\nAccept", b"\nAccept"),
    "a bare LF at the end": GOOD[:-2] + b"\n\r\n",
    "a bare CR": GOOD.replace(b"\r\nAccept", b"\rAccept"),
    "CR CR LF": GOOD.replace(b"\r\nAccept", b"\r\r\nAccept"),
    "CR CR LF at the end": GOOD[:-4] + b"\r\r\n\r\n",
    "a CR in a value": head(b"A: b\rc"),
    "a NUL in a value": head(b"A: b\0c"),
    "a control in a value": head(b"A: b\1c"),
    "a DEL in a value": head(b"A: b\x7fc"),
    "a folded field": head(b"A: b", b" c"),
    "a folded field by a tab": head(b"A: b", b"\tc"),
    "a folded first field": head(b" A: b", host=False),
    "a space before the colon": head(b"Content-Length : 5"),
    "a tab before the colon": head(b"Transfer-Encoding\t: chunked"),
    "no colon": head(b"Host"),
    "no name": head(b": b"),
    "a name with a space": head(b"A B: c"),
    "a name with a NUL": head(b"A\0: c"),
    "a name beyond ASCII": head("Ä: b".encode()),
    "a name with a slash": head(b"A/B: c"),
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2": head(first=b"GET / HTTP/2.0"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.2": head(first=b"GET / HTTP/1.2"),
    "HTTP/1": head(first=b"GET / HTTP/1"),
    "http/1.1": head(first=b"GET / http/1.1"),
    "HTTP/1.10": head(first=b"GET / HTTP/1.10"),
    "two spaces": head(first=b"GET  / HTTP/1.1"),
    "a tab": head(first=b"GET\t/ HTTP/1.1"),
    "a space behind": head(first=b"GET / HTTP/1.1 "),
    "a space in front": head(first=b" GET / HTTP/1.1"),
    "a space in the target": head(first=b"GET /a b HTTP/1.1"),
    "no target": head(first=b"GET HTTP/1.1"),
    "a target beyond ASCII": head(first="GET /é HTTP/1.1".encode()),
    "a control in the target": head(first=b"GET /\x01 HTTP/1.1"),
    "a method in lower case": head(first=b"get / HTTP/1.1"),
    "a method in mixed case": head(first=b"Delete / HTTP/1.1"),
    "a long method": head(first=b"A" * 33 + b" / HTTP/1.1"),
    "a method with a colon": head(first=b"GET: / HTTP/1.1"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    "too many fields": head(*[b"A: b"] * MAX_FIELDS),
    "too long": GOOD[:-2] + b"A: " + b"b" * HEAD_BYTES,
}


@pytest.mark.parametrize("data", FORMLESS.values(), ids=FORMLESS.keys())
def test_a_head_without_form_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        check_head_bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\nHost", "line that does not end in CRLF"),
        (b"\r", "empty line before a request"),
        (b"G" * HEAD_BYTES, "request head is too long"),
        (FORMLESS["a folded field"], "folded header field"),
        (FORMLESS["a folded field by a tab"], "folded header field"),
        (FORMLESS["no colon"], "header field with characters that have no place there"),
    ],
)
def test_what_is_wrong_is_said_as_soon_as_it_is_certain(data: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=f"^{reason}$"):
        check_head_bytes(data)


def test_limits_are_reached_and_not_passed() -> None:
    assert len(read(head(*[b"A: b"] * (MAX_FIELDS - 1))).headers) == MAX_FIELDS == 128
    longest = head(b"A: " + b"b" * (HEAD_BYTES - len(head(b"A: "))))
    assert read(longest).length == HEAD_BYTES == 65536
    assert check_head_bytes(longest[:-1]) is None
    with pytest.raises(Malformed, match="too long"):
        check_head_bytes(longest.replace(b"A: ", b"A: b"))


def test_h11_takes_what_is_refused_here() -> None:
    """Show what the check is for; where h11 becomes stricter, this tells."""
    for data in (FORMLESS["bare LFs"], FORMLESS["a control in a value"], head(b"Content-Length: 5, 5")):
        server = h11.Connection(h11.SERVER)
        server.receive_data(data)
        assert isinstance(server.next_event(), h11.Request)


SOUND = {
    "a plain request": head(),
    "HTTP/1.0 without Host": head(first=b"GET / HTTP/1.0", host=False),
    "a length": head(b"Content-Length: 5", first=b"POST / HTTP/1.1"),
    "chunks": head(b"Transfer-Encoding: Chunked", first=b"PUT / HTTP/1.1"),
    "no body, said so": head(b"Content-Length: 0"),
    "a body on DELETE": head(b"Content-Length: 5", first=b"DELETE / HTTP/1.1"),
    "100-continue": head(b"Expect: 100-Continue", b"Content-Length: 5", first=b"POST / HTTP/1.1"),
    "cookies": head(b"Cookie: a", b"Cookie: b"),
    "underscores": head(b"X_A: b", b"X-B: c"),
    "keep-alive": head(b"Connection: Keep-Alive, TE", b"TE: trailers"),
    "an offer of h2c": head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA"),
    "CONNECT": head(first=b"CONNECT example.com:443 HTTP/1.1"),
}
AMBIGUOUS = {
    "two Hosts": head(b"Host: evil.test"),
    "two equal Hosts": head(b"Host: example.com"),
    "no Host": head(host=False),
    "two Hosts in HTTP/1.0": head(b"Host: example.com", first=b"GET / HTTP/1.0"),
    "a length and chunks": head(b"Content-Length: 5", b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.1"),
    "two lengths": head(b"Content-Length: 5", b"Content-Length: 6", first=b"POST / HTTP/1.1"),
    "two equal lengths": head(b"Content-Length: 5", b"Content-Length: 5", first=b"POST / HTTP/1.1"),
    "a list of lengths": head(b"Content-Length: 5, 5", first=b"POST / HTTP/1.1"),
    "a negative length": head(b"Content-Length: -5", first=b"POST / HTTP/1.1"),
    "a length with a plus": head(b"Content-Length: +5", first=b"POST / HTTP/1.1"),
    "a length in hexadecimal": head(b"Content-Length: 0x5", first=b"POST / HTTP/1.1"),
    "a length with a fraction": head(b"Content-Length: 5.0", first=b"POST / HTTP/1.1"),
    "an empty length": head(b"Content-Length:", first=b"POST / HTTP/1.1"),
    "a length beyond reason": head(b"Content-Length: " + b"9" * 19, first=b"POST / HTTP/1.1"),
    "chunked twice": head(b"Transfer-Encoding: chunked, chunked", first=b"POST / HTTP/1.1"),
    "two codings": head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.1"),
    "gzip and chunked": head(b"Transfer-Encoding: gzip, chunked", first=b"POST / HTTP/1.1"),
    "identity": head(b"Transfer-Encoding: identity", first=b"POST / HTTP/1.1"),
    "xchunked": head(b"Transfer-Encoding: xchunked", first=b"POST / HTTP/1.1"),
    "chunked in quotes": head(b'Transfer-Encoding: "chunked"', first=b"POST / HTTP/1.1"),
    "chunked with parameters": head(b"Transfer-Encoding: chunked;q=1", first=b"POST / HTTP/1.1"),
    "an empty coding": head(b"Transfer-Encoding:", first=b"POST / HTTP/1.1"),
    "chunks in HTTP/1.0": head(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0"),
    "a body on GET": head(b"Content-Length: 5"),
    "chunks on GET": head(b"Transfer-Encoding: chunked"),
    "a body on HEAD": head(b"Content-Length: 5", first=b"HEAD / HTTP/1.1"),
    "a body on CONNECT": head(b"Content-Length: 5", first=b"CONNECT a.test:443 HTTP/1.1"),
    "TRACE": head(first=b"TRACE / HTTP/1.1"),
    "another Expect": head(b"Expect: 200-ok"),
    "two in Expect": head(b"Expect: 100-continue, other"),
    "content_length": head(b"Content_Length: 5"),
    "transfer_encoding": head(b"Transfer_Encoding: chunked"),
    "twins": head(b"X_Token: a", b"X-Token: b"),
    "twins of each other": head(b"X_Auth-Token: a", b"X-Auth_Token: b"),
    "another method": head(b"X-HTTP-Method-Override: DELETE", first=b"POST / HTTP/1.1"),
    "another method, in underscores": head(b"X_HTTP_Method_Override: DELETE"),
    "another path": head(b"X-Original-URL: /admin"),
    "another path, rewritten": head(b"X-Rewrite-URL: /admin"),
    "Host to be dropped": head(b"Connection: close, Host"),
    "the length to be dropped": head(b"Connection: content-length", b"Content-Length: 0"),
    "the credentials to be dropped": head(b"Connection: Authorization", b"Authorization: a"),
    "the coding to be dropped": head(b"Connection: transfer-encoding"),
}


@pytest.mark.parametrize("data", SOUND.values(), ids=SOUND.keys())
def test_a_request_with_one_meaning_has_no_problem(data: bytes) -> None:
    assert read(data).problem == ""


@pytest.mark.parametrize("data", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_a_request_with_two_meanings_has_a_problem(data: bytes) -> None:
    assert read(data).problem != ""


@pytest.mark.parametrize("data", [*SOUND.values(), GOOD])
def test_h11_reads_a_sound_head_the_same_way(data: bytes) -> None:
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    server.receive_data(data)
    event = server.next_event()
    found = read(data)
    assert isinstance(event, h11.Request)
    assert (event.method, event.target, event.http_version) == (found.method, found.target, found.version)
    framing = {b"transfer-encoding": bytes.lower}
    assert list(event.headers) == [(name, framing.get(name, bytes)(value)) for name, value in found.headers]


def test_a_body_on_get_may_be_allowed() -> None:
    found = read(AMBIGUOUS["a body on GET"])
    assert head_problem(found.method, found.headers, body_on_get=True) == ""
    connect = read(AMBIGUOUS["a body on CONNECT"])
    assert head_problem(connect.method, connect.headers, body_on_get=True) != ""


def test_a_method_from_elsewhere_is_checked_too() -> None:
    assert head_problem(b"delete", [(b"host", b"a.test")]) != ""
    assert head_problem(b"GET", [(b"host", b"a.test")], version=b"2") != ""


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((b"Connection: Upgrade", b"Upgrade: websocket"), True),
        ((b"Connection: keep-alive, upgrade", b"Upgrade: WebSocket"), True),
        ((b"Upgrade: websocket",), False),
        ((b"Connection: Upgrade", b"Upgrade: h2c"), False),
        ((b"Connection: Upgrade", b"Upgrade: websocket, h2c"), False),
        ((b"Connection: Upgrade", b"Upgrade: websocket", b"Upgrade: h2c"), False),
        ((b"Connection: Upgrade",), False),
    ],
)
def test_an_offer_of_a_websocket_is_told_from_others(lines: tuple[bytes, ...], expected: bool) -> None:
    assert read(head(*lines)).websocket is expected
    assert read(head(*lines, first=b"POST / HTTP/1.1")).websocket is False
    assert read(head(*lines, first=b"GET / HTTP/1.0")).websocket is False


REQUEST: Fields = [
    (b"host", b"evil.test"), (b"accept", b"*/*"), (b"connection", b"close, X-Hop"), (b"x-hop", b"1"),
    (b"te", b"trailers"), (b"keep-alive", b"1"), (b"upgrade", b"h2c"), (b"http2-settings", b"AAMA"),
    (b"proxy-authorization", b"Basic eA=="), (b"proxy-connection", b"close"), (b"proxy-x", b"1"),
    (b"content-length", b"5"), (b"cookie", b"a"), (b"cookie", b"b"), (b"x-forwarded-host", b"evil.test"),
    (b"forwarded", b"host=evil.test"),
]  # fmt: skip


def test_only_fields_that_are_for_the_server_go_upstream() -> None:
    kept = [(b"accept", b"*/*"), (b"content-length", b"5"), (b"cookie", b"a"), (b"cookie", b"b")]
    assert forwarded_headers(REQUEST, authority=b"example.com") == [(b"host", b"example.com"), *kept]


def test_a_websocket_is_offered_anew() -> None:
    found = forwarded_headers(
        [(b"upgrade", b"websocket"), (b"sec-websocket-key", b"k")], authority=b"a", websocket=True
    )
    assert found == [
        (b"host", b"a"), (b"sec-websocket-key", b"k"), (b"connection", b"Upgrade"), (b"upgrade", b"websocket"),
    ]  # fmt: skip


def test_only_fields_that_lead_nowhere_else_go_to_the_client() -> None:
    response: Fields = [
        (b"alt-svc", b'h3=":443"'), (b"public-key-pins", b"p"), (b"proxy-authenticate", b"Basic"), (b"upgrade", b"h2"),
        (b"connection", b"x-hop"), (b"x-hop", b"1"), (b"transfer-encoding", b"chunked"), (b"set-cookie", b"a"),
    ]  # fmt: skip
    kept = [(b"transfer-encoding", b"chunked"), (b"set-cookie", b"a")]
    assert response_headers(response) == kept
    assert response_headers([], websocket=True) == [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]


def test_connection_cannot_drop_what_frames() -> None:
    fields = [(b"connection", b"content-length"), (b"content-length", b"5")]
    assert response_headers(fields) == [(b"content-length", b"5")]


def test_trailers_neither_frame_nor_route_nor_control() -> None:
    fields: Fields = [
        (b"grpc-status", b"0"), (b"content-length", b"5"), (b"host", b"evil.test"), (b"transfer-encoding", b"chunked"),
        (b"authorization", b"a"), (b"set-cookie", b"a"), (b"proxy-authenticate", b"a"), (b"connection", b"x-hop"),
        (b"x-hop", b"1"), (b"alt-svc", b"a"), (b"trailer", b"a"), (b"x-checksum", b"1"),
    ]  # fmt: skip
    assert trailers(fields) == [(b"grpc-status", b"0"), (b"x-checksum", b"1")]
