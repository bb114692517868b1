"""The server's side of a SOCKS5 handshake, without any I/O: bytes in, replies and at last one request out.

The rules (RFC 1928, RFC 1929):

    greeting  = 5, methods<1..255>                                           reply 5, method (255: none of them)
    login     = 1, name<1..255>, password<1..255>      (method 2)            reply 1, 0 (else: refused)
    request   = 5, command, 0, type, address, port(2)                        reply 5, code, 0, 1, 0.0.0.0, 0
    address   = 4 bytes (type 1) | name<1..255> (type 3) | 16 bytes (type 4)

Where credentials are set, method 2 and these credentials are required; otherwise method 0, and nothing else, is spoken.
CONNECT (1) is served; BIND and UDP ASSOCIATE are answered with code 7, other types of address with code 8. A host goes
through `canonical_host`; port 0 is refused. `Malformed` means that the other side does not speak SOCKS5; the connection
is closed without an answer.
"""

import hmac
from enum import Enum, IntEnum
from ipaddress import IPv6Address

import msgspec

from .authority import wire_host
from .cursor import Cursor
from .malformed import Malformed

VERSION = 5
_NO_LOGIN, _LOGIN, _NO_METHOD = 0, 2, 255
_NAME, _IPV4, _IPV6 = 3, 1, 4
_CONNECT = 1


class Reply(IntEnum):
    """The codes of a reply (RFC 1928 section 6)."""

    SUCCEEDED = 0
    FAILED = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    CONNECTION_REFUSED = 5
    TIMED_OUT = 6
    NO_SUCH_COMMAND = 7
    NO_SUCH_ADDRESS_TYPE = 8


_REPLIES = {
    "egress-denied": Reply.NOT_ALLOWED,
    "address-denied": Reply.NOT_ALLOWED,
    "budget-exceeded": Reply.NOT_ALLOWED,
    "rate-exceeded": Reply.NOT_ALLOWED,
    "mismatch": Reply.NOT_ALLOWED,
    "not-found": Reply.HOST_UNREACHABLE,
    "unreachable": Reply.CONNECTION_REFUSED,
    "timed-out": Reply.TIMED_OUT,
}


class Connect(msgspec.Struct, frozen=True):
    """The client asks for a connection; `host` is canonical."""

    host: str
    port: int


class Rejected(msgspec.Struct, frozen=True):
    """The handshake ends here: send what there is to send, then close."""

    reason: str


class _Stage(Enum):
    GREETING = "greeting"
    LOGIN = "login"
    REQUEST = "request"
    DONE = "done"


class Socks5:
    """One handshake. After each `receive`, send what `to_send` gives."""

    def __init__(self, password: str = "") -> None:
        """`password` is `user:password` that clients must give, empty where none is asked for."""
        user, _, secret = password.partition(":")
        self._credentials = (user.encode(), secret.encode()) if password else None
        self._stage = _Stage.GREETING
        self._received = b""
        self._outgoing = b""

    @property
    def trailing(self) -> bytes:
        """Return what came after the request: it is for whom the client asked for."""
        return self._received

    def to_send(self) -> bytes:
        """Return the bytes that are to be sent now, once."""
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def receive(self, data: bytes) -> Connect | Rejected | None:
        """Take in `data`; return the request or the rejection once it is certain, None as long as more is needed.

        Raises `Malformed`.
        """
        self._received += data
        while self._stage is not _Stage.DONE:
            length = self._length(self._received)
            if len(self._received) < length:
                return None
            message, self._received = self._received[:length], self._received[length:]
            outcome = self._message(message)
            if outcome is not None:
                self._stage = _Stage.DONE
                return outcome
        raise Malformed("SOCKS5 handshake goes on after its end")

    def _length(self, received: bytes) -> int:
        """Return how long the message at the start of `received` is, or more than there is while that is open."""
        if received[:1] not in (b"", b"\x01" if self._stage is _Stage.LOGIN else b"\x05"):
            raise Malformed("not SOCKS5")
        if self._stage is _Stage.GREETING:
            return 2 + received[1] if len(received) > 1 else 2
        if self._stage is _Stage.LOGIN:
            name = 2 + received[1] if len(received) > 1 else 2
            return name + 1 + received[name] if len(received) > name else name + 1
        if len(received) < 5:
            return 5  # the shortest request has more
        # A type that is not known has an unknown length: the answer does not wait for the rest.
        return {_IPV4: 10, _IPV6: 22, _NAME: 7 + received[4]}.get(received[3], len(received))

    def _message(self, message: bytes) -> Connect | Rejected | None:
        if self._stage is _Stage.GREETING:
            return self._greeting(message)
        return self._login(message) if self._stage is _Stage.LOGIN else self._request(message)

    def _greeting(self, message: bytes) -> Rejected | None:
        wanted = _LOGIN if self._credentials else _NO_LOGIN
        if wanted not in message[2:]:
            self._outgoing += bytes((VERSION, _NO_METHOD))
            return Rejected("no common way of authentication")
        self._outgoing += bytes((VERSION, wanted))
        self._stage = _Stage.LOGIN if self._credentials else _Stage.REQUEST
        return None

    def _login(self, message: bytes) -> Rejected | None:
        cursor = Cursor(message, "SOCKS5 login")
        cursor.take(1)
        name, password = self._credentials or (b"", b"")
        given_name, given_password = cursor.vector(1), cursor.vector(1)
        right = hmac.compare_digest(name, given_name) & hmac.compare_digest(password, given_password)
        self._outgoing += bytes((1, 0 if right else 1))
        self._stage = _Stage.REQUEST
        return None if right else Rejected("wrong password")

    def _request(self, message: bytes) -> Connect | Rejected:
        command, reserved, kind = message[1:4]
        if reserved != 0:
            raise Malformed("SOCKS5 request with a reserved byte set")
        if command != _CONNECT:
            return self._reject(Reply.NO_SUCH_COMMAND, "only CONNECT is served")
        if kind not in (_IPV4, _IPV6, _NAME):
            return self._reject(Reply.NO_SUCH_ADDRESS_TYPE, "unknown type of address")
        port = int.from_bytes(message[-2:], "big")
        if port == 0:
            raise Malformed("port is out of range")
        return Connect(_host(kind, message[4:-2]), port)

    def _reject(self, code: Reply, reason: str) -> Rejected:
        self._outgoing += reply(code)
        return Rejected(reason)


def _host(kind: int, field: bytes) -> str:
    if kind == _IPV4:
        return ".".join(str(octet) for octet in field)
    return wire_host(str(IPv6Address(field)).encode("ascii") if kind == _IPV6 else field[1:])


def reply(code: Reply) -> bytes:
    """Return the reply to a request; the bound address in it is never told."""
    return bytes((VERSION, code, 0, _IPV4, 0, 0, 0, 0, 0, 0))


def reply_to_denial(code: str) -> bytes:
    """Return the reply for one of our own codes."""
    return reply(_REPLIES.get(code, Reply.FAILED))
