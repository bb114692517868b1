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
from ringfence.sandbox import disk, launch
from ringfence.sandbox.artefact import loads
from ringfence.workspace import removal

from . import cache, places, titles
from . import run as session
from .ground import ASIDE
from .options import Options, parse, workspace_of
from .resident_request import BEGIN_TIMEOUT_S, DESCRIPTORS, PACKET_BYTES, Request

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
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


def outlook(artefact: "Artefact") -> "tuple[object, ...]":
    """What the host looks like to a boundary: its mounts, and whatever is mounted from it."""
    with open("/proc/self/mountinfo", "rb") as file:
        mounts = file.read()
    sources = [cache.stamp(path) for path, _ in artefact.sources]
    lowers = [(found.st_dev, found.st_ino) for found in map(os.stat, artefact.lowers)]
    return (mounts, sources, lowers)


def become(run: "Run", ground: "Ground", record: "Recorder", runs: str) -> None:
    """Make a boundary that has waited the run that was asked for: from here on it is one of `runs` that begins now."""
    ground.move(runs, run.argv[0])
    run.identifier = record.run = ground.created.run
    if run.supervisor:
        run.supervisor.usage = disk.Usage(ground.uppers(), run.artefact.workspace_bytes)
        if run.artefact.idmap:
            launch.hand_over_pipes(run.supervisor.boundary, run.stdio)
    run.announce(record)


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


class Asked:
    """A request, under this process's environment and in its directory, with its key in the launch cache."""

    def __init__(self, words: "list[str]") -> None:
        self.options, self.argv = parse(words)
        self.directory = session.working_directory(self.options)
        workspace = workspace_of(self.directory)
        self.key = session.request_key(self.options, self.directory, workspace)


class Member:
    """One boundary that waits for a request of a known kind; `channel` leads to the resident supervisor.

    `environment` is that of this process, as a request has it.
    """

    def __init__(self, channel: "_socket.socket", words: "list[str]", environment: "list[bytes]") -> None:
        self.channel = channel
        self.environment = environment
        self.asked = Asked(words)
        self.entry = cache.entry(self.asked.key)
        self.request: Request | None = None
        self.options = Options()
        self.outlook: tuple[object, ...] = ()

    def carry_out(self) -> "tuple[Options, session.Finished]":
        """Build, wait, and be the run that is asked for; raise UnwantedError where none is.

        Whatever else is raised after `request` is there concerns that request.
        """
        artefact = loads(self.entry.packed) if self.entry and self.entry.holds() else None
        if artefact is None or not is_kept_ready(artefact):
            raise UnwantedError
        self.outlook = outlook(artefact)
        run = session.Run(artefact, [], self.asked.directory)
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
        become(run, ground, record, self.wait(run))

    def wait(self, run: "Run") -> str:
        """Wait for a request and become its run; return where that is to lie."""
        if self.outlook != outlook(run.artefact):
            raise UnwantedError  # something has changed while it was being mounted
        try:
            self.channel.send(b"built")
            boundary = run.supervisor.boundary.control if run.supervisor else self.channel
            heard = select.select([self.channel, boundary], [], [], IDLE_S)[0]
            if heard != [self.channel]:
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
        if asked is None or self.outlook != outlook(run.artefact):
            raise StaleError
        if not request.hear_begin():
            raise UnwantedError
        self.options, run.argv, run.stdio = asked.options, asked.argv, (0, 1, 2)
        run.put_off, run.begun = request.put_off, lambda: request.attend(run)
        return places.runs()

    def fitting(self, request: Request) -> "Asked | None":
        """The request as the launch cache sees it, if what it is for is what stands here."""
        entry = self.entry
        if entry is None:
            return None
        try:
            asked = Asked(request.words[1:])
            if not asked.argv or asked.key != self.asked.key or cache.read(asked.key) != entry.data:
                return None
            return asked if entry.holds() else None
        except (RingfenceError, OSError):
            return None  # whoever carries it out instead will say so


def take(channel: "_socket.socket") -> Request:
    """The request that is handed over; raise UnwantedError where the supervisor has gone instead."""
    packet, descriptors = launch.receive_descriptors(channel, PACKET_BYTES, DESCRIPTORS + 1)
    if packet != b"run" or len(descriptors) != DESCRIPTORS + 1:
        raise UnwantedError
    client = _socket.socket(fileno=descriptors[0])
    client.settimeout(BEGIN_TIMEOUT_S)
    return Request(client, descriptors[1:])
