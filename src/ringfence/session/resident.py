"""The resident supervisor, as a run sees it: ask whether it carries the run out, and be its face if it does.

Theory of operation. Most of what a short run costs is the start of an interpreter and the building of the boundary.
A process that has loaded everything (resident_server.py) forks a supervisor for a run at once, or hands it one whose
boundary stands already (pool.py). What is left here passes on the streams, the working directory and the environment,
then signals, and ends with the status that the command had.

Conversation, SOCK_SEQPACKET: we send `run` with three descriptors (a file with words and environment, the working
directory, and a file that only the other side holds, see `likeness.show`); it answers `ready`, and begins only when we
say `go`, with the three streams: so that whatever we do on our own after no answer, or `no`, is never done twice, and
nobody who does not answer holds our streams. Then `signal N` from us, `exit N` from there. Whoever loses the other
ends: a run without its client is killed with everything in it, as if its supervisor had been killed.

`RINGFENCE_SUPERVISOR=0` in the environment, or `--no-supervisor`, keeps it from being asked and started.

Import budget (tests/unit/session/test_run_imports.py): what a bare interpreter has, `_socket`, `_signal`, `mmap`.
"""

import _signal
import _socket
import os
import sys

from . import places
from .unix_sockets import at_short_path, peer_pid, peer_uid

PROTOCOL = "3"
ANSWER_TIMEOUT_S = 1.0
FORWARDED = (
    _signal.SIGINT,
    _signal.SIGTERM,
    _signal.SIGHUP,
    _signal.SIGQUIT,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
    _signal.SIGWINCH,
)
LOST = 125
SHOWN = 9  # the descriptor under which the other side holds that file
# Its first word is what `ps` shows and `pgrep -f` finds.
BOOTSTRAP = "'ringfence-resident'; import sys; sys.path[:0] = [{!r}]; from ringfence.cli.resident import main; main()"


def directory() -> str:
    """Where it listens; mode 0700."""
    return places.state() + "/resident"


def installation() -> str:
    """The place by which an installation is known: its directory of programs, else that of the package."""
    program = os.path.realpath(sys.argv[0]) if sys.argv[0].endswith(("/ringfence", "/ringfence-python")) else __file__
    return os.path.dirname(program)


def name() -> str:
    """The name of the socket of this installation: FNV-1a, which session/client.c can do as well."""
    number = 0xCBF29CE484222325
    for byte in os.fsencode(f"{PROTOCOL}\0{installation()}"):
        number = (number ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{number:016x}"


def ask(words: "list[str]") -> "int | None":
    """The exit status of a run that was carried out for us; None where nobody did, and we have to."""
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    channel.settimeout(ANSWER_TIMEOUT_S)
    try:
        at_short_path(directory(), name(), channel.connect)
        # SECURITY: a root shell may have kept a user's HOME; what that user listens with there gets nothing of root's.
        if peer_uid(channel) != os.getuid():
            return None
        send(channel, words)
        if channel.recv(16) != b"ready":
            return None
        begin(channel)
    except OSError:
        return None  # none, or it has just ended, and has not begun
    finally:
        if channel.gettimeout() is not None:
            channel.close()
    return wait(channel)


def send(channel: "_socket.socket", words: "list[str]") -> None:
    """Say what is to be run; raise OSError."""
    parts = [PROTOCOL, own_state(), str(len(words)), *words, *(f"{key}={value}" for key, value in os.environ.items())]
    told = os.memfd_create("request", os.MFD_CLOEXEC)
    here = look = -1
    try:
        with open(told, "wb", closefd=False) as file:
            file.write(b"".join(os.fsencode(part) + b"\0" for part in parts))
        here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        look = os.open(f"/proc/{peer_pid(channel)}/fd/{SHOWN}", os.O_RDONLY | os.O_CLOEXEC)
        send_descriptors(channel, b"run", (told, here, look))
    finally:
        for descriptor in (told, here, look):
            if descriptor >= 0:
                os.close(descriptor)


def send_descriptors(channel: "_socket.socket", word: bytes, given: "tuple[int, ...]") -> None:
    """Send one packet; raise OSError."""
    rights = b"".join(number.to_bytes(4, sys.byteorder) for number in given)
    channel.sendmsg([word], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])


def own_state() -> str:
    """What others cannot read of us and a child inherits; see likeness.py.

    Execution domain, timer slack, and whether memory may become executable (PR_SET_MDWE).
    """
    found = []
    for name in ("personality", "timerslack_ns"):
        try:
            with open(f"/proc/self/{name}", encoding="ascii") as file:
                found.append(file.read().strip())
        except OSError:
            found.append("")
    return " ".join([*found, may_make_code()])


def may_make_code() -> str:
    """`0` where the kernel would let us write to memory and execute it, else `1`."""
    import mmap

    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except OSError:
        return "1"
    return "0"


def begin(channel: "_socket.socket") -> None:
    """Have the run begun; from here on signals are passed on, and nothing may be done by ourselves any more."""

    def pass_on(number: int, frame: object) -> None:  # noqa: ARG001 - what a handler is called with
        try:
            channel.send(b"signal %d" % number)
        except OSError:
            pass  # it has ended; that is about to be read

    for number in FORWARDED:
        if _signal.getsignal(number) != _signal.SIG_IGN:  # nohup(1), a shell's background
            _signal.signal(number, pass_on)
    send_descriptors(channel, b"go", (0, 1, 2))
    channel.settimeout(None)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, FORWARDED)  # whoever started us may have blocked them


def wait(channel: "_socket.socket") -> int:
    """The status that the run ends with."""
    try:
        answer = channel.recv(32)
    except OSError:
        answer = b""
    if answer.startswith(b"exit "):
        return int(answer[5:])
    sys.stderr.write("ringfence: the run was lost: its supervisor has ended; `ringfence diff` shows what it changed\n")
    return LOST


def leave_one() -> None:
    """Leave a supervisor behind for the next run, where there is none; it detaches itself, and nobody waits for it."""
    from ringfence.sandbox import launch

    from . import standby

    place = directory()
    try:
        os.makedirs(place, mode=0o700, exist_ok=True)
        found = os.lstat(place)
        if found.st_uid != os.getuid() or found.st_mode & 0o077 or is_there(f"{place}/{name()}.lock"):
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        log = os.open(f"{place}/log", flags, 0o600)
    except OSError:
        return
    try:
        root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
        words = [sys.executable, "-E", "-P", "-c", BOOTSTRAP.format(root), place, name()]
        _, channel = launch.start_worker(sys.executable, words, standby.environment(), log)
        os.close(channel)
    except OSError:
        return
    finally:
        os.close(log)


def is_there(lock: str) -> bool:
    """Whether a supervisor lives, also one that does not serve us; another one would only find that out later."""
    import fcntl

    try:
        descriptor = os.open(lock, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
