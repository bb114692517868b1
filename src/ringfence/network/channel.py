"""The proxy's end of the conversation with the supervisor: packets out in order, questions matched with answers.

Its end is the end of the session: whoever reads `receive` closes everything when it gives None.
"""

import asyncio
import itertools
import math
import os
import socket
from collections import deque

import msgspec

from .messages import PACKET_BYTES, Answer, Ask, Dial, Dialed, FromProxy, Spool, ToProxy, encode, to_proxy
from .stream import Stream

MAX_DESCRIPTORS = 253  # SCM_MAX_FD, unix(7)

Reply = tuple[Dialed | Answer, tuple[int, ...]]


class Packet(msgspec.Struct, frozen=True):
    """A message with the descriptors that came along; they belong to the receiver."""

    message: ToProxy
    descriptors: tuple[int, ...]


class Channel:
    """One SOCK_SEQPACKET socket, non-blocking. After the other side is gone, what is sent is dropped."""

    def __init__(self, connected: socket.socket) -> None:
        self._stream = Stream(connected)
        self._stream.timeout_s = math.inf
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._unsent: deque[bytes] = deque()
        self._turn = asyncio.Lock()

    async def receive(self) -> Packet | None:
        """Wait for the next message; None when the supervisor has ended the conversation.

        Raise msgspec.MsgspecError, or ConnectionError, for what is no message of this protocol.
        """
        while True:
            try:
                data, descriptors, flags, _ = socket.recv_fds(self._stream.socket, PACKET_BYTES, MAX_DESCRIPTORS)
            except BlockingIOError:
                await self._stream.wait_until_readable()
                continue
            except ConnectionError:
                return None
            if not data:
                return None
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ConnectionAbortedError("a message of the supervisor was cut short")
            return Packet(to_proxy.decode(data), tuple(descriptors))

    def send(self, message: FromProxy) -> None:
        """Send in order, never waiting; see `drain`."""
        self._unsent.append(encode(message))
        self._write()

    async def drain(self) -> None:
        """Wait until what was sent has been taken; whoever can cause many messages waits here before the next."""
        async with self._turn:  # a socket has one waiter
            while self._unsent:
                await self._stream.wait_until_writable()
                self._write()

    def number(self) -> int:
        """Give a number for the next question."""
        return next(self._numbers)

    async def ask(self, question: Dial | Ask | Spool) -> Reply:
        """Send a question and wait for its answer."""
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[question.request] = waiting
        self.send(question)
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():
                close_descriptors(waiting.result()[1])
            raise
        finally:
            self._waiting.pop(question.request, None)

    def answer(self, message: Dialed | Answer, descriptors: tuple[int, ...]) -> None:
        """Hand an answer to whoever asked; nobody may be waiting any more."""
        waiting = self._waiting.get(message.request)
        if waiting is None or waiting.done():
            close_descriptors(descriptors)
        else:
            waiting.set_result((message, descriptors))

    def close(self) -> None:
        """End the conversation from this side."""
        self._unsent.clear()
        self._stream.abort()

    def _write(self) -> None:
        while self._unsent:
            try:
                self._stream.socket.send(self._unsent[0])
            except BlockingIOError:
                return
            except OSError:
                self._unsent.clear()  # nobody listens; `receive` is about to say so
                return
            self._unsent.popleft()


def close_descriptors(descriptors: tuple[int, ...]) -> None:
    """Close what came along with a message that nobody wants."""
    for descriptor in descriptors:
        os.close(descriptor)
