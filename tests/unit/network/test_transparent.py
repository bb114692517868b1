"""Captured connections: for whom, what is spoken, and what of it may pass under which inspection.

Longer than 400 lines: what is spoken times how deeply it is looked into, which reads best side by side.
"""

import asyncio
import ssl
from collections.abc import Iterable

import pytest

from ringfence.model.decision import Verdict
from ringfence.model.egress import HOST_LOOPBACK, Egress, Inspection
from ringfence.network import transparent
from ringfence.network.heads import HEAD_TIMEOUT_S
from ringfence.network.malformed import Malformed
from ringfence.network.messages import Dial, Dialed, Record
from ringfence.network.session import FIRST_BYTE_TIMEOUT_S
from ringfence.network.stream import Stream
from ringfence.network.synthetic import SyntheticAddresses
from ringfence.network.tls_hello import Hello
from ringfence.network.transparent import ACCESS_DENIED, NOT_UNDERSTOOD, Opening, judged
from tests.unit.network import hellos
from tests.unit.network.conversation import Talk, echo, egress, read_all, rule, run, talking, trusting

HOST = "example.com"
RAW, SNI = Inspection.RAW, Inspection.SNI
GET = b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"


async def page(stream: Stream) -> None:
    """A host that answers one request."""
    request = b""
    while b"\r\n\r\n" not in request:
        data = await stream.read()
        if not data:
            return
        request += data
    await stream.write(OK)


async def captured(it: Talk, host: str = HOST, port: int = 443, *, address: str = "") -> Stream:
    """Connect a client to where `host` is, or to an address."""
    local = address or it.names.address_of(host) or ""
    return await it.client(
        lambda stream, connection: transparent.serve(stream, it.session, connection, it.names), (local, port)
    )


# ---- what is spoken


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET / HTTP/1.1\r\n", Opening.HTTP),
        (b"OPTIONS ", Opening.HTTP),
        (b"M-SEARCH * HTTP/1.1", Opening.HTTP),
        (b"PRI * HTTP/2.0\r\n", Opening.HTTP),  # which the relay refuses
        (b"G", None),
        (b"GET", None),
        (b"GETS-AND-SO-ON", None),
        (b"A" * 32, None),
        (b"A" * 33, Opening.OTHER),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Opening.OTHER),
        (b"SSH", None),
        (b"EHLO\r\n", Opening.OTHER),
        (b"GET.", Opening.OTHER),
        (b"get / HTTP/1.1", Opening.OTHER),
        (b" GET / HTTP/1.1", Opening.OTHER),
        (b"\r\nGET /", Opening.OTHER),
        (b"\x00", Opening.OTHER),
        (b"\x05\x01\x00", Opening.OTHER),
        (b"\x80\x2e\x01\x03\x01", Opening.OTHER),  # a hello of SSL 2
        (b"\x16", None),
        (b"\x16\x03\x01\x02\x00", None),
    ],
)
def test_the_first_bytes_tell_what_is_spoken(data: bytes, expected: Opening | None) -> None:
    assert judged(data) is expected


def test_a_hello_is_read() -> None:
    opening = judged(hellos.real(HOST))
    assert isinstance(opening, Hello) and opening.server_name == HOST


@pytest.mark.parametrize("data", [b"\x16\x02\x00", b"\x16GET /", hellos.records(b"\x02" + bytes(8))])
def test_bytes_that_only_look_like_a_hello_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        judged(data)


# ---- RAW


def test_raw_bytes_pass_and_the_server_may_speak_first() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, inspection=RAW))) as it:

            async def mail(stream: Stream) -> None:
                await stream.write(b"220 ready\r\n")
                assert await stream.read() == b"SSH-2.0-odd\r\n"
                await stream.write(b"500 what\r\n")

            it.supervisor.upstream[HOST, 25] = mail
            client = await captured(it, port=25)
            assert await client.read() == b"220 ready\r\n"
            await client.write(b"SSH-2.0-odd\r\n")
            assert await read_all(client) == b"500 what\r\n"
            await client.close()
            await asyncio.gather(*it.tasks)
            await it.settle()
            assert it.supervisor.records("egress") == [("", HOST)]

    run(talk())


@pytest.mark.parametrize("code", ["unreachable", "address-denied"])
def test_a_raw_client_whose_host_cannot_be_reached_is_reset(code: str) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, inspection=RAW))) as it:
            it.supervisor.upstream[HOST, 443] = Dialed(request=0, code=code)
            client = await captured(it)
            assert await ending(client) == b""
            await it.settle()
            assert it.supervisor.records() == [(code, f"{HOST}:443")]

    run(talk())


async def ending(client: Stream) -> bytes:
    """Read what comes before the end or the cut."""
    found = b""
    try:
        while data := await client.read():
            found += data
    except ConnectionError:
        pass
    client.abort()
    return found


# ---- who is meant


@pytest.mark.parametrize(
    ("address", "rules", "dialled"),
    [
        ("203.0.113.9", egress(rule("203.0.113.9", inspection=RAW)), ["203.0.113.9"]),
        ("2001:db8::9", egress(rule("2001:db8::9", inspection=RAW)), ["2001:db8::9"]),
        ("127.0.0.1", egress(rule(HOST_LOOPBACK, inspection=RAW)), [HOST_LOOPBACK]),
        ("::1", egress(rule(HOST_LOOPBACK, inspection=RAW)), [HOST_LOOPBACK]),
        ("127.0.0.1", egress(rule(HOST_LOOPBACK, inspection=RAW, ports=((80, 80),))), []),
        ("127.0.0.1", egress(rule(HOST, inspection=RAW)), []),
        ("198.18.7.7", egress(rule(HOST, inspection=RAW)), []),  # it stands for no name
    ],
)
def test_an_address_stands_for_a_host(address: str, rules: Egress, dialled: list[str]) -> None:
    async def talk() -> None:
        async with talking(rules) as it:
            client = await captured(it, address=address)
            if address.startswith("198."):
                await client.write(b"\0")
            assert await ending(client) in (b"", NOT_UNDERSTOOD)
            await it.settle()
            assert [dial.host for dial in it.supervisor.all(Dial)] == dialled
            assert bool(it.supervisor.records("denial")) is not bool(dialled)

    run(talk())


def test_a_name_keeps_its_address_while_a_connection_is_open() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, inspection=RAW))) as it:
            it.supervisor.upstream[HOST, 443] = echo
            it.names = SyntheticAddresses(limit=1)
            address = it.names.address_of(HOST) or ""
            client = await captured(it)
            await client.write(b"x")
            assert await client.read() == b"x"
            it.names.address_of("other.example")
            assert it.names.name_of(address) == HOST
            await client.close()
            await asyncio.gather(*it.tasks)
            it.names.address_of("other.example")
            assert it.names.name_of(address) is None

    run(talk())


# ---- SNI


@pytest.mark.parametrize(
    ("hello", "passes"),
    [
        (hellos.real(HOST), True),
        (hellos.real("EXAMPLE.com"), True),
        (hellos.real("evil.example"), False),
        (hellos.real("www.example.com"), False),
        (hellos.real(None), False),
    ],
)
def test_under_sni_a_tunnel_needs_the_right_name(hello: bytes, passes: bool) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, inspection=SNI))) as it:
            it.supervisor.upstream[HOST, 443] = echo
            client = await captured(it)
            for byte in hello[:8]:
                await client.write(bytes((byte,)))
            await client.write(hello[8:])
            await client.write_eof()
            assert await ending(client) == (hello if passes else ACCESS_DENIED)
            await asyncio.gather(*it.tasks)
            await it.settle()
            assert it.supervisor.records("denial") == ([] if passes else [("mismatch", f"{HOST}:443")])
            assert len(it.supervisor.all(Dial)) == int(passes)

    run(talk())


@pytest.mark.parametrize(("server_name", "passes"), [(None, True), ("example.com", False)])
def test_a_hello_to_an_address_names_nobody(server_name: str | None, passes: bool) -> None:
    async def talk() -> None:
        address = "203.0.113.9"
        async with talking(egress(rule(address, inspection=SNI))) as it:
            it.supervisor.upstream[address, 443] = echo
            client = await captured(it, address=address)
            hello = hellos.real(server_name)
            await client.write(hello)
            await client.write_eof()
            assert await ending(client) == (hello if passes else ACCESS_DENIED)

    run(talk())


def test_a_tunnel_that_is_refused_ends_with_an_alert() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, inspection=SNI, request_limit=1))) as it:
            it.supervisor.upstream[HOST, 443] = Dialed(request=0, code="unreachable")
            for _ in range(2):
                client = await captured(it)
                await client.write(hellos.real(HOST))
                assert await ending(client) == ACCESS_DENIED
            await it.settle()
            assert it.supervisor.records() == [
                ("unreachable", f"{HOST}:443"),
                ("budget-exceeded", f"{HOST}:443"),
            ]

    run(talk())


@pytest.mark.parametrize("inspection", [SNI, Inspection.INSPECT])
def test_plain_http_is_looked_into_always(inspection: Inspection) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, inspection=inspection))) as it:
            it.supervisor.upstream[HOST, 80] = page
            client = await captured(it, port=80)
            await client.write(GET)
            assert (await ending(client)).endswith(b"hi")
            client = await captured(it, port=80)
            await client.write(GET.replace(b"Host: example.com", b"Host: evil.example"))
            assert b" 200 " not in await ending(client)
            assert len(it.supervisor.all(Dial)) == 1
            await it.settle()
            assert [code for code, _ in it.supervisor.records("denial")] == ["mismatch"]

    run(talk())


# ---- INSPECT, and denials that can be read


async def over_tls(it: Talk, name: str = HOST, context: ssl.SSLContext | None = None) -> Stream:
    client = await captured(it)
    await client.start_tls(context or trusting(), server_side=False, server_hostname=name)
    return client


@pytest.mark.parametrize(
    "rules", [egress(), *(egress(rule(HOST, inspection=depth), rule(HOST, Verdict.DENY)) for depth in Inspection)]
)
def test_a_denied_request_is_told_why_under_the_sessions_authority(rules: Egress) -> None:
    async def talk() -> None:
        async with talking(rules) as it:
            client = await over_tls(it)
            await client.write(GET)
            answer = await ending(client)
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert b"ringfence: egress-denied: example.com:443" in answer
            await it.settle()
            assert it.supervisor.records("denial") == [("egress-denied", f"{HOST}:443")]
            assert it.supervisor.all(Dial) == []

    run(talk())


def test_an_inspected_request_under_another_name_is_refused() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            client = await over_tls(it)
            await client.write(GET.replace(b"Host: example.com", b"Host: evil.example"))
            assert b" 200 " not in await ending(client)
            assert it.supervisor.all(Dial) == []

    run(talk())


@pytest.mark.parametrize(("rules", "code"), [(egress(rule(HOST)), "bad-request"), (egress(), "egress-denied")])
def test_a_client_that_does_not_trust_the_authority_is_recorded(rules: Egress, code: str) -> None:
    async def talk() -> None:
        async with talking(rules) as it:
            client = await captured(it)
            with pytest.raises(ssl.SSLCertVerificationError):
                await client.start_tls(ssl.create_default_context(), server_side=False, server_hostname=HOST)
            client.abort()
            await asyncio.gather(*it.tasks)
            await it.settle()
            assert it.supervisor.records("denial") == [(code, f"{HOST}:443")]

    run(talk())


@pytest.mark.parametrize("inspection", [SNI, Inspection.INSPECT])
@pytest.mark.parametrize("verdict", [Verdict.ALLOW, Verdict.ASK])
@pytest.mark.parametrize(
    "data", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\0\0\0\x5a", b"\x05\x01\x00", b"*1\r\n$4\r\nPING\r\n", b"\xff" * 100]
)
def test_other_bytes_are_refused_in_words(inspection: Inspection, verdict: Verdict, data: bytes) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, verdict, inspection))) as it:
            client = await captured(it)
            await client.write(data)
            await client.write_eof()
            assert await ending(client) == NOT_UNDERSTOOD
            await it.settle()
            assert it.supervisor.records("denial") == [("egress-denied", f"{HOST}:443")]
            assert it.supervisor.all(Dial) == []

    run(talk())


def garbage() -> Iterable[bytes]:
    hello = hellos.real(HOST)
    yield b"\x16\x03\x01\xff\xff" + bytes(100)
    yield b"\x16\x03\x01\x00\x00"
    yield hello[:60] + b"\xff" * 40 + hello[100:]
    yield b"\x16\x03\x01\x40\x00\x01\xff\xff\xff"
    yield hellos.hello(hellos.named(HOST.encode(), b"evil.example"))
    yield hellos.hello(hellos.named(b"198.51.100.1"))


@pytest.mark.parametrize("data", list(garbage()))
def test_a_hello_that_is_none_is_refused_with_an_alert(data: bytes) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            client = await captured(it)
            await client.write(data)
            assert await ending(client) == ACCESS_DENIED
            await it.settle()
            assert it.supervisor.records("denial") == [("bad-request", f"{HOST}:443")]

    run(talk())


# ---- slow clients


def test_who_says_nothing_is_given_up_after_a_while() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            began = it.session.clock()
            client = await captured(it)
            assert await ending(client) == b""
            assert it.session.clock() - began == pytest.approx(FIRST_BYTE_TIMEOUT_S)
            await it.settle()
            assert it.supervisor.records() == [("timed-out", f"{HOST}:443")]

    run(talk())


@pytest.mark.parametrize("drip", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + b"\x03" * 20, b"A" * 30])
def test_a_byte_now_and_then_does_not_keep_a_connection(drip: bytes) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            client = await captured(it)
            began = it.session.clock()
            for byte in drip:
                if it.tasks[-1].done():
                    break
                await client.write(bytes((byte,)))
                await asyncio.sleep(10)  # of the injected clock
            assert it.session.clock() - began <= HEAD_TIMEOUT_S + 20
            assert await ending(client) == b""
            await it.settle()
            assert it.supervisor.records() == [("timed-out", f"{HOST}:443")]

    run(talk())


def test_a_client_that_leaves_without_a_word_leaves_no_trace() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            client = await captured(it)
            await client.close()
            await asyncio.gather(*it.tasks)
            await it.settle()
            assert it.supervisor.all(Record) == []
            assert it.session.connections == {}

    run(talk())
