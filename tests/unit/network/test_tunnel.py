"""Tunnels: both halves end on their own, a cut is a cut, idleness of both sides counts, and so does every byte."""

import asyncio

import pytest

from ringfence.model.egress import Egress
from ringfence.network import tunnel
from ringfence.network.messages import Record
from ringfence.network.session import TUNNEL_IDLE_TIMEOUT_S
from ringfence.network.stream import Stream
from tests.unit.network.conversation import Talk, authority, egress, read_all, rule, run, talking, trusting
from tests.unit.network.talk import tcp_pair

HOST = "example.com"
ALLOWED = egress(rule(HOST))


async def over_tcp() -> tuple[Stream, Stream]:
    near, far = tcp_pair()
    return await Stream.over(near), await Stream.over(far)


async def begin(it: Talk, greeting: bytes = b"") -> tuple[Stream, Stream, "asyncio.Task[None]"]:
    """Give the client's end, the upstream host's end and the tunnel between."""
    connection = it.connection(HOST)
    client, inner = await over_tcp()
    upstream, outer = await over_tcp()

    async def serve() -> None:
        try:
            await tunnel.serve(inner, outer, it.session, connection, greeting=greeting)
        finally:
            await inner.close()

    task = asyncio.create_task(serve())
    it.tasks.append(task)
    return client, upstream, task


async def recorded(it: Talk) -> dict[str, object]:
    await it.settle()
    (record,) = [record for record in it.supervisor.all(Record) if record.kind == "egress"]
    return {"code": record.code, **record.fields}


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_each_side_ends_when_it_wants(first: str) -> None:
    async def talk() -> None:
        async with talking(ALLOWED) as it:
            client, upstream, task = await begin(it)
            early, late = (client, upstream) if first == "client" else (upstream, client)
            await early.write(b"a question")
            await early.write_eof()
            assert await read_all(late) == b"a question"
            assert not task.done()
            await late.write(b"a long answer")
            await late.write_eof()
            assert await read_all(early) == b"a long answer"
            await task
            found = await recorded(it)
            sent, received = (10, 13) if first == "client" else (13, 10)
            assert (found["code"], found["sent_bytes"], found["received_bytes"]) == ("", sent, received)
            assert (found["host"], found["port"]) == (HOST, 443)
            client.abort()
            upstream.abort()

    run(talk())


def test_the_client_is_greeted_before_anything_else() -> None:
    async def talk() -> None:
        async with talking(ALLOWED) as it:
            client, upstream, _ = await begin(it, b"200\r\n")
            assert await client.read() == b"200\r\n"
            await upstream.write(b"220 ready")
            assert await client.read() == b"220 ready"
            client.abort()
            upstream.abort()

    run(talk())


@pytest.mark.parametrize("cut", ["client", "upstream"])
def test_a_reset_goes_through(cut: str) -> None:
    async def talk() -> None:
        async with talking(ALLOWED) as it:
            client, upstream, task = await begin(it)
            one, other = (client, upstream) if cut == "client" else (upstream, client)
            await one.write(b"half a")
            assert await other.read() == b"half a"
            one.abort()
            with pytest.raises(ConnectionResetError):
                await other.read()
            await task
            assert (await recorded(it))["code"] == "unreachable"
            other.abort()

    run(talk())


def test_a_great_deal_passes_unchanged_in_both_directions_at_once() -> None:
    async def talk() -> None:
        async with talking(ALLOWED) as it:
            client, upstream, task = await begin(it)
            data = bytes(range(256)) * 40_000

            async def send(stream: Stream) -> None:
                await stream.write(data)
                await stream.write_eof()

            found = await asyncio.gather(read_all(client), read_all(upstream), send(client), send(upstream))
            assert found[0] == found[1] == data
            await task
            assert (await recorded(it))["sent_bytes"] == len(data)
            client.abort()
            upstream.abort()

    run(talk())


def test_a_slow_reader_slows_the_sender_down() -> None:
    async def talk() -> None:
        async with talking(ALLOWED) as it:
            client, upstream, _ = await begin(it)
            upstream.timeout_s = 1
            with pytest.raises(TimeoutError):  # nothing takes it in: it does not pile up here
                await upstream.write(bytes(64 << 20))
            client.abort()
            upstream.abort()

    run(talk())


def test_a_tunnel_in_which_nothing_moves_is_cut() -> None:
    async def talk() -> None:
        async with talking(ALLOWED) as it:
            client, upstream, task = await begin(it)
            began = it.session.clock()
            client.timeout_s = upstream.timeout_s = 10 * TUNNEL_IDLE_TIMEOUT_S
            await asyncio.gather(client.read(), upstream.read(), return_exceptions=True)
            await task
            assert it.session.clock() - began == pytest.approx(TUNNEL_IDLE_TIMEOUT_S, abs=1)
            assert (await recorded(it))["code"] == "timed-out"
            client.abort()
            upstream.abort()

    run(talk())


def test_one_busy_direction_keeps_the_other_open() -> None:
    async def talk() -> None:
        async with talking(ALLOWED) as it:
            client, upstream, task = await begin(it)
            for _ in range(10):
                await asyncio.sleep(TUNNEL_IDLE_TIMEOUT_S / 2)  # the injected clock: no time passes
                await upstream.write(b"tick")
                assert await client.read() == b"tick"
            assert not task.done()
            client.abort()
            upstream.abort()

    run(talk())


@pytest.mark.parametrize(
    "rules", [egress(rule(HOST, byte_limit=1000)), egress(rule(HOST), byte_limit=1000)], ids=["rule", "session"]
)
def test_it_ends_when_the_bytes_are_used_up(rules: Egress) -> None:
    async def talk() -> None:
        async with talking(rules) as it:
            client, upstream, task = await begin(it)
            await client.write(bytes(600))
            assert len(await upstream.read()) == 600
            await upstream.write(bytes(401))
            with pytest.raises(ConnectionResetError):
                await client.read()
            await task
            assert (await recorded(it))["code"] == "budget-exceeded"
            assert it.supervisor.records("denial") == [("budget-exceeded", f"{HOST}:443")]
            client.abort()
            upstream.abort()

    run(talk())


def test_it_is_recorded_also_when_it_is_ended_from_here() -> None:
    async def talk() -> None:
        async with talking(ALLOWED) as it:
            client, upstream, task = await begin(it)
            await client.write(b"12345")
            assert await upstream.read() == b"12345"
            task.cancel()
            with pytest.raises(ConnectionResetError):
                await upstream.read()
            await asyncio.gather(task, return_exceptions=True)
            found = await recorded(it)
            assert (found["code"], found["sent_bytes"]) == ("lost", 5)
            client.abort()
            upstream.abort()

    run(talk())


@pytest.mark.parametrize("when", ["under way", "greeting"])
def test_the_upstream_host_is_let_go_whatever_happens(when: str) -> None:
    async def talk() -> None:
        async with talking(ALLOWED) as it:
            client, inner = await over_tcp()
            upstream, outer = await over_tcp()
            if when == "greeting":
                inner.abort()
                with pytest.raises(OSError, match=r".+"):
                    await tunnel.serve(inner, outer, it.session, it.connection(HOST), greeting=b"200")
            else:
                task = asyncio.create_task(tunnel.relay(inner, outer, it.session, it.connection(HOST)))
                await client.write(b"x")
                assert await upstream.read() == b"x"
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            with pytest.raises(ConnectionResetError):
                await upstream.read()
            for stream in (client, inner, upstream):
                stream.abort()

    run(talk())


def test_it_carries_what_is_under_tls_on_one_side() -> None:
    async def talk() -> None:
        async with talking(ALLOWED) as it:
            client, inner = await over_tcp()
            upstream, outer = await over_tcp()
            await asyncio.gather(
                inner.start_tls(authority().context_for(HOST), server_side=True),
                client.start_tls(trusting(), server_side=False, server_hostname=HOST),
            )
            relaying = asyncio.create_task(
                tunnel.relay(inner, outer, it.session, it.connection(HOST), idle_timeout_s=3600)
            )
            await client.write(b"frame")
            assert await upstream.read() == b"frame"
            await upstream.write(b"another")
            await upstream.write_eof()
            assert await client.read() == b"another"
            await client.write_eof()
            assert await upstream.read() == b""
            assert await relaying == ""
            for stream in (client, inner, upstream):
                stream.abort()

    run(talk())
