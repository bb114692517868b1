"""I2: services of the host that answer to whoever can name them: path, abstract and loopback sockets, pipes."""

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases

PATIENCE_S = 30.0
OWN_NETWORK = "the network namespace is the sandbox's own, where such an address is local: being refused is no denial"
OTHER_INODE = "the overlay shows the name, but another inode: ECONNREFUSED, as where nobody listens"
SENDS = (
    "import socket\npeer = socket.socket({family}, {kind})\npeer.settimeout(20)\n"
    "try: peer.connect({address}); peer.send(b'@mark@')\nexcept OSError as error: print(error)"
)


def received(arena: Arena, ran: Ran) -> bool:
    """Tell whether the host's service heard the script."""
    for thread in arena.__dict__.get("threads", []):
        thread.join(0.3 if ran.confined else PATIENCE_S)  # it ends when it has heard something
    return arena.values["mark"] in arena.root.joinpath("received").read_text("utf-8")


def serve(family: int, kind: int, place: Callable[[Arena], str | tuple[str, int]]) -> Callable[[Arena], None]:
    """Make a service that writes down what it hears."""

    def start(arena: Arena) -> None:
        heard = arena.write("@outside@/../received", "")
        server = arena.closing.enter_context(socket.socket(family, kind))
        server.bind(place(arena))
        if kind == socket.SOCK_STREAM:
            server.listen()
        if family != socket.AF_UNIX:
            arena.values["port"] = str(server.getsockname()[1])
        end, ending = os.pipe()
        thread = threading.Thread(target=_listen, args=(server, kind, heard, end))
        arena.closing.callback(os.close, end)
        arena.closing.callback(thread.join)
        arena.closing.callback(os.close, ending)
        thread.start()
        arena.__dict__["threads"] = [thread]

    return start


def _listen(server: socket.socket, kind: int, heard: Path, end: int) -> None:
    """Wait for one message, or for the end of what can be read from `end`."""
    if server.fileno() not in select.select([server.fileno(), end], [], [])[0]:
        return
    with contextlib.suppress(OSError):
        if kind == socket.SOCK_DGRAM:
            heard.write_bytes(server.recv(200))
            return
        with server.accept()[0] as peer:
            peer.settimeout(PATIENCE_S)
            heard.write_bytes(peer.recv(200))


def path_socket(name: str, place: str, unseen: str = "", kind: int = socket.SOCK_STREAM) -> Attack:
    return Attack(
        name=name,
        script=SENDS.format(family="socket.AF_UNIX", kind=int(kind), address=f"'{place}'"),
        prepare=serve(socket.AF_UNIX, kind, lambda arena: arena.fill(place)),
        evidence=received,
        code="" if unseen else "unix-socket",
        unseen=unseen,
    )


def environment_socket(arena: Arena) -> None:
    serve(socket.AF_UNIX, socket.SOCK_STREAM, lambda found: f"{found.root}/runtime/bus")(arena)


def pipe(arena: Arena) -> None:
    """A named pipe in the workspace at whose other end the user's program waits."""
    name = arena.workspace / "pipe"
    os.mkfifo(name, 0o600)
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    arena.closing.callback(os.close, descriptor)
    arena.values["descriptor"] = str(descriptor)


def piped(arena: Arena, ran: Ran) -> bool:
    with contextlib.suppress(BlockingIOError):
        return arena.values["mark"].encode() in os.read(int(arena.values["descriptor"]), 200)
    return False


@cases(
    path_socket("like-docker", "@outside@/docker.sock"),
    path_socket("like-ssh-agent", "@home@/agent.1"),
    path_socket("like-tmux", "@outside@/default"),
    path_socket("datagram-like-syslog", "@outside@/log", kind=socket.SOCK_DGRAM),
    path_socket("in-the-workspace", "@workspace@/server.sock", OTHER_INODE),
    path_socket("datagram-in-the-workspace", "@workspace@/log.sock", OTHER_INODE, socket.SOCK_DGRAM),
    Attack(
        name="like-the-session-bus",
        script="import os, socket\npeer = socket.socket(socket.AF_UNIX)\n"
        "for place in (os.environ['XDG_RUNTIME_DIR'] + '/bus', '@outside@/../runtime/bus'):\n"
        "    try: peer.connect(place); peer.send(b'@mark@'); break\n    except OSError as error: print(error)",
        prepare=environment_socket,
        evidence=received,
        code="unix-socket",
    ),
    Attack(
        name="datagram-through-a-socketpair",
        script="import socket\na, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "try: a.sendto(b'@mark@', '@outside@/log')\nexcept OSError as error: print(error)",
        prepare=serve(socket.AF_UNIX, socket.SOCK_DGRAM, lambda arena: arena.fill("@outside@/log")),
        evidence=received,
        refused_here=lambda: True,
        code="unix-socket",
    ),
    Attack(
        name="abstract",
        script=SENDS.format(family="socket.AF_UNIX", kind=1, address="'\\0@mark@'"),
        prepare=serve(socket.AF_UNIX, socket.SOCK_STREAM, lambda arena: "\0" + arena.values["mark"]),
        evidence=received,
        unseen=OWN_NETWORK,
    ),
    Attack(
        name="named-pipe-in-the-workspace",
        script="import os\n"
        "try: os.write(os.open('pipe', os.O_WRONLY | os.O_NONBLOCK), b'@mark@')\nexcept OSError as error: print(error)",
        prepare=pipe,
        evidence=piped,
        unseen="the overlay shows the name, but another inode: a pipe of the sandbox's own",
    ),
)
def test_local_socket(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)


def loopback(name: str, family: str, kind: int, host: str) -> Attack:
    return Attack(
        name=name,
        script=SENDS.format(family=f"socket.{family}", kind=int(kind), address=f"('{host}', @port@)"),
        prepare=serve(getattr(socket, family), kind, lambda arena: (host, 0)),
        evidence=received,
        unseen=OWN_NETWORK,
    )


@cases(
    loopback("tcp", "AF_INET", socket.SOCK_STREAM, "127.0.0.1"),
    loopback("tcp6", "AF_INET6", socket.SOCK_STREAM, "::1"),
    loopback("udp", "AF_INET", socket.SOCK_DGRAM, "127.0.0.1"),
    loopback("udp6", "AF_INET6", socket.SOCK_DGRAM, "::1"),
    loopback("tcp-other-loopback-address", "AF_INET", socket.SOCK_STREAM, "127.9.9.9"),
)
def test_loopback_service(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
