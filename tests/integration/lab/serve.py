"""The lab's two processes: `python -m tests.integration.lab.serve PLACE [quiet]`.

The first is the host's side; it holds the namespaces that commands enter, and answers on the host's own services.
Its child is everything beyond the cable. The first says `ready` on stdout, ends when its stdin does, and takes the
place and the child with it.
"""

import asyncio
import os
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path

from tests.integration.lab import sockets, web, wires, world
from tests.integration.lab.certificates import Authority, Contexts
from tests.integration.lab.names import Datagrams, Names
from tests.integration.lab.records import Log

CABLE, FAR_CABLE = "lab0", "lab1"
RESOLVER = f"nameserver {world.REMOTE}\noptions timeout:30 attempts:1\n"


def far_side() -> bool:
    """Lay out the remote side's network: every address there is leads to its own services."""
    for name in ("lo", FAR_CABLE):
        wires.switch_on(name)
    wires.add_address(FAR_CABLE, world.REMOTE, 24)
    wires.add_route("0.0.0.0/0", kind="local", name="lo")
    wires.add_route(f"{world.SILENT}/32", kind="blackhole")
    return wires.where_there_is_ipv6(
        lambda: wires.add_address(FAR_CABLE, world.REMOTE6, 64),
        lambda: wires.add_route("::/0", kind="local", name="lo"),
    )


def near_side(place: Path) -> None:
    """Lay out the host's network, and what it knows of names."""
    for name in ("lo", CABLE):
        wires.switch_on(name)
    wires.add_address(CABLE, world.HOST, 24)
    wires.add_route("0.0.0.0/0", via=world.REMOTE)
    wires.add_route(f"{world.UNREACHABLE}/32", kind="unreachable")
    wires.where_there_is_ipv6(
        lambda: wires.add_address(CABLE, world.HOST6, 64), lambda: wires.add_route("::/0", via=world.REMOTE6)
    )
    (place / "resolv.conf").write_text(RESOLVER)
    # Other modules (systemd's) would ask the machine's own resolver through a socket.
    (place / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    (place / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    for name in ("resolv.conf", "nsswitch.conf", "hosts"):
        wires.cover(f"/etc/{name}", str(place / name))


async def remote(place: Path, authority: Authority, *, quiet: bool, ipv6: bool) -> None:
    """Start everything of the remote side."""
    log = Log(place / "remote.log")
    names = Names(log)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Datagrams(names), local_addr=(world.REMOTE, 53))
    await asyncio.start_server(web.closing(names.serve_tcp), None, 53)
    await sockets.start_remote(log)
    await web.start(web.Web(log, place, quiet=quiet), Contexts(authority, place).default)
    for version in () if quiet else (4, 6) if ipv6 else (4,):
        sockets.sniff(log, FAR_CABLE, version)


def run(start: Callable[[], Coroutine[object, object, None]], said: int) -> None:
    """Start what there is to start, say so on a descriptor, and serve until killed."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(start())
    os.write(said, b"ready\n")
    loop.run_forever()


def beyond(laid: int, said: int, work: Callable[[], None]) -> int:
    """Start the remote side's process in a network of its own; it goes on to `work` when it can read from `laid`."""
    child = os.fork()
    if child:
        os.close(said)
        return child
    try:
        wires.leave_network()
        wires.die_with_parent(signal.SIGKILL)
        os.write(said, b"gone\n")
        if os.read(laid, 1):
            work()
    except BaseException:  # it must never return into what it was forked from
        traceback.print_exc()
    finally:
        os._exit(1)


def main(place: Path, *, quiet: bool) -> None:
    """Set both sides up and serve until stdin ends."""
    # A user's usual 1,024 descriptors are soon gone where tests leave hundreds of connections behind.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    authority = Authority("Lab CA")
    (place / "ca.crt").write_bytes(authority.pem())
    wires.leave_host()
    wires.die_with_parent(signal.SIGTERM)
    (laid, lay), (heard, said) = os.pipe(), os.pipe()

    def serve_remote() -> None:
        ipv6 = far_side()
        run(lambda: remote(place, authority, quiet=quiet, ipv6=ipv6), said)

    child = beyond(laid, said, serve_remote)
    try:
        expect(heard, b"gone\n")
        wires.connect(CABLE, FAR_CABLE, child)
        near_side(place)
        os.write(lay, b"!")
        expect(heard, b"ready\n")
        serve_host(place)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)  # it writes to the place that is about to go
        shutil.rmtree(place, ignore_errors=True)


def expect(heard: int, text: bytes) -> None:
    """Wait for what the remote side says; raise EOFError where it has ended instead."""
    if os.read(heard, 64) != text:
        raise EOFError("the lab's remote side did not start")


def serve_host(place: Path) -> None:
    """Serve what is on the host itself, until stdin ends or somebody asks us to stop."""
    loop = asyncio.new_event_loop()
    loop.add_reader(sys.stdin.fileno(), loop.stop)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, loop.stop)
    loop.run_until_complete(sockets.start_host(Log(place / "remote.log"), place))
    os.write(sys.stdout.fileno(), b"ready\n")
    loop.run_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), quiet="quiet" in sys.argv[2:])
