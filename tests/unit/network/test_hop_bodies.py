"""Bodies through the hop: judged whole or in pieces, grown and shrunk, kept back, and never ended where cut.

Longer than 400 lines: each framing of a body, both ways.
"""

import asyncio

import pytest

from ringfence.model.passage import WHOLE_BYTES, Doubt, Incoming, Outgoing, Stopped
from ringfence.network.body import SLICE_BYTES
from tests.unit.network.gates import Open, Passing
from tests.unit.network.talk import HOST, End, run, talk

GET = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
POST = f"POST /x HTTP/1.1\r\nHost: {HOST}\r\n"
OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LEAK = Stopped("secret-leak", "a token of GitHub")


def whole(change: dict[bytes, bytes]) -> Open:
    """Give a gate that wants bodies whole, and replaces bytes in them."""

    def wanted(passage: Passing) -> None:
        def replaced(data: bytes) -> bytes:
            for old, new in change.items():
                data = data.replace(old, new)
            return data

        passage.whole = True
        passage.body = replaced

    return Open(wanted)


async def denied(client: End, code: str, status: int = 403) -> bytes:
    head, body = await client.hear_answer()
    assert head.startswith(b"HTTP/1.1 %d ringfence: %s: " % (status, code.encode()))
    assert body.startswith(f"ringfence: {code}: ".encode())
    return head


# ---- requests, whole


@pytest.mark.parametrize("new", [b"a much longer value", b"", b"12345"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_whole_body_may_grow_and_shrink(new: bytes, chunked: bool) -> None:
    async def conversation() -> None:
        async with talk(gate=whole({b"PLACE": new})) as table:
            framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 7"
            body = "3\r\n<PL\r\n4\r\nACE>\r\n0\r\n\r\n" if chunked else "<PLACE>"
            await table.client.say(f"{POST}{framing}\r\n\r\n{body}{GET}")
            upstream = await table.upstream()
            expected = b"<" + new + b">"
            assert (await upstream.hear()).endswith(b"\r\ncontent-length: %d\r\n\r\n" % len(expected))
            assert await upstream.hear_bytes(len(expected)) == expected
            await upstream.say(OK)
            assert (await table.client.hear_answer())[1] == b"ok"
            head = await upstream.hear()
            assert head.startswith(b"GET / ") and b"content-length" not in head
            await upstream.say(OK)
            assert (await table.client.hear_answer())[1] == b"ok"

    run(conversation())


def test_who_waits_for_leave_to_send_a_body_that_is_wanted_whole_gets_it_at_once() -> None:
    async def conversation() -> None:
        async with talk(gate=whole({b"PLACE": b"value"})) as table:
            await table.client.say(f"{POST}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            assert await table.client.hear() == b"HTTP/1.1 100 Continue\r\n\r\n"
            await table.client.say("PLACE")
            upstream = await table.upstream()
            assert b"expect" not in await upstream.hear()
            assert await upstream.hear_bytes(5) == b"value"
            await upstream.say("HTTP/1.1 100 Continue\r\n\r\n" + OK)
            assert (await table.client.hear_answer())[1] == b"ok"

    run(conversation())


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_wanted_whole_has_a_bound(chunked: bool) -> None:
    async def conversation() -> None:
        async with talk(gate=whole({})) as table:
            size = WHOLE_BYTES + 1
            framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size)) if chunked else bytes(size)
            sending = asyncio.create_task(table.client.say(f"{POST}{framing}\r\n\r\n".encode() + data))
            await denied(table.client, "too-large", 413)
            upstream = await table.upstream()
            table.client.cut()
            assert await upstream.hear_all() == b""
            await asyncio.wait([sending])
            assert sending.cancelled() or sending.exception() is None or isinstance(sending.exception(), OSError)

    run(conversation())


def test_bodies_that_are_held_whole_share_room() -> None:
    """Whoever fills it is refused, and it is free again as soon as the requests are over."""

    async def conversation() -> None:
        async with talk(gate=whole({})) as table:
            table.room.left = 1000
            await table.client.say(POST + "Content-Length: 900\r\n\r\n" + "x" * 900)
            upstream = await table.upstream()
            assert len(await upstream.hear_bytes(900)) == 900
            assert table.room.left == 100
            await upstream.say(OK)
            await table.client.hear_answer()
            await table.client.say(POST + "Content-Length: 1001\r\n\r\n" + "x" * 1001)
            await denied(table.client, "busy", 503)
            assert table.room.left == 1000
            await table.client.say(POST + "Content-Length: 5\r\n\r\nhello")
            assert (await upstream.hear(b"hello")).endswith(b"hello")

    run(conversation())


@pytest.mark.parametrize("answer", [True, False])
def test_a_doubt_about_a_whole_body_is_settled(answer: bool) -> None:
    def doubt(passage: Passing) -> None:
        passage.whole = True
        passage.body = lambda data: Doubt("secret-leak", "looks like a token")

    async def conversation() -> None:
        gate = Open(doubt)
        async with talk(gate=gate) as table:
            table.answer = answer
            await table.client.say(f"{POST}Content-Length: 5\r\n\r\ntoken")
            upstream = await table.upstream()
            if answer:
                await upstream.hear(b"token")
                await upstream.say(OK)
                assert (await table.client.hear_answer())[1] == b"ok"
            else:
                await denied(table.client, "secret-leak")
                assert [kind for kind, _, _ in table.told] == ["denial"]

    run(conversation())


# ---- requests, in pieces


@pytest.mark.parametrize("chunked", [False, True])
def test_pieces_that_the_gate_keeps_back_come_later(chunked: bool) -> None:
    def keep(passage: Passing) -> None:
        passage.keep = 3

    gate = Open(keep)

    async def conversation() -> None:
        async with talk(gate=gate) as table:
            framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 12"
            await table.client.say(f"{POST}{framing}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.hear()
            for piece in ("one ", "two ", "end!"):
                await table.client.say(f"{len(piece):x}\r\n{piece}\r\n" if chunked else piece)
                await asyncio.sleep(0)
            await table.client.say("0\r\n\r\n" if chunked else "")
            if chunked:
                heard = await upstream.hear(b"0\r\n\r\n")
                heard = b"".join(heard.split(b"\r\n")[1:-3:2])
            else:
                heard = await upstream.hear_bytes(12)
            assert heard.replace(b"\r\n", b"") == b"one two end!"
            await upstream.say(OK)
            assert (await table.client.hear_answer())[1] == b"ok"
            assert gate.passages[0].ends == 1

    run(conversation())


@pytest.mark.parametrize("answer", [True, False])
def test_a_doubt_in_the_middle_of_an_upload_holds_it(answer: bool) -> None:
    def doubt(passage: Passing) -> None:
        passage.body = lambda data: Doubt("secret-leak", "a token") if b"token" in data else data

    async def conversation() -> None:
        async with talk(gate=Open(doubt)) as table:
            table.answer = answer
            await table.client.say(f"{POST}Content-Length: 10\r\n\r\nhello")
            upstream = await table.upstream()
            await upstream.hear(b"hello")
            await table.client.say("token")
            if answer:
                assert await upstream.hear_bytes(5) == b"token"
                await upstream.say(OK)
                assert (await table.client.hear_answer())[1] == b"ok"
            else:
                await denied(table.client, "secret-leak")
                with pytest.raises(ConnectionError):
                    await upstream.hear_rest()
            assert [asked.reason for asked in table.doubts] == ["a token"]

    run(conversation())


@pytest.mark.parametrize("where", ["body", "trailers", "no body"])
def test_an_upload_that_is_stopped_is_cut_for_the_host_and_answered(where: str) -> None:
    def stop(passage: Passing) -> None:
        if where == "trailers":
            passage.trailers = lambda fields: LEAK
        else:
            passage.body = lambda data: LEAK if b"token" in data or where == "no body" else data

    async def conversation() -> None:
        async with talk(gate=Open(stop)) as table:
            body = "5\r\nhello\r\n5\r\ntoken\r\n0\r\nX-Sum: token\r\n\r\n"
            await table.client.say(GET if where == "no body" else f"{POST}Transfer-Encoding: chunked\r\n\r\n{body}")
            upstream = await table.upstream()
            await denied(table.client, "secret-leak")
            assert b"0\r\n" not in await upstream.hear_all()
            assert [(kind, code) for kind, code, _ in table.told] == [("denial", "secret-leak")]

    run(conversation())


def test_trailers_of_a_request_are_the_gates() -> None:
    def scrub(passage: Passing) -> None:
        passage.trailers = lambda fields: [(name, b"*") for name, _ in fields]

    async def conversation() -> None:
        async with talk(gate=Open(scrub)) as table:
            await table.client.say(f"{POST}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n")
            upstream = await table.upstream()
            assert (await upstream.hear(b"0\r\nx-sum: *\r\n\r\n")).endswith(b"\r\n\r\n2\r\nhi\r\n0\r\nx-sum: *\r\n\r\n")

    run(conversation())


def test_what_is_stopped_after_an_early_answer_is_recorded() -> None:
    def stop(passage: Passing) -> None:
        passage.body = lambda data: LEAK if b"token" in data else data

    async def conversation() -> None:
        async with talk(gate=Open(stop)) as table:
            await table.client.say(f"{POST}Content-Length: 10\r\n\r\nhello")
            upstream = await table.upstream()
            await upstream.hear(b"hello")
            await upstream.say(OK)
            assert (await table.client.hear_answer())[1] == b"ok"
            await table.client.say("token")
            with pytest.raises(ConnectionError):
                await upstream.hear_rest()
            table.client.cut()
            await table.hops_ended()
            assert [code for _, code, _ in table.told] == ["secret-leak"]

    run(conversation())


# ---- a gate at fault


@pytest.mark.parametrize("change", [b"", b"much more than was announced"])
def test_a_gate_that_changes_the_length_of_a_piece_costs_the_request(change: bytes) -> None:
    def wrong(passage: Passing) -> None:
        passage.body = lambda data: change if data else data

    async def conversation() -> None:
        async with talk(gate=Open(wrong)) as table:
            await table.client.say(f"{POST}Content-Length: 5\r\n\r\nhello")
            upstream = await table.upstream()
            assert (await table.client.hear()).startswith(b"HTTP/1.1 502 ")
            assert not (await upstream.hear_all()).endswith(change or b"hello")

    run(conversation())


@pytest.mark.parametrize("change", [b"", b"much more than was announced"])
def test_a_gate_that_changes_the_length_of_an_answer_costs_the_answer(change: bytes) -> None:
    def wrong(passage: Passing) -> None:
        passage.answer_piece = lambda data: change

    async def conversation() -> None:
        async with talk(gate=Open(wrong)) as table:
            await table.client.say(GET)
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            assert (await table.client.hear()).startswith(b"HTTP/1.1 502 ")

    run(conversation())


# ---- answers


@pytest.mark.parametrize("framing", ["Content-Length: 5\r\n\r\nvalue", "\r\nvalue"])
def test_an_answer_that_is_transformed_is_framed_anew(framing: str) -> None:
    def transform(passage: Passing) -> None:
        passage.answered = lambda head: Incoming(head.status, head.headers, transformed=True)
        passage.answer_piece = lambda data: data.replace(b"value", b"a placeholder") if data else b""

    async def conversation() -> None:
        async with talk(gate=Open(transform)) as table:
            await table.client.say(GET)
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(f"HTTP/1.1 200 OK\r\n{framing}")
            await upstream.leave()
            head = await table.client.hear()
            assert b"content-length" not in head.lower()
            assert await table.client.hear(b"0\r\n\r\n") == b"d\r\na placeholder\r\n0\r\n\r\n"

    run(conversation())


@pytest.mark.parametrize("chunked", [False, True])
def test_what_expands_is_taken_in_small_pieces(chunked: bool) -> None:
    """Each is held until the client has taken it, for as many connections as a program likes."""
    taken: list[int] = []

    def measured(data: bytes) -> bytes:
        taken.append(len(data))
        return data

    def transform(passage: Passing) -> None:
        passage.answered = lambda head: Incoming(head.status, head.headers, transformed=True)
        passage.answer_piece = measured

    async def conversation() -> None:
        async with talk(gate=Open(transform)) as table:
            await table.client.say(GET)
            upstream = await table.upstream()
            await upstream.hear()
            body = "x" * 100_000
            framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
            body = f"{len(body):x}\r\n{body}\r\n0\r\n\r\n" if chunked else body
            await upstream.say(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}")
            assert (await table.client.hear(b"\r\n0\r\n\r\n")).count(b"x") == 100_000
        assert sum(taken) == 100_000 and max(taken) <= SLICE_BYTES

    run(conversation())


def test_an_answer_to_head_that_would_be_transformed_says_no_length() -> None:
    def transform(passage: Passing) -> None:
        passage.answered = lambda head: Incoming(head.status, head.headers, transformed=True)

    async def conversation() -> None:
        gate = Open(transform)
        async with talk(gate=gate) as table:
            await table.client.say("HEAD" + GET[3:] + GET)
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            assert b"content-length" not in (await table.client.hear()).lower()
            assert (await upstream.hear()).startswith(b"GET / ")
            assert gate.passages[0].answer_ends == 0

    run(conversation())


@pytest.mark.parametrize("first", [True, False])
def test_an_answer_that_is_stopped_in_its_body_is_never_ended(first: bool) -> None:
    def stop(passage: Passing) -> None:
        passage.answer_piece = lambda data: LEAK if b"value" in data else data

    async def conversation() -> None:
        async with talk(gate=Open(stop)) as table:
            await table.client.say(GET)
            upstream = await table.upstream()
            await upstream.hear()
            start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            if first:
                await upstream.say(f"{start}5\r\nvalue\r\n")
                await denied(table.client, "secret-leak")
            else:
                await upstream.say(f"{start}5\r\nhello\r\n")
                await table.client.hear(b"hello\r\n")
                await upstream.say("5\r\nvalue\r\n0\r\n\r\n")
                with pytest.raises(ConnectionError):
                    await table.client.hear_rest()
            assert [code for _, code, _ in table.told] == ["secret-leak"]

    run(conversation())


def test_events_are_passed_on_as_they_come() -> None:
    async def conversation() -> None:
        async with talk(gate=Open()) as table:
            await table.client.say(GET)
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            await table.client.hear()
            for number in range(3):
                await upstream.say(f"data: {number}\n\n")
                assert f"data: {number}\n\n".encode() in await table.client.hear(b"\n\n\r\n")

    run(conversation())


def test_a_client_that_does_not_read_slows_the_host_down() -> None:
    size = 64 << 20

    async def conversation() -> None:
        async with talk(gate=Open()) as table:
            await table.client.say(GET)
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")
            sending = asyncio.create_task(upstream.say(bytes(size)))
            await table.client.hear()
            await asyncio.wait([sending], timeout=0.1)
            assert not sending.done(), "what lies between holds less"
            assert await table.client.hear_bytes(size) == bytes(size)
            await sending

    run(conversation())


def test_the_head_of_the_gate_frames_nothing() -> None:
    def lie(passage: Passing) -> None:
        headers = (*passage.request.headers, (b"content-length", b"99"), (b"transfer-encoding", b"chunked"))
        passage.request = Outgoing(b"POST", b"/", headers)

    async def conversation() -> None:
        async with talk(gate=Open(lie)) as table:
            await table.client.say(f"{POST}Content-Length: 2\r\n\r\nhi")
            upstream = await table.upstream()
            assert (await upstream.hear()).endswith(b"\r\ncontent-length: 2\r\n\r\n")
            assert await upstream.hear_bytes(2) == b"hi"

    run(conversation())
