"""Hands an event to the process that has the permission engine loaded, and leaves one behind for the next call.

Loading the engine costs several times what a bare interpreter needs to start, and a hook runs for each call of a tool.
Nothing depends on that process (hook_resident.py): where none answers, the caller decides by itself. Callers with
another environment have a process of their own. `RINGFENCE_STANDBY=0` turns it off.

Import budget: built-in modules, and what the launcher has light.
"""

import _socket
import os
import sys
from _blake2 import blake2b

from ringfence import __version__
from ringfence.session import places
from ringfence.session.unix_sockets import HOOKS, at_short_path, look, peer_pid, peer_uid

ANSWER_TIMEOUT_S = 50.0  # less than cli/hook.py's alarm
CONNECT_TIMEOUT_S = 0.5
FOLDERS = ("integrations", "policy", "policy/permissions", "session", "trust")
# What decisions depend on; nothing else of the environment is passed on.
PASSED = (
    *("HOME", "PATH", "USER", "LOGNAME", "CLAUDE_CONFIG_DIR", "CODEX_HOME"),
    *("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"),
)
BOOTSTRAP = "import sys; sys.path[:0] = [{!r}]; from ringfence.integrations.hook_resident import main; main()"


def is_wanted() -> bool:
    """Whether the user has not turned it off."""
    return os.environ.get("RINGFENCE_STANDBY", "1") != "0"


def directory() -> str:
    """Where it listens; mode 0700."""
    return places.state() + "/hooks"


def name() -> str:
    """The name of the socket for this installation and this environment."""
    parts = [__version__, sys.executable, *(os.environ.get(variable, "") for variable in PASSED)]
    parts += [str(time) for time in places.folder_times(FOLDERS)]
    return blake2b("\0".join(parts).encode(errors="surrogateescape"), digest_size=12).hexdigest()


def ask(words: "tuple[str, str, str]", event: bytes) -> "tuple[int, bytes] | None":
    """Exit status and output for an event, None where nobody answers. `words`: client, who contains, directory."""
    if any("\n" in word for word in words):
        return None
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    channel.settimeout(CONNECT_TIMEOUT_S)
    try:
        at_short_path(directory(), name(), channel.connect)
        if peer_uid(channel) != os.getuid():
            return None
        channel.settimeout(ANSWER_TIMEOUT_S)
        send(channel, "\n".join((*words, "")).encode(errors="surrogateescape") + event)
        channel.shutdown(_socket.SHUT_WR)
        answer = bytearray()
        while data := channel.recv(65536):
            answer += data
        head, _, text = bytes(answer).partition(b"\n")
        status, length = (int(word) for word in head.split())
    except (OSError, ValueError):
        return None  # there is none, or it has just ended
    finally:
        channel.close()
    return (status, text) if length == len(text) else None


def send(channel: "_socket.socket", data: bytes) -> None:
    """Say it, and show that we may look into who listens (session/walls.py); raise OSError."""
    shown = look(peer_pid(channel), HOOKS)
    rights = b"".join(number.to_bytes(4, sys.byteorder) for number in shown)
    try:
        sent = channel.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)] if shown else [])
        channel.sendall(data[sent:])
    finally:
        for descriptor in shown:
            os.close(descriptor)


def leave() -> None:
    """Start one for the next call; it detaches itself."""
    from ringfence.sandbox import launch

    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    os.makedirs(directory(), mode=0o700, exist_ok=True)
    words = [sys.executable, "-E", "-P", "-c", BOOTSTRAP.format(root), directory(), name()]
    environment = {variable: os.environ[variable] for variable in PASSED if variable in os.environ}
    log = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        child, channel = launch.start_worker(sys.executable, words, environment, log)
    finally:
        os.close(log)
    os.close(channel)
    os.waitpid(child, 0)
