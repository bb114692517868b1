"""Room outside memory for what must be seen whole before it goes on: unlinked files, opened by the supervisor.

The proxy can open none. It asks for one (`messages.Spool`) when all it has are in use, up to `MAX_SPOOLS`, and uses
each again, emptied.
"""

import asyncio
import os

from .channel import Channel, close_descriptors
from .messages import MAX_SPOOLS, Dialed, Spool

TIMEOUT_S = 20.0
LARGEST_BYTES = 4 << 30
"""No spool becomes larger, whatever the process that writes it does (RLIMIT_FSIZE)."""


class SpoolFile:
    """One file, from its taking to `Spools.give`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add bytes at the end; raise OSError where there is no room."""
        view = memoryview(data)
        while view:
            count = os.pwrite(self._descriptor, view, self.size)
            self.size += count
            view = view[count:]

    def read(self, offset: int, size: int) -> bytes:
        """Give `size` bytes from `offset` on, fewer at the end."""
        return os.pread(self._descriptor, min(size, max(0, self.size - offset)), offset)

    def empty(self) -> None:
        """Forget everything."""
        os.ftruncate(self._descriptor, 0)
        self.size = 0


class Spools:
    """The files of one session."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._idle: list[SpoolFile] = []
        self._count = 0
        self._returned = asyncio.Condition()
        self.turn = asyncio.Semaphore(MAX_SPOOLS // 2)
        """Held while something is judged that may take two: nobody has one and waits for those who wait for others."""

    async def take(self) -> SpoolFile:
        """Give an empty file, waiting until there is one; raise OSError where the supervisor has none."""
        async with self._returned:
            while not self._idle and self._count >= MAX_SPOOLS:
                await self._returned.wait()
            if self._idle:
                return self._idle.pop()
            self._count += 1
        try:
            return await self._ask()
        except BaseException:
            self._count -= 1
            raise

    async def give(self, spool: SpoolFile) -> None:
        """Give a file back."""
        spool.empty()
        self._idle.append(spool)
        async with self._returned:
            self._returned.notify()

    async def _ask(self) -> SpoolFile:
        async with asyncio.timeout(TIMEOUT_S):
            answer, descriptors = await self._channel.ask(Spool(request=self._channel.number()))
        if not isinstance(answer, Dialed) or answer.code or len(descriptors) != 1:
            close_descriptors(descriptors)
            raise OSError(answer.reason or "no room for a push")
        return SpoolFile(descriptors[0])
