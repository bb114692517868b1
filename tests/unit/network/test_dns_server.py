"""The name server: what policy lets be asked about has an address, nothing else exists, no question goes anywhere."""

import asyncio
import socket
import struct

import pytest

from ringfence.model.decision import Verdict
from ringfence.model.egress import HOST_LOOPBACK, Egress
from ringfence.network import dns, dns_server
from ringfence.network.channel import Channel
from ringfence.network.messages import Record
from ringfence.network.session import FIRST_BYTE_TIMEOUT_S, Session
from ringfence.network.synthetic import SyntheticAddresses
from tests.unit.network.conversation import Supervisor, Talk, authority, egress, read_all, rule, run, talking

HOST = "example.com"
NXDOMAIN, NO_ERROR, REFUSED, FORMERR = 3, 0, 5, 1
HTTPS = 65


def query(name: str, qtype: int = dns.A, qclass: int = 1, number: int = 7) -> bytes:
    return struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + dns.wire_name(name) + struct.pack(">2H", qtype, qclass)


def outcome(message: bytes) -> tuple[int, str]:
    """The code of an answer, and the address in it."""
    flags, _, answers = struct.unpack_from(">3H", message, 2)
    address = socket.inet_ntoa(message[-4:]) if answers and message[-6:-4] == b"\0\4" else ""
    return flags & 15, address


async def asked(it: Talk, name: str, qtype: int = dns.A, qclass: int = 1) -> tuple[int, str]:
    return outcome(dns_server.answer(it.session, it.names, query(name, qtype, qclass)))


@pytest.mark.parametrize(
    ("rules", "name", "code"),
    [
        (egress(rule(HOST)), HOST, NO_ERROR),
        (egress(rule(HOST)), "EXAMPLE.Com", NO_ERROR),
        (egress(rule(HOST)), "www.example.com", NXDOMAIN),
        (egress(rule("*.example.com")), HOST, NXDOMAIN),
        (egress(rule("*.example.com")), "a.b.example.com", NO_ERROR),
        (egress(rule(HOST, Verdict.ASK)), HOST, NO_ERROR),
        (egress(rule(HOST), rule(HOST, Verdict.DENY)), HOST, NXDOMAIN),
        (egress(unknown=Verdict.ASK), "anything.example", NO_ERROR),
        (egress(rule(HOST_LOOPBACK)), HOST_LOOPBACK, NO_ERROR),
        (egress(), HOST_LOOPBACK, NXDOMAIN),
        (egress(rule("203.0.113.9")), "203.0.113.9", NXDOMAIN),
        (egress(unknown=Verdict.ALLOW), "bad_name-.example", NXDOMAIN),
    ],
)
def test_only_what_policy_lets_be_asked_about_exists(rules: Egress, name: str, code: int) -> None:
    async def talk() -> None:
        async with talking(rules) as it:
            found, address = await asked(it, name)
            assert found == code
            assert it.names.name_of(address) == (name.lower() if code == NO_ERROR else None)
            assert (await asked(it, name))[1] == address

    run(talk())


def test_a_denied_name_is_recorded_once_and_asked_of_nobody() -> None:
    async def talk() -> None:
        async with talking(egress()) as it:
            for qtype in (dns.A, dns.AAAA, HTTPS, dns.A):
                assert await asked(it, "c2VjcmV0.evil.example", qtype) == (NXDOMAIN, "")
            await it.settle()
            assert it.supervisor.records("denial") == [("egress-denied", "c2vjcmv0.evil.example")]
            (record,) = it.supervisor.all(Record)
            assert set(record.fields) == {"target", "reason", "protocol"} and record.connection == 0
            assert len(it.supervisor.heard) == 1

    run(talk())


@pytest.mark.parametrize("qtype", [dns.AAAA, HTTPS, 64, 15, 16, 255, dns.PTR])
def test_of_other_types_there_is_nothing(qtype: int) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            assert await asked(it, HOST, qtype) == (NO_ERROR, "")

    run(talk())


def test_names_are_found_by_their_addresses() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            _, address = await asked(it, HOST)
            backwards = ".".join(reversed(address.split("."))) + ".in-addr.arpa"
            message = dns_server.answer(it.session, it.names, query(backwards, dns.PTR))
            assert message.endswith(dns.wire_name(HOST))
            assert await asked(it, "8.8.8.8.in-addr.arpa", dns.PTR) == (NXDOMAIN, "")

    run(talk())


@pytest.mark.parametrize("name", ["localhost", "db.localhost"])
def test_localhost_is_the_sandboxs_own(name: str) -> None:
    async def talk() -> None:
        async with talking(egress()) as it:
            assert await asked(it, name) == (NO_ERROR, "127.0.0.1")
            assert await asked(it, name, dns.AAAA) == (NO_ERROR, "")
            await it.settle()
            assert it.supervisor.heard == []

    run(talk())


def test_other_classes_are_not_served() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            assert await asked(it, "version.bind", 16, 3) == (REFUSED, "")

    run(talk())


def test_when_every_address_is_in_use_none_is_given() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST), rule("other.example"))) as it:
            it.names = SyntheticAddresses(limit=1)
            _, address = await asked(it, HOST)
            it.names.hold(address)
            assert await asked(it, "other.example") == (REFUSED, "")
            it.names.release(address)
            assert (await asked(it, "other.example"))[0] == NO_ERROR

    run(talk())


async def datagrams(it: Talk) -> socket.socket:
    """A client of the server by UDP."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.bind(("127.0.0.1", 0))
    it.tasks.append(asyncio.create_task(dns_server.serve_datagrams(listening, it.session, it.names)))
    it.tasks[-1].add_done_callback(lambda _: listening.close())
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    client.connect(listening.getsockname())
    return client


def test_queries_by_udp_are_answered_whatever_came_before() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            loop = asyncio.get_running_loop()
            with await datagrams(it) as client:
                for garbage in (b"", b"x", bytes(12), b"\xff" * 600, query(HOST)[:-1], bytes(2) + b"\x84" + bytes(20)):
                    client.send(garbage)
                client.send(query(HOST, number=99))
                codes = []
                while True:
                    message = await loop.sock_recv(client, 600)
                    assert message
                    if message[:2] == b"\0\x63":
                        break
                    codes.append(outcome(message)[0])
                assert outcome(message) == (NO_ERROR, it.names.address_of(HOST))
                assert NO_ERROR not in codes and len(codes) <= 4

    run(talk())


def test_a_flood_of_queries_does_not_stop_the_rest() -> None:
    async def talk() -> None:
        async with talking(egress()) as it:
            with await datagrams(it) as client:
                for number in range(200):
                    try:
                        client.send(query(f"name{number}.example"))
                    except BlockingIOError:
                        break
                turns = 0
                while len(it.supervisor.records("denial")) < 100:
                    await asyncio.sleep(0)
                    turns += 1
                assert turns > 100

    run(talk())


def test_queries_by_tcp_are_answered_one_after_the_other() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            client = await it.client(lambda stream, _: dns_server.serve_stream(stream, it.session, it.names))
            framed = b"".join(
                len(message).to_bytes(2, "big") + message for message in (query(HOST), query("no.example"))
            )
            for byte in framed[:5]:
                await client.write(bytes((byte,)))
            await client.write(framed[5:])
            found = b""
            codes: list[int] = []
            while len(codes) < 2:
                found += await client.read()
                while len(found) > 2 and len(found) >= 2 + int.from_bytes(found[:2], "big"):
                    length = 2 + int.from_bytes(found[:2], "big")
                    codes.append(outcome(found[2:length])[0])
                    found = found[length:]
            assert codes == [NO_ERROR, NXDOMAIN]
            began = it.session.clock()
            assert await client.read() == b""
            assert it.session.clock() - began == pytest.approx(FIRST_BYTE_TIMEOUT_S)
            client.abort()

    run(talk())


def test_by_tcp_not_everything_is_asked_on_one_connection() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            client = await it.client(lambda stream, _: dns_server.serve_stream(stream, it.session, it.names))
            message = query(HOST)
            await client.write((len(message).to_bytes(2, "big") + message) * (dns_server.MAX_QUERIES + 1))
            answer = dns_server.answer(it.session, it.names, message)
            assert len(await read_all(client)) == dns_server.MAX_QUERIES * (2 + len(answer))
            client.abort()

    run(talk())


def test_what_cannot_be_recorded_is_not_answered() -> None:
    async def talk() -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # nobody listens at the other end
        channel = Channel(near)
        it = Talk(Session(egress(), channel, authority()), channel, Supervisor(far))
        loop = asyncio.get_running_loop()
        answered = 0
        with far, await datagrams(it) as client:
            try:
                for number in range(1000):
                    client.send(query(f"name{number}.example"))
                    async with asyncio.timeout(1):
                        await loop.sock_recv(client, 600)
                    answered += 1
            except TimeoutError:
                pass
            it.tasks[0].cancel()
            await asyncio.gather(*it.tasks, return_exceptions=True)
        channel.close()
        assert 0 < answered < 1000

    run(talk())


@pytest.mark.parametrize("data", [b"\0\0", b"\0\x0c" + bytes(2) + b"\x80" + bytes(9), b"\xff\xff" + b"x" * 70_000])
def test_by_tcp_what_may_not_be_answered_ends_the_connection(data: bytes) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            client = await it.client(lambda stream, _: dns_server.serve_stream(stream, it.session, it.names))
            await client.write(data)
            await client.write_eof()
            answer = b""
            while more := await client.read():
                answer += more
            assert answer == b"" or outcome(answer[2:])[0] == FORMERR
            client.abort()

    run(talk())
