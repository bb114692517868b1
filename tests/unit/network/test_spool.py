"""Files that the supervisor opens for the proxy: taken, used again, never more than a few."""

import asyncio
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable

import pytest

from ringfence.network.channel import Channel
from ringfence.network.messages import MAX_SPOOLS, PACKET_BYTES, Dialed, Spool, encode, from_proxy
from ringfence.network.spool import SpoolFile, Spools


@pytest.fixture
def spool() -> SpoolFile:
    return SpoolFile(os.memfd_create("spool"))


def test_what_was_written_is_read(spool: SpoolFile) -> None:
    spool.write(b"hello ")
    spool.write(b"world")
    assert spool.size == 11
    assert spool.read(0, 5) == b"hello"
    assert spool.read(6, 100) == b"world"
    assert spool.read(11, 1) == spool.read(100, 1) == b""


def test_it_is_used_again_empty(spool: SpoolFile) -> None:
    spool.write(b"a secret of one push")
    spool.empty()
    spool.write(b"x")
    assert spool.read(0, 100) == b"x"


def conversation(talk: Callable[[Spools], Awaitable[None]], *, refusing: bool = False) -> int:
    """Hold one with a supervisor; how many files it gave."""
    given = 0

    def answer(ours: socket.socket) -> None:
        nonlocal given
        asked = from_proxy.decode(ours.recv(PACKET_BYTES))
        assert isinstance(asked, Spool)
        if refusing:
            ours.send(encode(Dialed(request=asked.request, code="busy", reason="no room")))
            return
        given += 1
        with tempfile.TemporaryFile() as file:
            socket.send_fds(ours, [encode(Dialed(request=asked.request))], [file.fileno()])

    async def hold() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(False)
        channel = Channel(theirs)
        asyncio.get_running_loop().add_reader(ours, answer, ours)

        async def listen() -> None:
            while (packet := await channel.receive()) is not None:
                assert isinstance(packet.message, Dialed)
                channel.answer(packet.message, packet.descriptors)

        listening = asyncio.create_task(listen())
        async with asyncio.timeout(60):
            await talk(Spools(channel))
        listening.cancel()
        asyncio.get_running_loop().remove_reader(ours)
        channel.close()
        ours.close()

    asyncio.run(hold())
    return given


def test_there_are_only_so_many_and_who_comes_late_waits() -> None:
    async def talk(spools: Spools) -> None:
        taken = [await spools.take() for _ in range(MAX_SPOOLS)]
        late = asyncio.create_task(spools.take())
        await asyncio.sleep(0)
        taken[0].write(b"x")
        await spools.give(taken[0])
        assert (await late) is taken[0]
        assert taken[0].size == 0

    assert conversation(talk) == MAX_SPOOLS


def test_one_after_the_other_uses_one_file() -> None:
    async def talk(spools: Spools) -> None:
        for _ in range(5):
            await spools.give(await spools.take())

    assert conversation(talk) == 1


def test_without_room_nothing_is_taken() -> None:
    async def talk(spools: Spools) -> None:
        for _ in range(MAX_SPOOLS + 1):
            with pytest.raises(OSError, match="no room"):
                await spools.take()

    assert conversation(talk, refusing=True) == 0
