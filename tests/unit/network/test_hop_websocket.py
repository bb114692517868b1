"""A WebSocket through the hop: what the host says is scrubbed, and both sides may end."""

from ringfence.model.passage import Stopped
from tests.unit.network.gates import Open, Passing
from tests.unit.network.talk import HOST, run, talk

KEY, PROOF = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # the example of RFC 6455, 1.3
UPGRADE = (
    f"GET /chat HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
SWITCHED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {PROOF}\r\n\r\n"
)


def test_frames_of_a_websocket_are_scrubbed_and_not_compressed() -> None:
    def keep_one_back(passage: Passing) -> None:
        kept = b""

        def frames(data: bytes) -> bytes:
            nonlocal kept
            whole = (kept + data).replace(b"value", b"*****")
            kept = whole[-1:] if data else b""
            return whole[: len(whole) - len(kept)]

        passage.frames = frames

    async def conversation() -> None:
        async with talk(gate=Open(keep_one_back)) as table:
            await table.client.say(UPGRADE)
            upstream = await table.upstream()
            assert b"sec-websocket-extensions" not in (await upstream.hear()).lower()
            await upstream.say(SWITCHED + "a value.")
            assert (await table.client.hear()).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
            assert await table.client.hear_bytes(7) == b"a *****"
            await table.client.say("value")
            assert await upstream.hear_bytes(5) == b"value"
            await upstream.leave()
            assert await table.client.hear_rest() == b"."
            await table.client.leave()
            assert await upstream.hear_rest() == b""

    run(conversation())


def test_what_the_gate_stops_does_not_go_and_ends_the_websocket() -> None:
    misuse = Stopped("secret-misuse", "a placeholder in a message", "github")

    def stop(passage: Passing) -> None:
        passage.departing = lambda data: misuse if b"PLACEHOLDER" in data else data

    async def conversation() -> None:
        async with talk(gate=Open(stop)) as table:
            await table.client.say(UPGRADE)
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(SWITCHED)
            await table.client.hear()
            await table.client.say("first")
            assert await upstream.hear_bytes(5) == b"first"
            await table.client.say("a PLACEHOLDER")
            assert await table.client.hear_all() == b""
            assert await upstream.hear_all() == b""
            await table.client.leave()
            await table.hops_ended()
            assert [(kind, code) for kind, code, _ in table.told] == [("denial", "secret-misuse")]

    run(conversation())


def test_a_websocket_that_is_cut_ends() -> None:
    async def conversation() -> None:
        async with talk(gate=Open()) as table:
            await table.client.say(UPGRADE)
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(SWITCHED)
            await table.client.hear()
            upstream.cut()
            assert await table.client.hear_all() == b""
            await table.client.leave()
            await table.hops_ended()

    run(conversation())
