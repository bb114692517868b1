r"""What a request names: one host, one port, one path; or it is refused.

The rules (RFC 3986, RFC 9110, RFC 9112, each read as narrowly as clients in use allow):
- An authority is `host [ ":" port ]` (RFC 3986 section 3.2) without user information, in ASCII (a name beyond it is
  written in A-labels, RFC 5890). An IPv6 address stands in brackets and has no zone. A port is 1 to 65535 without
  leading zeros and never empty. The host is what `policy.hosts.canonical_host` makes of it, and nothing else.
- A request target (RFC 9112 section 3.2) is in origin-form where the connection has an origin; in absolute-form of
  `http` or `https` there too, if it says the same; in absolute-form or, for CONNECT, authority-form where the client
  speaks to us as to a proxy; `*` for OPTIONS. Host and target and origin agree, or it is a `Mismatch`.
- A path is `*( "/" segment )` of RFC 3986 section 3.3. Percent-encoded unreserved characters are decoded, hexadecimal
  digits become capitals (sections 6.2.2.1 and 6.2.2.2). Then these are refused, since servers disagree on them: an
  encoded dot, percent sign, backslash, semicolon or control; bytes that are not UTF-8 (overlong forms among them);
  characters that compatibility normalisation turns into a delimiter; empty segments but the last; segments of nothing
  but dots and spaces, also next to `;`; anything that is not a `pchar`. A query is opaque: visible ASCII but `#`.

Theory of operation: what is decided upon is what is sent. The canonical path goes upstream, never the original, so a
server cannot find in it what policy did not see.

Two things are left that one server takes apart and the next does not, and that clients in use need: `;parameters`, and
`%2F` (npm asks for `/@scope%2fname`, GitLab is asked for `/projects/group%2Fname`). `%2F` is refused unless
`encoded_slash` is given, and is then kept as it is; never both in one path, so that a path has two readings at most:
as it is, and resolved.
SECURITY: with `encoded_slash` the caller must decide on both, as `policy.urls` does: an allowance needs both, a denial
one. The opaque reading alone would let `/admin%2Fdelete` pass a denial of `/admin/**`; the resolved one alone would let
`/projects/7%2Fx` (the project called `7/x`) pass an allowance of `/projects/7/**`. The refusals above hold for both.
"""

import re
import unicodedata
from urllib.parse import unquote_to_bytes

import msgspec

from ringfence.policy.hosts import bracketed, canonical_host

from .malformed import Malformed, Mismatch

DEFAULT_PORT = {"http": 80, "https": 443}

_AUTHORITY = re.compile(rb"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,254}))(?::([1-9][0-9]{0,4}))?")
_ABSOLUTE = re.compile(rb"([A-Za-z]{4,5})://([^/?#]*)([/?].*)?", re.DOTALL)
_QUERY = re.compile(rb"[!\"$-~]*")  # visible ASCII but `#` (%x21-7E)
_UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_PCHARS = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-F]{2})*")
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_BAD_ENCODED = re.compile(r"%(?:2[E5]|3B|5C|[01][0-9A-F]|7F)")  # . % ; \ and controls
_BEYOND_ASCII = re.compile(r"%[89A-F]")
_DELIMITERS = frozenset("./\\%;?#")
_PIECES = re.compile(r"/|%2F|;")
_PARAMETERS = re.compile(r";[^/]*")
_DOTS = re.compile(r"(?:\.|%20)+")


class Origin(msgspec.Struct, frozen=True):
    """Whom a connection is to: `scheme` is `http` or `https`, `host` canonical."""

    scheme: str
    host: str
    port: int


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What one request is about. `path` is canonical, `*`, or empty for CONNECT; `scheme` is empty for CONNECT."""

    scheme: str
    host: str
    port: int
    path: str
    query: str = ""

    @property
    def wire(self) -> bytes:
        """Return what to send upstream: origin-form, or `*`."""
        return (f"{self.path}?{self.query}" if self.query else self.path).encode("ascii")

    @property
    def authority(self) -> bytes:
        """Return what to send as Host: without the port where it is the scheme's own."""
        port = "" if DEFAULT_PORT.get(self.scheme) == self.port else f":{self.port}"
        return f"{bracketed(self.host)}{port}".encode("ascii")


def wire_host(text: bytes) -> str:
    """Return the canonical form of a host as protocols carry it: ASCII, an IPv6 address without brackets.

    Raises `Malformed`.
    """
    try:
        return canonical_host(text.decode("ascii"))
    except UnicodeDecodeError:
        raise Malformed("host is not ASCII") from None
    except ValueError as error:
        raise Malformed(f"host: {error}") from None


def parse_authority(text: bytes | str, *, default_port: int | None) -> tuple[str, int]:
    """Return the canonical host and the port of `text`; without `default_port` the port must be there.

    Raises `Malformed`.
    """
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    match = _AUTHORITY.fullmatch(raw)
    if match is None:
        raise Malformed("not a host with an optional port")
    address, name, digits = match.groups()
    port = int(digits) if digits else default_port
    if port is None or port > 65535:
        raise Malformed("port is missing" if port is None else "port is out of range")
    host = wire_host(address or name)
    if (":" in host) != bool(address):
        raise Malformed("brackets around something that is no IPv6 address")
    return host, port


def request_target(
    method: bytes, target: bytes, host: bytes | None, *, origin: Origin | None, encoded_slash: bool = False
) -> Target:
    """Return the one meaning of a request line and its Host field.

    `origin` is what the connection is to; None where the client speaks to us as to a proxy. `host` is None where the
    field is missing, which HTTP/1.0 allows; what it is then, the target or the origin says. `encoded_slash` is as in
    `canonical_path`. Raises `Malformed`, and `Mismatch` where the parts disagree.
    """
    if method == b"CONNECT":
        return _connect(target, host, origin)
    named, rest = _form(method, target, origin)
    if origin is not None and named != origin:
        raise Mismatch("target is not what the connection is to")
    if host is not None and parse_authority(host, default_port=DEFAULT_PORT[named.scheme]) != (named.host, named.port):
        raise Mismatch("Host is not what the request is to")
    path, query = ("*", "") if rest == b"*" else canonical_path(rest, encoded_slash=encoded_slash)
    return Target(scheme=named.scheme, host=named.host, port=named.port, path=path, query=query)


def _form(method: bytes, target: bytes, origin: Origin | None) -> tuple[Origin, bytes]:
    """Tell what a target is to, and the rest of it in origin-form or `*`."""
    if target == b"*" and method != b"OPTIONS":
        raise Malformed("only OPTIONS is about `*`")
    if target == b"*" or target.startswith(b"/"):
        if origin is None:
            raise Malformed("a request to a proxy names its host in the target")
        return origin, target
    return _absolute(method, target)


def _connect(target: bytes, host: bytes | None, origin: Origin | None) -> Target:
    """Read authority-form (RFC 9112 section 3.2.3); SECURITY: an origin is never used as a proxy to others."""
    if origin is not None:
        raise Malformed("CONNECT within a connection to an origin")
    name, port = parse_authority(target, default_port=None)
    # Clients leave the port out of Host, whatever it is: it is the target's then.
    if host is not None and parse_authority(host, default_port=port) != (name, port):
        raise Mismatch("Host is not what CONNECT asks for")
    return Target(scheme="", host=name, port=port, path="")


def _absolute(method: bytes, target: bytes) -> tuple[Origin, bytes]:
    """Read absolute-form (RFC 9112 section 3.2.2): what it names, and the rest in origin-form or `*`."""
    match = _ABSOLUTE.fullmatch(target)
    scheme = match[1].decode("ascii").lower() if match else ""
    if match is None or scheme not in DEFAULT_PORT:
        raise Malformed("target is neither a path nor an http or https URL")
    host, port = parse_authority(match[2], default_port=DEFAULT_PORT[scheme])
    rest: bytes = match[3] or (b"*" if method == b"OPTIONS" else b"/")  # RFC 9112 section 3.2.4
    return Origin(scheme, host, port), b"/" + rest if rest.startswith(b"?") else rest


def canonical_path(raw: bytes, *, encoded_slash: bool = False) -> tuple[str, str]:
    """Return the canonical path and the query (without `?`) of `raw`, an origin-form target.

    With `encoded_slash`, `%2F` is kept as it is, and the caller decides on both readings. Raises `Malformed`.
    """
    before, _, query = raw.partition(b"?")
    if not _QUERY.fullmatch(query):
        raise Malformed("query with characters that must be encoded")
    if not before.startswith(b"/"):
        raise Malformed("path does not begin with a slash")
    try:
        path = _ENCODED.sub(_unreserved, before.decode("ascii"))
    except UnicodeDecodeError:
        raise Malformed("path is not ASCII") from None
    if not _PCHARS.fullmatch(path):
        raise Malformed("path with characters that must be encoded, or an invalid percent sign")
    _refuse_ambiguous(path, encoded_slash=encoded_slash)
    return path, query.decode("ascii")


def _unreserved(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    # A dot stays encoded, to be refused as such: no client in use encodes one without a purpose.
    return character if character in _UNRESERVED and character != "." else match[0].upper()


def _refuse_ambiguous(path: str, *, encoded_slash: bool) -> None:
    if _BAD_ENCODED.search(path):
        raise Malformed("path with an encoded dot, percent sign, backslash, semicolon or control")
    if "%2F" in path and (not encoded_slash or ";" in path):
        raise Malformed("path with an encoded slash")
    if "//" in path.replace("%2F", "/") or "//" in _PARAMETERS.sub("", path):
        raise Malformed("path with an empty segment")
    if any(_DOTS.fullmatch(piece) for piece in _PIECES.split(path)):
        raise Malformed("path with a segment of dots")
    if _BEYOND_ASCII.search(path):
        _refuse_look_alikes(path)


def _refuse_look_alikes(path: str) -> None:
    """Refuse characters beyond ASCII that are not UTF-8, or that become a delimiter under NFKC."""
    try:
        text = unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("path is not UTF-8") from None
    for character in text:
        if character > "\x7f" and _DELIMITERS.intersection(unicodedata.normalize("NFKC", character)):
            raise Malformed("path with a character that resembles a delimiter")
