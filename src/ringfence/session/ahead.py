"""Boundaries that a `Sandbox` has standing before its next command is known: the pool (pool.py) inside this process.

Theory of operation. Inside a `with` block, from the second command on, a thread builds a boundary up to the moment
before its command starts, and waits. Whoever starts a command looks whether one fits, tells it arguments, environment
and streams, and lets it begin, all on the caller's own thread: the other one is woken while the command is starting. It
serves that one command, and its end is told before its namespaces are taken down. Leaving the block ends those that
nobody has used.

SECURITY: as in pool.py, single use, and looked at again in the moment of use: the same request, the same artefact in
the launch cache, nothing changed that it was built from or has mounted. A child of this process inherits what it is, so
that must be the same as well (likeness.py): umask, limits, priority, namespaces, groups. What is never built ahead by
the resident supervisor is never built ahead here.
"""

import os
import select
import threading
import time
from collections.abc import Callable
from signal import SIGKILL

from ringfence.model.errors import RingfenceError
from ringfence.sandbox.artefact import Artefact, loads
from ringfence.sandbox.ending import Ending

from . import afterwards, cache, likeness, places, pool
from . import run as session
from .exchange import is_readable
from .ground import ASIDE, Ground
from .kind import Kind
from .options import Options
from .outlook import Outlook
from .run import Finished
from .wiring import Recorder

STANDING = 2  # for one sandbox
REST_S = 0.05  # after a command, whose caller is busy with what it said
IDLE_S = 60.0
GIVE_WAY_S = 0.002  # to the caller, who needs the interpreter to take the answer


class Standing:
    """One boundary that waits, in a thread of its own, which `conclude`s when the command that it got has ended."""

    def __init__(self, kind: Kind, entry: cache.Entry, artefact: Artefact, ahead: "Ahead") -> None:
        self.kind = kind
        self.inherited = inherited(ahead.own)
        self.outlook = Outlook(entry, artefact, kind.seen)
        self.ground: Ground | None = None
        self.record: Recorder | None = None
        self.failure: BaseException | None = None
        self.ahead = ahead
        self.is_built = self.is_taken = False
        self.word = Ending()
        self.conclude: Callable[[Finished | None, BaseException | None], None] = lambda finished, error: None
        self.afterwards: Callable[[], None] = lambda: None  # when it has ended, and all that is left of it is gone
        self.run = session.Run(artefact, [], kind.directory)
        self.run.own_signals = False
        self.run.runs = places.runs() + ASIDE
        self.run.assignment = self
        self.thread = threading.Thread(target=self.serve, name="ringfence-ahead", daemon=True)

    def serve(self) -> None:
        """Build, wait, and be the run that is asked for."""
        finished: Finished | None = None
        error: BaseException | None = None
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            if not is_readable(self.word.descriptor, REST_S):
                self.run.stdio = (null, null, null)
                pool.sweep(self.run.runs)
                finished = self.run.carry_out()
        except BaseException as raised:  # handed to whoever waits for the command, if somebody does
            error = raised
        if self.ahead.withdraw(self) and not self.is_built:
            self.ahead.is_closed = True  # what cannot be built now is not tried again for every command
        os.close(null)
        self.conclude(finished, error)
        time.sleep(GIVE_WAY_S)
        if not afterwards.carry_out(self.run.put_off or []):
            self.ahead.give_up()  # the next command meets what is wrong, in front of its caller
        self.outlook.close()
        self.word.close()
        if finished:
            self.afterwards()

    def take_on(self, run: session.Run, ground: Ground, record: Recorder) -> None:
        """Wait for the command, and become its run; raise UnwantedError where there is none. See `Run.attend`."""
        if run.supervisor is None or not self.outlook.is_mounted():
            raise pool.UnwantedError  # something has changed while it was being mounted
        self.ground, self.record = ground, record
        self.is_built = True
        poller = select.poll()
        poller.register(self.word.descriptor, select.POLLIN)
        poller.register(run.supervisor.boundary.control, select.POLLIN)
        heard = poller.poll(IDLE_S * 1000)
        if (self.word.descriptor, select.POLLIN) not in heard and self.ahead.withdraw(self):
            raise pool.UnwantedError  # nobody asked, or it has been killed meanwhile
        is_readable(self.word.descriptor, None)  # or somebody has just taken it
        if not self.is_taken:
            raise pool.UnwantedError
        if self.failure:
            raise self.failure

    def fits(self, options: Options) -> bool:
        """Whether it is what would be built now."""
        try:
            return self.kind.is_of(options, self.outlook) and inherited(self.ahead.own) == self.inherited
        except (RingfenceError, OSError):
            return False  # whoever builds another will say why

    def begin(self, stdio: "tuple[int, int, int]") -> None:
        """Have the run carried out, with these streams; what goes wrong is told to `conclude`."""
        run = self.run
        run.stdio, run.put_off = stdio, []
        try:
            if self.ground and self.record:
                pool.become(run, self.record, pool.moved(run, self.ground, self.record, places.runs()))
        except BaseException as error:  # raised where the run is carried out
            self.failure = error
        self.is_taken = True
        self.word.come()

    def dismiss(self) -> None:
        """Have it end, unused; a command that has begun is killed."""
        if self.is_taken and self.run.supervisor:
            self.run.supervisor.send(SIGKILL)
        self.word.come()


class Ahead:
    """The boundaries of one sandbox that wait; from any thread."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.own = likeness.Place("self", keeps=True)
        self.lock = threading.Lock()
        self.standing: list[Standing] = []
        self.threads: list[threading.Thread] = []
        self.asked = ""
        self.is_closed = False

    def is_ours(self) -> bool:
        """False in a fork of the process that built them: it has copies, without the threads that serve them."""
        return os.getpid() == self.process

    def take(self, options: Options) -> Standing | None:
        """One that fits, and is nobody else's from now on; those that do not fit any more end."""
        if not self.is_ours():
            return None
        while True:
            with self.lock:
                found = next((one for one in self.standing if one.is_built), None)
                if found is None:
                    return None
                self.standing.remove(found)
            if found.fits(options):
                return found
            found.dismiss()

    def withdraw(self, one: Standing) -> bool:
        """Take one away that waits no more; False where somebody has it."""
        with self.lock:
            if one not in self.standing:
                return False
            self.standing.remove(one)
            return True

    def fill(self, options: Options) -> None:
        """Have boundaries for the next commands, if the last but one asked for the same; a command has just ended."""
        if not self.is_ours():
            return
        with self.lock:
            self.threads.append(threading.current_thread())  # which nobody else waits for
        try:
            kind = Kind(options)
            is_repeated, self.asked = kind.key == self.asked, kind.key
            if is_repeated:
                self.build(kind)
        except (RingfenceError, OSError, RuntimeError):
            pass  # none can be had: a convenience

    def build(self, kind: Kind) -> None:
        """Begin to build what is missing; raise OSError, or RuntimeError where no thread can be had."""
        with self.lock:
            self.threads = [thread for thread in self.threads if thread.is_alive()]
            if self.is_closed or len(self.standing) >= STANDING:
                return
            entry = kind.entry
            artefact = loads(entry.packed) if entry else None
            if entry is None or artefact is None or not pool.is_kept_ready(artefact):
                return
            while len(self.standing) < STANDING:
                one = Standing(kind, entry, artefact, self)
                if not one.outlook.holds():
                    one.outlook.close()
                    return
                one.thread.start()
                self.standing.append(one)
                self.threads.append(one.thread)

    def give_up(self) -> None:
        """Build none any more, and end all that wait."""
        with self.lock:
            self.is_closed = True
            unused, self.standing = self.standing, []
        for one in unused:
            one.dismiss()

    def close(self) -> None:
        """End all that wait, and wait until nothing is left of them and of those that were used."""
        if not self.is_ours():
            return
        self.give_up()
        for thread in self.threads:
            thread.join()
        self.own.close()


def inherited(own: likeness.Place) -> tuple[object, ...]:
    """What a child of this process has from it; raise OSError."""
    return (own.likeness(), own.read("personality", optional=True))
