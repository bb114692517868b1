"""The resident supervisor: a process that has everything loaded, and forks one supervisor for each run.

Its arguments: the directory of its socket, and the socket's name. resident.py has the conversation with a client,
pool.py what is built before anybody asks. It has one thread and looks after nothing but whom it forked: a run that
crashes takes nothing else along, and when this process is killed nothing is lost but boundaries that nobody has asked
for.

SECURITY: a client must be of the same user, and such that a child of ours is like it in everything that cannot be given
to a child (likeness.py); all others are told `no` and carry out their runs themselves. Nothing of a request is acted on
in this process: no environment, no directory, no policy.
"""

import fcntl
import gc
import os
import select
import socket
import sys
import time

from ringfence.model.errors import RingfenceError
from ringfence.sandbox import launch

from . import afterwards, likeness, loaded, options, pool, resident, resident_request, titles
from .resident_request import Request

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from collections.abc import Callable

    from .options import Options
    from .run import Finished, Run

IDLE_S = 900.0
REST_S = 0.25  # before boundaries are built ahead, unless the run that took one ends sooner
LOOK_S = 10.0
UNLIKE_S = 30.0  # unasked by those it can serve, it makes way for one that can serve who asks
ASK_TIMEOUT_S = 0.2
KINDS = 16
PER_KIND = 2
MEMBERS = 8
BARREN_S = 60.0
OLD_S = 86400.0

# What becomes of a client.
SERVED, REFUSED, UNLIKE, OUTDATED = "served", "refused", "unlike", "outdated"


class Face:
    """What the command line lends: `prepare` makes a run, with its `remark`; `answer` reports how a call went."""

    def __init__(
        self,
        prepare: "Callable[[Options, list[str]], Run]",
        answer: "Callable[[Callable[[], tuple[Options, Finished]]], int]",
        remark: "Callable[[Options, Run], None]",
    ) -> None:
        self.prepare = prepare
        self.answer = answer
        self.remark = remark


class Child:
    """A process of ours: a run, or a member of the pool while `channel` is open; `built`: it can be given a request."""

    def __init__(self, pid: int, kind: "Kind | None", channel: "socket.socket | None" = None) -> None:
        self.pid = pid
        self.handle = os.pidfd_open(pid)
        self.kind = kind
        self.channel = channel
        self.built = False

    def let_go(self) -> None:
        """It is nobody's member any more; one that has not been handed a request ends."""
        if self.channel:
            self.channel.close()
            self.channel = None


class Kind:
    """Requests that are alike: the latest words, environment and place, and when to build for the next."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.environment: list[bytes] = []
        self.place = ""
        self.asked = 0
        self.fill_at: float | None = None
        self.barren_until = 0.0

    def note(self, request: Request) -> None:
        """Remember the latest request; from the second on there may be boundaries for the next ones."""
        self.words, self.environment, self.place = request.words, request.environment, request.place()
        self.asked += 1
        if self.asked > 1:
            self.fill_at = time.monotonic() + REST_S


class Server:
    """The loop, and all it knows."""

    def __init__(self, listener: socket.socket, name: str, face: Face) -> None:
        self.listener = listener
        self.name = name
        self.face = face
        self.own = likeness.likeness("self")
        self.own_state = resident.own_state()
        self.words = titles.words()
        self.code = loaded.Code()
        self.children: dict[int, Child] = {}
        self.kinds: dict[tuple[str, ...], Kind] = {}
        self.served = time.monotonic()
        self.careful_until = 0.0
        self.is_failing = False

    def serve(self) -> None:
        """Serve until nobody has asked for a while, or this is not what would be started today."""
        while self.is_current():
            poller = select.poll()
            poller.register(self.listener, select.POLLIN)
            for child in self.children.values():
                poller.register(child.handle, select.POLLIN)
                if child.channel and not child.built:
                    poller.register(child.channel, select.POLLIN)
            # One at a time, since a descriptor's number may be another's after that; what has ended comes first.
            for descriptor, _ in poller.poll(self.pace_ms())[-1:]:
                if descriptor == self.listener.fileno():
                    if not self.accept():
                        return
                else:
                    self.hear(descriptor)
            self.fill()

    def is_current(self) -> bool:
        """Whether there is a reason to go on: somebody asks, our socket is there, nothing about us has changed.

        A run that could not be finished after its answer is the last: the next one is cold, and says what is wrong.
        """
        if self.is_failing:
            sys.stderr.write("a run could not be finished after its answer; `ringfence log` may say why\n")
            return False
        idle = time.monotonic() - self.served >= IDLE_S and not any(not c.channel for c in self.children.values())
        return not idle and os.path.lexists(self.name) and likeness.likeness("self") == self.own

    def pace_ms(self) -> int:
        """Until something is due."""
        due = [kind.fill_at for kind in self.kinds.values() if kind.fill_at is not None]
        wait = min([LOOK_S, *(at - time.monotonic() for at in due)])
        return max(0, int(wait * 1000) + 1)

    def accept(self) -> bool:
        """Serve one client, or tell it that it has to do without; False where somebody else should be in our place."""
        peer, _ = self.listener.accept()
        with peer:
            peer.settimeout(ASK_TIMEOUT_S)
            try:
                verdict = self.take(peer)
                if verdict in (UNLIKE, REFUSED):
                    peer.send(b"no")
            except OSError:
                return True  # it has gone, or says nothing
        now = time.monotonic()
        if verdict == UNLIKE:
            self.careful_until = now + UNLIKE_S
            return now - self.served < UNLIKE_S
        if verdict == SERVED:
            self.served = now
            os.utime(self.name)  # for `ringfence doctor`, which does not ask: it would be declined as unlike
        return verdict != OUTDATED

    def take(self, peer: socket.socket) -> str:
        """What becomes of a client. Raises OSError for one that is silent.

        A boundary that may be for it looks whether it fits meanwhile, unless somebody unlike us has asked lately: such
        a boundary is lost.
        """
        careful = time.monotonic() < self.careful_until
        if careful and not likeness.is_like(peer, self.own):
            return UNLIKE
        request = resident_request.receive(peer)
        if request is None:
            return REFUSED
        try:
            key = self.kind_of(request)
            chosen = None if careful else self.hand_over(self.kinds.get(key) if key else None, peer, request)
            verdict = self.verdict(peer, request)
            if verdict == SERVED and key is None:
                verdict = REFUSED
            if chosen and chosen.channel:
                taken = verdict == SERVED and says_yes(chosen.channel)
                chosen.let_go()
            else:
                taken = False
            if verdict == SERVED and key is not None:
                kind = self.kinds.pop(key, None) or Kind()
                self.kinds[key] = kind  # the latest last
                kind.note(request)
                if not taken:
                    self.begin(kind, peer, request)
            return verdict
        finally:
            request.close()

    def verdict(self, peer: socket.socket, request: Request) -> str:
        """Whether the client is one that we serve, and we are what serves it.

        SECURITY: whoever was told of a request does nothing for it but look before this has said `SERVED`.
        """
        alike = likeness.is_like(peer, self.own) and os.fsdecode(request.own_state) == self.own_state
        if not alike or not likeness.looks_at_us(request.look):
            return UNLIKE
        return SERVED if self.code.is_the_same() else OUTDATED

    def begin(self, kind: Kind, peer: socket.socket, request: Request) -> None:
        """Fork a supervisor for a request that no boundary waits for; raise OSError."""
        keep = {0, 1, 2, peer.fileno(), *request.descriptors}
        self.adopt(Child(launch.fork_service(lambda: self.carry_out(request), keep=keep), kind))

    @staticmethod
    def kind_of(request: Request) -> "tuple[str, ...] | None":
        """What a boundary for this request depends on as far as we can tell; None for what we do not carry out."""
        try:
            wanted, argv = options.parse(request.words[1:])
            place = request.place()
        except (RingfenceError, OSError):
            return None
        if request.words[:1] != ["run"] or not argv or not place:
            return None
        return (place, wanted.directory, wanted.key())

    def hand_over(self, kind: "Kind | None", peer: socket.socket, request: Request) -> "Child | None":
        """Show the request to a boundary that stands, and give that; None where there is none."""
        for child in list(self.children.values()) if kind else ():
            if child.kind is kind and child.channel and child.built:
                try:
                    launch.send_descriptors(child.channel, b"run", [peer.fileno(), *request.descriptors])
                except OSError:
                    child.let_go()  # its time was just over
                    continue
                return child
        return None

    def adopt(self, child: Child) -> None:
        """Look after a process."""
        self.children[child.handle] = child

    def hear(self, descriptor: int) -> None:
        """A child has ended, or a member has something to say."""
        if child := self.children.pop(descriptor, None):
            _, status = os.waitpid(child.pid, 0)
            self.is_failing = self.is_failing or os.waitstatus_to_exitcode(status) == afterwards.UNFINISHED
            os.close(child.handle)
            if child.kind:
                if child.channel and not child.built:
                    child.kind.barren_until = time.monotonic() + BARREN_S
                elif child.kind.fill_at is not None:
                    child.kind.fill_at = time.monotonic()
            child.let_go()
            return
        for child in self.children.values():
            if child.channel and child.channel.fileno() == descriptor:
                child.built = child.channel.recv(16) == b"built"
                if not child.built:
                    child.let_go()

    def fill(self) -> None:
        """Build boundaries for kinds whose time has come."""
        now = time.monotonic()
        for key in list(self.kinds)[: max(0, len(self.kinds) - KINDS)]:
            self.forget(self.kinds.pop(key))
        for kind in list(self.kinds.values()):
            if kind.fill_at is None or kind.fill_at > now:
                continue
            kind.fill_at = None
            if kind.barren_until > now:
                continue
            members = [child for child in self.children.values() if child.channel]
            for _ in range(PER_KIND - sum(child.kind is kind for child in members)):
                if len([child for child in self.children.values() if child.channel]) < MEMBERS:
                    try:
                        self.build(kind)
                    except OSError:
                        return  # no process or descriptor can be had: runs need them more

    def forget(self, kind: Kind) -> None:
        """Let boundaries go that nobody is likely to ask for."""
        for child in self.children.values():
            if child.kind is kind:
                child.let_go()
                child.kind = None

    def build(self, kind: Kind) -> None:
        """Fork a member."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            pid = launch.fork_service(lambda: self.be_member(theirs, kind), keep={0, 1, 2, theirs.fileno()})
        self.adopt(Child(pid, kind, ours))

    def be_member(self, channel: socket.socket, kind: Kind) -> None:
        """In a process of its own: build a boundary, wait, be the run that is asked for."""
        titles.appear_as(titles.READY)
        titles.drop(self.words)
        resident_request.assume(kind.environment)
        os.chdir(kind.place)
        member = pool.Member(channel, kind.words[1:], kind.environment)
        member.remark = self.face.remark
        try:
            status = self.face.answer(member.carry_out)
        except pool.UnwantedError:
            return
        except pool.StaleError:
            status = None
        request = member.request
        if request is None:
            return
        if status is None:
            if not request.hear_begin():
                return
            status = self.face.answer(lambda: self.contained(request))
        request.conclude(status)

    def carry_out(self, request: Request) -> None:
        """In a process of its own: one run from its start to its end."""
        titles.appear_as(titles.RUN)
        titles.drop(self.words)
        request.enter()
        if request.is_begun():
            request.conclude(self.face.answer(lambda: self.contained(request)))

    def contained(self, request: Request) -> "tuple[Options, Finished]":
        """Carry a request out as the client itself would."""
        wanted, argv = options.parse(request.words[1:])
        run = self.face.prepare(wanted, argv)
        request.attend(run)
        return wanted, run.carry_out()


def remove_old(own: str) -> None:
    """Remove what supervisors of other installations have left here, where they ended long ago."""
    for name in os.listdir("."):
        other = name.removesuffix(".lock")
        if other in (own, name) or time.time() - os.lstat(name).st_mtime < OLD_S:
            continue
        try:
            lock = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # another one was quicker
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in (other, name):
                if os.path.lexists(left):
                    os.unlink(left)
        except OSError:
            continue  # it lives
        finally:
            os.close(lock)


def says_yes(channel: socket.socket) -> bool:
    """Tell a boundary that the request it was shown is its own; False where it has gone."""
    try:
        channel.send(b"yes")
    except OSError:
        return False
    return True


def main(face: Face) -> None:
    """Detach, and serve until nobody has asked for a while or the socket has been removed."""
    directory, name = sys.argv[1:3]
    launch.detach()
    likeness.show()
    os.chdir(directory)
    lock = os.open(f"{name}.lock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # another one is at it
    if os.fstat(lock).st_ino != os.stat(f"{name}.lock").st_ino:
        return  # it was removed as an old one; the next run makes another
    remove_old(name)
    titles.appear_as(titles.RESIDENT)
    os.ftruncate(lock, 0)
    os.write(lock, b"%d\n" % os.getpid())
    loaded.load()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.path.lexists(name):
        os.unlink(name)
    listener.bind(name)
    os.chmod(name, 0o600)
    listener.listen(64)
    gc.collect()
    gc.freeze()
    try:
        Server(listener, name, face).serve()
    finally:
        if os.path.lexists(name):
            os.unlink(name)
