"""A run's way out, as far as a launch waits for it: get a proxy, capture the network, put its certificates in place.

Theory of operation. `Way` lives beside the supervisor, for one run. The proxy (network/proxy.py, a confined process) is
there, or on its way, while the boundary is being built. Once the boundary stands, the sockets that were opened in its
network namespace go to the proxy, and what the proxy's authority signs is made known inside. Everything that only has
to be there when the first connection is made (answering.py) is loaded on a thread: as soon as anybody speaks, which is
the proxy, a program that connects, an operator or the vault, or else when the command has had the processors for
a while. A run that ends before needs none of it.

INVARIANT: a run does not end before the proxy's last word was heard: by the thread, or, while that loads, by `close`,
which then leaves it alone if there was none (`over`). `claim` is held by whichever listens.

Import budget (tests/unit/session/test_run_imports.py): nothing that brings msgspec or the rules.
"""

import _signal
import _socket
import _thread
import os
import select
import sys

from ringfence.model.errors import HostError, RingfenceError, SandboxError
from ringfence.model.guest_network import RESOLVER, SYNTHETIC_PREFIXES
from ringfence.network import capture
from ringfence.sandbox import launch

from . import standby
from .readiness import is_readable
from .unix_sockets import CONTROL, at_short_path, shown_name

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ringfence.network.publish import Publisher
    from ringfence.sandbox.artefact import Artefact

    from .answering import Answering
    from .tainting import Tainting
    from .vault import Vault

    Fields = Mapping[str, str | int | bool | list[str] | None]
    Report = Callable[[str, str, Fields], None]

START_TIMEOUT_S = 20.0
END_TIMEOUT_S = 2.0
UNPRIVILEGED_UID = 65534
PACKET_BYTES = 64 << 10  # network/messages.py
DESCRIPTORS_AT_MOST = 16
LOG = "proxy.log"
QUIET_S = 0.5
LOAD_TIMEOUT_S = 2.0


class Way:
    """The egress of one run. `report(kind, code, fields)` receives its events, from any thread."""

    def __init__(self, artefact: "Artefact", directory: str, report: "Report", installed: str) -> None:
        self.artefact = artefact
        self.directory = directory
        self.report = report
        self.installed = installed
        self.init = -1
        self.closing = False
        self.failure: RingfenceError | None = None
        self.stop: Callable[[], None] = lambda: None  # ends the run
        self.notice: Callable[[str], None] = lambda line: None
        self.run = os.path.basename(directory)
        self.answering: Answering | None = None
        self.tainting: Tainting | None = None  # set before `attach`
        self.look: Callable[[], None] = lambda: None  # acts on what was opened inside until now
        self.vault: Vault | None = None  # set before `attach` where the run has secrets
        self.published: Publisher | None = None
        self.listener: _socket.socket | None = None
        self.shown = -1  # to those who may look into us: see walls.py
        self.ended = _thread.allocate_lock()  # held while the thread of `answering` runs
        self.loading = _thread.allocate_lock()  # held until what was said at first has been heard
        self.claim = _thread.allocate_lock()
        self.over = False
        self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.own_proxy, self.proxy, channel = start_proxy(directory, artefact, installed)
        self.channel = _socket.socket(fileno=channel)

    def attach(self, init: int) -> None:
        """Capture the network of the boundary whose first process is `init`, and let the proxy serve it.

        Returns when everything inside is in place, certificates included. Raises HostError or SandboxError.
        """
        self.init = init
        try:
            captured = launch.borrow(lambda: capture.open_sockets(init, self.artefact.ports, self.artefact.literals))
            if self.artefact.gateways:  # before the last one, which stays here
                captured[-1:-1] = launch.borrow(lambda: capture.open_gateways(init, self.artefact.gateways))
        except OSError as error:
            hint = "`ringfence doctor` tests the network; `--network off` runs without"
            raise HostError(f"cannot capture the sandbox's network: {error.strerror}", hint=hint) from error
        descriptors = [descriptor for _, descriptor in captured]
        try:
            self.introduce(descriptors[:-1])
        finally:
            for descriptor in descriptors[:-1]:
                os.close(descriptor)
        if self.vault:
            self.tell_missing(self.vault.missing)
        self.publish()
        self.listen()
        self.ended.acquire()
        self.loading.acquire()
        self.claim.acquire()
        _thread.start_new_thread(self.answer, (descriptors[-1],))

    def introduce(self, sockets: "list[int]") -> None:
        """Tell the proxy what it serves and take what it made, from one of our own where the standby's is broken."""
        try:
            self.converse(sockets)
        except SandboxError:
            if self.own_proxy:
                raise
            self.dismiss()
            self.channel.close()
            self.own_proxy, self.proxy, channel = start_proxy(self.directory, self.artefact, "")
            self.channel = _socket.socket(fileno=channel)
            self.converse(sockets)

    def converse(self, sockets: "list[int]") -> None:
        """What is said before the command starts; raise SandboxError where nobody listens."""
        try:
            launch.send_descriptors(self.channel, self.artefact.serve, sockets)
            if self.vault:
                launch.send_descriptors(self.channel, self.vault.marked(), [])
            self.take_authority()
        except ConnectionError as error:
            raise self.no_proxy() from error

    def tell_missing(self, missing: "list[tuple[str, str]]") -> None:
        """Record which secrets have no value, and why."""
        for name, reason in missing:
            self.report("secret", "missing", {"secret": name, "reason": reason})

    def listen(self) -> None:
        """Be there for the operator."""
        self.shown = os.memfd_create(shown_name(self.run), os.MFD_CLOEXEC)
        self.listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        at_short_path(self.directory, CONTROL, self.listener.bind)
        os.chmod(f"{self.directory}/{CONTROL}", 0o600)
        self.listener.listen(8)

    def publish(self) -> None:
        """Listen on the host for what is published; raise HostError for a port that is taken."""
        if not self.artefact.publish:
            return
        from ringfence.network.publish import Publisher

        try:
            self.published = Publisher(self.artefact.publish, self.open_inside)
        except OSError as error:
            hint = "choose another with `--publish HOST_PORT:PORT`"
            raise HostError(f"cannot publish: {error.strerror or error}", hint=hint) from error

    def open_inside(self, port: int) -> "_socket.socket":
        """A socket connected to a port inside; raises OSError where nothing listens."""
        ((_, descriptor),) = launch.borrow(lambda: [("inside", capture.connect_inside(self.init, port))])
        return _socket.socket(fileno=descriptor)

    def take_authority(self) -> None:
        """Put what the proxy made, its authority among the host's, where programs inside look for it."""
        names = self.artefact.run_files
        self.channel.settimeout(START_TIMEOUT_S)
        try:
            data, made = launch.receive_descriptors(self.channel, PACKET_BYTES, DESCRIPTORS_AT_MOST)
        except TimeoutError:
            data, made = b"", []
        finally:
            self.channel.settimeout(None)
        try:
            if not data or len(made) != len(names):
                raise self.no_proxy()
            for name, descriptor in zip(names, made, strict=True):
                copy(descriptor, f"{self.directory}/{name}")
        finally:
            for descriptor in made:
                os.close(descriptor)

    def no_proxy(self) -> SandboxError:
        """The error for a proxy that ended before it served, with the last thing it said."""
        with open(f"{self.directory}/{LOG}", encoding="utf-8", errors="replace") as file:
            said = file.read().strip().rpartition("\n")[2]
        return SandboxError(f"the egress proxy did not start: {said or 'it said nothing'}", hint="`ringfence doctor`")

    def answer(self, diagnosis: int) -> None:
        """Answer the proxy until it ends, from when that is needed; on a thread of its own."""
        try:
            if self.own_proxy and standby.is_wanted():
                standby.start(self.installed)
            self.serve(diagnosis)
        except RingfenceError as error:
            self.give_up(error)
        except BaseException as error:
            self.report_fault("answering", error)
            raise  # to standard error: it is ours
        finally:
            if not self.closing:
                self.channel.shutdown(_socket.SHUT_RDWR)
            os.close(diagnosis)
            self.heard()
            self.ended.release()

    def serve(self, diagnosis: int) -> None:
        """Load what answers, and let it; record a proxy that ends before the run."""
        if self.is_needed():
            self.claim.release()
            from .answering import Answering

            self.claim.acquire()
            if self.over:
                return
            self.answering = Answering(self, diagnosis)
            self.answering.serve()
        if not self.closing:
            self.report("lost", "egress-proxy", {"status": self.reap()})

    def is_needed(self) -> bool:
        """Wait until somebody speaks or some time is over; False where the proxy ends without having said anything."""
        poller = select.poll()
        spoken = [self.wake, self.channel.fileno(), *(one.fileno() for one in (self.listener,) if one)]
        spoken += [self.vault.channel.fileno()] if self.vault else []
        for descriptor in spoken:
            poller.register(descriptor, select.POLLIN)
        found = [descriptor for descriptor, _ in poller.poll(QUIET_S * 1000)]
        if self.closing or self.channel.fileno() in found:
            return not self.is_silent()
        return True

    def is_silent(self) -> bool:
        """Whether the proxy has ended without a word, waiting for it to end or to speak; and the vault is there."""
        if self.vault and is_readable(self.vault.channel.fileno(), 0):
            return False
        if not is_readable(self.channel.fileno(), END_TIMEOUT_S):
            return False
        try:
            return not self.channel.recv(1, _socket.MSG_PEEK)
        except ConnectionError:
            return True

    def heard(self) -> None:
        """Everything that was said until now has been acted on, or nobody is there to do so."""
        if self.loading.locked():
            self.loading.release()

    def give_up(self, error: "RingfenceError") -> None:
        """Nothing can be recorded any more, so nothing more may happen."""
        self.failure = error
        self.stop()

    def report_fault(self, where: str, error: BaseException) -> None:
        """Record that a thread of ours has ended by an error that nobody foresaw; there is no network any more."""
        try:
            self.report("lost", "egress-supervisor", {"reason": f"{where}: {type(error).__name__}"})
        except RingfenceError as unrecorded:
            self.give_up(unrecorded)

    def connecting(self, pid: int, target: str) -> None:
        """A program is about to connect: by the time the proxy tells of it the program may be gone."""
        if self.loading.locked():
            os.eventfd_write(self.wake, 1)
            if self.loading.acquire(timeout=LOAD_TIMEOUT_S):
                self.loading.release()
        if self.answering:
            self.answering.note(pid, target)

    def outward(self, target: str) -> str:
        """What to record of a connection that leads outside.

        Empty where it arrives at the proxy, which has the say and the record; the name behind a synthetic address.
        """
        host, _, port = target.rpartition(":")
        if host == RESOLVER and port == "53":
            return ""
        literal = host.strip("[]").removeprefix("::ffff:")
        synthetic = literal.startswith(SYNTHETIC_PREFIXES)
        if (synthetic or literal in self.artefact.literals) and port.isdigit() and int(port) in self.artefact.ports:
            return ""
        name = self.answering.names.get(literal) if self.answering and synthetic else None
        return f"{name}:{port}" if name else target

    def reap(self) -> int:
        """Wait for the proxy's end: its exit status, or the signal that ended it as a negative number; 0 if unknown."""
        is_readable(self.proxy)
        try:
            found = os.waitid(os.P_PIDFD, self.proxy, os.WEXITED)
        except ChildProcessError:
            found = None  # a child of the standby
        os.close(self.proxy)
        self.proxy = -1
        if found is None:
            return 0
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def close(self) -> None:
        """End every connection and the proxy; what it still has to tell is recorded first."""
        self.closing = True
        if self.published:
            self.published.close()
        if self.answering:
            self.answering.refuse_questions()
        self.hang_up()
        os.close(self.wake)
        if self.answering:
            self.answering.refuse_questions()  # also what was asked in the last moment
            self.answering.close()
        if self.proxy >= 0:
            self.dismiss()
        self.channel.close()
        if self.listener:
            self.listener.close()
        if self.shown >= 0:
            os.close(self.shown)

    def dismiss(self) -> None:
        """End the proxy, whatever it is at."""
        try:
            _signal.pidfd_send_signal(self.proxy, _signal.SIGKILL)
        except ProcessLookupError:
            pass  # a child of the standby, which has ended
        if self.own_proxy or not self.over:
            self.reap()
        else:
            os.close(self.proxy)  # the standby reaps it

    def hang_up(self) -> None:
        """Say the end to operators and to the proxy, and hear its last word."""
        if self.listener:
            self.listener.shutdown(_socket.SHUT_RDWR)
            os.unlink(f"{self.directory}/{CONTROL}")
        try:
            self.channel.shutdown(_socket.SHUT_WR)  # the proxy sees the end, says the rest, and ends
        except OSError:
            pass  # it has ended already
        os.eventfd_write(self.wake, 1)
        if self.ended.locked() and self.claim.acquire(blocking=False):
            self.over = self.is_silent()
            self.claim.release()
        if not self.over and self.ended.acquire(timeout=END_TIMEOUT_S):
            self.ended.release()


def start_proxy(directory: str, artefact: "Artefact", installed: str) -> tuple[bool, int, int]:
    """Get a proxy: whether it is a process of our own (else the standby's), its pidfd, our end of the channel."""
    if not sys.executable:
        raise HostError("the egress proxy needs a Python interpreter of its own", hint="set `sys.executable`")
    identifier = launch.SANDBOX_UID_BASE + os.getpid() if artefact.idmap else UNPRIVILEGED_UID
    words = [str(identifier), *artefact.run_files]
    log = os.open(f"{directory}/{LOG}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        if installed and standby.is_wanted():
            if found := standby.take(installed, "proxy", words, log):
                return False, *found
        command = [*standby.bootstrap("egress_worker"), *words]
        child, channel = launch.start_worker(sys.executable, command, standby.environment(), log)
        return True, os.pidfd_open(child), channel
    finally:
        os.close(log)


def copy(descriptor: int, path: str) -> None:
    """Fill the file at `path`, which is mounted inside already and so must stay the same file."""
    size = os.fstat(descriptor).st_size
    place = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        done = 0
        while done < size:
            done += os.sendfile(place, descriptor, done, size - done)
    finally:
        os.close(place)
