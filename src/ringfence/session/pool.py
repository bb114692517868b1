"""Boundaries that stand before anybody asks: each is built for one kind of request, serves one command, and ends.

Theory of operation. A member is a process of the resident supervisor's that carries out an ordinary `Run` up to the
moment before the command starts, in a first process whose order comes late (inside/init.py), and waits. Its run lies
beside the others (`runs` + ASIDE), so that nobody lists it. A request of the same kind is handed to it: environment,
streams, command. It then begins as a run of that moment: identifier, start of the run, limits and records. While the
resident supervisor looks at who asks, the member looks whether it fits; only then does it answer.

SECURITY: what a member was built from may have changed since. It takes a request only if the launch cache, asked again
with the client's environment, gives the very same artefact, and if what it has mounted and the host's table of mounts
are as before it was built. Otherwise its boundary is thrown away unused, and the same process builds another for the
request. Not built ahead: runs with egress, secrets or signing, whose companions begin with the run; workspaces that are
not an overlay or read-only; mirrored ones; and all that the launch cache does not keep (checkouts whose trust was
asked).
"""

import _socket
import os
import select
import time

from ringfence.model.errors import RingfenceError
from ringfence.sandbox import launch
from ringfence.sandbox.artefact import loads
from ringfence.workspace import removal

from . import places, terminal, titles
from . import run as session
from .ground import ASIDE
from .kind import Kind
from .options import Options, parse
from .outlook import Outlook
from .resident_request import BEGIN_TIMEOUT_S, DESCRIPTORS, PACKET_BYTES, Request

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from collections.abc import Callable

    from ringfence.sandbox.artefact import Artefact

    from .ground import Ground
    from .run import Run
    from .wiring import Recorder

IDLE_S = 60.0
MODES = ("overlay", "readonly")


class UnwantedError(Exception):
    """Nobody needs this member any more."""


class StaleError(Exception):
    """The member does not fit the request that it was given."""


def is_kept_ready(artefact: "Artefact") -> bool:
    """Whether boundaries of this launch may be built before they are asked for."""
    companions = artefact.egress or artefact.secrets or artefact.signing or artefact.run_files or artefact.trust
    _, mode, apply = artefact.workspace
    return not companions and mode in MODES and apply != "live"


def moved(run: "Run", ground: "Ground", record: "Recorder", runs: str) -> int:
    """Make a boundary that has waited one of `runs` that begins now; give what its command's process is to be told.

    Nothing of this concerns anybody else yet: a run that is given up now leaves nothing.
    """
    ground.move(runs, run.argv[0])
    run.identifier = record.run = ground.created.run
    if run.supervisor:
        run.supervisor.renew(ground.uppers())
    return run.rest()


def become(run: "Run", record: "Recorder", rest: int) -> None:
    """Have it carry out what was asked for, with the streams that it has now.

    What is to be executed is told first: the command's process prepares itself while the begin is recorded, and then
    waits for the word.
    """
    supervisor = run.supervisor
    if supervisor is None:
        raise UnwantedError
    if run.artefact.idmap:
        launch.hand_over_pipes(supervisor.boundary, run.stdio)
    supervisor.tell(rest, run.stdio)
    run.announce(record)
    run.start(supervisor)


def sweep(place: str) -> None:
    """Remove what killed members have left; no living one is older than twice its time."""
    try:
        names = os.listdir(place)
    except FileNotFoundError:
        return
    for name in names:
        try:
            if time.time() - os.lstat(f"{place}/{name}").st_mtime > 2 * IDLE_S:
                removal.remove_tree(f"{place}/{name}")
        except OSError:
            continue  # another one is at it


class Member:
    """One boundary that waits for a request of a known kind; `channel` leads to the resident supervisor.

    `environment` is that of this process, as a request has it.
    """

    def __init__(self, channel: "_socket.socket", words: "list[str]", environment: "list[bytes]") -> None:
        self.channel = channel
        self.environment = environment
        self.kind = Kind(parse(words)[0])
        self.request: Request | None = None
        self.options = Options()
        self.outlook: Outlook | None = None
        self.remark: Callable[[Options, Run], None] = lambda options, run: None

    def carry_out(self) -> "tuple[Options, session.Finished]":
        """Build, wait, and be the run that is asked for; raise UnwantedError where none is.

        Whatever else is raised after `request` is there concerns that request.
        """
        entry = self.kind.entry
        artefact = loads(entry.packed) if entry else None
        if entry is None or artefact is None or not is_kept_ready(artefact):
            raise UnwantedError
        self.outlook = Outlook(entry, artefact, self.kind.seen)
        if not self.outlook.holds():
            raise UnwantedError
        run = session.Run(artefact, [], self.kind.directory)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        run.own_signals = False
        run.runs = places.runs() + ASIDE
        sweep(run.runs)
        run.stdio = (null, null, null)
        run.assignment = self
        finished = run.carry_out()
        return self.options, finished

    def take_on(self, run: "Run", ground: "Ground", record: "Recorder") -> None:
        """Wait for what the boundary is for, and become that. It is called by `Run.attend`."""
        request = self.wait(run)
        rest = moved(run, ground, record, places.runs())  # while the client is about to send its streams
        if not request.hear_begin():
            os.close(rest)
            raise UnwantedError
        self.remark(self.options, run)
        run.streams = terminal.save(run.stdio)
        become(run, record, rest)

    def wait(self, run: "Run") -> Request:
        """Wait for a request that fits, and make the run its own; its client has been told that we are ready."""
        if self.outlook is None or not self.outlook.is_mounted():
            raise UnwantedError  # something has changed while it was being mounted
        try:
            self.channel.send(b"built")
            poller = select.poll()
            poller.register(self.channel, select.POLLIN)
            if run.supervisor:
                poller.register(run.supervisor.boundary.control, select.POLLIN)
            if [descriptor for descriptor, _ in poller.poll(IDLE_S * 1000)] != [self.channel.fileno()]:
                raise UnwantedError  # nobody asked, or it has been killed meanwhile: it has nothing to say before `go`
            request = take(self.channel)
            request.enter(self.environment)
            asked = self.fitting(request)
            if self.channel.recv(16) != b"yes":
                raise UnwantedError  # the client is not like us, or we are not what is installed
            self.request = request
            titles.appear_as(titles.RUN)
            request.client.send(b"ready")
        except OSError as error:
            raise UnwantedError from error
        if asked is None:
            raise StaleError
        self.options, run.argv = asked
        run.stdio = (0, 1, 2)
        run.put_off, run.begun = request.put_off, lambda: request.attend(run)
        return request

    def fitting(self, request: Request) -> "tuple[Options, list[str]] | None":
        """The options and the command that are asked for, if what they are for is what stands here."""
        try:
            options, argv = parse(request.words[1:])
            if argv and self.outlook and self.kind.is_of(options, self.outlook):
                return options, argv
        except (RingfenceError, OSError):
            pass  # whoever carries it out instead will say so
        return None


def take(channel: "_socket.socket") -> Request:
    """The request that is handed over; raise UnwantedError where the supervisor has gone instead."""
    packet, descriptors = launch.receive_descriptors(channel, PACKET_BYTES, DESCRIPTORS + 1)
    if packet != b"run" or len(descriptors) != DESCRIPTORS + 1:
        raise UnwantedError
    client = _socket.socket(fileno=descriptors[0])
    client.settimeout(BEGIN_TIMEOUT_S)
    return Request(client, descriptors[1:])
