"""Whom a TLS client wants to talk to: the ClientHello at the start of a connection, before anything is decided.

The rules (RFC 8446 section 4.1.2 and 5.1, RFC 5246 section 7.4.1.2, RFC 6066 section 3, RFC 7301 section 3.1):

    record    = type(1) = 22, version(2) = 3.x, length(2) = 1..2^14, fragment
    handshake = type(1) = 1, length(3), ClientHello
    ClientHello = version(2), random(32), session_id<0..32>, cipher_suites<2..2^16-2>, compression<1..2^8-1>,
                  [ extensions<..2^16-1> ]              extension = type(2), data<0..2^16-1>
    server_name (0) = list<1..2^16-1> of { type(1) = 0, name<1..2^16-1> }       exactly one entry

The message may be cut over several records. Everything is read to its end: bytes left over anywhere, an extension
that comes twice (RFC 8446 section 4.2), several names, a name that is an address or no ASCII host name are `Malformed`.
SSL 2 hellos and hellos in anything but handshake records are too.

Theory of operation: the caller hands over all bytes since the start of the connection, again and again until there is
an answer. Records are only walked until the message is complete, then it is parsed once; the number of records is
bounded, so that bytes which trickle in cost no more than their number.

SECURITY: `server_name` is what the client said in the clear. With Encrypted Client Hello (draft-ietf-tls-esni) the name
meant is another one, which only a server can read. `ech` tells that such an extension is there and not whether it is
real: browsers and others send a random one (GREASE) that is made to look the same. What keeps ECH from being used is
that its keys come by HTTPS records, which our DNS never answers with.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from ringfence.policy.hosts import is_address

from .authority import wire_host
from .cursor import Cursor
from .malformed import Malformed

HELLO_BYTES = 32 << 10
"""No hello is longer; with post-quantum key shares they have some 2 KiB."""
MAX_RECORDS = 64
BUFFER_BYTES = HELLO_BYTES + MAX_RECORDS * 5
"""What a caller has to keep at most until there is an answer."""

Item = TypeVar("Item")

_RECORD_BYTES = 1 << 14  # RFC 8446 section 5.1
_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS = 0, 16, 43
_ECH = frozenset({0xFE0D, 0xFFCE})  # encrypted_client_hello and its predecessor, encrypted_server_name


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """What a ClientHello says; `server_name` is canonical, None where the client names none.

    `alpn` holds protocol names as Latin-1; `versions` are those offered, best first as a rule, without GREASE.
    """

    server_name: str | None
    alpn: tuple[str, ...]
    versions: tuple[int, ...]
    ech: bool


def parse_client_hello(data: bytes) -> Hello | None:
    """Return what the hello at the start of `data` says, or None as long as it is not complete.

    Raises `Malformed` as soon as it can be no hello. What follows the hello's last record is not looked at.
    """
    fragments = bytearray()
    position = 0
    for _ in range(MAX_RECORDS):
        fragment, complete, position = _record(data, position)
        fragments += fragment
        length = _message_length(fragments)
        if length and len(fragments) >= length:
            if not complete or len(fragments) > length:
                raise Malformed("bytes after the end of the TLS hello")
            return _hello(bytes(fragments[4:]))
        if not complete:
            return None
    raise Malformed("TLS hello in too many records")


def _record(data: bytes, position: int) -> tuple[bytes, bool, int]:
    """Return the bytes of the record at `position`, whether it is complete, and where the next one begins."""
    header = data[position : position + 5]
    # Each byte is judged as it comes: type, major version, (minor version), length.
    if header[:1] not in (b"", b"\x16") or header[1:2] not in (b"", b"\x03"):
        raise Malformed("not a TLS handshake")
    if len(header) < 5:
        return b"", False, position
    length = int.from_bytes(header[3:], "big")
    if not 0 < length <= _RECORD_BYTES:
        raise Malformed("TLS record of a wrong length")
    end = position + 5 + length
    fragment = data[position + 5 : end]
    return fragment, len(fragment) == length, end


def _message_length(fragments: bytearray) -> int:
    """Return the length of the handshake message with its head, 0 as long as that is not there."""
    if fragments and fragments[0] != 1:
        raise Malformed("not a TLS client hello")
    if len(fragments) < 4:
        return 0
    length = 4 + int.from_bytes(fragments[1:4], "big")
    if length > HELLO_BYTES:
        raise Malformed("TLS hello is too long")
    return length


def _hello(message: bytes) -> Hello:
    cursor = Cursor(message, "TLS hello")
    legacy_version = cursor.integer(2)
    cursor.take(32)
    session, suites, compression = cursor.vector(1), cursor.vector(2), cursor.vector(1)
    if len(session) > 32 or not suites or len(suites) % 2 or not compression:
        raise Malformed("TLS hello with a list of a wrong length")
    extensions = {} if cursor.finished() else _extensions(cursor.rest())
    versions = _versions(extensions[_SUPPORTED_VERSIONS]) if _SUPPORTED_VERSIONS in extensions else (legacy_version,)
    return Hello(
        server_name=_server_name(extensions[_SERVER_NAME]) if _SERVER_NAME in extensions else None,
        alpn=_protocols(extensions[_ALPN]) if _ALPN in extensions else (),
        versions=versions,
        ech=not _ECH.isdisjoint(extensions),
    )


def _items(data: bytes, width: int, read: Callable[[Cursor], Item], what: str) -> list[Item]:
    """Read a list that a length of `width` bytes goes before and nothing follows, item by item."""
    outer = Cursor(data, what)
    inner = Cursor(outer.vector(width), what)
    outer.finish()
    found = []
    while not inner.finished():
        found.append(read(inner))
    return found


def _extensions(data: bytes) -> dict[int, bytes]:
    pairs = _items(data, 2, lambda cursor: (cursor.integer(2), cursor.vector(2)), "list of TLS extensions")
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Malformed("TLS extension that comes twice")
    return found


def _server_name(data: bytes) -> str:
    names = _items(data, 2, lambda cursor: (cursor.integer(1), cursor.vector(2)), "TLS server name")
    if len(names) != 1 or names[0][0] != 0:
        raise Malformed("TLS hello without one server name")
    host = wire_host(names[0][1])
    if is_address(host):
        raise Malformed("TLS server name is an address")  # RFC 6066 section 3: literal addresses are not permitted
    return host


def _protocols(data: bytes) -> tuple[str, ...]:
    names = _items(data, 2, lambda cursor: cursor.vector(1), "TLS protocol list")
    if b"" in names or not names:
        raise Malformed("TLS protocol without a name")
    return tuple(name.decode("latin-1") for name in names)


def _versions(data: bytes) -> tuple[int, ...]:
    versions = _items(data, 1, lambda cursor: cursor.integer(2), "TLS version list")
    # RFC 8701: reserved values that a client sends for servers to ignore.
    return tuple(version for version in versions if version & 0x0F0F != 0x0A0A)
