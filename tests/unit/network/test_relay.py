"""Requests through the proxy, byte by byte: what reaches the upstream host, what comes back, and what is refused.

Longer than 400 lines: requests that differ in one thing each; bodies, upgrades and denials stand apart.
"""

import pytest

from ringfence.model.egress import Egress
from ringfence.network.relay import Connect
from tests.unit.network.gates import way
from tests.unit.network.talk import HOST, rule, run, talk

__all__ = ["way"]
pytestmark = pytest.mark.usefixtures("way")

OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_request_is_written_anew_and_the_connection_kept() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(
                f"GET /a%62?q=1 HTTP/1.1\r\nhOsT: {HOST.upper()}:80\r\nX-Own:  1 \r\nConnection: x-own\r\n"
                "Proxy-Authorization: Basic c2VjcmV0\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"
            )
            upstream = await table.upstream()
            assert await upstream.hear() == f"GET /ab?q=1 HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode()
            await upstream.say(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAlt-Svc: h3=a\r\nKeep-Alive: timeout=5\r\n\r\nok"
            )
            head, body = await table.client.hear_answer()
            assert head == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
            assert body == b"ok"
            await table.client.say(f"HEAD / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            assert (await upstream.hear()).startswith(b"HEAD / ")
            await upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")
            assert b"content-length: 999" in await table.client.hear()
            await table.client.leave()
            assert await upstream.hear_rest() == b""
            assert table.dialled == [(HOST, 80)]
            first, second = await table.recorded("egress", 2)
            assert first.fields["method"] == "GET"
            assert first.fields["path"] == "/ab"
            assert first.fields["status"] == 200
            assert second.fields["method"] == "HEAD"

    run(conversation())


# What must not reach an upstream host: each has two meanings, or names another host than its connection.
REFUSED = {
    "length and chunked": "PUT / HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    "two lengths": "POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "the same length twice": "POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": "POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5, 5\r\n\r\nhello",
    "a signed length": "POST / HTTP/1.1\r\nHost: {h}\r\nContent-Length: +5\r\n\r\nhello",
    "a space before the colon": "POST / HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "another coding": "POST / HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "codings in a row": "POST / HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": "POST / HTTP/1.0\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a vertical tab": "POST / HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a folded line": "GET / HTTP/1.1\r\nHost: {h}\r\nX-A: b\r\n c\r\n\r\n",
    "a bare LF": "GET / HTTP/1.1\nHost: {h}\n\n",
    "a bare LF in one field": "GET / HTTP/1.1\r\nHost: {h}\r\nX-A: b\nX-B: c\r\n\r\n",
    "a bare CR": "GET / HTTP/1.1\r\nHost: {h}\r\nX-A: b\rX-B: c\r\n\r\n",
    "a NUL": "GET / HTTP/1.1\r\nHost: {h}\r\nX-A: \0\r\n\r\n",
    "two Hosts": "GET / HTTP/1.1\r\nHost: {h}\r\nHost: other.test\r\n\r\n",
    "no Host": "GET / HTTP/1.1\r\n\r\n",
    "another Host": "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n",
    "another port": "GET / HTTP/1.1\r\nHost: {h}:8080\r\n\r\n",
    "a user in Host": "GET / HTTP/1.1\r\nHost: other.test@{h}\r\n\r\n",
    "absolute-form of another": "GET http://other.test/ HTTP/1.1\r\nHost: {h}\r\n\r\n",
    "absolute-form with another Host": "GET http://{h}/ HTTP/1.1\r\nHost: other.test\r\n\r\n",
    "another scheme": "GET https://{h}/ HTTP/1.1\r\nHost: {h}\r\n\r\n",
    "CONNECT in a tunnel": "CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n",
    "GET with a body": "GET / HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5\r\n\r\nhello",
    "a path that climbs": "GET /a/../b HTTP/1.1\r\nHost: {h}\r\n\r\n",
    "a path that climbs in disguise": "GET /a/%2e%2e/b HTTP/1.1\r\nHost: {h}\r\n\r\n",
    "TRACE": "TRACE / HTTP/1.1\r\nHost: {h}\r\n\r\n",
    "HTTP/2 with prior knowledge": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": "GET /\r\n\r\n",
    "no HTTP": "SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "dropping the length": "POST / HTTP/1.1\r\nHost: {h}\r\nConnection: content-length\r\nContent-Length: 1\r\n\r\nx",
    "a twin of the length": "POST / HTTP/1.1\r\nHost: {h}\r\nContent_Length: 0\r\nContent-Length: 5\r\n\r\nhello",
    "another expectation": "POST / HTTP/1.1\r\nHost: {h}\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\nhello",
    "a long head": "GET / HTTP/1.1\r\nHost: {h}\r\nX-A: " + "a" * 70_000 + "\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_single_meaning_reaches_nobody(name: str) -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(REFUSED[name].replace("{h}", HOST))
            await table.client.leave()
            answer = await table.client.hear_rest()
            assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 421 "))
            assert b"connection: close" in answer.lower()
            assert b"\r\n\r\nringfence: " in answer
            assert table.dialled == []
            (record,) = await table.recorded("denial")
            assert record.code in ("bad-request", "mismatch")

    run(conversation())


@pytest.mark.parametrize(
    "second",
    [
        "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n",
        "GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: api.test\r\nHost: other.test\r\n\r\n",
    ],
)
def test_a_second_request_in_a_pipeline_is_judged_on_its_own(second: str) -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\nhi{second}")
            upstream = await table.upstream()
            assert (await upstream.hear(b"hi")).endswith(b"\r\n\r\nhi")
            await upstream.say(OK)
            assert (await table.client.hear_answer())[1] == b"ok"
            assert (await table.client.hear()).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 421 "))
            assert await upstream.hear_rest() == b""
            assert table.dialled == [(HOST, 80)]

    run(conversation())


def test_requests_in_a_pipeline_are_served_one_after_the_other() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say("".join(f"GET /{n} HTTP/1.1\r\nHost: {HOST}\r\n\r\n" for n in range(3)))
            upstream = await table.upstream()
            for number in range(3):
                assert (await upstream.hear()).startswith(b"GET /%d " % number)
                await upstream.say(f"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}")
                assert (await table.client.hear_answer())[1] == b"%d" % number

    run(conversation())


def test_a_denied_request_says_why_and_the_next_one_is_served() -> None:
    egress = Egress(rules=(rule(methods=("GET",), paths=("/open/**",)),))

    async def conversation() -> None:
        async with talk(egress=egress) as table:
            await table.client.say(f"POST /x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n\r\nbody")
            head, body = await table.client.hear_answer()
            assert head.startswith(b"HTTP/1.1 403 ")
            assert b"X-Ringfence: egress-denied\r\n" in head
            assert body == (
                b"ringfence: egress-denied: POST /x at api.test:80 is not allowed;"
                b" ask the operator: ringfence allow api.test\n"
            )
            await table.client.say(f"GET /open/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            assert (await upstream.hear()).startswith(b"GET /open/x ")
            await upstream.say(OK)
            assert (await table.client.hear_answer())[1] == b"ok"
            (record,) = await table.recorded("denial")
            assert record.fields["method"] == "POST"
            assert record.fields["path"] == "/x"

    run(conversation())


def test_an_encoded_slash_is_decided_on_in_every_reading() -> None:
    egress = Egress(rules=(rule(paths=("/open/**",)),))

    async def conversation() -> None:
        async with talk(egress=egress) as table:
            await table.client.say(f"GET /open%2Fx HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            assert (await table.client.hear()).startswith(b"HTTP/1.1 403 ")
            assert table.dialled == []

    run(conversation())


def test_an_answer_to_head_has_no_body() -> None:
    async def conversation() -> None:
        async with talk(egress=Egress()) as table:
            await table.client.say(f"HEAD / HTTP/1.1\r\nHost: {HOST}\r\n\r\nGET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            assert (await table.client.hear()).startswith(b"HTTP/1.1 403 ")
            head, body = await table.client.hear_answer()
            assert head.startswith(b"HTTP/1.1 403 ")
            assert body.startswith(b"ringfence: egress-denied: api.test:80 is not allowed")

    run(conversation())


@pytest.mark.parametrize(
    ("code", "status"),
    [("not-found", 502), ("unreachable", 502), ("timed-out", 504), ("address-denied", 403), ("busy", 503)],
)
def test_a_host_that_cannot_be_reached_is_an_answer(code: str, status: int) -> None:
    async def conversation() -> None:
        async with talk() as table:
            table.failing[HOST] = code
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            head, body = await table.client.hear_answer()
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert body.startswith(f"ringfence: {code}: ".encode())

    run(conversation())


def test_a_proxy_client_names_a_host_with_each_request_and_asks_for_tunnels() -> None:
    async def conversation() -> None:
        async with talk(None) as table:
            for host in (HOST, "other.test"):
                await table.client.say(
                    f"GET http://{host}/a HTTP/1.1\r\nHost: {host}\r\nProxy-Connection: keep-alive\r\n\r\n"
                )
                upstream = await table.upstream()
                assert await upstream.hear() == f"GET /a HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()
                await upstream.say(OK)
                assert (await table.client.hear_answer())[1] == b"ok"
            await table.client.say("CONNECT other.test:22 HTTP/1.1\r\nHost: other.test:22\r\n\r\nSSH")
            assert await table.served == Connect("other.test", 22)
            assert table.dialled == [(HOST, 80), ("other.test", 80)]

    run(conversation())


@pytest.mark.parametrize("request_line", [f"GET http://{HOST}/", f"CONNECT {HOST}:443"])
def test_a_proxy_client_gives_the_password(request_line: str) -> None:
    request = f"{request_line} HTTP/1.1\r\nHost: {HOST}\r\n"

    async def conversation() -> None:
        async with talk(None, password="me:secret") as table:
            for given in ("", "Proxy-Authorization: Basic bWU6d3Jvbmc=\r\n"):
                await table.client.say(f"{request}{given}\r\n")
                head, _ = await table.client.hear_answer()
                assert head.startswith(b"HTTP/1.1 407 ")
                assert b'Proxy-Authenticate: Basic realm="ringfence"\r\n' in head
            assert table.dialled == []
            await table.client.say(f"{request}Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n")
            if request_line.startswith("CONNECT"):
                assert await table.served == Connect(HOST, 443)
            else:
                assert b"authorization" not in await (await table.upstream()).hear()

    run(conversation())


@pytest.mark.parametrize("line", ["GET / HTTP/1.1", f"GET https://{HOST}/ HTTP/1.1", f"GET ftp://{HOST}/ HTTP/1.1"])
def test_a_proxy_client_cannot_leave_the_host_out(line: str) -> None:
    async def conversation() -> None:
        async with talk(None) as table:
            await table.client.say(f"{line}\r\nHost: {HOST}\r\n\r\n")
            assert (await table.client.hear()).startswith(b"HTTP/1.1 400 ")
            assert table.dialled == []

    run(conversation())


def test_a_kept_connection_that_has_ended_is_replaced() -> None:
    async def conversation() -> None:
        async with talk() as table:
            for _ in range(2):
                await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
                upstream = await table.upstream()
                await upstream.hear()
                await upstream.say(OK)
                assert (await table.client.hear_answer())[1] == b"ok"
                await upstream.leave()
            assert len(table.dialled) == 2

    run(conversation())


def test_a_kept_connection_that_ends_under_a_request_is_the_clients_to_try_again() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(OK)
            await table.client.hear_answer()
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            await upstream.hear()
            upstream.cut()
            with pytest.raises(ConnectionError):
                await table.client.hear_rest()

    run(conversation())


def test_a_host_that_does_not_answer_is_told_apart_from_one_that_ends() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.leave()
            head, body = await table.client.hear_answer()
            assert head.startswith(b"HTTP/1.1 502 ")
            assert body.startswith(b"ringfence: unreachable: api.test:80 ")
            reason = (await table.recorded("egress"))[0].fields["reason"]
            assert reason == "the host closed the connection before it had answered"

    run(conversation())


def test_an_old_client_gets_an_old_answer() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say("GET / HTTP/1.0\r\n\r\n")
            upstream = await table.upstream()
            assert await upstream.hear() == f"GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode()
            await upstream.say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            await upstream.say("2\r\nhi\r\n0\r\n\r\n")
            assert await table.client.hear_rest() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi"

    run(conversation())


def test_redirects_are_only_answers() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")
            assert b"location: http://169.254.169.254/" in await table.client.hear()
            assert table.dialled == [(HOST, 80)]

    run(conversation())


def test_the_rules_in_force_are_those_of_the_moment() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(OK)
            await table.client.hear_answer()
            table.session.egress = Egress()
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            assert (await table.client.hear_answer())[0].startswith(b"HTTP/1.1 403 ")

    run(conversation())


def test_a_head_may_come_byte_by_byte() -> None:
    async def conversation() -> None:
        async with talk() as table:
            for byte in f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode():
                await table.client.say(bytes((byte,)))
            assert (await (await table.upstream()).hear()).startswith(b"GET / ")

    run(conversation())


@pytest.mark.parametrize("head", ["", "GET / HT", f"GET / HTTP/1.1\r\nHost: {HOST}\r\n"])
def test_a_client_that_leaves_before_the_end_of_a_head_reaches_nobody(head: str) -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(head)
            await table.client.leave()
            try:
                assert await table.client.hear_rest() == b""
            except ConnectionError:
                assert head
            assert table.dialled == []

    run(conversation())


def test_a_connection_with_bytes_that_nobody_asked_for_is_not_used_again() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"GET /1 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(OK)
            await table.client.hear_answer()
            await upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
            await table.client.say(f"GET /2 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            other = await table.upstream()
            await other.hear()
            await other.say(OK)
            assert (await table.client.hear_answer())[1] == b"ok"

    run(conversation())


def test_a_host_that_resets_is_an_answer() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            upstream.cut()
            assert (await table.client.hear_answer())[0].startswith(b"HTTP/1.1 502 ")

    run(conversation())


@pytest.mark.parametrize("answer", ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "\0" * 10])
def test_an_answer_that_is_not_http_is_not_passed_on(answer: str) -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(answer)
            await upstream.leave()
            assert (await table.client.hear_answer())[0].startswith(b"HTTP/1.1 502 ")
            reason = str((await table.recorded("egress"))[0].fields["reason"])
            assert reason.startswith(("what the host answered is not HTTP/1.1", "the host closed the connection"))

    run(conversation())
