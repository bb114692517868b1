"""The channel: order, back-pressure, questions and answers, descriptors that nobody wants any more, its end."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from ringfence.network.channel import Channel
from ringfence.network.messages import Answer, Dial, Dialed, Record, ToProxy, encode, from_proxy
from tests.unit.network.conversation import run

Conversation = Callable[[Channel, socket.socket], Awaitable[None]]


def between(conversation: Conversation) -> None:
    async def talk() -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel = Channel(near)
        with far:
            await conversation(channel, far)
        channel.close()

    run(talk())


def record(number: int) -> Record:
    return Record(kind="egress", code="", connection=number, fields={"path": "x" * 1000})


def dial(channel: Channel) -> Dial:
    return Dial(request=channel.number(), connection=1, host="example.com", port=443)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_messages_arrive_in_order_however_slowly_they_are_read() -> None:
    async def talk(channel: Channel, far: socket.socket) -> None:
        count = 2000
        for number in range(count):
            channel.send(record(number))
        draining = [asyncio.create_task(channel.drain()) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in draining)
        found: list[int] = []
        loop = asyncio.get_running_loop()
        far.setblocking(False)
        while len(found) < count:
            message = from_proxy.decode(await loop.sock_recv(far, 1 << 16))
            assert isinstance(message, Record)
            found.append(message.connection)
        await asyncio.gather(*draining)
        assert found == list(range(count))

    between(talk)


def test_an_answer_goes_to_whoever_asked() -> None:
    async def talk(channel: Channel, far: socket.socket) -> None:
        asked = [dial(channel), dial(channel)]
        waiting = [asyncio.create_task(channel.ask(question)) for question in asked]
        await asyncio.sleep(0)
        channel.answer(Answer(request=asked[1].request, allowed=True), ())
        channel.answer(Dialed(request=asked[0].request, code="busy"), ())
        assert (await waiting[0])[0] == Dialed(request=asked[0].request, code="busy")
        assert (await waiting[1])[0] == Answer(request=asked[1].request, allowed=True)

    between(talk)


def test_a_message_comes_with_its_descriptors() -> None:
    async def talk(channel: Channel, far: socket.socket) -> None:
        reading, writing = os.pipe()
        socket.send_fds(far, [encode(Dialed(request=7, address="203.0.113.7"))], [writing])
        os.close(writing)
        packet = await channel.receive()
        assert packet is not None and packet.message == Dialed(request=7, address="203.0.113.7")
        (descriptor,) = packet.descriptors
        os.write(descriptor, b"x")
        assert os.read(reading, 1) == b"x"
        os.close(reading)
        os.close(descriptor)

    between(talk)


def test_a_descriptor_that_nobody_waits_for_is_closed() -> None:
    async def talk(channel: Channel, far: socket.socket) -> None:
        question = dial(channel)
        waiting = asyncio.create_task(channel.ask(question))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        descriptor = os.open(os.devnull, os.O_RDONLY)
        channel.answer(Dialed(request=question.request), (descriptor,))
        assert not is_open(descriptor)

    between(talk)


def test_a_descriptor_is_closed_when_who_asked_gives_up_in_the_same_moment() -> None:
    async def talk(channel: Channel, far: socket.socket) -> None:
        question = dial(channel)
        waiting = asyncio.create_task(channel.ask(question))
        await asyncio.sleep(0)
        descriptor = os.open(os.devnull, os.O_RDONLY)
        channel.answer(Dialed(request=question.request), (descriptor,))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not is_open(descriptor)

    between(talk)


@pytest.mark.parametrize("how", ["shutdown", "close", "reset"])
def test_its_end_is_seen(how: str) -> None:
    async def talk(channel: Channel, far: socket.socket) -> None:
        reading = asyncio.create_task(channel.receive())
        await asyncio.sleep(0)
        if how == "shutdown":
            far.shutdown(socket.SHUT_WR)
        else:
            if how == "reset":
                channel.send(record(0))  # which nobody reads
            far.close()
        assert await reading is None
        channel.send(record(1))
        channel.send(record(2))
        await channel.drain()
        if how == "shutdown":  # the last words are heard
            assert [from_proxy.decode(far.recv(1 << 16)) for _ in range(2)] == [record(1), record(2)]

    between(talk)


def test_what_is_no_message_ends_the_proxy() -> None:
    async def talk(channel: Channel, far: socket.socket) -> None:
        far.send(b'{"type": "replace", "egress": {"rules": 7}}')
        with pytest.raises(msgspec.ValidationError):
            await channel.receive()
        far.send(b"garbage")
        with pytest.raises(msgspec.DecodeError):
            await channel.receive()
        cut: ToProxy = Answer(request=1, allowed=True, reason="x" * (64 << 10))
        far.send(encode(cut))
        with pytest.raises(ConnectionAbortedError):
            await channel.receive()

    between(talk)
