"""Explicit clients: CONNECT, absolute-form and SOCKS5 on one port, and what is tunnelled is judged as if captured."""

import asyncio
import base64

import pytest

from ringfence.model.decision import Verdict
from ringfence.model.egress import Egress, Inspection
from ringfence.network import explicit
from ringfence.network.heads import HEAD_TIMEOUT_S
from ringfence.network.messages import Answer, Ask, Dial, Dialed
from ringfence.network.session import FIRST_BYTE_TIMEOUT_S
from ringfence.network.stream import Stream
from ringfence.network.transparent import ACCESS_DENIED, NOT_UNDERSTOOD
from tests.unit.network import hellos
from tests.unit.network.conversation import Talk, echo, egress, rule, run, talking, trusting
from tests.unit.network.test_transparent import GET, ending, page

HOST = "example.com"
RAW, SNI = Inspection.RAW, Inspection.SNI
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
PASSWORD = "agent:s3cret"
SOCKS_OK = bytes((5, 0, 0, 1, 0, 0, 0, 0, 0, 0))


async def proxied(it: Talk, password: str = "") -> Stream:
    return await it.client(
        lambda stream, connection: explicit.serve(stream, it.session, connection, it.names, password=password)
    )


def connect(authority: str = f"{HOST}:443", *fields: str) -> bytes:
    return "\r\n".join([f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", *fields, "", ""]).encode()


def socks(host: str = HOST, port: int = 443, command: int = 1) -> bytes:
    """Write a request of SOCKS5."""
    if host.replace(".", "").isdigit():
        field = b"\x01" + bytes(int(part) for part in host.split("."))
    else:
        field = b"\x03" + bytes((len(host),)) + host.encode()
    return bytes((5, command, 0)) + field + port.to_bytes(2, "big")


async def exactly(client: Stream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await client.read(count - len(data))
        assert more, data
        data += more
    return data


async def tunnelled(client: Stream, how: str, host: str = HOST, port: int = 443) -> bytes:
    """Ask for a tunnel; give the answer."""
    if how == "connect":
        await client.write(connect(f"{host}:{port}"))
        head = await client.read()
        client.unread(head[len(ESTABLISHED) :])
        return head[: len(ESTABLISHED)]
    await client.write(b"\x05\x01\x00")
    assert await exactly(client, 2) == b"\x05\x00"
    await client.write(socks(host, port))
    return await exactly(client, len(SOCKS_OK))


both = pytest.mark.parametrize("how", ["connect", "socks"])
answers = {"connect": ESTABLISHED, "socks": SOCKS_OK}


@both
def test_a_raw_tunnel_is_open_when_the_host_is(how: str) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, inspection=RAW))) as it:
            it.supervisor.upstream[HOST, 22] = echo
            client = await proxied(it)
            assert await tunnelled(client, how, port=22) == answers[how]
            await client.write(b"SSH-2.0-x\r\n")
            await client.write_eof()
            assert await ending(client) == b"SSH-2.0-x\r\n"

    run(talk())


@both
def test_bytes_sent_along_with_the_request_are_not_lost(how: str) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, inspection=RAW))) as it:
            it.supervisor.upstream[HOST, 443] = echo
            client = await proxied(it)
            opening = connect() if how == "connect" else b"\x05\x01\x00" + socks()
            await client.write(opening + b"early")
            await client.write_eof()
            expected = answers[how] if how == "connect" else b"\x05\x00" + SOCKS_OK
            assert await ending(client) == expected + b"early"

    run(talk())


@pytest.mark.parametrize(
    ("code", "status", "reply"),
    [("unreachable", b"502", 5), ("timed-out", b"504", 6), ("not-found", b"502", 4), ("address-denied", b"403", 2)],
)
def test_a_raw_tunnel_that_cannot_be_made_is_answered(code: str, status: bytes, reply: int) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, inspection=RAW))) as it:
            it.supervisor.upstream[HOST, 443] = Dialed(request=0, code=code)
            client = await proxied(it)
            await client.write(connect())
            answer = await ending(client)
            assert answer.startswith(b"HTTP/1.1 " + status) and f"X-Ringfence: {code}".encode() in answer
            client = await proxied(it)
            assert (await tunnelled(client, "socks"))[1] == reply
            assert await ending(client) == b""

    run(talk())


@pytest.mark.parametrize(
    "rules", [egress(), egress(rule(HOST, Verdict.DENY)), egress(rule(HOST, ports=((80, 80),))), egress(rule("*.com"))]
)
@pytest.mark.parametrize("name", [HOST, "EXAMPLE.com.", "example.com"])
def test_what_is_denied_is_answered_in_the_clients_own_words(rules: Egress, name: str) -> None:
    async def talk() -> None:
        denied = egress(rule("www.example.com")) if rules.rules and rules.rules[0].host == "*.com" else rules
        async with talking(denied) as it:
            client = await proxied(it)
            await client.write(connect(f"{name}:443"))
            answer = await ending(client)
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert b"\r\nX-Ringfence: egress-denied\r\n" in answer
            by_rule = any(one.verdict is Verdict.DENY for one in denied.rules)
            advice = b"is not allowed; ask the operator: ringfence allow example.com"
            line = b"ringfence: egress-denied: example.com:443 "
            line += b"is denied by a rule of policy, which no allowance lifts" if by_rule else advice
            assert answer.startswith(b"HTTP/1.1 403 " + line + b"\r\n")
            assert answer.endswith(b"\r\n\r\n" + line + b"\n")
            client = await proxied(it)
            assert (await tunnelled(client, "socks", name))[1] == 2
            assert await ending(client) == b""
            await it.settle()
            assert it.supervisor.all(Dial) == []
            assert it.supervisor.records("denial") == [("egress-denied", f"{HOST}:443")]

    run(talk())


GIT = "User-Agent: git/2.39.5"


@pytest.mark.parametrize(
    "rules", [egress(rule("www.example.com")), egress(rule(HOST, Verdict.DENY), rule("a.example"))]
)
def test_git_is_told_in_the_tls_it_asked_for(rules: Egress) -> None:
    async def talk() -> None:
        async with talking(rules) as it:
            client = await proxied(it)
            await client.write(connect(f"{HOST}:443", GIT))
            assert await exactly(client, len(ESTABLISHED)) == ESTABLISHED
            await client.start_tls(trusting(), server_side=False, server_hostname=HOST)
            await client.write(GET + GET)
            answer = await ending(client)
            assert answer.startswith(b"HTTP/1.1 403 ringfence: egress-denied: example.com:443 is ")
            assert answer.count(b"HTTP/1.1") == 1 and b"\r\nConnection: close\r\n" in answer
            await it.settle()
            assert it.supervisor.all(Dial) == []
            assert it.supervisor.records("denial") == [("egress-denied", f"{HOST}:443")]

    run(talk())


@pytest.mark.parametrize(
    ("rules", "port", "agent"),
    [
        (egress(rule("a.example")), 443, "User-Agent: curl/8.5.0"),
        (egress(rule("a.example")), 443, "X: git/2.39.5"),
        (egress(rule("a.example")), 8443, GIT),
        (egress(rule("a.example", inspection=SNI)), 443, GIT),
        (egress(), 443, GIT),
    ],
    ids=["another client", "no agent", "another port", "nothing is inspected", "no rules"],
)
def test_where_git_is_not_told_in_tls_the_tunnel_is_refused(rules: Egress, port: int, agent: str) -> None:
    async def talk() -> None:
        async with talking(rules) as it:
            client = await proxied(it)
            await client.write(connect(f"{HOST}:{port}", agent))
            assert (await ending(client)).startswith(b"HTTP/1.1 403 ringfence: egress-denied: ")

    run(talk())


@pytest.mark.parametrize(
    "data",
    [
        GET,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        hellos.real("evil.example"),
        hellos.real(None),
        b"\x16\x03\x01\x00\x05junk!",
        b"",
    ],
    ids=["http", "ssh", "another name", "no name", "no hello", "nothing"],
)
def test_who_only_says_to_be_git_reaches_nobody(data: bytes) -> None:
    async def talk() -> None:
        async with talking(egress(rule("evil.example"))) as it:
            client = await proxied(it)
            await client.write(connect(f"{HOST}:443", GIT))
            assert await exactly(client, len(ESTABLISHED)) == ESTABLISHED
            await client.write(data)
            await client.write_eof()
            assert await ending(client) == b""
            await it.settle()
            assert it.supervisor.all(Dial) == [] and it.supervisor.all(Ask) == []
            assert it.supervisor.records("denial") == [("egress-denied", f"{HOST}:443")]

    run(talk())


@both
@pytest.mark.parametrize(
    ("hello", "passes"), [(hellos.real(HOST), True), (hellos.real("evil.example"), False), (hellos.real(None), False)]
)
def test_whom_the_client_asked_for_its_hello_must_name(how: str, hello: bytes, passes: bool) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, inspection=SNI), rule("evil.example", inspection=SNI))) as it:
            it.supervisor.upstream[HOST, 443] = echo
            client = await proxied(it)
            assert await tunnelled(client, how) == answers[how]
            await client.write(hello)
            await client.write_eof()
            assert await ending(client) == (hello if passes else ACCESS_DENIED)
            await it.settle()
            assert it.supervisor.records("denial") == ([] if passes else [("mismatch", f"{HOST}:443")])

    run(talk())


@both
@pytest.mark.parametrize(
    "inside",
    [
        GET.replace(b"Host: example.com", b"Host: evil.example"),
        GET.replace(b"GET / ", b"GET http://evil.example/ "),
        connect("evil.example:443"),
        connect(f"{HOST}:443"),
    ],
    ids=["host", "absolute", "connect", "connect-again"],
)
def test_http_within_a_tunnel_is_to_its_host_alone(how: str, inside: bytes) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST), rule("evil.example"))) as it:
            it.supervisor.upstream[HOST, 80] = it.supervisor.upstream["evil.example", 80] = page
            client = await proxied(it)
            assert await tunnelled(client, how, port=80) == answers[how]
            await client.write(inside)
            answer = await ending(client)
            assert answer.startswith(b"HTTP/1.1 4") and b"200" not in answer
            assert it.supervisor.all(Dial) == []

    run(talk())


@both
def test_a_tunnel_is_inspected(how: str) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, paths=("/public/**",)))) as it:
            client = await proxied(it)
            assert await tunnelled(client, how) == answers[how]
            await client.start_tls(trusting(), server_side=False, server_hostname=HOST)
            await client.write(GET.replace(b"GET / ", b"GET /secret "))
            assert (await ending(client)).startswith(b"HTTP/1.1 403 ")
            assert it.supervisor.all(Dial) == []

    run(talk())


@both
def test_other_bytes_in_a_tunnel_are_refused(how: str) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            client = await proxied(it)
            assert await tunnelled(client, how) == answers[how]
            await client.write(b"SSH-2.0-OpenSSH_9.2\r\n")
            assert await ending(client) == NOT_UNDERSTOOD

    run(talk())


@both
def test_an_address_that_the_client_looked_up_is_the_name_again(how: str) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, inspection=RAW))) as it:
            it.supervisor.upstream[HOST, 443] = echo
            client = await proxied(it)
            assert await tunnelled(client, how, it.names.address_of(HOST) or "") == answers[how]
            client.abort()
            assert [dial.host for dial in it.supervisor.all(Dial)] == [HOST]

    run(talk())


@both
def test_a_client_waits_while_the_operator_is_asked(how: str) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, Verdict.ASK, inspection=RAW))) as it:
            it.supervisor.upstream[HOST, 443] = echo
            asked: list[Ask] = []
            it.supervisor.answer = asked.append
            client = await proxied(it)
            waiting = asyncio.create_task(tunnelled(client, how))
            await it.supervisor.until(lambda: asked)
            assert not waiting.done()
            it.supervisor.say(Answer(request=asked[0].request, allowed=True))
            assert await waiting == answers[how]
            client.abort()
            assert len(asked) == 1

    run(talk())


# ---- the password


@pytest.mark.parametrize(
    ("given", "passes"),
    [("agent:s3cret", True), ("agent:wrong", False), ("agent:", False), ("other:s3cret", False), (None, False)],
)
def test_a_password_is_asked_for_where_there_is_one(given: str | None, passes: bool) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, inspection=RAW))) as it:
            it.supervisor.upstream[HOST, 443] = echo
            client = await proxied(it, PASSWORD)
            field = [f"Proxy-Authorization: Basic {base64.b64encode(given.encode()).decode()}"] if given else []
            await client.write(connect(f"{HOST}:443", *field))
            assert (await client.read()).startswith(ESTABLISHED if passes else b"HTTP/1.1 407 ")
            client.abort()

            client = await proxied(it, PASSWORD)
            if given is None:
                await client.write(b"\x05\x01\x00")
                assert await ending(client) == b"\x05\xff"
                return
            user, _, secret = given.partition(":")
            await client.write(b"\x05\x02\x00\x02")
            assert await exactly(client, 2) == b"\x05\x02"
            await client.write(bytes((1, len(user))) + user.encode() + bytes((len(secret),)) + secret.encode())
            assert await exactly(client, 2) == bytes((1, 0 if passes else 1))
            if passes:
                await client.write(socks())
                assert await exactly(client, 10) == SOCKS_OK
            client.abort()

    run(talk())


# ---- what is no request


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"\x05\x01\x00" + socks(command=2), b"\x05\x00" + bytes((5, 7, 0, 1, 0, 0, 0, 0, 0, 0))),
        (b"\x05\x01\x00" + socks(command=3), b"\x05\x00" + bytes((5, 7, 0, 1, 0, 0, 0, 0, 0, 0))),
        (b"\x05\x01\x00\x04", b""),
        (b"\x05\x01\x00" + socks("a b"), b""),
        (b"\x05\x01\x00" + socks("0x7f.1"), b""),
        (b"\x05\x01\x00" + socks(port=0), b""),
    ],
)
def test_socks_that_is_none_is_refused(data: bytes, answer: bytes) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            client = await proxied(it)
            await client.write(data)
            assert await ending(client) == answer
            await it.settle()
            assert [code for code, _ in it.supervisor.records("denial")] == ["bad-request"]

    run(talk())


@pytest.mark.parametrize("data", [b"\x04\x01\x00\x50", b"\x16\x03\x01", b"\0" * 64, b"\xff\xfe", b"SSH-2.0-x\r\n\r\n"])
def test_other_bytes_reach_nobody(data: bytes) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST), unknown=Verdict.ALLOW)) as it:
            client = await proxied(it)
            await client.write(data)
            await client.write_eof()
            assert not (await ending(client)).startswith(b"HTTP/1.1 2")
            assert it.supervisor.all(Dial) == []

    run(talk())


@pytest.mark.parametrize("drip", [b"\x05\x01\x00" + socks(), connect()])
def test_a_slow_client_is_given_up(drip: bytes) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            began = it.session.clock()
            client = await proxied(it)
            assert await ending(client) == b""
            assert it.session.clock() - began == pytest.approx(FIRST_BYTE_TIMEOUT_S)

            client = await proxied(it)
            began = it.session.clock()
            for byte in drip:
                if it.tasks[-1].done():
                    break
                assert it.session.clock() - began <= HEAD_TIMEOUT_S + 20
                await client.write(bytes((byte,)))
                await asyncio.sleep(10)  # of the injected clock
            client.abort()
            assert it.supervisor.all(Dial) == []

    run(talk())
