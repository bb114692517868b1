"""git's packet lines, what a push says before its pack, and what it is answered (gitprotocol-pack(5)).

    pkt-line = 4HEXDIG payload          the length with itself; 0000 flush, 0001 delimiter, 0002 end of response
    request  = *( "shallow " id ) command *command flush [ pack ]
    command  = old SP new SP ref [ NUL capabilities ]          capabilities with the first command, and there only

A push has one meaning or is refused: names are well formed (git-check-ref-format(1)), no ref is named twice, object
names are of SHA-1. Certificates and options of a push are refused: neither was offered (git_advertisement.py).

A refusal is said as a server says it: `report-status` for each ref, and on the side band lines for the reader.
"""

import re
from collections.abc import Mapping, Sequence
from enum import Enum

import msgspec

from ringfence.policy.git import Change

from .malformed import Malformed

MAX_PACKET = 65520  # LARGE_PACKET_MAX in git's pkt-line.h
MAX_COMMANDS_BYTES = 4 << 20
MAX_SHALLOW = 10_000
MAX_REASON = 400
ZERO = "0" * 40

_LENGTH = re.compile(rb"[0-9A-Fa-f]{4}")
_COMMAND = re.compile(r"([0-9a-f]{40}) ([0-9a-f]{40}) (.+)")
_SHALLOW = re.compile(rb"shallow [0-9a-f]{40}\n?")
_CAPABILITY = re.compile(r"[!-~]+")
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)|[./]$")
_KNOWN = ("report-status", "report-status-v2", "delete-refs", "quiet", "atomic", "ofs-delta", "side-band-64k")


class Mark(Enum):
    """A packet without payload."""

    FLUSH = 0
    DELIMITER = 1
    END = 2


Packet = bytes | Mark


class Packets:
    """Packet lines out of bytes as they arrive."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> None:
        """Take further bytes."""
        self._rest += data

    def take(self) -> Packet | None:
        """Give the next packet; None until it has arrived. Raises `Malformed`."""
        head = bytes(self._rest[:4])
        if len(head) < 4:
            return None
        if not _LENGTH.fullmatch(head):
            raise Malformed("a packet line without a length")
        length = int(head, 16)
        if length < 4:
            if length == 3:
                raise Malformed("a packet line of an impossible length")
            del self._rest[:4]
            return Mark(length)
        if length > MAX_PACKET:
            raise Malformed("a packet line that is too long")
        if len(self._rest) < length:
            return None
        payload = bytes(self._rest[4:length])
        del self._rest[:length]
        return payload

    def rest(self) -> bytes:
        """Give what has not been taken, and forget it."""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """What a push asks for; `head` are the bytes it was asked in, flush included."""

    changes: tuple[Change, ...]
    capabilities: frozenset[str]
    head: bytes

    @property
    def sends_pack(self) -> bool:
        """Tell whether a pack follows: unless all that is asked is to delete."""
        return any(change.new for change in self.changes)


class Commands:
    """The commands of a push, out of bytes as they arrive."""

    def __init__(self) -> None:
        self._packets = Packets()
        self._seen = bytearray()
        self._lines: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Asking | None:
        """Take further bytes; give what is asked once it is complete. Raises `Malformed`."""
        self._packets.feed(data)
        while (packet := self._packets.take()) is not None:
            if packet is Mark.FLUSH:
                self._seen += b"0000"
                return _asking(self._lines, bytes(self._seen))
            if not isinstance(packet, bytes):
                raise Malformed("a push with a packet that has no place there")
            self._seen += packet_line(packet)
            self._lines.append(packet)
            if len(self._seen) > MAX_COMMANDS_BYTES:
                raise Malformed("a push with too many commands")
        return None

    def rest(self) -> bytes:
        """Give what came behind the commands."""
        return self._packets.rest()


def packet_line(payload: bytes) -> bytes:
    """Frame a payload."""
    return b"%04x%b" % (len(payload) + 4, payload)


def check_ref(name: str) -> None:
    """Require a full name of a ref that is well formed; raise `Malformed`."""
    if not name.startswith("refs/") or name.count("/") < 2 or _BAD_REF.search(name) or not name.isprintable():
        raise Malformed("a ref whose name is not well formed")


def report(asking: Asking, reasons: Mapping[str, str]) -> bytes:
    """Write the answer of a server that has changed nothing; refs without a reason were not sent for the others'."""
    lines = [b"unpack ok\n"]
    for change in asking.changes:
        reason = reasons.get(change.ref, "not sent: another ref of this push is refused")
        lines.append(f"ng {change.ref} {_line(reason)}\n".encode())
    status = b"".join(packet_line(line) for line in lines) + b"0000"
    if not asking.capabilities & {"report-status", "report-status-v2"}:
        status = b""
    if "side-band-64k" not in asking.capabilities:
        return status
    told = "".join(f"ringfence: {ref}: {_line(reason)}\n" for ref, reason in reasons.items()).encode()
    pieces = [packet_line(b"\x02" + told[at : at + 900]) for at in range(0, len(told), 900)]
    pieces += [packet_line(b"\x01" + status[at : at + 65_000]) for at in range(0, len(status), 65_000)]
    return b"".join(pieces) + b"0000"


def error_advertisement(service: str, reason: str) -> bytes:
    """Write an advertisement that git reads as an error (`ERR`), for people to read."""
    told = packet_line(b"ERR ringfence: " + _line(reason).encode())
    return packet_line(f"# service={service}\n".encode()) + b"0000" + told


def _asking(lines: Sequence[bytes], head: bytes) -> Asking:
    commands = [line for line in lines if not line.startswith(b"shallow ")]
    shallow = lines[: len(lines) - len(commands)]
    if len(shallow) > MAX_SHALLOW or not all(_SHALLOW.fullmatch(line) for line in shallow):
        raise Malformed("a push with other lines than commands")
    capabilities: frozenset[str] = frozenset()
    changes = []
    for number, line in enumerate(commands):
        command, separator, more = line.partition(b"\0")
        if separator:
            if number:
                raise Malformed("capabilities with a later command")
            capabilities = _capabilities(more)
        changes.append(_change(command.removesuffix(b"\n")))
    if len({change.ref for change in changes}) < len(changes):
        raise Malformed("a push that names a ref twice")
    return Asking(changes=tuple(changes), capabilities=capabilities, head=head)


def _capabilities(data: bytes) -> frozenset[str]:
    words = data.decode("latin-1").strip(" \n").split(" ")
    for word in filter(None, words):
        name, _, value = word.partition("=")
        known = name in ("agent", "session-id") or word in _KNOWN or word == "object-format=sha1"
        if not known or not _CAPABILITY.fullmatch(word):
            raise Malformed(_unknown(name, value))
    return frozenset(words)


def _unknown(name: str, value: str) -> str:
    if name == "object-format" and value == "sha256":
        return "repositories with SHA-256 object names are not supported"
    return "options of a push are not allowed" if name == "push-options" else "a push asks for what was not offered"


def _change(line: bytes) -> Change:
    if line.startswith(b"push-cert"):
        raise Malformed("certificates of a push are not allowed")
    try:
        match = _COMMAND.fullmatch(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise Malformed("a ref whose name is not UTF-8") from None
    if match is None or match[1] == match[2] == ZERO:
        raise Malformed("a command of a push that is not well formed")
    check_ref(match[3])
    old, new = ("" if name == ZERO else name for name in match.groups()[:2])
    return Change(ref=match[3], old=old, new=new)


def _line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:MAX_REASON])
