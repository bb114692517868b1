"""Streams: limits, bytes given back, both halves, TLS from bytes already read, cuts that are not ends, time limits."""

import asyncio
import socket
import ssl

import pytest

from ringfence.network.stream import EAGER_READS, LINGER_BYTES, Stream
from tests.unit.network.conversation import authority, read_all, run, trusting
from tests.unit.network.talk import tcp_pair

NAME = "example.com"


async def pair() -> tuple[Stream, Stream]:
    near, far = socket.socketpair()
    return await Stream.over(near), await Stream.over(far)


async def secured(near: Stream, far: Stream) -> None:
    """Make `near` the server of `NAME`, `far` its client."""
    await asyncio.gather(
        near.start_tls(authority().context_for(NAME), server_side=True),
        far.start_tls(trusting(), server_side=False, server_hostname=NAME),
    )


async def closed(*streams: Stream) -> None:
    for stream in streams:
        stream.abort()


def test_bytes_come_in_order_and_are_counted() -> None:
    async def talk() -> None:
        near, far = await pair()
        await near.write(b"one two")
        assert await far.read(3) == b"one"
        assert await far.read() == b" two"
        await near.write_eof()
        assert await far.read() == b""
        assert (near.bytes_out, far.bytes_in) == (7, 7)
        await closed(near, far)

    run(talk())


def test_bytes_given_back_come_again_first_and_are_counted_once() -> None:
    async def talk() -> None:
        near, far = await pair()
        await near.write(b"hello, world")
        far.unread(await far.read(5))
        assert await far.read(2) == b"he"
        assert await far.read() == b"llo"
        assert await far.read() == b", world"
        assert far.bytes_in == 12
        await closed(near, far)

    run(talk())


def test_one_side_may_end_and_go_on_listening() -> None:
    async def talk() -> None:
        near, far = await pair()
        await near.write_eof()
        assert await far.read() == b""
        await far.write(b"still here")
        assert await near.read() == b"still here"
        await closed(near, far)

    run(talk())


def test_a_writer_waits_for_its_reader() -> None:
    async def talk() -> None:
        near, far = await pair()
        writing = asyncio.create_task(near.write(bytes(4 << 20)))
        await asyncio.sleep(0)
        assert not writing.done()
        found = 0
        while found < 4 << 20:
            found += len(await far.read())
        await writing
        await closed(near, far)

    run(talk())


def test_whoever_says_nothing_is_given_up() -> None:
    async def talk() -> None:
        near, far = await pair()
        near.timeout_s = 30
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await near.read()
        assert asyncio.get_running_loop().time() - began == pytest.approx(30)
        await closed(near, far)

    run(talk())


def test_whoever_reads_nothing_is_given_up() -> None:
    async def talk() -> None:
        near, far = await pair()
        near.timeout_s = 30
        with pytest.raises(TimeoutError):
            await near.write(bytes(16 << 20))
        await closed(near, far)

    run(talk())


def test_a_busy_stream_lets_others_have_their_turn() -> None:
    async def talk() -> None:
        near, far = await pair()
        await near.write(bytes(EAGER_READS * 4))
        turns: list[int] = []

        async def other() -> None:
            turns.append(far.bytes_in)

        waiting = asyncio.create_task(other())
        for _ in range(EAGER_READS * 2):
            await far.read(1)
        await waiting
        assert turns[0] <= EAGER_READS
        await closed(near, far)

    run(talk())


def test_an_aborted_stream_wakes_who_waits_for_it() -> None:
    async def talk() -> None:
        near, far = await pair()
        reading = asyncio.create_task(near.read())
        writing = asyncio.create_task(near.write(bytes(16 << 20)))
        await asyncio.sleep(0)
        near.abort()
        near.abort()
        for task in (reading, writing):
            with pytest.raises(ConnectionAbortedError):
                await task
        with pytest.raises(OSError, match=r".+"):
            await near.read()
        with pytest.raises(ConnectionAbortedError):
            await near.wait_until_readable()
        await near.close()
        await closed(far)

    run(talk())


async def over_tcp() -> tuple[Stream, Stream]:
    near, far = tcp_pair()
    return await Stream.over(near), await Stream.over(far)


def test_a_cut_is_not_taken_for_an_end() -> None:
    async def talk() -> None:
        near, far = await over_tcp()
        near.abort()
        with pytest.raises(ConnectionResetError):
            await far.read()
        await closed(far)

    run(talk())


def test_the_last_word_arrives_although_the_client_still_sends() -> None:
    async def talk() -> None:
        near, far = await over_tcp()
        await far.write(b"a long upload that nobody reads")
        await near.write(b"403")
        closing = asyncio.create_task(near.close())
        await asyncio.sleep(0)
        await far.write(b"more")
        assert await read_all(far) == b"403"
        await far.close()
        await closing

    run(talk())


def test_a_client_that_never_stops_is_closed_nonetheless() -> None:
    async def talk() -> None:
        near, far = await pair()
        loop = asyncio.get_running_loop()

        async def endless() -> None:
            with pytest.raises(OSError, match=r".+"):
                await far.write(bytes(LINGER_BYTES * 2))

        sending = loop.create_task(endless())
        await near.close()
        await sending
        await closed(far)

        near, far = await pair()
        began = loop.time()
        await near.close()  # the other side neither ends nor says anything
        assert loop.time() - began == pytest.approx(2)
        await closed(far)

    run(talk())


# ---- TLS


def test_tls_begins_with_bytes_that_were_looked_at() -> None:
    async def talk() -> None:
        near, far = await pair()

        async def serve() -> None:
            near.unread(await near.read())
            await near.start_tls(authority().context_for(NAME), server_side=True)

        await asyncio.gather(serve(), far.start_tls(trusting(), server_side=False, server_hostname=NAME))
        assert near.bytes_in == 0
        await far.write(b"x" * 100_000)
        await far.write_eof()
        assert await read_all(near) == b"x" * 100_000
        assert (near.bytes_in, far.bytes_out) == (100_000, 100_000)
        assert far.tls is not None and far.tls.version() == "TLSv1.3"
        await closed(near, far)

    run(talk())


def test_under_tls_too_one_side_may_end_and_go_on_listening() -> None:
    async def talk() -> None:
        near, far = await pair()
        await secured(near, far)
        await far.write(b"answer me")
        await near.write(b"unread when this side ends; ")
        await asyncio.gather(near.write_eof(), far.write(b" still"))
        assert await read_all(far) == b"unread when this side ends; "
        await far.write(b" there")
        await far.write_eof()
        assert await read_all(near) == b"answer me still there"
        await closed(near, far)

    run(talk())


def test_under_tls_what_was_received_before_this_side_ended_can_be_read_after() -> None:
    async def talk() -> None:
        near, far = await pair()
        await secured(near, far)
        await far.write(b"received")
        assert await near.read(1) == b"r"
        await near.write_eof()
        await far.write_eof()
        assert await read_all(near) == b"eceived"
        await closed(near, far)

    run(talk())


def test_tls_that_is_cut_off_is_no_end() -> None:
    async def talk() -> None:
        near, far = await pair()
        await secured(near, far)
        await near.write(b"half")
        near.socket.shutdown(socket.SHUT_WR)  # without close_notify: anybody on the way could do that
        assert await far.read() == b"half"
        with pytest.raises(ssl.SSLError):
            await far.read()
        await closed(near, far)

    run(talk())


def test_many_writers_do_not_mix_under_tls() -> None:
    async def talk() -> None:
        near, far = await pair()
        await secured(near, far)
        pieces = [bytes([number]) * 300_000 for number in range(4)]
        writing = [asyncio.create_task(near.write(piece)) for piece in pieces]

        async def end() -> None:
            await asyncio.gather(*writing)
            await near.write_eof()

        ending = asyncio.create_task(end())
        assert await read_all(far) == b"".join(pieces)
        await ending
        await closed(near, far)

    run(talk())


def test_a_failed_handshake_says_why() -> None:
    async def talk() -> None:
        near, far = await pair()
        distrusting = ssl.create_default_context()
        outcomes = await asyncio.gather(
            near.start_tls(authority().context_for(NAME), server_side=True),
            far.start_tls(distrusting, server_side=False, server_hostname=NAME),
            return_exceptions=True,
        )
        assert isinstance(outcomes[1], ssl.SSLCertVerificationError)
        assert isinstance(outcomes[0], ssl.SSLError) and "ALERT" in str(outcomes[0])
        await closed(near, far)

    run(talk())


def test_a_handshake_that_stops_is_given_up() -> None:
    async def talk() -> None:
        near, far = await pair()
        near.timeout_s = 20
        await far.write(b"\x16\x03\x01")
        with pytest.raises(TimeoutError):
            await near.start_tls(authority().context_for(NAME), server_side=True)
        await closed(near, far)

    run(talk())
