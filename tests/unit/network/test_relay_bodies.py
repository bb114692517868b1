"""Bodies through the proxy: large, early, late, cut short, and with somebody who waits for leave to go on."""

import asyncio
import hashlib

import pytest

from ringfence.model.egress import Egress
from ringfence.network.heads import MAX_INFORMATIONAL
from tests.unit.network.gates import way
from tests.unit.network.talk import HOST, End, rule, run, talk

__all__ = ["way"]
pytestmark = pytest.mark.usefixtures("way")

LARGE = bytes(range(256)) * 4096 * 30  # 30 MB
PIECE = 100_001
OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = f"POST / HTTP/1.1\r\nHost: {HOST}\r\n"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def say_large(end: End, *, chunked: bool) -> None:
    """Send a large body: by pieces that fall on no boundary, or as one."""
    if not chunked:
        await end.say(LARGE)
        return
    for start in range(0, len(LARGE), PIECE):
        piece = LARGE[start : start + PIECE]
        await end.say(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece))
    await end.say("0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n")


async def hear_large(end: End, *, chunked: bool) -> bytes:
    """Receive a large body; the trailers that came with it are left over."""
    if not chunked:
        return await end.hear_bytes(len(LARGE))
    parts = []
    while size := int(await end.hear(b"\r\n"), 16):
        parts.append(await end.hear_bytes(size))
        assert await end.hear_bytes(2) == b"\r\n"
    return b"".join(parts)


def framing(*, chunked: bool) -> str:
    return "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(LARGE)}"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_upload_arrives_whole(chunked: bool) -> None:
    async def conversation() -> None:
        async with talk() as table:
            sending = asyncio.create_task(table.client.say(f"{POST}{framing(chunked=chunked)}\r\n\r\n"))
            upstream = await table.upstream()
            await upstream.hear()
            await sending
            sending = asyncio.create_task(say_large(table.client, chunked=chunked))
            received = await hear_large(upstream, chunked=chunked)
            await sending
            assert digest(received) == digest(LARGE)
            if chunked:
                assert await upstream.hear() == b"x-sum: 1\r\n\r\n"
            await upstream.say(OK)
            assert (await table.client.hear_answer())[1] == b"ok"
            (record,) = await table.recorded("egress")
            assert int(record.fields["sent_bytes"] or 0) > len(LARGE)

    run(conversation())


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_download_arrives_whole_and_the_next_request_is_served(chunked: bool) -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n" * 2)
            upstream = await table.upstream()
            for _ in range(2):
                await upstream.hear()
                await upstream.say(f"HTTP/1.1 200 OK\r\n{framing(chunked=chunked)}\r\nTrailer: X-Sum\r\n\r\n")
                assert b"200 OK" in await table.client.hear()
                sending = asyncio.create_task(say_large(upstream, chunked=chunked))
                received = await hear_large(table.client, chunked=chunked)
                await sending
                assert digest(received) == digest(LARGE)
                if chunked:
                    assert await table.client.hear() == b"x-sum: 1\r\n\r\n"

    run(conversation())


def test_a_body_that_lasts_to_the_end_is_chunked_so_that_its_end_can_be_told() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say("HTTP/1.1 200 OK\r\n\r\nhello")
            await upstream.leave()
            assert (await table.client.hear()).endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert await table.client.hear(b"0\r\n\r\n") == b"5\r\nhello\r\n0\r\n\r\n"

    run(conversation())


@pytest.mark.parametrize(
    "head", ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
)
def test_a_cut_download_is_cut_for_the_client(head: str) -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(f"HTTP/1.1 200 OK\r\n{head}")
            await table.client.hear(b"hello")
            await upstream.leave()
            with pytest.raises(ConnectionError):
                assert b"0\r\n\r\n" not in await table.client.hear_rest()
            (record,) = await table.recorded("egress")
            assert record.code == "lost"

    run(conversation())


@pytest.mark.parametrize(
    "head", ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
)
def test_a_cut_upload_is_cut_for_the_host(head: str) -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"{POST}{head}")
            upstream = await table.upstream()
            await upstream.hear(b"hello")
            await table.client.leave()
            with pytest.raises(ConnectionError):
                assert b"0\r\n\r\n" not in await upstream.hear_rest()

    run(conversation())


def test_a_broken_chunk_ends_the_upload_and_is_answered() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"{POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            upstream = await table.upstream()
            await upstream.hear(b"hello\r\n")
            await table.client.say("5\r\nhelloXX0\r\n\r\n")
            assert (await table.client.hear()).startswith(b"HTTP/1.1 400 ")
            with pytest.raises(ConnectionError):
                await upstream.hear_rest()

    run(conversation())


def test_an_early_answer_passes_an_upload_that_nobody_reads() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"{POST}{framing(chunked=False)}\r\n\r\n")
            sending = asyncio.create_task(table.client.say(LARGE))
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say("HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nstop")
            head, body = await table.client.hear_answer()
            assert head.startswith(b"HTTP/1.1 413 ")
            assert body == b"stop"
            await upstream.leave()
            sending.cancel()
            await asyncio.wait([sending])

    run(conversation())


def test_an_early_answer_may_be_long_while_the_upload_goes_on() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"{POST}{framing(chunked=False)}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(f"HTTP/1.1 200 OK\r\n{framing(chunked=False)}\r\n\r\n")
            await table.client.hear()
            up = asyncio.create_task(table.client.say(LARGE))
            down = asyncio.create_task(upstream.say(LARGE))
            one, other = await asyncio.gather(upstream.hear_bytes(len(LARGE)), table.client.hear_bytes(len(LARGE)))
            await asyncio.gather(up, down)
            assert digest(one) == digest(other) == digest(LARGE)
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            assert (await upstream.hear()).startswith(b"GET / ")

    run(conversation())


def test_leave_to_continue_is_the_hosts_to_give() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"{POST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            upstream = await table.upstream()
            assert b"expect: 100-continue\r\n" in await upstream.hear()
            await upstream.say("HTTP/1.1 100 Continue\r\n\r\n")
            assert await table.client.hear() == b"HTTP/1.1 100 Continue\r\n\r\n"
            await table.client.say("hello")
            assert await upstream.hear_bytes(5) == b"hello"
            await upstream.say(OK)
            head, body = await table.client.hear_answer()
            assert b"close" not in head
            assert body == b"ok"

    run(conversation())


def test_leave_to_continue_may_be_refused() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"{POST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
            answer = await table.client.hear_rest()
            assert answer.startswith(b"HTTP/1.1 401 ")
            assert b"connection: close" in answer
            assert answer.endswith(b"\r\n\r\nno")

    run(conversation())


def test_leave_to_continue_is_given_where_the_host_knows_nothing_of_it() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"{POST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            assert await table.client.hear() == b"HTTP/1.1 100 Continue\r\n\r\n"
            await table.client.say("hello")
            assert await upstream.hear_bytes(5) == b"hello"
            await upstream.say(OK)
            assert (await table.client.hear_answer())[1] == b"ok"

    run(conversation(), leave_after_s=0.1)


def test_a_denied_upload_is_not_asked_to_continue() -> None:
    async def conversation() -> None:
        async with talk(egress=Egress()) as table:
            await table.client.say(f"{POST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            answer = await table.client.hear_rest()
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert b"Connection: close" in answer

    run(conversation())


def test_events_pass_as_they_come() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"GET /events HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            assert b"text/event-stream" in await table.client.hear()
            for number in range(3):  # each one is only sent when the one before has been seen
                event = b"data: %d\n\n" % number
                await upstream.say(b"%x\r\n%b\r\n" % (len(event), event))
                assert await table.client.hear(b"\n\n\r\n") == b"%x\r\n%b\r\n" % (len(event), event)
            await upstream.say("0\r\n\r\n")
            await table.client.hear(b"0\r\n\r\n")

    run(conversation())


def test_hints_pass_before_the_answer() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            assert await table.client.hear() == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
            await upstream.say("HTTP/1.1 204 No Content\r\n\r\n")
            assert await table.client.hear() == b"HTTP/1.1 204 No Content\r\n\r\n"

    run(conversation())


def test_hints_without_end_are_no_answer() -> None:
    """They count against no budget."""

    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say("HTTP/1.1 103 Early Hints\r\n\r\n" * (2 * MAX_INFORMATIONAL))
            for _ in range(MAX_INFORMATIONAL):
                assert await table.client.hear() == b"HTTP/1.1 103 Early Hints\r\n\r\n"
            assert (await table.client.hear()).startswith(b"HTTP/1.1 502 ")
            assert await upstream.hear_all() == b""

    run(conversation())


def test_a_budget_of_bytes_ends_an_upload_with_an_answer_and_a_download_without() -> None:
    egress = Egress(rules=(rule(byte_limit=100),))

    async def conversation() -> None:
        async with talk(egress=egress) as table:
            await table.client.say(f"{POST}Content-Length: 200\r\n\r\n{'x' * 200}")
            upstream = await table.upstream()
            head, body = await table.client.hear_answer()
            assert head.startswith(b"HTTP/1.1 403 ")
            used = b"the budget for api.test:80 is used up: 100 bytes have passed"
            assert body == b"ringfence: budget-exceeded: " + used + b"\n"
            assert await upstream.hear_all() == b""
        async with talk(egress=egress) as table:
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(f"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n{'x' * 200}")
            with pytest.raises(ConnectionError):
                assert b"x" * 200 not in await table.client.hear_rest()

    run(conversation())


def test_a_budget_of_bytes_counts_what_a_url_carries() -> None:
    egress = Egress(rules=(rule(byte_limit=1000),))

    async def conversation() -> None:
        async with talk(egress=egress) as table:
            await table.client.say(f"GET /{'x' * 2000} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            assert b"budget-exceeded" in await table.client.hear()
            assert await upstream.hear_all() == b""

    run(conversation())


def test_a_host_that_answers_early_and_goes_leaves_its_answer() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(f"{POST}{framing(chunked=False)}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
            await table.client.hear()
            await upstream.say("done")
            assert await table.client.hear_bytes(4) == b"done"
            upstream.cut()
            with pytest.raises(ConnectionError):
                await table.client.say(LARGE)

    run(conversation())
