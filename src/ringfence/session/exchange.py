"""What goes through the streams of one command until it has ended, in one loop of the caller's own, or in asyncio's.

No thread is started. An exchange can be interrupted and taken up again: nothing that was read is lost.
"""

import asyncio
import io
import os
import select
import time
from collections.abc import Callable, Mapping
from typing import IO

PART_BYTES = 1 << 16  # a pipe holds that much (pipe(7))
NAMES = ("stdin", "stdout", "stderr")


class Pipe:
    """Our end of one stream: a descriptor, with a file around it from the moment in which somebody wants one."""

    __slots__ = ("_file", "descriptor")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._file: IO[bytes] | None = None

    def file(self, mode: str) -> IO[bytes]:
        """The file, which has the descriptor from now on; what is written is not buffered."""
        if self._file is None:
            self._file = os.fdopen(self.descriptor, mode, buffering=0 if mode == "wb" else -1)
        return self._file

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._file.closed if self._file else self.descriptor < 0

    def fileno(self) -> int:
        """Its descriptor."""
        return self.descriptor

    def left(self) -> bytes:
        """What the file has read already, or can read at once."""
        return self._file.read1() or b"" if isinstance(self._file, io.BufferedReader) else b""

    def close(self) -> None:
        """Close it, if that has not been done."""
        if self._file:
            self._file.close()
            return
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def forget(self) -> None:
        """Close the descriptor, unless it is a file's, which somebody may still have."""
        if self._file is None:
            self.close()


def is_readable(descriptor: int, timeout_s: float | None) -> bool:
    """Whether `descriptor` becomes readable in time; it may have a number that select(2) cannot take."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000))


class Exchange:
    """`streams` are `stdin`, `stdout` and `stderr`; `done` is readable from the command's end on, -1 after it.

    Where it is readable before, `has_ended` says whether it has come to that. `handle` is -1 or what hangs up at the
    same time, and sooner: a descriptor of the process. `release` is for whoever is through with the exchange.
    With `outlives` others may hold the streams beyond the end: then what is in them at the end is all that is read.
    """

    def __init__(
        self,
        streams: Mapping[str, Pipe],
        data: bytes,
        done: int,
        *,
        outlives: bool,
        has_ended: Callable[[], bool] = lambda: True,
        handle: int = -1,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self.streams = streams
        self.left = memoryview(data)
        self.outlives = outlives
        self.has_ended = has_ended
        self.handle = handle
        self.release = release
        self.read = {"stdout": bytearray(), "stderr": bytearray()}
        self.open = {name: stream.fileno() for name, stream in streams.items() if not stream.closed}
        for name, descriptor in self.open.items():
            os.set_blocking(descriptor, False)
            if name in self.read:
                self.read[name] += streams[name].left()
        if done >= 0:
            self.open["done"] = done
        if not data and "stdin" in self.open:
            self.leave("stdin")

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to wait for."""
        return "done" not in self.open and (self.outlives or not self.open.keys() & self.read.keys())

    def carry_out(self, deadline: float | None) -> bool:
        """Go on until it is over, or until `deadline` (monotonic seconds), and then return False."""
        poller = select.poll()
        names = {descriptor: name for name, descriptor in self.open.items()}
        if self.handle >= 0 and "done" in self.open:
            del names[self.open["done"]]
            poller.register(self.handle, 0)
        for descriptor, name in names.items():
            poller.register(descriptor, select.POLLOUT if name == "stdin" else select.POLLIN)
        names[self.handle] = "done"
        while not self.is_over:
            found = poller.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000)
            if not found:
                return False
            for descriptor, _ in found:
                name = names[descriptor]
                if self.serve(name):
                    poller.unregister(descriptor)
                    self.leave(name)
                    if name == "done" and self.outlives:
                        break  # what is in the streams is read below
        self.drain()
        return True

    async def carry_out_async(self) -> None:
        """Go on until it is over, in the running loop."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()

        def unregister(name: str) -> None:
            (loop.remove_writer if name == "stdin" else loop.remove_reader)(self.open[name])

        def step(name: str) -> None:
            if self.serve(name):
                unregister(name)
                self.leave(name)
            if self.is_over and not over.done():
                over.set_result(None)

        for name, descriptor in self.open.items():
            (loop.add_writer if name == "stdin" else loop.add_reader)(descriptor, step, name)
        try:
            await over
        finally:
            for name in self.open:
                unregister(name)
        self.drain()

    def serve(self, name: str) -> bool:
        """Do what can be done at once with one of `open`; whether it is through."""
        if name == "done":
            return self.has_ended()
        try:
            return self.write() if name == "stdin" else self.take(name)
        except BlockingIOError:
            return False

    def leave(self, name: str) -> None:
        """Wait for one of `open` no longer; the command is told that there is no more input."""
        del self.open[name]
        if name == "stdin":
            self.streams[name].close()

    def write(self) -> bool:
        """Write what the command takes; whether it has all it wants."""
        try:
            while self.left:
                self.left = self.left[os.write(self.open["stdin"], self.left[:PART_BYTES]) :]
        except BrokenPipeError:
            pass  # it does not want it all
        return True

    def take(self, name: str) -> bool:
        """Read what is there; whether that was the end."""
        part = os.read(self.open[name], PART_BYTES)
        self.read[name] += part
        return not part

    def drain(self) -> None:
        """What is in the streams at the end, of a command that others outlive."""
        for name in self.open.keys() & self.read.keys():
            try:
                while not self.take(name):
                    continue
            except BlockingIOError:
                continue
