"""The hop between the proxy and a host: what the gate says happens, and everything else is as without it.

Longer than 400 lines: one conversation, and every way in which each of its three sides may behave.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator

import pytest

from ringfence.model.passage import Destination, Doubt, Headers, Incoming, Noted, Outgoing, Stopped
from ringfence.network import hop, relay, tls
from ringfence.network.authority import Origin
from ringfence.network.ca import SessionAuthority
from ringfence.network.session import Connection, Fields, Session
from ringfence.network.stream import Stream
from tests.unit.network.gates import Open, Passing
from tests.unit.network.talk import HOST, End, Talk, run, talk, tcp_pair

WORLD, AUTHORITY, STRANGER = SessionAuthority.create(), SessionAuthority.create(), SessionAuthority.create()
HTTPS = Origin("https", HOST, 443)
GET = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
POST = f"POST /x HTTP/1.1\r\nHost: {HOST}\r\n"
OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MISUSE = Stopped("secret-misuse", "placeholder of `github` in the path", "github")

tls.prepare()
tls.upstream_context(http2=False).load_verify_locations(cadata=WORLD.certificate_pem)


async def serve_tls(client: Stream, session: Session, connection: Connection) -> relay.Connect | None:
    await tls.terminate(client, session, HOST, 443)
    return await relay.serve(client, session, connection, HTTPS)


@contextlib.asynccontextmanager
async def secure_talk(gate: Open) -> AsyncIterator[Talk]:
    """Have a client speak TLS with the proxy."""
    async with talk(HTTPS, authority=AUTHORITY, serve=serve_tls, gate=gate) as table:
        trusting = ssl.create_default_context(cadata=AUTHORITY.certificate_pem)
        await table.client.stream.start_tls(trusting, server_side=False, server_hostname=HOST)
        yield table


async def denied(client: End, code: str, status: int = 403) -> bytes:
    """Hear a denial; give its head."""
    head, body = await client.hear_answer()
    assert head.startswith(b"HTTP/1.1 %d ringfence: %s: " % (status, code.encode()))
    assert f"\r\nx-ringfence: {code}\r\n".encode() in head.lower()
    assert body.startswith(f"ringfence: {code}: ".encode()) and body.endswith(b"\n")
    return head


# ---- what the gate gives is what is sent


def test_the_gates_head_goes_to_the_host_and_the_hop_tells_what_was_noted() -> None:
    def inject(passage: Passing) -> None:
        headers = tuple((name, value.replace(b"PLACEHOLDER", b"value")) for name, value in passage.request.headers)
        passage.request = Outgoing(passage.request.method, b"/?key=value", headers)
        passage.noted = [Noted("injected", "github", "authorization")]

    async def conversation() -> None:
        gate = Open(inject)
        async with talk(gate=gate) as table:
            for _ in range(2):
                await table.client.say(f"GET /a HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: token PLACEHOLDER\r\n\r\n")
            upstream = await table.upstream()
            for _ in range(2):
                head = await upstream.hear()
                assert (
                    head == f"GET /?key=value HTTP/1.1\r\nhost: {HOST}\r\nauthorization: token value\r\n\r\n".encode()
                )
                await upstream.say(OK)
                assert (await table.client.hear_answer())[1] == b"ok"
            destination, seen = gate.seen[0]
            assert (destination.scheme, destination.host, destination.port) == ("http", HOST, 80)
            assert (seen.method, seen.target) == (b"GET", b"/a")
            expected = {"host": HOST, "port": 80, "method": "GET", "path": "/a", "secret": "github"}
            assert table.told == [("secret", "injected", expected | {"detail": "authorization"})] * 2
            assert table.dialled == [(HOST, 80)] and table.schemes == ["http"]

    run(conversation())


def test_the_answer_goes_inside_as_the_gate_gives_it_and_without_the_hosts_phrase() -> None:
    def scrub(passage: Passing) -> None:
        def head(answer: Incoming) -> Incoming:
            fields = tuple((name, value.replace(b"value", b"*****")) for name, value in answer.headers)
            return Incoming(answer.status, fields)

        def trailers(fields: Headers) -> Headers:
            return [(name, value.replace(b"value", b"*****")) for name, value in fields]

        passage.answered = head
        passage.answer_piece = lambda data: data.replace(b"value", b"*****")
        passage.scrubbed_trailers = trailers

    async def conversation() -> None:
        async with talk(gate=Open(scrub)) as table:
            await table.client.say(GET)
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say("HTTP/1.1 103 value\r\nLink: value\r\n\r\n")
            await upstream.say("HTTP/1.1 200 value\r\nX-A: value\r\nTransfer-Encoding: chunked\r\n\r\n")
            await upstream.say("5\r\nvalue\r\n0\r\nX-Sum: value\r\n\r\n")
            assert await table.client.hear() == b"HTTP/1.1 103 Early Hints\r\nlink: *****\r\n\r\n"
            assert await table.client.hear() == b"HTTP/1.1 200 OK\r\nx-a: *****\r\nTransfer-Encoding: chunked\r\n\r\n"
            assert await table.client.hear(b"\r\n\r\n") == b"5\r\n*****\r\n0\r\nx-sum: *****\r\n\r\n"

    run(conversation())


def test_a_head_that_cannot_be_sent_reaches_nobody_and_is_not_told() -> None:
    def break_it(passage: Passing) -> None:
        passage.request = Outgoing(b"GET", b"/", ((b"host", b"h"), (b"authorization", b"sec\nret")))

    async def conversation() -> None:
        async with talk(gate=Open(break_it)) as table:
            await table.client.say(GET)
            upstream = await table.upstream()
            assert (await table.client.hear()).startswith(b"HTTP/1.1 502 ")
            assert await upstream.hear_all() == b""
            assert b"ret" not in str(await table.recorded("egress")).encode().replace(b"secret", b"")
            assert table.told == []

    run(conversation())


# ---- what does not pass


def test_a_request_that_is_stopped_is_answered_recorded_and_costs_no_connection() -> None:
    async def conversation() -> None:
        gate = Open()
        gate.judge = lambda request, settled: MISUSE if request.target == b"/bad" else None
        async with talk(gate=gate) as table:
            await table.client.say(f"POST /bad HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n\r\nbody{GET}")
            head = await denied(table.client, "secret-misuse")
            assert b"connection: close" not in head.lower()
            upstream = await table.upstream()
            assert (await upstream.hear()).startswith(b"GET / ")
            await upstream.say(OK)
            assert (await table.client.hear_answer())[1] == b"ok"
            assert table.dialled == [(HOST, 80)]
            told = {"target": f"{HOST}:80", "reason": MISUSE.reason, "method": "POST", "path": "/bad"}
            assert table.told == [("denial", "secret-misuse", told | {"secret": "github"})]

    run(conversation())


def test_what_the_vault_stops_is_recorded_once() -> None:
    """As its denial, and not by the proxy as an answer of the host's (tests/attacks/test_s3_secret_misuse.py)."""

    async def conversation() -> None:
        gate = Open()
        gate.judge = lambda request, settled: MISUSE if request.target == b"/bad" else None
        async with talk(gate=gate) as table:
            await table.client.say(f"GET /bad HTTP/1.1\r\nHost: {HOST}\r\n\r\n{GET}")
            await denied(table.client, "secret-misuse")
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(OK)
            await table.client.hear_answer()
            await table.client.leave()
            (record,) = await table.recorded("egress")
            assert (record.fields["path"], record.fields["status"], record.code) == ("/", 200, "")

    run(conversation())


def test_an_answer_that_is_stopped_was_a_request_all_the_same() -> None:
    def stop(passage: Passing) -> None:
        passage.answered = lambda head: Stopped("unreadable-answer", "it is no JSON")

    async def conversation() -> None:
        async with talk(gate=Open(stop)) as table:
            await table.client.say(GET)
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(OK)
            await denied(table.client, "unreadable-answer", 502)
            (record,) = await table.recorded("egress")
            assert (record.fields["path"], record.code) == ("/", "unreadable-answer")

    run(conversation())


def test_a_host_cannot_keep_its_answers_out_of_the_record() -> None:
    async def conversation() -> None:
        for gate in (Open(), None):
            async with talk(gate=gate) as table:
                await table.client.say(GET)
                upstream = await table.upstream()
                await upstream.hear()
                await upstream.say("HTTP/1.1 403 No\r\nX-Ringfence: secret-misuse\r\nContent-Length: 0\r\n\r\n")
                head, _ = await table.client.hear_answer()
                assert (b"x-ringfence" in head.lower()) is (gate is None)
                (record,) = await table.recorded("egress")
                assert (record.fields["status"], record.code) == (403, "")

    run(conversation())


def test_the_reason_is_the_operators() -> None:
    async def conversation() -> None:
        gate = Open()
        gate.judge = lambda request, settled: Stopped("unheard-of", "internal")
        async with talk(gate=gate) as table:
            await table.client.say("HEAD" + GET[3:])
            assert b"internal" not in await table.client.hear()

    run(conversation())


@pytest.mark.parametrize("what", ["open", "head", "body"])
def test_the_host_hears_nothing_of_a_request_that_is_stopped(what: str) -> None:
    def stop(passage: Passing) -> None:
        passage.whole = what == "body"
        if what == "body":
            passage.body = lambda data: MISUSE
        if what == "head":
            passage.head = lambda: MISUSE  # type: ignore[method-assign]  # what this one says

    async def conversation() -> None:
        gate = Open(stop)
        gate.judge = lambda request, settled: MISUSE if what == "open" else None
        async with secure_talk(gate) as table:
            await table.client.say(f"{POST}Content-Length: 6\r\n\r\nsecret")
            await denied(table.client, "secret-misuse")
            upstream = await table.upstream()
            await table.client.leave()
            assert await upstream.hear_all() == b"", "not even a TLS hello"

    run(conversation())


@pytest.mark.parametrize("answer", [True, False])
def test_a_doubt_is_put_to_the_operator(answer: bool) -> None:
    async def conversation() -> None:
        gate = Open()
        gate.judge = lambda request, settled: None if settled else Doubt("secret-leak", "a token", "")
        async with talk(gate=gate) as table:
            table.answer = answer
            await table.client.say(GET)
            upstream = await table.upstream()
            if answer:
                await upstream.hear()
                await upstream.say(OK)
                assert (await table.client.hear_answer())[1] == b"ok"
            else:
                await denied(table.client, "secret-leak")
                assert [code for _, code, _ in table.told] == ["secret-leak"]
            assert table.doubts == [Doubt("secret-leak", "a token", "")]

    run(conversation())


def test_a_gate_that_goes_on_doubting_is_not_asked_for_ever() -> None:
    async def conversation() -> None:
        gate = Open()
        gate.judge = lambda request, settled: Doubt("secret-leak", "a token")
        async with talk(gate=gate) as table:
            await table.client.say(GET)
            await denied(table.client, "secret-leak")
            assert len(table.doubts) == 1

    run(conversation())


def test_an_answer_that_may_not_pass_is_answered_in_its_place() -> None:
    def stop(passage: Passing) -> None:
        passage.answered = lambda head: Stopped("unreadable-answer", "content coding `br`")

    async def conversation() -> None:
        async with talk(gate=Open(stop)) as table:
            await table.client.say(GET)
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(OK)
            await denied(table.client, "unreadable-answer", 502)
            assert await upstream.hear_all() == b""

    run(conversation())


# ---- TLS with the host


def test_a_request_under_tls_goes_to_a_host_that_is_verified() -> None:
    async def conversation() -> None:
        gate = Open()
        async with secure_talk(gate) as table:
            await table.client.say(GET + GET)
            upstream = await table.upstream()
            await upstream.stream.start_tls(WORLD.context_for(HOST), server_side=True)
            assert upstream.stream.tls is not None
            assert upstream.stream.tls.selected_alpn_protocol() == "http/1.1"
            for _ in range(2):
                assert (await upstream.hear()).endswith(f"host: {HOST}\r\n\r\n".encode())
                await upstream.say(OK)
                assert (await table.client.hear_answer())[1] == b"ok"
            assert [destination.scheme for destination, _ in gate.seen] == ["https", "https"]
            assert table.schemes == ["https"]
            await table.client.leave()
            assert await upstream.hear_rest() == b"", "it ends as TLS does"

    run(conversation())


async def handshake_and_hear(upstream: End, context: ssl.SSLContext) -> None:
    await upstream.stream.start_tls(context, server_side=True)
    assert b"secret" not in await upstream.hear_rest()


@pytest.mark.parametrize(("authority", "host"), [(STRANGER, HOST), (WORLD, "other.test")], ids=["signer", "name"])
def test_a_host_that_proves_nothing_hears_nothing(authority: SessionAuthority, host: str) -> None:
    async def conversation() -> None:
        async with secure_talk(Open()) as table:
            await table.client.say(f"{POST}Content-Length: 6\r\n\r\nsecret")
            upstream = await table.upstream()
            with pytest.raises(OSError, match=r"(?i)alert|reset|eof"):
                await handshake_and_hear(upstream, authority.context_for(host))
            await denied(table.client, "upstream-certificate", 502)
            ((kind, code, fields),) = table.told
            assert (kind, code, fields["target"]) == ("denial", "upstream-certificate", f"{HOST}:443")

    run(conversation())


def test_a_host_without_tls_is_an_answer() -> None:
    async def conversation() -> None:
        async with secure_talk(Open()) as table:
            await table.client.say(GET)
            upstream = await table.upstream()
            assert await upstream.stream.read(), "a TLS hello"
            await upstream.say("SSH-2.0-OpenSSH_9.2\r\n")
            await denied(table.client, "unreachable", 502)
            assert [(kind, code) for kind, code, _ in table.told] == [("egress", "unreachable")]

    run(conversation())


# ---- connections


def test_a_host_that_ends_between_requests_is_connected_to_anew() -> None:
    async def conversation() -> None:
        async with talk(gate=Open()) as table:
            await table.client.say(GET)
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(OK)
            await table.client.hear_answer()
            await upstream.leave()
            await table.hops_ended()
            await table.client.say(GET)
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(OK)
            assert (await table.client.hear_answer())[1] == b"ok"
            assert table.dialled == [(HOST, 80)] * 2

    run(conversation())


def test_tickets_of_tls_end_no_connection_that_waits() -> None:
    """A TLS 1.3 server may send them whenever it likes."""

    async def conversation() -> None:
        mine, theirs = socket.socketpair()
        near, far = await Stream.over(mine), await Stream.over(theirs)
        context = ssl.create_default_context(cadata=WORLD.certificate_pem)
        giving_tickets = WORLD.context_for("tickets.test")
        giving_tickets.num_tickets = 2
        async with asyncio.TaskGroup() as group:
            group.create_task(far.start_tls(giving_tickets, server_side=True))
            group.create_task(near.start_tls(context, server_side=False, server_hostname="tickets.test"))
        await near.wait_until_readable()
        assert near.is_at_rest(), "the tickets have come, and nothing else"
        await far.write(b"unasked")
        await near.wait_until_readable()
        assert not near.is_at_rest()
        near.abort()
        far.abort()

    run(conversation())


def test_when_the_client_leaves_the_host_need_not_work_on() -> None:
    async def conversation() -> None:
        async with secure_talk(Open()) as table:
            await table.client.say(GET)
            upstream = await table.upstream()
            await upstream.stream.start_tls(WORLD.context_for(HOST), server_side=True)
            await upstream.hear()
            await table.client.leave()
            with pytest.raises(ConnectionError):
                await upstream.hear_rest()

    run(conversation())


@pytest.mark.parametrize(
    "request_head",
    [
        "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n",
        f"GET http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
        f"GET /a/../b HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
        f"GET /%61 HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\n\r\nabc",
        f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n",
        "no HTTP\r\n\r\n",
        "GET / HT",
    ],
)
def test_whoever_has_taken_over_the_proxy_is_not_believed(request_head: str) -> None:
    async def conversation() -> None:
        ours, theirs = socket.socketpair()
        proxy, client = End(await Stream.over(ours)), await Stream.over(theirs)
        near, far = tcp_pair()
        host, gate = End(await Stream.over(far)), Open()

        async def never(doubt: Doubt) -> bool:
            raise AssertionError(doubt)

        await proxy.say(request_head)
        await proxy.leave()
        told: list[str] = []
        destination = Destination("http", HOST, 80)

        def tell(kind: str, code: str, fields: Fields) -> None:
            told.append(code)

        await hop.serve(client, near, destination, gate, told=tell, ask=never, room=hop.Room())
        assert await proxy.hear_all() == b""
        assert await host.hear_all() == b""
        assert gate.seen == [] and told == []
        proxy.cut()
        host.cut()

    run(conversation())
