"""The server's side of SOCKS5, a byte at a time and all at once."""

from ipaddress import IPv6Address

import pytest

from ringfence.network.malformed import Malformed
from ringfence.network.socks5 import Connect, Rejected, Reply, Socks5, reply, reply_to_denial

HELLO = b"\5\1\0"
LOGIN = b"\5\2\0\2"
OPENED = b"\5\0"


def request(host: bytes, port: int = 443, *, command: int = 1, kind: int = 3, reserved: int = 0) -> bytes:
    address = bytes((len(host),)) + host if kind == 3 else host
    return bytes((5, command, reserved, kind)) + address + port.to_bytes(2, "big")


def spoken(data: bytes, password: str = "", size: int = 0) -> tuple[Connect | Rejected | None, bytes]:
    """Feed `data` in pieces of `size` bytes, stopping where the handshake ends; return what came of it and was sent."""
    machine = Socks5(password)
    sent = b""
    pieces = [data[start : start + size] for start in range(0, len(data), size)] if size else [data]
    for piece in pieces:
        outcome = machine.receive(piece)
        sent += machine.to_send()
        if outcome is not None:
            return outcome, sent
    assert machine.to_send() == b""
    return None, sent


def bind() -> bytes:
    return request(b"example.com", command=2)


CASES = [
    (HELLO + request(b"example.com"), "", Connect("example.com", 443), OPENED),
    (HELLO + request(b"EXAMPLE.com.", 80), "", Connect("example.com", 80), OPENED),
    (HELLO + request(b"192.0.2.7"), "", Connect("192.0.2.7", 443), OPENED),
    (HELLO + request(b"\xc0\0\2\7", kind=1), "", Connect("192.0.2.7", 443), OPENED),
    (HELLO + request(IPv6Address("2001:db8::1").packed, kind=4), "", Connect("2001:db8::1", 443), OPENED),
    (HELLO + request(IPv6Address("::ffff:1.2.3.4").packed, kind=4), "", Connect("1.2.3.4", 443), OPENED),
    (LOGIN + request(b"a.test"), "", Connect("a.test", 443), OPENED),
    (LOGIN + b"\1\1u\1p" + request(b"a.test"), "u:p", Connect("a.test", 443), b"\5\2\1\0"),
    (LOGIN + b"\1\1u\3p:q" + request(b"a.test"), "u:p:q", Connect("a.test", 443), b"\5\2\1\0"),
    (LOGIN + b"\1\1u\1x", "u:p", Rejected("wrong password"), b"\5\2\1\1"),
    (LOGIN + b"\1\1x\1p", "u:p", Rejected("wrong password"), b"\5\2\1\1"),
    (LOGIN + b"\1\0\0", "u:p", Rejected("wrong password"), b"\5\2\1\1"),
    (HELLO, "u:p", Rejected("no common way of authentication"), b"\5\xff"),
    (b"\5\1\2", "", Rejected("no common way of authentication"), b"\5\xff"),
    (b"\5\2\1\x80", "", Rejected("no common way of authentication"), b"\5\xff"),
    (b"\5\0", "", Rejected("no common way of authentication"), b"\5\xff"),
    (HELLO + bind(), "", Rejected("only CONNECT is served"), OPENED + reply(Reply.NO_SUCH_COMMAND)),
    (HELLO + request(b"a", command=3), "", Rejected("only CONNECT is served"), OPENED + reply(Reply.NO_SUCH_COMMAND)),
    (HELLO + b"\5\1\0\2\0", "", Rejected("unknown type of address"), OPENED + reply(Reply.NO_SUCH_ADDRESS_TYPE)),
]
MALFORMED = [
    (b"\4\1\0\x50\1\2\3\4\0", ""),
    (b"GET / HTTP/1.1\r\n", ""),
    (b"\x16\3\1", ""),
    (b"\0", ""),
    (HELLO + b"\4\1\0\1", ""),
    (HELLO + b"\1\1u\1p", ""),
    (LOGIN + b"\5\1\0\3\1a\0\1", "u:p"),
    (LOGIN + b"\0", "u:p"),
    (HELLO + request(b"example.com", 0), ""),
    (HELLO + request(b"example.com", reserved=1), ""),
    (HELLO + request(b""), ""),
    (HELLO + request(b"exa mple.com"), ""),
    (HELLO + request(b"example.com\0.evil.test"), ""),
    (HELLO + request(b"user@example.com"), ""),
    (HELLO + request(b"example.com:80"), ""),
    (HELLO + request(b"0x7f000001"), ""),
    (HELLO + request(b"127.1"), ""),
    (HELLO + request("é.test".encode()), ""),
    (HELLO + request(b"*.example.com"), ""),
    (HELLO + request(b"fe80::1%eth0"), ""),
]


@pytest.mark.parametrize("size", [0, 1, 3])
@pytest.mark.parametrize(("data", "password", "outcome", "sent"), CASES, ids=repr)
def test_a_handshake_ends_as_it_must(data: bytes, password: str, outcome: object, sent: bytes, size: int) -> None:
    assert spoken(data, password, size) == (outcome, sent)


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize(("data", "password"), MALFORMED, ids=repr)
def test_what_is_no_handshake_is_refused(data: bytes, password: str, size: int) -> None:
    with pytest.raises(Malformed):
        spoken(data, password, size)


@pytest.mark.parametrize("length", range(len(HELLO + request(b"example.com"))))
def test_a_handshake_is_waited_for(length: int) -> None:
    outcome, sent = spoken((HELLO + request(b"example.com"))[:length])
    assert (outcome, sent) == (None, OPENED if length >= len(HELLO) else b"")


def test_what_comes_early_is_kept_for_the_host() -> None:
    machine = Socks5()
    assert machine.receive(HELLO + request(b"a.test") + b"\x16\3\1") == Connect("a.test", 443)
    assert machine.trailing == b"\x16\3\1"
    with pytest.raises(Malformed, match="goes on after its end"):
        machine.receive(b"more")


def test_denials_have_codes_of_their_own() -> None:
    assert reply(Reply.SUCCEEDED) == b"\5\0\0\1\0\0\0\0\0\0"
    assert [int(code) for code in Reply] == list(range(9))  # RFC 1928 section 6
    codes = {code: reply_to_denial(code)[1] for code in ("egress-denied", "not-found", "unreachable", "timed-out", "?")}
    assert codes == {"egress-denied": 2, "not-found": 4, "unreachable": 5, "timed-out": 6, "?": 1}
