"""From HTTP to WebSocket, and to nothing else."""

import pytest

from ringfence.network.upgrade import accepted
from tests.unit.network.gates import way
from tests.unit.network.talk import HOST, run, talk

__all__ = ["way"]
pytestmark = pytest.mark.usefixtures("way")

KEY, PROOF = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # the example of RFC 6455, 1.3
ASKED = (
    f"GET /chat HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCHED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {PROOF}\r\n\r\n"
)


def test_bytes_pass_both_ways_after_the_handshake() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(ASKED + "early")
            upstream = await table.upstream()
            head = await upstream.hear()
            assert b"upgrade: websocket\r\n" in head
            assert b"connection: Upgrade\r\n" in head
            await upstream.say(SWITCHED + "first")
            answer = await table.client.hear()
            assert answer.startswith(b"HTTP/1.1 101 ")
            assert b"connection: Upgrade\r\n" in answer
            assert b"connection: close" not in answer
            assert await table.client.hear_bytes(5) == b"first"
            assert await upstream.hear_bytes(5) == b"early"
            for message in (b"\x81\x02hi", b"\x82\x00"):
                await table.client.say(message)
                assert await upstream.hear_bytes(len(message)) == message
                await upstream.say(message)
                assert await table.client.hear_bytes(len(message)) == message
            await table.client.leave()
            assert await upstream.hear_rest() == b""
            await upstream.leave()
            (record,) = await table.recorded("egress")
            assert record.fields["status"] == 101

    run(conversation())


@pytest.mark.parametrize(
    "answer",
    [
        SWITCHED.replace(PROOF, "AAAA"),
        SWITCHED.replace(f"Sec-WebSocket-Accept: {PROOF}\r\n", ""),
        SWITCHED.replace("Upgrade: websocket", "Upgrade: h2c"),
    ],
)
def test_a_switch_without_proof_is_refused(answer: str) -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(ASKED)
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say(answer)
            assert (await table.client.hear()).startswith(b"HTTP/1.1 502 ")

    run(conversation())


@pytest.mark.parametrize("offer", ["h2c", "tls/1.0", "websocket, h2c"])
def test_other_offers_are_not_passed_on_and_cannot_be_taken_up(offer: str) -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(ASKED.replace("Upgrade: websocket", f"Upgrade: {offer}"))
            upstream = await table.upstream()
            assert b"upgrade" not in (await upstream.hear()).lower()
            await upstream.say(SWITCHED.replace("Upgrade: websocket", f"Upgrade: {offer}"))
            assert (await table.client.hear()).startswith(b"HTTP/1.1 502 ")

    run(conversation())


def test_a_host_may_decline() -> None:
    async def conversation() -> None:
        async with talk() as table:
            await table.client.say(ASKED)
            upstream = await table.upstream()
            await upstream.hear()
            await upstream.say("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno")
            assert (await table.client.hear_answer())[1] == b"no"
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            assert (await upstream.hear()).startswith(b"GET / ")

    run(conversation())


def test_a_proof_belongs_to_one_key() -> None:
    response = [(b"upgrade", b"websocket"), (b"sec-websocket-accept", PROOF.encode())]
    assert accepted([(b"sec-websocket-key", KEY.encode())], response)
    assert not accepted([(b"sec-websocket-key", b"x")], response)
    assert not accepted([], response)
