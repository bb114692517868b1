"""Drive one first process by hand: a small bubblewrap invocation, and the conversation in the test's hands.

`Implementation` says how it is started, `Running` is one that was. Nothing of sandbox/ takes part but the tables of the
system-call filter, so what is asserted here is what passes over the wire.
"""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ringfence.inside
from ringfence.sandbox import bubblewrap, facts, seccomp
from tests import requirements

TIMEOUT_S = 60.0
SCM_CREDENTIALS = 2
INSIDE = "/run/ringfence/inside"
NATIVE = "/run/native-init"
ALLOW_ALL = (0x06).to_bytes(2, "little") + b"\0\0" + (0x7FFF0000).to_bytes(4, "little")  # BPF_RET, SECCOMP_RET_ALLOW
DEFAULT = seccomp.build("default", notify=False, machine=os.uname().machine)
REPORTING = seccomp.build("default", notify=True, machine=os.uname().machine)

Pair = tuple[str, str | bytes]


@dataclass(frozen=True)
class Implementation:
    """One of the two: `words` start it, `binary` is the native program on the host, if it is that."""

    words: tuple[str, ...]
    binary: Path | None = None


def python() -> Implementation:
    """Give the reference."""
    return Implementation((facts.interpreter(), "-I", "-S", "-c", bubblewrap.BOOTSTRAP))


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the first process is told, in order; `replace` and `without` make broken ones."""

    argv: Sequence[str | bytes] = ("true",)
    environment: Sequence[str] = ("PATH=/usr/local/bin:/usr/bin:/bin",)
    cwd: str = "/"
    group: str = "own"
    listen: bool = False
    landlock_files: bool = False
    more: Sequence[Pair] = ()
    program: bytes = DEFAULT
    own_program: bytes = DEFAULT

    def pairs(self) -> list[Pair]:
        """List what the supervisor would send."""
        found: list[Pair] = [("uid", "1000"), ("gid", "1000"), *self.more]
        found.append(("landlock_files", "1" if self.landlock_files else "0"))
        found += [("argv", word) for word in self.argv]
        found += [("env", text) for text in self.environment]
        found += [("cwd", self.cwd), ("group", self.group), ("listen", "1" if self.listen else "0")]
        return [*found, ("filter_bytes", str(len(self.program)))]


def encode(pairs: Sequence[Pair]) -> bytes:
    """Write pairs the way the supervisor does."""
    return b"".join(os.fsencode(key) + b"\0" + os.fsencode(value) + b"\0" for key, value in pairs)


def memory_file(data: bytes) -> int:
    """Give a descriptor on `data`, at its start."""
    descriptor = os.memfd_create("contract")
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def view(implementation: Implementation, tools: Path | None) -> list[str]:
    """Word the view: the system's programs, the first process, `tools` at /tools."""
    words = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net"]
    words += ["--uid", "0", "--gid", "0", "--cap-add", "ALL", "--as-pid-1", "--die-with-parent", "--tmpfs", "/"]
    words += [
        "--ro-bind",
        "/usr",
        "/usr",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--mqueue",
        "/dev/mqueue",
        "--tmpfs",
        "/tmp",
    ]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        if os.path.islink(f"/{name}"):
            words += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
        elif os.path.isdir(f"/{name}"):
            words += ["--ro-bind", f"/{name}", f"/{name}"]
    words += ["--ro-bind", os.path.dirname(ringfence.inside.__file__), INSIDE]
    if implementation.binary:
        words += ["--ro-bind", str(implementation.binary), NATIVE]
    elif not implementation.words[0].startswith("/usr/"):
        root = os.path.dirname(os.path.dirname(implementation.words[0]))
        words += ["--ro-bind", root, root]
    if tools:
        words += ["--ro-bind", str(tools), "/tools"]
    return [*words, "--chdir", "/", "--", *implementation.words]


@dataclass
class Message:
    """One message of the first process with what came along."""

    text: bytes
    pid: int = -1
    descriptors: list[int] = field(default_factory=list)


class Running:
    """A started first process; leaving the `with` block ends it whatever state it is in."""

    def __init__(
        self,
        implementation: Implementation,
        order: Order,
        *,
        data: bytes | None = None,
        tools: Path | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
    ) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.control.settimeout(TIMEOUT_S)
        told = memory_file(encode(order.pairs()) if data is None else data)
        filters = memory_file(order.program + order.own_program)
        numbers = (told, theirs.fileno(), filters)
        program = requirements.bubblewrap()
        self.process = subprocess.Popen(
            [str(program), *view(implementation, tools), *map(str, numbers)],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            pass_fds=numbers,
            env={},
            start_new_session=True,  # `shared` is then this session's only group, not the test's own
        )
        theirs.close()
        os.close(told)
        os.close(filters)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.control.close()
        self.process.kill()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()
        self.process.wait()

    def receive(self) -> Message:
        """Take one message; empty text is the end of the conversation."""
        text, ancillary, _, _ = self.control.recvmsg(256, 256)
        message = Message(text)
        for _, kind, content in ancillary:
            if kind == SCM_CREDENTIALS:
                message.pid = int.from_bytes(content[:4], "little")
            else:
                message.descriptors.append(int.from_bytes(content[:4], "little"))
        return message

    def start(self) -> Message:
        """Answer `ready` with `go`; give the message `filter`."""
        assert self.receive().text == b"ready"
        self.control.send(b"go")
        message = self.receive()
        assert message.text == b"filter"
        return message

    def line(self) -> bytes:
        """Wait for a line of the command's standard output."""
        assert self.process.stdout
        return self.process.stdout.readline()

    def send_signal(self, number: int) -> None:
        """Have a signal forwarded."""
        self.control.send(b"signal %d" % number)

    def end(self) -> tuple[int, bytes, bytes]:
        """Wait for the end: exit status, and what was left on standard output and error.

        Both pipes end only when nobody holds them any more, so no process has survived when this returns.
        """
        out, error = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, out or b"", error


def carry_out(
    implementation: Implementation, order: Order, tools: Path | None = None
) -> tuple[bytes, int, bytes, bytes]:
    """Run a command to its end: the last message, the exit status, standard output and error."""
    with Running(implementation, order, tools=tools) as running:
        running.start()
        last = running.receive().text
        return (last, *running.end())


def ask(implementation: Implementation, script: str, **order: Any) -> Any:
    """Run a Python script inside that writes JSON, and give what it wrote."""
    order.setdefault("argv", ("/usr/bin/python3", "-I", "-c", script))
    last, status, out, error = carry_out(implementation, Order(**order))
    assert (last, status) == (b"exit 0", 0), (last, status, error)
    return json.loads(out)


STOP_ITSELF = ("sh", "-c", "kill -STOP $$")
STOPPED = b"stopped %d" % signal.SIGSTOP
