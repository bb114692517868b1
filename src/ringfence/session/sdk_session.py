"""Sessions in the SDK: many commands in one boundary, at the price of a process each instead of a sandbox each."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from ringfence.model.errors import SandboxError
from ringfence.sandbox.command import FRESH, SHARED, Command
from ringfence.sandbox.ending import Ending

from .errand import Errand, exchange_with
from .exchange import Exchange
from .options import Options
from .run import Finished, Run
from .sdk_process import CommandTimeoutError, Completed, Contained, check_command, encoded, lines, lines_async
from .warm import UNLIMITED, CommandLimits, Session, not_begun


class SessionProcess(Contained):
    """A running command of a session. `stdin`, `stdout` and `stderr` are binary files."""

    def __init__(
        self,
        session: Session,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str,
        limits: CommandLimits,
        fresh: bool,
    ) -> None:
        self._run = session.run.identifier
        self._supervisor = session.supervisor
        if not fresh:
            self._command = session.begin(argv, env=env, cwd=cwd, limits=limits, kind=SHARED)
            self._share(argv)
            return
        super().__init__(argv)
        try:
            self._command = session.begin(argv, env=env, cwd=cwd, limits=limits, kind=FRESH, stdio=self.stdio)
        except BaseException:
            for stream in self.streams.values():
                stream.close()
            raise
        finally:
            self.close_theirs()

    def _share(self, argv: Sequence[str]) -> None:
        """Take over a command of the shared room with the pipes that it came with."""
        command = self._command
        ours, command.streams = command.streams, []
        super().__init__(argv, outlives=True, ours=ours)
        command.show_ending()
        self._supervisor.let_go(command)
        self._supervisor.look_ahead()

    def exchange(self, data: bytes) -> Exchange:
        """What is still to go through the streams; in the shared room the end is heard in the same loop."""
        command, supervisor = self._command, self._supervisor
        if command.kind == FRESH or not supervisor.hold(command):
            return super().exchange(data)
        try:
            return exchange_with(command, supervisor, self.streams, data, release=lambda: supervisor.let_go(command))
        except BaseException:
            supervisor.let_go(command)
            raise

    @property
    def ending(self) -> Ending:
        """The command's end, and in namespaces of its own that of all it has started."""
        return self._command.ending

    @property
    def number(self) -> int:
        """The command's number in the session, as in the audit."""
        return self._command.number

    def send_signal(self, number: int) -> None:
        """Send a signal to the command's process group; nothing happens when it has ended."""
        self._command.send(number)

    def kill(self) -> None:
        """End it at once with its process group, and in namespaces of its own with all that it started."""
        self._command.send(9)

    def completed(self, stdout: bytes, stderr: bytes) -> Completed:
        """How it ended; raises SandboxError for one that could not be begun."""
        return completed(self._command, self.args, self._run, (stdout, stderr))


def completed(command: Command, args: tuple[str, ...], run: str, streams: tuple[bytes, bytes]) -> Completed:
    """How a command of a session ended; raises SandboxError for one that could not be begun."""
    if command.outcome is None:
        raise SandboxError("the command has not ended")
    if command.error:
        raise not_begun(command.error)
    return Completed(
        args=args,
        returncode=command.outcome.status,
        stdout=streams[0],
        stderr=streams[1],
        run=run,
        denials=tuple(command.denials),
        command=command.number,
    )


class SandboxSession:
    """Commands in one boundary: `with box.session() as session: session.run([...])`.

    Each command has PID, mount and IPC namespaces of its own unless it says `fresh=False`; docs/sdk.md lists what is
    shared nevertheless. The workspace's changes are applied when the session is closed, as those of one run.
    """

    def __init__(self, options: Options, env: Mapping[str, str]) -> None:
        self._session = Session(options, env)
        self._finished: Finished | None = None

    @property
    def carried_out(self) -> Run:
        """The run that the session is."""
        return self._session.run

    @property
    def run_id(self) -> str:
        """The run's identifier in the audit."""
        return self._session.run.identifier

    @property
    def denials(self) -> tuple[tuple[str, str], ...]:
        """What the boundary refused so far, of all commands, files that are watched included."""
        return tuple(self._session.run.denials)

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] = "",
        limits: CommandLimits = UNLIMITED,
        fresh: bool = True,
    ) -> SessionProcess:
        """Start a command and return at once; raise UsageError, or SandboxError where the session has ended."""
        check_command(argv, env or {})
        place = self._session.place(os.fspath(cwd))
        return SessionProcess(self._session, argv, env=env or {}, cwd=place, limits=limits, fresh=fresh)

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes | str = b"",  # noqa: A002 - the name that subprocess.run uses
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] = "",
        limits: CommandLimits = UNLIMITED,
        fresh: bool = True,
        timeout_s: float | None = None,
        check: bool = False,
    ) -> Completed:
        """Run a command to its end; raise CommandTimeoutError, CommandFailedError (with `check`) or RingfenceError."""
        if fresh:
            process = self.start(argv, env=env, cwd=cwd, limits=limits)
            found = process.communicate(encoded(input), timeout_s)
        else:
            check_command(argv, env or {})
            place = self._session.place(os.fspath(cwd)) if cwd else ""
            errand = Errand(self._session, argv, env=env or {}, cwd=place, limits=limits)
            found = self._judged(errand, tuple(argv), encoded(input), timeout_s)
        return found.check() if check else found

    def _judged(self, errand: Errand, args: tuple[str, ...], data: bytes, timeout_s: float | None) -> Completed:
        """Carry out an errand; raise CommandTimeoutError where `timeout_s` was over."""
        stdout, stderr, late = errand.carry_out(data, timeout_s)
        found = completed(errand.command, args, self.run_id, (stdout, stderr))
        if late and timeout_s is not None:
            raise CommandTimeoutError(found, timeout_s)
        return found

    async def run_async(
        self,
        argv: Sequence[str],
        *,
        input: bytes | str = b"",  # noqa: A002 - the name that subprocess.run uses
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] = "",
        limits: CommandLimits = UNLIMITED,
        fresh: bool = True,
        timeout_s: float | None = None,
        check: bool = False,
    ) -> Completed:
        """`run` for asyncio, without a thread; cancelling it ends the command."""
        process = self.start(argv, env=env, cwd=cwd, limits=limits, fresh=fresh)
        found = await process.communicate_async(encoded(input), timeout_s)
        return found.check() if check else found

    def stream(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] = "",
        fresh: bool = True,
    ) -> Iterator[bytes]:
        """Yield the lines of standard output as they come; standard error is passed on to our own."""
        yield from lines(self.start(argv, env=env, cwd=cwd, fresh=fresh))

    async def stream_async(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] = "",
        fresh: bool = True,
    ) -> AsyncGenerator[bytes, None]:
        """`stream` for asyncio."""
        found = lines_async(self.start(argv, env=env, cwd=cwd, fresh=fresh))
        try:
            async for line in found:
                yield line
        finally:
            await found.aclose()

    def close(self) -> Finished:
        """End everything in the session and apply its changes as policy says; once more returns the same."""
        if self._finished is None:
            self._finished = self._session.close()
        return self._finished

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)
