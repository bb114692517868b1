r"""HTTP/1 heads that have one meaning, and which of their fields travel on.

The rules, above what h11 checks (RFC 9112; the head as bytes, before h11 sees it):

    head   = method SP target SP "HTTP/1." ("0" / "1") CRLF *( name ":" OWS value OWS CRLF ) CRLF
    method = 1*32( %x41-5A / "-" )         name = token         value = *( HTAB / %x20-7E / %x80-FF )

- Lines end in CRLF; a CR or LF on its own, an empty line before the head, a folded line, a space before the colon and
  control characters are refused (sections 2.2, 5.1, 5.2). h11 takes a bare LF for the end of a line.
- Methods are capitals: they are case-sensitive (RFC 9110 section 9.1), and rules about them must not miss `delete`.
- One Host (none only in HTTP/1.0); at most one Content-Length, of digits; at most one Transfer-Encoding, `chunked`, and
  only in HTTP/1.1; never both (section 6.3). h11 merges repeated lengths that are equal; here they are refused.
- No two names that differ in `_` and `-` alone, and no such twin of a name that frames or routes: gateways that make
  variables of them cannot tell them apart.
- Expect is `100-continue`. A body comes with no CONNECT, and with GET and HEAD only where the caller allows it (RFC
  9110 section 9.3.1: it has no meaning there). TRACE is refused: it would answer with fields added on the way.
- No field that asks a framework for another method or path than the request line has. Those that claim another host on
  behalf of an earlier proxy are not forwarded. (What a server makes of such a wish in a query or body is its own.)
- Connection (RFC 9110 section 7.6.1) names fields that end here; one that frames, routes or authenticates is refused
  there, since who drops it and who does not would read two requests.

Theory of operation: `check_head_bytes` finds the head at the start of what was received and reads it; then the caller
feeds exactly these bytes to h11 and goes on with what follows. What is sent upstream is written anew by h11 out of
`forwarded_headers`, so nothing of a head's original spelling travels on.

An offer to upgrade (RFC 9110 section 7.8) is taken up for `websocket` alone. Any other, h2c above all, is declined by
not being forwarded: the request is answered in HTTP/1.1 (Java's client offers h2c with every request).
"""

import re
from collections.abc import Sequence

import msgspec

from .malformed import Malformed

Headers = Sequence[tuple[bytes, bytes]]
"""Fields in their order; names in lower case, values without spaces around them, as h11 has them."""

HEAD_BYTES = 64 << 10
MAX_FIELDS = 128
"""Of heads beyond these limits nothing is read; servers in use allow 8 to 64 KiB and 100 fields."""

_REQUEST_LINE = re.compile(rb"([A-Z][A-Z-]{0,31}) ([\x21-\x7e]+) HTTP/(1\.[01])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_LONE = re.compile(rb"(?<!\r)\n|\r[^\n]")
_LENGTH = re.compile(rb"[0-9]{1,18}")

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_SENSITIVE = _FRAMING | {b"host", b"authorization", b"cookie", b"content-type", b"content-encoding", b"expect"}
_OVERRIDES = frozenset(
    {b"x-http-method", b"x-http-method-override", b"x-method-override", b"x-original-url", b"x-rewrite-url"}
)
_HOP_BY_HOP = frozenset({b"connection", b"http2-settings", b"keep-alive", b"te", b"upgrade"})
_CLAIMS = frozenset({b"forwarded", b"x-forwarded-host", b"x-forwarded-server", b"x-host", b"x-original-host"})
# Routes around us (RFC 7838), and pins that would outlive the session's certificates (RFC 7469).
_WITHHELD = frozenset(
    {b"alt-svc", b"alternate-protocol", b"public-key-pins", b"public-key-pins-report-only"}  # of responses
)
_NOT_IN_TRAILERS = (  # RFC 9110 section 6.5.1
    _SENSITIVE | _HOP_BY_HOP | _WITHHELD | {b"trailer", b"content-range", b"set-cookie", b"location", b"cache-control"}
)
_WEBSOCKET = ((b"connection", b"Upgrade"), (b"upgrade", b"websocket"))


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A request's head as it was received; `length` is how many bytes it takes, `version` `1.0` or `1.1`."""

    method: bytes
    target: bytes
    version: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    length: int

    @property
    def host(self) -> bytes | None:
        """Return the Host field, None where there is none."""
        return next(iter(values(self.headers, b"host")), None)

    @property
    def said(self) -> bytes:
        """Return everything in it that the client was free to choose."""
        return b"\n".join((self.target, *(part for field in self.headers for part in field)))

    @property
    def problem(self) -> str:
        """Say what is wrong with the head by default rules, empty where nothing is."""
        return head_problem(self.method, self.headers, version=self.version)

    @property
    def websocket(self) -> bool:
        """Tell whether the request offers to go on as a WebSocket (RFC 6455 section 4.1)."""
        offered = [value.lower() for value in values(self.headers, b"upgrade")]
        asked = self.method == b"GET" and self.version == b"1.1" and b"upgrade" in listed(self.headers, b"connection")
        return asked and offered == [b"websocket"]


def check_head_bytes(data: bytes | bytearray) -> Head | None:
    """Return the request head that `data` begins with, or None as long as it is not complete.

    Only its form is checked; `problem` tells whether the fields have one meaning. Raises `Malformed` as soon as it is
    certain, so that a client is not waited for in vain.
    """
    seen = bytes(data[:HEAD_BYTES])
    end = seen.find(b"\r\n\r\n")
    head = seen[:end] if end >= 0 else seen
    if _LONE.search(head):
        raise Malformed("line that does not end in CRLF")
    if seen.startswith(b"\r"):
        raise Malformed("empty line before a request")
    if end < 0:
        if len(seen) == HEAD_BYTES:
            raise Malformed("request head is too long")
        return None
    first, *lines = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise Malformed("request line is not `METHOD target HTTP/1.1`")
    if len(lines) > MAX_FIELDS:
        raise Malformed("too many header fields")
    method, target, version = match.groups()
    headers = tuple(_field(line) for line in lines)
    return Head(method=method, target=target, version=version, headers=headers, length=end + 4)


def _field(line: bytes) -> tuple[bytes, bytes]:
    match = _FIELD.fullmatch(line)
    if match is not None:
        return match[1].lower(), match[2].rstrip(b" \t")
    if line[:1] in (b" ", b"\t"):
        raise Malformed("folded header field")
    raise Malformed("header field with characters that have no place there")


def values(headers: Headers, name: bytes) -> list[bytes]:
    """List the values of every field called `name`, which is in lower case."""
    return [value for found, value in headers if found == name]


def listed(headers: Headers, name: bytes) -> set[bytes]:
    """Return the members, in lower case, of a field that is a comma-separated list of tokens."""
    members = (member.strip(b" \t").lower() for value in values(headers, name) for member in value.split(b","))
    return {member for member in members if member}


def head_problem(method: bytes, headers: Headers, *, version: bytes = b"1.1", body_on_get: bool = False) -> str:
    """Say what gives a request two meanings, or none; empty where it has one.

    `body_on_get` allows a body with GET and HEAD, which some search servers want.
    """
    hosts = values(headers, b"host")
    if len(hosts) > 1 or (not hosts and version != b"1.0"):
        return "several Host fields" if hosts else "no Host field"
    if not _REQUEST_LINE.fullmatch(method + b" / HTTP/" + version):
        return "method is not in capitals, or version is not HTTP/1"
    if method == b"TRACE":
        return "TRACE is not served"
    return (
        _framing_problem(headers, version)
        or _body_problem(method, headers, allowed=body_on_get)
        or _name_problem(headers)
        or _connection_problem(headers)
    )


def _framing_problem(headers: Headers, version: bytes) -> str:
    lengths, codings = values(headers, b"content-length"), values(headers, b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        return "more than one field that says how long the body is"
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        return "Content-Length is not a number"
    if codings and codings[0].lower() != b"chunked":
        return "Transfer-Encoding is not `chunked`"
    return "Transfer-Encoding in HTTP/1.0" if codings and version == b"1.0" else ""


def _body_problem(method: bytes, headers: Headers, *, allowed: bool) -> str:
    has_body = any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")) for name, value in headers
    )
    bodiless = method == b"CONNECT" or (method in (b"GET", b"HEAD") and not allowed)
    return f"{method.decode('ascii')} with a body" if has_body and bodiless else ""


def _name_problem(headers: Headers) -> str:
    names = {name for name, _ in headers}
    plain = {name.replace(b"_", b"-") for name in names}
    if len(plain) < len(names) or not _SENSITIVE.isdisjoint(plain - names):
        return "header fields that differ in `_` and `-` alone"
    return "a header field that asks for another method or path" if plain & _OVERRIDES else ""


def _connection_problem(headers: Headers) -> str:
    if any(value.lower() != b"100-continue" for value in values(headers, b"expect")):
        return "Expect is not `100-continue`"
    return "Connection names a field that must not be dropped" if listed(headers, b"connection") & _SENSITIVE else ""


def forwarded_headers(headers: Headers, *, authority: bytes, websocket: bool = False) -> list[tuple[bytes, bytes]]:
    """Return the fields of a request that go upstream, with `authority` as Host.

    Dropped are those that end here (RFC 9110 section 7.6.1), those that Connection names, and all that speak to proxies
    or for them. Content-Length and Transfer-Encoding stay, for h11 to frame by. With `websocket` the upgrade is
    offered.
    """
    kept = [field for field in _end_to_end(headers) if field[0] != b"host" and field[0] not in _CLAIMS]
    return [(b"host", authority), *kept, *(_WEBSOCKET if websocket else ())]


def response_headers(headers: Headers, *, websocket: bool = False) -> list[tuple[bytes, bytes]]:
    """Return the fields of a response that go to the client; `websocket` where it is the 101 to an upgrade.

    Dropped are those that `forwarded_headers` drops, and those that lead a client around us.
    """
    kept = [field for field in _end_to_end(headers) if field[0] not in _WITHHELD]
    return [*kept, *(_WEBSOCKET if websocket else ())]


def request_length(headers: Headers) -> int | None:
    """How long a request's body is (RFC 9112, 6.3), None where its framing will tell."""
    if values(headers, b"transfer-encoding"):
        return None
    return int(b"".join(values(headers, b"content-length")) or b"0")


def response_length(method: bytes, status: int, headers: Headers) -> int | None:
    """How long a response's body is (RFC 9112, 6.3), None where its framing or its end will tell."""
    if bodiless(method, status):
        return 0
    if values(headers, b"transfer-encoding"):
        return None
    lengths = values(headers, b"content-length")
    return int(lengths[0]) if lengths else None


def bodiless(method: bytes, status: int) -> bool:
    """Tell whether a response has no body, whatever its fields say."""
    return method == b"HEAD" or status in (204, 304)


def trailers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the fields that may travel after a body (RFC 9110 section 6.5.1): none that frame, route or control."""
    return [field for field in _end_to_end(headers) if field[0] not in _NOT_IN_TRAILERS]


def _end_to_end(headers: Headers) -> list[tuple[bytes, bytes]]:
    dropped = (_HOP_BY_HOP | listed(headers, b"connection")) - _FRAMING
    return [(name, value) for name, value in headers if name not in dropped and not name.startswith(b"proxy-")]
