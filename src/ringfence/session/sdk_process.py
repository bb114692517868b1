"""A contained command in the caller's hands: its streams, its end, what it has said; of a run or of a session.

Whoever talks to a command waits for four descriptors in one loop: the three streams and one that says that it has
ended. No thread is started for it.
"""

import abc
import asyncio
import os
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Self

import msgspec

from ringfence.model.errors import UsageError
from ringfence.sandbox.ending import Ending

from .exchange import NAMES, Exchange, Pipe, is_readable

KILL_INTERVAL_S = 0.05


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """A command that has ended, like `subprocess.CompletedProcess`.

    `returncode` is the exit status, 128 + N after signal N. `denials` are (code, target) of what the boundary refused;
    `held` (path, reason) of workspace changes that did not reach the host; `applied` counts those that did. `run` is
    the run's identifier in the audit. Of a session's command, `command` is its number there; `held` and `applied` are
    the session's, at its end.
    """

    args: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes
    run: str
    denials: tuple[tuple[str, str], ...] = ()
    held: tuple[tuple[str, str], ...] = ()
    applied: int = 0
    command: int = 0

    def check(self) -> Self:
        """Return self, or raise CommandFailedError when the command failed."""
        if self.returncode:
            raise CommandFailedError(self)
        return self

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode(errors="replace")


class CommandFailedError(Exception):
    """A command ended with a status other than 0; `completed` has its output."""

    def __init__(self, completed: Completed) -> None:
        super().__init__(f"`{completed.args[0]}` ended with status {completed.returncode}")
        self.completed = completed


class CommandTimeoutError(TimeoutError):
    """A command was ended because its time was up; `completed` has what it wrote until then."""

    def __init__(self, completed: Completed, timeout_s: float) -> None:
        super().__init__(f"`{completed.args[0]}` was ended after {timeout_s} s")
        self.completed = completed


class Contained(abc.ABC):
    """What a run's and a session's command have in common for the caller.

    `ending` comes with the command's end. With `outlives`, what it has started may go on after it and hold its streams.
    """

    def __init__(self, argv: Sequence[str], *, outlives: bool = False, ours: Sequence[int] = ()) -> None:
        self.args = tuple(argv)
        self.outlives = outlives
        self.theirs: list[int] = []
        self.stdio = (-1, -1, -1)
        if not ours:
            ours = self.connect()
        self.streams = dict(zip(NAMES, map(Pipe, ours), strict=True))

    def connect(self) -> tuple[int, int, int]:
        """Make pipes: `theirs`, and our ends."""
        with ExitStack() as undo:
            ends = []
            for _ in range(3):
                ends.append(os.pipe())
                undo.callback(os.close, ends[-1][0])
                undo.callback(os.close, ends[-1][1])
            undo.pop_all()
        self.stdio = (ends[0][0], ends[1][1], ends[2][1])
        self.theirs = list(self.stdio)
        return ends[0][1], ends[1][0], ends[2][0]

    @property
    @abc.abstractmethod
    def ending(self) -> Ending:
        """The command's end."""

    @abc.abstractmethod
    def send_signal(self, number: int) -> None:
        """Send a signal to the command; nothing happens when it has ended."""

    @abc.abstractmethod
    def completed(self, stdout: bytes, stderr: bytes) -> Completed:
        """How it ended; raises what kept it from being carried out."""

    def close_theirs(self) -> None:
        """Close the command's ends of the pipes."""
        while self.theirs:
            os.close(self.theirs.pop())

    @property
    def running(self) -> bool:
        """Whether it has not ended; of a run, its apply included."""
        return not self.ending.has_come

    def poll(self) -> int | None:
        """The exit status, or None while the command is running."""
        return None if self.running else self.wait()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the end and return the exit status; raise TimeoutError when `timeout_s` is over first."""
        if not self.has_ended_within(timeout_s):
            raise TimeoutError(f"`{self.args[0]}` is still running after {timeout_s} s")
        return self.completed(b"", b"").returncode

    def terminate(self) -> None:
        """SIGTERM; five seconds later it is killed with all that it started."""
        self.send_signal(15)

    def kill(self) -> None:
        """End it at once with all that it started."""
        self.send_signal(9)

    def communicate(self, data: bytes = b"", timeout_s: float | None = None) -> Completed:
        """Write `data`, read both streams to their end, wait; on time-out kill and raise CommandTimeoutError."""
        exchange = self.exchange(data)
        try:
            late = not exchange.carry_out(None if timeout_s is None else time.monotonic() + timeout_s)
            while late and not exchange.carry_out(time.monotonic() + KILL_INTERVAL_S):
                self.kill()
        finally:
            exchange.release()
        self.close()
        return self.judged(exchange, timeout_s if late else None)

    async def communicate_async(self, data: bytes = b"", timeout_s: float | None = None) -> Completed:
        """`communicate` for asyncio, without a thread; cancelling it ends the command before it returns."""
        exchange = self.exchange(data)
        late = False
        try:
            async with asyncio.timeout(timeout_s):
                await exchange.carry_out_async()
        except TimeoutError:
            late = True
        finally:
            try:
                # Not awaited: a cancellation may be told again and again, and the command must be gone after all.
                while not exchange.is_over and not exchange.carry_out(time.monotonic() + KILL_INTERVAL_S):
                    self.kill()
            finally:
                exchange.release()
            self.close()
        return self.judged(exchange, timeout_s if late else None)

    def has_ended_within(self, timeout_s: float | None) -> bool:
        """Wait for the end, at most so long; whether it has come."""
        watched = self.ending.watch()
        if watched < 0:
            return self.ending.has_come
        try:
            return is_readable(watched, timeout_s)
        finally:
            os.close(watched)

    def exchange(self, data: bytes) -> Exchange:
        """What is still to go through the streams."""
        done = -1 if self.ending.has_come else self.ending.descriptor
        return Exchange(self.streams, data, done, outlives=self.outlives)

    def judged(self, exchange: Exchange, timeout_s: float | None) -> Completed:
        """The outcome; raise CommandTimeoutError where `timeout_s` was over."""
        completed = self.completed(bytes(exchange.read["stdout"]), bytes(exchange.read["stderr"]))
        if timeout_s is not None:
            raise CommandTimeoutError(completed, timeout_s)
        return completed

    @property
    def stdin(self) -> IO[bytes]:
        """Our end of its standard input, as a binary file without a buffer."""
        return self.streams["stdin"].file("wb")

    @property
    def stdout(self) -> IO[bytes]:
        """Our end of its standard output, as a binary file."""
        return self.streams["stdout"].file("rb")

    @property
    def stderr(self) -> IO[bytes]:
        """Our end of its standard error, as a binary file."""
        return self.streams["stderr"].file("rb")

    def close(self) -> None:
        """Close our ends of the pipes, and what nobody waits for any more."""
        for stream in self.streams.values():
            try:
                stream.close()
            except BrokenPipeError:
                continue
        if self.ending.has_come:
            self.ending.close()

    def __del__(self) -> None:
        """A command that its caller has forgotten keeps no descriptor."""
        for stream in getattr(self, "streams", {}).values():
            stream.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self.running:
            self.kill()
            self.has_ended_within(KILL_INTERVAL_S)
        self.close()


def check_command(argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Refuse what cannot be a command or an environment; raise UsageError."""
    try:
        text = None if isinstance(argv, str) else "".join(argv)
    except TypeError:
        text = None
    if text is None:
        raise UsageError("the command must be a list of words", hint='["sh", "-c", "..."] runs a shell')
    try:
        values = "".join(env.values())
    except TypeError:
        raise UsageError("a variable's value must be text", hint='env={"NAME": "value"}') from None
    if "\0" in text or "\0" in values:
        raise UsageError("a word of the command or a variable's value contains a NUL")
    for name in env:
        if not name.isascii() or not name.isidentifier():
            raise UsageError(f"`{name}` is not a variable's name")


def listed(name: str, words: Sequence[str]) -> list[str]:
    """A list of words; raise UsageError for one word alone, which is a sequence of letters to Python."""
    if isinstance(words, str):
        raise UsageError(f"`{name}` must be a list of words", hint=f'{name}=["{words}"]')
    return list(words)


def encoded(text: bytes | str) -> bytes:
    """Standard input as bytes."""
    return text.encode() if isinstance(text, str) else text


def lines(process: Contained) -> Iterator[bytes]:
    """The lines of its standard output as they come; standard error is passed on to our own."""
    with process:
        process.stdin.close()
        passing = threading.Thread(target=pass_on, args=(process.stderr,), daemon=True)
        passing.start()
        try:
            yield from process.stdout
            process.wait()
        finally:
            if process.running:
                process.kill()
            if not process.outlives:
                passing.join()


def pass_on(stream: IO[bytes]) -> None:
    """Copy one stream to our own standard error."""
    try:
        while part := stream.read1(65536):  # type: ignore[attr-defined]  # a BufferedReader, which IO does not say
            os.write(2, part)
    except ValueError:
        pass  # closed meanwhile


async def lines_async(process: Contained) -> AsyncGenerator[bytes, None]:
    """`lines` for asyncio; leaving the loop ends the command."""
    found = lines(process)
    try:
        while (line := await asyncio.to_thread(next, found, None)) is not None:
            yield line
    finally:
        process.kill()  # before the generator is closed: a thread may be waiting in it
        while process.running:
            process.kill()
            process.has_ended_within(KILL_INTERVAL_S)
