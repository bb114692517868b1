"""What the first process of a sandbox is asked for by its supervisor: NUL-terminated keys and values, decoded."""

import _socket
import os
import resource

from . import landlock

MSG_CMSG_CLOEXEC = 0x40000000  # recvmsg(2)

NEEDED = frozenset(("uid", "gid", "cwd", "group", "listen", "filter_bytes", "landlock_files"))
OPTIONAL = frozenset(("pid_max", "shmall", "seal", "late", "serve", "room"))


class Order:
    """What the supervisor asked for, decoded from pairs; lists keep their order.

    Raises ValueError for an order that is cut off, incomplete or not understood: a step that one side knows and the
    other does not must not be left out in silence.
    """

    def __init__(self, data: bytes) -> None:
        self.argv: list[bytes] = []
        self.environment: dict[bytes, bytes] = {}
        self.limits: list[tuple[int, int]] = []
        self.scopes: list[str] = []
        self.fresh: list[str] = []
        self.single: dict[str, bytes] = {}
        for key, value in pairs(data):
            if not self._take_command(key, value):
                self._take(key, value)
        self.is_late, self.serves, self.is_room = (self.single.get(key) == b"1" for key in ("late", "serve", "room"))
        is_open = self.is_late or self.serves
        if self.is_late and (self.serves or self.single.get("group") != b"own"):
            raise ValueError("the order is not understood")
        has_command = bool(self.argv)
        if has_command == (is_open or self.is_room) or (is_open and self.environment) or NEEDED - self.single.keys():
            raise ValueError("the order is incomplete")

    def complete(self, data: bytes) -> None:
        """Take the rest of one that is late: the command and its environment, and nothing else.

        Of a room's, also a command's own directory, and limits: none can be wider than one that holds already.
        """
        for key, value in pairs(data):
            if self.is_room and key in ("cwd", "limit"):
                self._take(key, value)
            elif not self._take_command(key, value):
                raise ValueError("the order is not understood")
        if not self.argv:
            raise ValueError("the order is incomplete")

    def _take_command(self, key: str, value: bytes) -> bool:
        if key == "argv":
            self.argv.append(value)
        elif key == "env":
            variable, equals, text = value.partition(b"=")
            if not variable or not equals:
                raise ValueError("the order is not understood")
            self.environment[variable] = text
        return key in ("argv", "env")

    def _take(self, key: str, value: bytes) -> None:
        if key == "limit":
            limit, _, amount = value.decode().partition("=")
            self.limits.append((getattr(resource, "RLIMIT_" + limit), int(amount)))
        elif key == "scope" and value.decode() in landlock.SCOPES:
            self.scopes.append(value.decode())
        elif key == "fresh" and value.startswith(b"/"):
            self.fresh.append(os.fsdecode(value))
        elif key in NEEDED or key in OPTIONAL:
            self.single[key] = value
        else:
            raise ValueError("the order is not understood")

    def number(self, key: str) -> int:
        """The integer under `key`; KeyError where the supervisor sent none."""
        return int(self.single[key])


def pairs(data: bytes) -> list[tuple[str, bytes]]:
    """Split NUL-terminated keys and values; raise ValueError where the end is missing."""
    parts = data.split(b"\0")
    if len(parts) % 2 == 0 or parts[-1]:
        raise ValueError("the order is cut off")
    return [(key.decode(), value) for key, value in zip(parts[0:-1:2], parts[1::2], strict=False)]


def receive(control: "_socket.socket", size: int, most: int) -> tuple[bytes, list[int]]:
    """The next message, of at most `size` bytes, with at most `most` descriptors; empty at the end."""
    text, ancillary, _, _ = control.recvmsg(size, _socket.CMSG_SPACE(4 * most), MSG_CMSG_CLOEXEC)
    held = b"".join(content for _, _, content in ancillary)
    return text, [int.from_bytes(held[at : at + 4], "little") for at in range(0, len(held), 4)]


def read_all(descriptor: int) -> bytes:
    """Everything up to the end of file; the descriptor is closed."""
    parts = []
    while part := os.read(descriptor, 1 << 20):
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts)
