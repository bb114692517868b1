"""Which process of a sandbox made a connection, seen from the host; told afterwards, so it may be gone by then.

Theory of operation. The kernel knows the inode of a socket from its addresses, and /proc/PID/fd shows who holds that
inode. The first is asked of sock_diag(7) through a socket that was made inside the sandbox's network namespace, in
ten microseconds; reading /proc/PID/net/tcp, which takes milliseconds whatever it holds, serves where there is none.
The holder is looked for among those who connected lately, then among all descendants of the first process, the
youngest first.

What is found goes into records and questions, never into decisions: a process chooses its own name, and may hand its
socket to another.
"""

import _socket
import os
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice

import msgspec

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST = 4, 20, 1  # <linux/netlink.h>, <linux/sock_diag.h>
TCP_LISTEN = 10
NO_COOKIE = b"\xff" * 8
LOOPBACK_INDEX = 1  # the first interface of every network namespace
HEADER = 16  # struct nlmsghdr
INODE_AT = HEADER + 68  # struct inet_diag_msg, <linux/inet_diag.h>
RECENT = 16
# A sandbox can make the search expensive only for itself; still it must end.
MAX_PROCESSES = 2048
MAX_DESCRIPTORS = 8192

Place = tuple[str, int]


class Peer(msgspec.Struct, frozen=True):
    """A process: its pid on the host, the name it goes by, the path of its executable as it is seen inside."""

    pid: int = 0
    program: str = ""
    executable: str = ""


UNKNOWN = Peer()


class Peers:
    """The processes of one sandbox, whose first process is `init`, as the clients of connections.

    `diagnosis` is what `open_diagnosis` returned inside the sandbox's network namespace; it stays the caller's.
    """

    def __init__(self, init: int, diagnosis: int = -1) -> None:
        self._init = init
        self._diagnosis = diagnosis
        self._answers = False
        self._recent: deque[int] = deque(maxlen=RECENT)

    def note(self, pid: int) -> None:
        """Look first at a process of the sandbox, or one of its threads, by its pid on the host: it is connecting."""
        if pid not in self._recent and (leader := thread_group(pid)):
            self._remember(leader)

    def find(self, client: Place, server: Place) -> Peer:
        """The process whose socket is bound to `client` and connected to `server`; `UNKNOWN` if it is not found."""
        client, server = (plain(client[0]), client[1]), (plain(server[0]), server[1])
        inode = diagnosed(self._diagnosis, client, server)
        self._answers = self._answers or inode > 0
        if not self._answers:  # else a socket that is not known is gone
            inode = listed(self._init, client, server)
        pid = self._holder(f"socket:[{inode}]") if inode else 0
        if not pid:
            return UNKNOWN
        self._remember(pid)
        return described(pid)

    def _remember(self, pid: int) -> None:
        if pid not in self._recent:
            self._recent.appendleft(pid)

    def _holder(self, link: str) -> int:
        budget = MAX_DESCRIPTORS
        tried: set[int] = set()
        for pid in chain(tuple(self._recent), self._youngest_first()):
            if pid not in tried:
                tried.add(pid)
                for held in islice(links(pid), budget):
                    budget -= 1
                    if held == link:
                        return pid
        return 0

    def _youngest_first(self) -> Iterator[int]:
        yield from reversed(inhabitants(self._init))


def open_diagnosis() -> int:
    """A descriptor that asks about the sockets of the network namespace it was opened in; a mute one at the worst."""
    try:
        return _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_NONBLOCK, NETLINK_SOCK_DIAG).detach()
    except OSError:
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def plain(address: str) -> str:
    """An IPv4-mapped address as IPv4, which is what the connection is; any other without its zone."""
    address = address.partition("%")[0]
    return address[7:] if address.startswith("::ffff:") and "." in address else address


def diagnosed(diagnosis: int, client: Place, server: Place) -> int:
    """The inode of the client's socket, by sock_diag(7); 0 where it is not known."""
    if diagnosis < 0:
        return 0
    family = _socket.AF_INET6 if ":" in client[0] else _socket.AF_INET
    try:
        ends = [_socket.inet_pton(family, place[0]).ljust(16, b"\0") for place in (client, server)]
        identity = struct.pack("!HH", client[1], server[1]) + b"".join(ends)
        identity += struct.pack("=I", LOOPBACK_INDEX) + NO_COOKIE
        body = struct.pack("=BBBBI", family, _socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + identity
        header = struct.pack("=IHHII", HEADER + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0)
        os.write(diagnosis, header + body)
        reply = os.read(diagnosis, 4096)
    except (OSError, struct.error):
        return 0
    if len(reply) < INODE_AT + 4 or struct.unpack_from("=H", reply, 4)[0] != SOCK_DIAG_BY_FAMILY:
        return 0
    # Without an exact match the kernel takes a listening socket of that address, which is somebody else's.
    is_it = reply[HEADER + 1] != TCP_LISTEN and reply[HEADER + 4 : HEADER + 8] == identity[:4]
    inode: int = struct.unpack_from("=I", reply, INODE_AT)[0]
    return inode if is_it else 0


def listed(init: int, client: Place, server: Place) -> int:
    """The inode of the client's socket, from proc(5); 0 where it is not listed."""
    for table in ("tcp6",) if ":" in client[0] else ("tcp", "tcp6"):
        try:
            wanted = [hexadecimal(place, mapped=table == "tcp6") for place in (client, server)]
            with open(f"/proc/{init}/net/{table}", encoding="ascii") as file:
                for line in file:
                    words = line.split()
                    if words[1:3] == wanted:
                        return int(words[9])
        except OSError:
            continue
    return 0


def hexadecimal(place: Place, *, mapped: bool) -> str:
    """An address and port as /proc/net/tcp and tcp6 write them: each word of 32 bits in the machine's byte order."""
    address, port = place
    if ":" in address or mapped:
        packed = _socket.inet_pton(_socket.AF_INET6, address if ":" in address else f"::ffff:{address}")
    else:
        packed = _socket.inet_pton(_socket.AF_INET, address)
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"


def inhabitants(init: int) -> list[int]:
    """The first process and its descendants, which is every process of the sandbox: orphans become its children."""
    found = [init]
    for pid in found:
        if len(found) >= MAX_PROCESSES:
            break
        found += children(pid)
    return found


def children(pid: int) -> Iterable[int]:
    """The children of every thread of a process; none once it has gone."""
    found: list[int] = []
    try:
        for thread in islice(os.listdir(f"/proc/{pid}/task"), MAX_PROCESSES):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:
        pass  # gone meanwhile; what it had has a new parent
    return found


def links(pid: int) -> Iterator[str]:
    """What the descriptors of a process refer to; nothing once it has gone."""
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                try:
                    yield os.readlink(entry.path)
                except FileNotFoundError:
                    continue  # closed meanwhile
    except OSError:
        return


def thread_group(pid: int) -> int:
    """The pid of the process that a thread belongs to; 0 once it has gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return next((int(line[5:]) for line in file if line.startswith("Tgid:")), 0)
    except OSError:
        return 0


def described(pid: int) -> Peer:
    """What is known of a process."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            program = file.read().removesuffix("\n")
        return Peer(pid, program, os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return Peer(pid)
