"""The first process of a sandbox: prepare, start the command without any power, reap, end everything.

It is started by bubblewrap as pid 1 with an empty environment and three descriptors:
  order    what to do: NUL-terminated `key`, `value` pairs, then end of file;
  control  a SOCK_SEQPACKET pair to the supervisor on the host; its end of file means the supervisor is gone;
  filters  two seccomp programs one after the other: for the command (reporting) and for this process.

Conversation on `control`: we send `ready` once the view is final and wait for `go`. Where the order says `late`, since
the boundary was built before anybody knew what it is for (session/pool.py), `rest` comes before that, with four
descriptors: the rest of the order (`argv` and `env`) and the three standard streams. Then `filter` with the
listener's descriptor attached, sent by the command's process so that its host pid comes with it; the
supervisor sends `signal N` to forward; we send `stopped` when the command stops and `exit N` or `killed N`
when it ends. Our own exit status is the command's, or 128 + N.

Such a command's process is made before `ready`, and has given up everything and sent its `filter` by then: it waits for
`rest` itself, does what depends on that, and waits for `go`.

INVARIANT: nothing of ours is open, and no environment of the host's is left, in the command's process
(tests/posture/test_process.py). Whatever fails before the command is executed ends the sandbox with 125.
"""

import _signal
import _socket
import os
import resource
import select
import sys
import time

from . import landlock, privilege
from .order import Order, read_all, receive

GRACE_S = 5.0  # between SIGTERM or SIGHUP forwarded and SIGKILL
ENDING = (_signal.SIGTERM, _signal.SIGHUP)
LATE_DESCRIPTORS = 4


def prepare(order: Order) -> None:
    """What needs power over the namespaces: limits on processes and System V memory, sysctls."""
    privilege.make_opaque()
    privilege.die_with_parent(_signal.SIGKILL)
    # pid_max is per pid namespace since kernel 6.14; older ones refuse, and RLIMIT_NPROC alone holds. shmall counts
    # pages of System V shared memory, which belongs to no process once it is detached.
    for name in ("pid_max", "shmall"):
        if value := order.single.get(name):
            try:
                set_sysctl(name, value)
            except OSError:
                pass
    if order.single.get("seal") != b"0":
        privilege.seal_sysctls()


def set_sysctl(name: str, value: bytes) -> None:
    """Write one file of /proc/sys/kernel."""
    descriptor = os.open(f"/proc/sys/kernel/{name}", os.O_WRONLY)
    try:
        os.write(descriptor, value)
    finally:
        os.close(descriptor)


def become_command(order: Order, control: "_socket.socket", program: bytes, gate: int) -> None:
    """Turn this forked process into the command. Returns only by raising.

    `gate`: -1, or what is written to when all is done but what the order does not tell yet, and closed when we go on.
    """
    reset_signals()
    if order.single["group"] != b"shared":
        os.setpgid(0, 0)
    if order.single["group"] == b"foreground":
        _signal.signal(_signal.SIGTTOU, _signal.SIG_IGN)  # what a background group gets for asking
        os.tcsetpgrp(0, os.getpid())
        _signal.signal(_signal.SIGTTOU, _signal.SIG_DFL)
    privilege.enter_user_namespace(order.number("uid"), order.number("gid"))
    privilege.drop_capabilities()
    if gate >= 0:
        send_filter(order, control, program)
        os.write(gate, b"\0")
        if not take_rest(order, control):
            os._exit(125)
    set_limits(order)
    landlock.restrict(order.scopes, files=order.single["landlock_files"] == b"1")
    os.chdir(order.single["cwd"])
    if gate < 0:
        send_filter(order, control, program)
    elif not wait_for_go(control):
        os._exit(125)
    os.closerange(3, (1 << 31) - 1)
    execute(order.argv, order.environment)


def send_filter(order: Order, control: "_socket.socket", program: bytes) -> None:
    """Load the command's filter and say so, with the listener attached if there is one."""
    rights = install_filter(order, program)
    control.sendmsg([b"filter"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)] if rights else [])


def reset_signals() -> None:
    """Handle every signal as a fresh process does."""
    for number in range(1, _signal.NSIG):
        if number not in (_signal.SIGKILL, _signal.SIGSTOP):
            privilege.handle_by_default(number)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def set_limits(order: Order) -> None:
    """Limit the resources of this process; what holds already is never widened."""
    for limit, amount in order.limits:
        hard = resource.getrlimit(limit)[1]
        value = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(limit, (value, value))


def install_filter(order: Order, program: bytes) -> bytes:
    """Load the command's filter; its listener as the payload of SCM_RIGHTS, empty where there is none."""
    listen = order.single["listen"] == b"1"
    listener = privilege.install_filter(program, listen=listen)
    return listener.to_bytes(4, sys.byteorder) if listen else b""


def execute(argv: list[bytes], environment: dict[bytes, bytes]) -> None:
    """execvp(3) in the command's own PATH; ends the process with 126 or 127 as a shell would."""
    name = argv[0]
    places = [b""] if b"/" in name else [p or b"." for p in environment.get(b"PATH", b"").split(b":")]
    status, why = 127, b"command not found"
    for place in places:
        try:
            os.execve(os.path.join(place, name) if place else name, argv, environment)
        except FileNotFoundError:
            if b"/" in name:
                why = b"no such file or directory"
        except NotADirectoryError:
            continue
        except OSError as error:
            status, why = 126, (error.strerror or "cannot be executed").lower().encode()
    say(b"`" + name + b"`: " + why)
    os._exit(status)


class Supervision:
    """The loop of pid 1: reap everybody, forward what the supervisor says, end when the command ends."""

    def __init__(self, command: int, control: "_socket.socket", *, own_group: bool) -> None:
        self.command = command
        self.control = control
        self.target = -command if own_group else command
        self.deadline: float | None = None  # monotonic seconds; a busy tree must not be able to postpone it

    def run(self, wakeup: int) -> int:
        """Serve until the command has ended; return the exit status to leave with."""
        poller = select.poll()
        poller.register(wakeup, select.POLLIN)
        poller.register(self.control.fileno(), select.POLLIN)
        while True:
            for descriptor, _ in poller.poll(self.remaining_ms()):
                if descriptor == wakeup:
                    os.read(wakeup, 512)
                elif not self.obey():
                    return 137
            if self.remaining_ms() == 0:
                self.send(_signal.SIGKILL, self.command)
            status = self.reap()
            if status is not None:
                return status

    def remaining_ms(self) -> int | None:
        """Milliseconds until a command that was asked to end is killed; None if it was not asked."""
        if self.deadline is None:
            return None
        return max(0, int((self.deadline - time.monotonic()) * 1000))

    def obey(self) -> bool:
        """Carry out one message; False at the end of file, when nobody is left to answer to."""
        message = self.control.recv(64)
        if not message:
            return False
        if message == b"go":
            return True  # for a command that has failed before it came
        number = int(message.rpartition(b" ")[2])
        self.send(number, self.target)
        if number in ENDING:
            self.send(_signal.SIGCONT, self.target)
            self.deadline = self.deadline or time.monotonic() + GRACE_S
        return True

    def send(self, number: int, target: int) -> None:
        """kill(2); a command that has just ended is no error."""
        try:
            os.kill(target, number)
        except ProcessLookupError:
            pass

    def reap(self) -> int | None:
        """Collect every dead child; the exit status if the command is among them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return 125
            if pid == 0:
                return None
            if pid != self.command:
                continue
            if os.WIFSTOPPED(status):
                self.control.send(b"stopped %d" % os.WSTOPSIG(status))
                continue
            self.conclude()
            if os.WIFSIGNALED(status):
                self.control.send(b"killed %d" % os.WTERMSIG(status))
                return 128 + os.WTERMSIG(status)
            self.control.send(b"exit %d" % os.WEXITSTATUS(status))
            return os.WEXITSTATUS(status)

    def conclude(self) -> None:
        """Kill and collect whoever is left, so that the end that is told is that of all of them.

        As pid 1 we are the only one that a signal to all does not reach.
        """
        while True:
            try:
                os.kill(-1, _signal.SIGKILL)
            except ProcessLookupError:
                pass  # nobody is left to be signalled, but there may be dead ones
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return


def main(order_fd: int, control_fd: int, filters_fd: int) -> int:
    """Run one sandbox from its first process; return the status for `os._exit`."""
    order = Order(read_all(order_fd))
    filters = read_all(filters_fd)
    size = order.number("filter_bytes")
    if not 0 < size < len(filters):
        raise ValueError("the filters are cut off")
    control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, control_fd)
    os.set_inheritable(control_fd, False)
    prepare(order)
    # SECURITY: the commands of a session share it, and so it must not keep anything (an own one each is out of quota).
    privilege.leave_session_keyring(sealed=order.serves)
    if order.is_late:
        return carry_out(order, control, (filters[:size], filters[size:]), Supervision)
    control.send(b"ready")
    if not wait_for_go(control):
        return 125
    if order.serves:
        from . import serve

        return serve.Server(order, (filters[:size], filters[size:])).serve(control)
    return carry_out(order, control, (filters[:size], filters[size:]), Supervision)


def carry_out(
    order: Order, control: "_socket.socket", filters: tuple[bytes, bytes], supervision: type[Supervision]
) -> int:
    """Start the command, give up all power, and stay until it has ended; return the status to leave with."""
    gate = os.pipe2(os.O_CLOEXEC) if order.is_late else (-1, -1)
    wakeup, notify = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    _signal.signal(_signal.SIGCHLD, lambda number, frame: None)
    _signal.set_wakeup_fd(notify)  # before the fork: a command that ends at once must not be missed
    # A signal forwarded early must find no handler of ours in the command's process, which opens the mask itself.
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    command = os.fork()
    if command == 0:
        try:
            become_command(order, control, filters[0], gate[1])
        except BaseException as error:  # the command's process must never run our code past this point
            say(f"cannot start the command: {error}".encode(errors="replace"))
            os._exit(125)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
    own_group = order.single["group"] != b"shared"
    if own_group:
        join_own_group(command)
    privilege.drop_capabilities()
    privilege.install_filter(filters[1], listen=False)
    # Descriptors of the terminal and of pipes are the command's: ours would hold a pipe open after its end.
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    if order.is_late:
        os.close(gate[1])
        if not os.read(gate[0], 1):
            return 125  # the command's process has ended
        control.send(b"ready")
        os.read(gate[0], 1)  # until it has gone on, or has ended
        os.close(gate[0])
    return supervision(command, control, own_group=own_group).run(wakeup)


def wait_for_go(control: "_socket.socket") -> bool:
    """Whether the supervisor says to begin."""
    return control.recv(16) == b"go"


def take_rest(order: Order, control: "_socket.socket") -> bool:
    """Take what a late order lacks; False where nobody tells it any more. Raises ValueError where it is missing."""
    data, given = receive(control, 16, LATE_DESCRIPTORS)
    if data != b"rest":
        return False
    if len(given) != LATE_DESCRIPTORS:
        raise ValueError("the rest of the order is missing")
    order.complete(read_all(given[0]))
    for number, stream in enumerate(given[1:]):
        os.dup2(stream, number)
        os.close(stream)
    return True


def join_own_group(command: int) -> None:
    """Make sure that a signal forwarded early finds the group; the command's process does the same for itself."""
    try:
        os.setpgid(command, command)
    except OSError:
        pass  # it has come as far as the command, or it is gone


def say(text: bytes) -> None:
    """One line on standard error, if there is one; the exit status says it too."""
    try:
        os.write(2, b"ringfence: " + text + b"\n")
    except OSError:
        pass


def start() -> None:
    """Entry point: the descriptors' numbers are the first three arguments."""
    try:
        order_fd, control_fd, filters_fd = (int(number) for number in sys.argv[1:])
        status = main(order_fd, control_fd, filters_fd)
    except (BrokenPipeError, ConnectionResetError):
        os._exit(125)  # the supervisor has gone, and has said why
    except BaseException as error:
        say(f"cannot prepare the sandbox: {error}".encode(errors="replace"))
        os._exit(125)
    os._exit(status)
