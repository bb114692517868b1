"""The SDK: contained commands from Python, with the same engine, policy and audit as the command line.

One run is supervised by one thread of the calling process; the process's own signals are left alone. Standard
streams are pipes unless the caller hands in descriptors.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import IO, Self

import msgspec

from ringfence.model.errors import SandboxError, UsageError

from .options import Options
from .review import Reviewing
from .run import Finished, prepared_run


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
            raise UsageError(f"cannot read policy: {error}", place=os.fspath(path)) from error


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


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """A command that has ended, like `subprocess.CompletedProcess`.

    `returncode` is the exit status, 128 + N after signal N. `denials` are (code, target) of what the boundary refused;
    `held` (path, reason) of workspace changes that did not reach the host; `applied` counts those that did. `run` is
    the run's identifier in the audit.
    """

    args: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes
    run: str
    denials: tuple[tuple[str, str], ...] = ()
    held: tuple[tuple[str, str], ...] = ()
    applied: int = 0

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


class Process:
    """A running contained command. `stdin`, `stdout` and `stderr` are binary files."""

    def __init__(self, options: Options, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self.args = tuple(argv)
        self._run = self.carried_out = prepared_run(options, list(argv))
        self._run.own_signals = False
        self._run.extra_environment = dict(environment)
        self._finished: Finished | None = None
        self._error: BaseException | None = None
        ends = [os.pipe() for _ in range(3)]
        self.stdin: IO[bytes] = os.fdopen(ends[0][1], "wb", buffering=0)
        self.stdout: IO[bytes] = os.fdopen(ends[1][0], "rb")
        self.stderr: IO[bytes] = os.fdopen(ends[2][0], "rb")
        self._theirs = [ends[0][0], ends[1][1], ends[2][1]]
        self._run.stdio = (ends[0][0], ends[1][1], ends[2][1])
        self._thread = threading.Thread(target=self._serve, name="ringfence-run", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            self._finished = self._run.carry_out()
        except BaseException as error:  # handed to whoever waits
            self._error = error
        finally:
            self._close_theirs()

    def _close_theirs(self) -> None:
        while self._theirs:
            os.close(self._theirs.pop())

    @property
    def running(self) -> bool:
        """Whether the run is still going on, its apply included."""
        return self._thread.is_alive()

    def poll(self) -> int | None:
        """The exit status, or None while the command is running."""
        return None if self._thread.is_alive() else self.wait()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the end and return the exit status; raise TimeoutError when `timeout_s` is over first."""
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise TimeoutError(f"`{self.args[0]}` is still running after {timeout_s} s")
        return self.finished.status

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
        if self._run.supervisor is not None and self._thread.is_alive():
            self._run.supervisor.send(number)

    def terminate(self) -> None:
        """SIGTERM; five seconds later everything in the boundary is killed."""
        self.send_signal(15)

    def kill(self) -> None:
        """End everything in the boundary at once."""
        self.send_signal(9)

    def communicate(self, data: bytes = b"", timeout_s: float | None = None) -> Completed:
        """Write `data`, read both streams to their end, wait; on time-out kill and raise CommandTimeoutError."""
        collected: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        threads = [threading.Thread(target=self._collect, args=(name, collected), daemon=True) for name in collected]
        threads.append(threading.Thread(target=self._feed, args=(data,), daemon=True))
        for thread in threads:
            thread.start()
        self._thread.join(timeout_s)
        late = self._thread.is_alive()
        while self._thread.is_alive():
            self.kill()
            self._thread.join(0.05)
        for thread in threads:
            thread.join()
        self.close()
        completed = self._completed(collected)
        if late and timeout_s is not None:
            raise CommandTimeoutError(completed, timeout_s)
        return completed

    def _collect(self, name: str, into: dict[str, bytes]) -> None:
        into[name] = getattr(self, name).read()

    def _feed(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self.stdin.write(view) or 0 :]
            self.stdin.close()
        except (BrokenPipeError, ValueError):
            return  # the command does not want it all

    def _completed(self, collected: Mapping[str, bytes]) -> Completed:
        finished = self.finished
        ending = finished.ending
        return Completed(
            args=self.args,
            returncode=finished.status,
            stdout=collected["stdout"],
            stderr=collected["stderr"],
            run=finished.run,
            denials=tuple(finished.denials),
            held=tuple(ending.kept) if ending else (),
            applied=ending.applied if ending else 0,
        )

    def close(self) -> None:
        """Close our ends of the pipes."""
        for stream in (self.stdin, self.stdout, self.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                continue

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._thread.is_alive():
            self.kill()
            self._thread.join(0.05)
        self.close()


def check_command(argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Refuse what cannot be a command or an environment; raise UsageError."""
    if isinstance(argv, str) or not all(isinstance(word, str) for word in argv):
        raise UsageError("the command must be a list of words", hint='["sh", "-c", "..."] runs a shell')
    if any("\0" in word for word in (*argv, *env.values())):
        raise UsageError("a word of the command or a variable's value contains a NUL")
    for name in env:
        if not name.isascii() or not name.isidentifier():
            raise UsageError(f"`{name}` is not a variable's name")


def listed(name: str, words: Sequence[str]) -> list[str]:
    """A list of words; raise UsageError for one word alone, which is a sequence of letters to Python."""
    if isinstance(words, str):
        raise UsageError(f"`{name}` must be a list of words", hint=f'{name}=["{words}"]')
    return list(words)


class Sandbox(Reviewing):
    """Contains commands under one policy: `with Sandbox(policy, directory=...) as box: box.run([...])`.

    `directory`: where to work, default the current one. `workspace`: `overlay`, `direct` or `readonly`; `apply`:
    `exit`, `live` or `ask`; both as policy says when empty. `allow` and `secrets` are what `--allow HOST[:PORT]` and
    `--secret NAME@HOST` are to the command line. `user_policy` False ignores the user's policy file, not the
    managed one. Leaving the `with` block ends whatever is still running; changes that wait stay.
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
        self._options.policy_text = policy.text if policy else ""
        self._options.directory = os.fspath(directory)
        self._options.workspace = workspace
        self._options.apply = apply
        self._options.allow = listed("allow", allow)
        self._options.secrets = listed("secrets", secrets)
        self._options.no_user_policy = not user_policy
        self._processes: list[Process] = []

    def start(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Process:
        """Start a command and return at once; raise RingfenceError where policy or host refuse."""
        check_command(argv, env or {})
        self._processes = [process for process in self._processes if process.running]
        process = Process(self._options, argv, env or {})
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
        data = input.encode() if isinstance(input, str) else input
        completed = self.start(argv, env=env).communicate(data, timeout_s)
        return completed.check() if check else completed

    def stream(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """Yield the lines of standard output as they come; standard error is passed on to our own."""
        with self.start(argv, env=env) as process:
            process.stdin.close()
            threading.Thread(target=_pass_on, args=(process.stderr,), daemon=True).start()
            yield from process.stdout
            process.wait()

    async def run_async(
        self,
        argv: Sequence[str],
        *,
        input: bytes | str = b"",  # noqa: A002 - the name that subprocess.run uses
        env: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Completed:
        """`run` for asyncio; cancelling it ends the command."""
        data = input.encode() if isinstance(input, str) else input
        started: list[Process] = []

        def work() -> Completed:
            started.append(self.start(argv, env=env))
            return started[0].communicate(data, timeout_s)

        task = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            while not task.done():
                for process in started:
                    process.kill()
                await asyncio.wait([task], timeout=0.05)
            task.exception()  # seen: the caller asked for the end, not for the outcome
            raise

    async def stream_async(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> AsyncIterator[bytes]:
        """`stream` for asyncio."""
        lines = self.stream(argv, env=env)
        while (line := await asyncio.to_thread(next, lines, None)) is not None:
            yield line

    def close(self) -> None:
        """End every command that is still running."""
        for process in self._processes:
            process.__exit__(None, None, None)
        self._processes.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _pass_on(stream: IO[bytes]) -> None:
    while part := stream.read1(65536):  # type: ignore[attr-defined]  # a BufferedReader, which IO does not say
        os.write(2, part)
