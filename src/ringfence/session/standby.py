"""A prepared egress proxy, and a vault, kept ready for the next run of the same user: how a run gets one.

Theory of operation. A proxy needs some 150 ms to import what it is made of. So a run starts its own only where no
standby answers, and then leaves a standby behind (standby_server.py): a process that has imported everything and keeps
a spare, a fork that has prepared a whole session and waits. A run connects to the standby's socket, passes the channel
and gets a pidfd of the spare. Sessions share no process: each proxy serves one run and ends with it. So does a vault,
of which a spare is kept once somebody has asked for one.

SECURITY: nothing of a secret passes through the standby. What a vault reads, and the variables to read, it is told over
the channel, of which the standby has passed one end on. A vault executes commands: one is given to those only who could
execute them as well, which a process of some other sandbox that can see the socket could not.

The standby ends when it has not been asked for a while. Nothing depends on it: one that does not answer at once is
passed over. `RINGFENCE_STANDBY=0` in the environment keeps it from being asked and started.
"""

import _socket
import os
import sys
from _blake2 import blake2b

from ringfence import __version__
from ringfence.sandbox import launch

from . import places
from .unix_sockets import at_short_path, peer_pid, peer_uid

ANSWER_TIMEOUT_S = 0.5
PACKET_BYTES = 4096
# What the proxy's trust in upstream hosts depends on: a standby serves only runs with the same.
PASSED = ("SSL_CERT_FILE", "SSL_CERT_DIR")
# The word in front costs nothing, and is what `ps` and `pgrep -f` show.
BOOTSTRAP = "'ringfence {1}'; import sys; sys.path[:0] = [{0!r}]; from ringfence.session.{1} import main; main()"


def is_wanted() -> bool:
    """Whether the user has not turned it off."""
    return os.environ.get("RINGFENCE_STANDBY", "1") != "0"


def directory() -> str:
    """Where standbys listen; mode 0700."""
    return places.state() + "/standby"


def name(installed: str) -> str:
    """The name of the socket for this installation (`run.installed_version`) and this environment."""
    parts = [__version__, installed, sys.executable, *(os.environ.get(variable, "") for variable in PASSED)]
    return blake2b("\0".join(parts).encode(errors="surrogateescape"), digest_size=12).hexdigest()


def take(installed: str, kind: str, words: "list[str]", log: int) -> "tuple[int, int] | None":
    """A pidfd of a prepared `proxy` or `vault` and our end of its channel; None where nobody has one ready.

    `words` is what it is told: the user to be as root, and a proxy the names of the files it is to fill.
    """
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    standby = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    standby.settimeout(ANSWER_TIMEOUT_S)
    descriptors: list[int] = []
    shown: list[int] = []
    try:
        at_short_path(directory(), name(installed), standby.connect)
        # SECURITY: a root shell may have kept a user's HOME. What that user listens with there must become neither
        # root's proxy, which sees everything, nor the process that root ends with the run (docs/threats.md, E4).
        if peer_uid(standby) == os.getuid():
            shown = show_ourselves(standby) if kind == "vault" else []
            launch.send_descriptors(standby, " ".join([kind, *words]).encode(), [theirs.fileno(), log, *shown])
            _, descriptors = launch.receive_descriptors(standby, PACKET_BYTES, 1)
    except OSError:
        pass  # none, or it has just ended
    finally:
        theirs.close()
        standby.close()
        for descriptor in shown:
            os.close(descriptor)
    if not descriptors:
        ours.close()
        return None
    return descriptors[0], ours.detach()


def show_ourselves(standby: "_socket.socket") -> "list[int]":
    """What shows it that we may look into it, see likeness.py; raise OSError where we may not."""
    from .resident import SHOWN

    return [os.open(f"/proc/{peer_pid(standby)}/fd/{SHOWN}", os.O_RDONLY | os.O_CLOEXEC)]


def bootstrap(module: str) -> list[str]:
    """The command line of a Python that runs `main` of a module of this package, whatever its environment says."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    return [sys.executable, "-E", "-P", "-c", BOOTSTRAP.format(root, module)]


def environment() -> dict[str, str]:
    """All that a proxy or a standby gets of ours."""
    return {variable: os.environ[variable] for variable in PASSED if variable in os.environ}


def start(installed: str) -> None:
    """Leave a standby behind for the next run; it detaches itself."""
    os.makedirs(directory(), mode=0o700, exist_ok=True)
    log = os.open(f"{directory()}/log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        words = [*bootstrap("standby_server"), directory(), name(installed)]
        child, channel = launch.start_worker(sys.executable, words, environment(), log)
    finally:
        os.close(log)
    os.close(channel)
    os.waitpid(child, 0)
