"""ClientHellos: OpenSSL's own, hand-made ones, and everything that is none."""

import ssl

import pytest

from ringfence.network.malformed import Malformed
from ringfence.network.tls_hello import BUFFER_BYTES, HELLO_BYTES, MAX_RECORDS, Hello, parse_client_hello
from tests.unit.network.hellos import body, extension, hello, message, named, real, records, vector

NAMED = Hello(server_name="example.com", alpn=(), versions=(0x0303,), ech=False)


def alpn(*names: bytes) -> bytes:
    return extension(16, vector(2, b"".join(vector(1, name) for name in names)))


def test_openssl_is_understood() -> None:
    found = parse_client_hello(real("Example.COM", ("h2", "http/1.1"), minimum_version=ssl.TLSVersion.TLSv1_2))
    assert found == Hello(server_name="example.com", alpn=("h2", "http/1.1"), versions=(0x0304, 0x0303), ech=False)


def test_openssl_without_a_name_is_understood() -> None:
    found = parse_client_hello(real(None, maximum_version=ssl.TLSVersion.TLSv1_2))
    assert found == Hello(server_name=None, alpn=(), versions=(0x0303,), ech=False)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 10, 100])
def test_a_hello_may_come_in_several_records(size: int) -> None:
    whole = message(body(named(b"example.com")))
    assert len(whole) // size <= MAX_RECORDS or size == 1
    cut = records(whole, size)
    if size == 1:
        with pytest.raises(Malformed, match="too many records"):
            parse_client_hello(cut)
    else:
        assert parse_client_hello(cut) == NAMED


@pytest.mark.parametrize("data", [real(), records(message(body(named(b"example.com"))), 50)], ids=["real", "cut"])
def test_a_hello_is_not_judged_before_it_is_complete(data: bytes) -> None:
    assert [parse_client_hello(data[:length]) for length in range(len(data))] == [None] * len(data)
    expected = parse_client_hello(data)
    assert expected is not None
    assert expected.server_name == "example.com"
    assert parse_client_hello(data + b"\x14\x03\x03\0\1\1 and early data") == expected


def test_a_big_hello_is_understood_and_a_bigger_one_is_not() -> None:
    room = HELLO_BYTES - len(message(body(named(b"example.com") + extension(21, b""))))
    longest, longer = (message(body(named(b"example.com") + extension(21, bytes(room + more)))) for more in (0, 1))
    assert len(longest) == HELLO_BYTES == 32768
    assert parse_client_hello(records(longest)) == NAMED
    with pytest.raises(Malformed, match="too long"):
        parse_client_hello(records(longer)[:9])


def test_a_hello_in_as_many_records_as_may_be_fits_the_buffer() -> None:
    whole = message(body(named(b"example.com")))
    data = records(whole, -(-len(whole) // MAX_RECORDS))
    assert parse_client_hello(data) == NAMED
    assert (MAX_RECORDS, BUFFER_BYTES) == (64, HELLO_BYTES + 64 * 5)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (records(message(body(None))), Hello(server_name=None, alpn=(), versions=(0x0303,), ech=False)),
        (hello(named(b"a.test.")), Hello(server_name="a.test", alpn=(), versions=(0x0303,), ech=False)),
        (hello(alpn(b"\x0a\x0a", b"h2")), Hello(server_name=None, alpn=("\n\n", "h2"), versions=(0x0303,), ech=False)),
        (
            hello(extension(43, vector(1, b"\x1a\x1a\x03\x04\x03\x03")), extension(0x2A2A, b"")),
            Hello(server_name=None, alpn=(), versions=(0x0304, 0x0303), ech=False),
        ),
        (hello(extension(0xFE0D, b"\0any")), Hello(server_name=None, alpn=(), versions=(0x0303,), ech=True)),
        (hello(extension(0xFFCE, b"")), Hello(server_name=None, alpn=(), versions=(0x0303,), ech=True)),
    ],
)
def test_what_a_hello_may_say(data: bytes, expected: Hello) -> None:
    assert parse_client_hello(data) == expected


GOOD = body(named(b"example.com"))
BAD = {
    "http": b"GET / HTTP/1.1\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "sslv2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
    "an alert": records(message(GOOD), kind=21),
    "application data": records(message(GOOD), kind=23),
    "another version": records(message(GOOD), version=b"\x02\x00"),
    "an empty record": b"\x16\x03\x01\0\0",
    "a record that is too long": b"\x16\x03\x01\x40\x01",
    "a server hello": records(message(GOOD, kind=2)),
    "a hello that is too long": b"\x16\x03\x01\0\4\1\x00\x80\x00",
    "an alert between records": records(message(GOOD)[:20]) + records(message(GOOD)[20:], kind=21),
    "two messages in one record": records(message(GOOD) + message(GOOD)),
    "half a message behind it": records(message(GOOD) + b"\1"),
    "nothing in the message": records(message(b"")),
    "a cut body": records(message(GOOD[:-1])),
    "bytes behind the extensions": records(message(GOOD + b"\0")),
    "a session that is too long": records(message(body(b"", session=bytes(33)))),
    "no cipher suites": records(message(body(b"", suites=b""))),
    "half a cipher suite": records(message(body(b"", suites=b"\x13"))),
    "no compression": records(message(body(b"", methods=b""))),
    "half an extension": hello(b"\0\0\0"),
    "an extension cut short": hello(b"\0\x17\0\1"),
    "two server names": hello(named(b"example.com", b"evil.test")),
    "two equal server names": hello(named(b"example.com", b"example.com")),
    "two server_name extensions": hello(named(b"example.com"), named(b"evil.test")),
    "two extensions of another kind": hello(extension(23, b""), extension(23, b"")),
    "a name of another type": hello(named(b"example.com", kind=1)),
    "an empty list of names": hello(extension(0, b"\0\0")),
    "an empty server_name": hello(extension(0, b"")),
    "an empty name": hello(named(b"")),
    "bytes behind the list": hello(extension(0, vector(2, b"\0" + vector(2, b"example.com")) + b"\0")),
    "a name cut short": hello(extension(0, b"\0\x0e\0\0\x0cexample.com")),
    "a NUL": hello(named(b"example.com\0.evil.test")),
    "a port": hello(named(b"example.com:443")),
    "brackets": hello(named(b"[::1]")),
    "an IPv4 address": hello(named(b"192.0.2.1")),
    "an IPv4 address in hexadecimal": hello(named(b"0x7f000001")),
    "an IPv6 address": hello(named(b"2001:db8::1")),
    "a wildcard": hello(named(b"*.example.com")),
    "UTF-8": hello(named("exämple.com".encode())),
    "a space": hello(named(b"example.com ")),
    "an empty label": hello(named(b"example..com")),
    "an empty protocol": hello(alpn(b"h2", b"")),
    "no protocols": hello(alpn()),
    "protocols cut short": hello(extension(16, b"\0\3\2h")),
    "bytes behind the protocols": hello(extension(16, vector(2, b"\2h2") + b"\0")),
    "half a version": hello(extension(43, vector(1, b"\3"))),
    "no versions": hello(extension(43, b"")),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_what_is_no_hello_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed) as refusal:
        parse_client_hello(data)
    assert refusal.value.code == "bad-request"


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_once_refused_more_bytes_change_nothing(data: bytes) -> None:
    for length in range(len(data)):
        try:
            found = parse_client_hello(data[:length])
        except Malformed:
            with pytest.raises(Malformed):
                parse_client_hello(data)
        else:
            assert found is None


def test_bytes_that_trickle_in_are_refused_in_time() -> None:
    trickle = records(message(bytes(1000))[:MAX_RECORDS], 1)
    assert parse_client_hello(trickle[:-1]) is None
    with pytest.raises(Malformed, match="too many records"):
        parse_client_hello(trickle)
