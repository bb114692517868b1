"""The SDK: contained commands from Python, with the same engine, policy and audit as the command line.

One run is supervised by one thread of the calling process; the process's own signals are left alone. Standard
streams are pipes unless the caller hands in descriptors.
"""

import asyncio
import copy
import os
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import msgspec

from ringfence.model.errors import SandboxError, UsageError
from ringfence.sandbox.ending import Ending

from .options import Options
from .review import Reviewing
from .run import Finished, prepared_run
from .sdk_process import Completed, Contained, check_command, encoded, lines, lines_async, listed
from .sdk_session import SandboxSession

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from .ahead import Ahead, Standing


class Policy:
    """A policy in the words of a policy file, as text or as nested mappings; checked when it is first used.

    `Policy({"filesystem": {"deny-read": [".env"]}, "limits": {"memory": "1GiB"}})`
    """

    def __init__(self, source: str | Mapping[str, object] = "") -> None:
        self.text = source if isinstance(source, str) else toml({"version": 1, **source})

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Read a policy file; raise UsageError if it cannot be read."""
        try:
            with open(path, encoding="utf-8") as file:
                return cls(file.read())
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise UsageError(f"cannot read policy: {why}", place=os.fspath(path)) from error


def toml(tables: Mapping[str, object]) -> str:
    """Nested mappings of strings, integers, booleans, lists and mappings as TOML."""
    plain = [f"{_key(key)} = {_value(value)}" for key, value in tables.items() if not isinstance(value, Mapping)]
    for name, table in tables.items():
        if isinstance(table, Mapping):
            plain.append(f"[{_value(str(name))}]")
            plain += [f"{_value(str(key))} = {_value(value)}" for key, value in table.items()]
    return "\n".join(plain) + "\n"


def _key(key: object) -> str:
    """A TOML key: bare where it can be."""
    text = str(key)
    return text if text and text.isascii() and text.replace("-", "_").isidentifier() else _value(text)


def _value(value: object) -> str:
    """One TOML value; JSON's strings (but for DEL), numbers and booleans are TOML's too."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_value(str(key))} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, (str, int, bool)):
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
    raise UsageError(f"a policy cannot hold a {type(value).__name__}")


class Process(Contained):
    """A running contained command. `stdin`, `stdout` and `stderr` are binary files."""

    def __init__(
        self, options: Options, argv: Sequence[str], environment: Mapping[str, str], ahead: "Ahead | None" = None
    ) -> None:
        self._options, self._ahead = options, ahead
        self._finished: Finished | None = None
        self._error: BaseException | None = None
        self._ending = Ending()
        self._thread: threading.Thread | None = None
        self._standing: Standing | None = None
        if standing := ahead.take(options) if ahead and argv else None:
            self._run = self.carried_out = standing.run
            standing.conclude, standing.afterwards = self._conclude, self._look_ahead
            standing.run.argv, standing.run.extra_environment = list(argv), dict(environment)
            self._standing = standing
            try:
                super().__init__(argv)
            except BaseException:
                standing.dismiss()
                raise
            return
        self._run = self.carried_out = prepared_run(options, list(argv))
        super().__init__(argv)
        self._run.own_signals = False
        self._run.extra_environment = dict(environment)
        self._run.stdio = self.stdio
        self._thread = threading.Thread(target=self._serve, name="ringfence-run", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        finished: Finished | None = None
        caught: BaseException | None = None
        try:
            finished = self._run.carry_out()
        except BaseException as error:  # handed to whoever waits
            caught = error
        self._conclude(finished, caught)
        if finished:
            self._look_ahead()

    def connect(self) -> tuple[int, int, int]:
        """Make the pipes; a boundary that stands is told at once, and the files around our ends are made meanwhile."""
        ours = super().connect()
        if self._standing:
            self._standing.begin(self.stdio)
            self.close_theirs()  # it has its own
        return ours

    def _look_ahead(self) -> None:
        """Have boundaries built for the next commands; after the caller has been told, who is waiting."""
        if self._ahead:
            self._ahead.fill(self._options)

    def _conclude(self, finished: Finished | None, error: BaseException | None) -> None:
        self._finished, self._error = finished, error
        self.close_theirs()
        self._ending.come()

    @property
    def ending(self) -> Ending:
        """The end of the run, its apply included."""
        return self._ending

    @property
    def finished(self) -> Finished:
        """How the run ended; raises what kept it from being carried out."""
        if self._error is not None:
            raise self._error
        if self._finished is None:
            raise SandboxError("the run has not ended")
        return self._finished

    def send_signal(self, number: int) -> None:
        """Send a signal to the command, as soon as it is there; nothing happens when it has ended."""
        self._run.early_signal = number  # for a supervisor that is only just being made
        if self._run.supervisor is not None and self.running:
            self._run.supervisor.send(number)

    def completed(self, stdout: bytes, stderr: bytes) -> Completed:
        """How the run ended."""
        if self._thread and not self._ahead:
            self._thread.join()
        finished = self.finished
        ending = finished.ending
        return Completed(
            args=self.args,
            returncode=finished.status,
            stdout=stdout,
            stderr=stderr,
            run=finished.run,
            denials=tuple(finished.denials),
            held=tuple(ending.kept) if ending else (),
            applied=ending.applied if ending else 0,
        )


class Sandbox(Reviewing):
    """Contains commands under one policy: `with Sandbox(policy, directory=...) as box: box.run([...])`.

    `directory`: where to work, default the current one. `workspace`: `overlay`, `direct` or `readonly`; `apply`:
    `exit`, `live` or `ask`; both as policy says when empty. `allow` and `secrets` are what `--allow HOST[:PORT]` and
    `--secret NAME@HOST` are to the command line. `user_policy` False ignores the user's policy file, not the
    managed one. Leaving the `with` block ends whatever is still running; changes that wait stay. Within it boundaries
    are built ahead of the commands that may come (docs/speed.md).
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        directory: str | os.PathLike[str] = "",
        workspace: str = "",
        apply: str = "",
        allow: Sequence[str] = (),
        secrets: Sequence[str] = (),
        user_policy: bool = True,
    ) -> None:
        super().__init__()
        self._options = Options()
        try:
            self._options.policy_text = policy.text if policy else ""
        except AttributeError:
            raise UsageError("`policy` must be a `Policy`", hint="Policy({...}), or Policy.from_file(path)") from None
        self._options.directory = os.fspath(directory)
        self._options.workspace = workspace
        self._options.apply = apply
        self._options.allow = listed("allow", allow)
        self._options.secrets = listed("secrets", secrets)
        self._options.no_user_policy = not user_policy
        self._processes: list[Process] = []
        self._sessions: list[SandboxSession] = []
        self._ahead: Ahead | None = None

    def start(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Process:
        """Start a command and return at once; raise RingfenceError where policy or host refuse."""
        check_command(argv, env or {})
        self._processes = [process for process in self._processes if process.running]
        process = Process(self._options, argv, env or {}, self._ahead)
        self._processes.append(process)
        self._started.append(process.carried_out)
        return process

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes | str = b"",  # noqa: A002 - the name that subprocess.run uses
        env: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        check: bool = False,
    ) -> Completed:
        """Run a command to its end; raise CommandTimeoutError, CommandFailedError (with `check`) or RingfenceError."""
        completed = self.start(argv, env=env).communicate(encoded(input), timeout_s)
        return completed.check() if check else completed

    def stream(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """Yield the lines of standard output as they come; standard error is passed on to our own."""
        yield from lines(self.start(argv, env=env))

    async def run_async(
        self,
        argv: Sequence[str],
        *,
        input: bytes | str = b"",  # noqa: A002 - the name that subprocess.run uses
        env: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        check: bool = False,
    ) -> Completed:
        """`run` for asyncio; cancelling it ends the command."""
        process = await self._start_async(argv, env)
        completed = await process.communicate_async(encoded(input), timeout_s)
        return completed.check() if check else completed

    async def stream_async(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """`stream` for asyncio."""
        found = lines_async(await self._start_async(argv, env))
        try:
            async for line in found:
                yield line
        finally:
            await found.aclose()

    async def _start_async(self, argv: Sequence[str], env: Mapping[str, str] | None) -> Process:
        """Reading policy may take a while: not in the loop."""
        task = asyncio.ensure_future(asyncio.to_thread(self.start, argv, env=env))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            while not task.done():
                try:
                    await asyncio.wait([task])
                except asyncio.CancelledError:
                    continue  # told again, and the command must be gone after all
            if task.exception() is None:
                with task.result():
                    pass
            raise

    def session(self, *, env: Mapping[str, str] | None = None) -> SandboxSession:
        """Open a session, whose commands share one boundary; `env` adds variables for all of them."""
        check_command((), env or {})
        options = copy.copy(self._options)
        options.serving = True
        found = SandboxSession(options, env or {})
        self._sessions.append(found)
        self._started.append(found.carried_out)
        return found

    def close(self) -> None:
        """End every command and session that is still running."""
        for process in self._processes:
            process.__exit__(None, None, None)
        self._processes.clear()
        while self._sessions:
            self._sessions.pop().close()
        if self._ahead:
            self._ahead.close()
            self._ahead = None

    def __enter__(self) -> Self:
        if os.environ.get("RINGFENCE_SUPERVISOR", "1") != "0":
            from .ahead import Ahead

            self._ahead = self._ahead or Ahead()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
