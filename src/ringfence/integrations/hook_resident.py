"""The process that answers hooks outside of any boundary for a while, with everything loaded (hook_client.py).

Its arguments: the directory of its socket, and the socket's name. SECURITY: a peer must be of the same user and held by
no sandbox that does not hold us (session/walls.py), since we read rules and write records for it; whoever is not
answered decides by itself. Rules are read anew for every event: what was changed holds at once.
"""

import fcntl
import os
import socket
import sys
import threading
import time

from ringfence.sandbox import launch
from ringfence.session.unix_sockets import HOOKS, at_short_path, shown_name
from ringfence.session.walls import Shown

from . import hook_events
from .hook_process import respond

IDLE_S = 900.0
LOOK_S = 10.0
READ_TIMEOUT_S = 30.0
WORDS = 3


def main() -> None:
    """Detach, and serve until nobody has asked for a while or the socket has been removed."""
    directory, name = sys.argv[1:3]
    launch.detach()
    lock = os.open(f"{directory}/{name}.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # another one is at it
    path = f"{directory}/{name}"
    shown = show()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if os.path.lexists(path):
        os.unlink(path)
    at_short_path(directory, name, listener.bind)
    listener.listen(64)
    try:
        serve(listener, path, shown)
    finally:
        for left in (path, f"{path}.lock"):
            if os.path.lexists(left):
                os.unlink(left)


def show() -> Shown:
    """What is shown to those who may look into us; made before anybody can connect."""
    made = os.memfd_create(shown_name(HOOKS), os.MFD_CLOEXEC)
    try:
        return Shown(made)
    finally:
        os.close(made)


def serve(listener: socket.socket, path: str, shown: Shown) -> None:
    """Answer each connection in a thread of its own."""
    listener.settimeout(LOOK_S)
    last = time.monotonic()
    while time.monotonic() - last < IDLE_S and os.path.lexists(path):
        try:
            peer, _ = listener.accept()
        except TimeoutError:
            continue
        last = time.monotonic()
        threading.Thread(target=attend, args=(peer, shown), daemon=True).start()


def attend(peer: socket.socket, shown: Shown) -> None:
    """Answer one connection; whoever hears nothing decides by itself."""
    with peer:
        peer.settimeout(READ_TIMEOUT_S)
        first, descriptors, _, _ = socket.recv_fds(peer, 1 << 16, 1)
        refused = shown.refusal(peer, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        if refused:
            return
        data = bytearray(first)
        while first and len(data) <= hook_events.EVENT_BYTES:
            more = peer.recv(1 << 16)
            if not more:
                break
            data += more
        *words, event = bytes(data).split(b"\n", WORDS)
        if len(words) == WORDS:
            client, contain, directory = (word.decode(errors="surrogateescape") for word in words)
            status, text = respond(client, event, directory=directory, contain=contain)
            peer.sendall(f"{status} {len(text)}\n".encode() + text)
