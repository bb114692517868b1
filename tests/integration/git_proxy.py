"""The proxy's own code on a thread, as an HTTP proxy on the loopback interface; the test is its supervisor."""

import array
import asyncio
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress, EgressRule
from ringfence.model.git import GitRemote
from ringfence.network import proxy
from ringfence.network.ca import SessionAuthority
from ringfence.network.messages import (
    MAX_SPOOLS,
    PACKET_BYTES,
    Dial,
    Dialed,
    Record,
    Serve,
    Spool,
    ToProxy,
    encode,
    from_proxy,
)

HOST = "git.test"
END_TIMEOUT_S = 60
HERE = Source(scope="user")


def egress(remotes: Sequence[GitRemote], *, host: str = HOST) -> Egress:
    """Rules that allow everything at one host, which `remotes` govern."""
    rule = EgressRule(host=host, verdict=Verdict.ALLOW, source=HERE, ports=((1, 65535),))
    return Egress(rules=(rule,), git_remotes=tuple(remotes))


class Supervisor:
    """Dials one place whatever is asked for, and keeps what is recorded."""

    def __init__(self, channel: socket.socket, place: tuple[str, int]) -> None:
        self.records: list[Record] = []
        self.spools = 0
        self.hosts: list[str] = []
        self._channel = channel
        self._place = place

    def serve(self) -> None:
        """Answer until the proxy has ended, be it before it has read the last answer."""
        with suppress(ConnectionError):
            self._serve()

    def _serve(self) -> None:
        while data := self._channel.recv(PACKET_BYTES):
            match from_proxy.decode(data):
                case Dial() as dial:
                    self.hosts.append(dial.host)
                    with socket.create_connection(self._place) as connected:
                        self._tell(Dialed(request=dial.request, address="192.0.2.1"), connected.fileno())
                case Spool() as asked:
                    self.spools += 1
                    assert self.spools <= MAX_SPOOLS
                    with tempfile.TemporaryFile() as file:
                        self._tell(Dialed(request=asked.request), file.fileno())
                case Record() as record:
                    self.records.append(record)
                case _:
                    pass

    def of(self, kind: str) -> list[Record]:
        """The records of a kind."""
        return [record for record in self.records if record.kind == kind]

    def _tell(self, message: ToProxy, descriptor: int) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        self._channel.sendmsg([encode(message)], rights)


@contextmanager
def proxying(rules: Egress, place: tuple[str, int]) -> Iterator[tuple[str, Supervisor]]:
    """Give the proxy's URL and its supervisor, for as long as the block lasts."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supervisor = Supervisor(ours, place)
    authority = SessionAuthority.create()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        opening = encode(Serve(egress=rules, sockets=("proxy",)))
        socket.send_fds(ours, [opening], [listener.fileno()])
    running = [
        threading.Thread(target=lambda: asyncio.run(proxy.serve(theirs, authority))),
        threading.Thread(target=supervisor.serve),
    ]
    for thread in running:
        thread.start()
    try:
        yield f"http://127.0.0.1:{port}", supervisor
    finally:
        ours.shutdown(socket.SHUT_WR)
        for thread in running:
            thread.join(END_TIMEOUT_S)
        ours.close()
        theirs.close()
