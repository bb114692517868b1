"""What a server says before a push: its refs, and what it is able to do. Less is offered inside than was outside.

    "# service=git-receive-pack" flush [ "version 1" ] first *line flush
    first = id SP ref NUL capabilities        (a repository without refs: ZERO SP "capabilities^{}" NUL capabilities)
    line  = id SP ref / "shallow " id

Offered on are capabilities by whose means nothing is hidden: no certificates, no options, and `no-thin` is added, so
that clients send packs that hold the bases of all their deltas.
"""

import re

import msgspec

from .git_packets import ZERO, Mark, Packets, packet_line
from .malformed import Malformed

MAX_ADVERTISEMENT = 64 << 20
_PREAMBLE = b"# service=git-receive-pack"
_REF = re.compile(r"([0-9a-f]{40}) ([^\0\n]+)")
_OFFERED = ("report-status", "report-status-v2", "delete-refs", "quiet", "atomic", "ofs-delta", "side-band-64k")
_NAMED = ("agent", "session-id", "object-format")


class Advertisement(msgspec.Struct, frozen=True, kw_only=True):
    """A server's refs by name, and the advertisement as it may go inside."""

    refs: dict[str, str]
    rewritten: bytes

    @property
    def tips(self) -> frozenset[str]:
        """The objects that branches and tags point to."""
        return frozenset(name for ref, name in self.refs.items() if ref.startswith(("refs/heads/", "refs/tags/")))


def read_advertisement(data: bytes) -> Advertisement:
    """Read what a server said to `info/refs?service=git-receive-pack`; raise `Malformed`."""
    lines, version = _lines(data)
    if not lines:
        raise Malformed("an advertisement without its first line")
    first, _, words = lines[0].partition(b"\0")
    offered = _offered(words.decode("latin-1").split())
    refs: dict[str, str] = {}
    for line in (first, *lines[1:]):
        text = line.decode("utf-8", "surrogateescape").removesuffix("\n")
        found = _REF.fullmatch(text)
        if found is not None and found[1] != ZERO and found[2] != ".have" and found[2].startswith("refs/"):
            refs[found[2]] = found[1]
        elif found is None and not text.startswith("shallow "):
            raise Malformed("an advertisement with a line that is no ref of SHA-1")
    head = packet_line(_PREAMBLE + b"\n") + b"0000" + (packet_line(version) if version else b"")
    body = b"".join(packet_line(line) for line in (first + b"\0" + offered.encode("latin-1") + b"\n", *lines[1:]))
    return Advertisement(refs=refs, rewritten=head + body + b"0000")


def read_features(data: bytes) -> dict[str, str]:
    """Read the capabilities of a server that speaks version 2 of the protocol; of another all of them, under ``""``."""
    packets, found = Packets(), dict[str, str]()
    packets.feed(data)
    versioned = False
    while (packet := packets.take()) is not None:
        if not isinstance(packet, bytes):
            continue
        line, _, words = packet.decode("latin-1").removesuffix("\n").partition("\0")
        if line == "version 2":
            versioned = True
        elif words and not versioned:
            return {"": words}
        elif versioned:
            name, _, value = line.partition("=")
            found[name] = value
    return found


def _lines(data: bytes) -> tuple[list[bytes], bytes]:
    """Take an advertisement apart: its lines, and the one that says `version 1`, if there is one."""
    packets = Packets()
    packets.feed(data)
    preamble, flush = packets.take(), packets.take()
    if not isinstance(preamble, bytes) or preamble.removesuffix(b"\n") != _PREAMBLE or flush is not Mark.FLUSH:
        raise Malformed("not the advertisement of a server that takes pushes")
    lines: list[bytes] = []
    while (packet := packets.take()) is not Mark.FLUSH:
        if not isinstance(packet, bytes):
            raise Malformed("an advertisement that does not end")
        lines.append(packet)
    if lines and lines[0].removesuffix(b"\n") == b"version 1":
        return lines[1:], lines[0]
    return lines, b""


def _offered(words: list[str]) -> str:
    if any(word.startswith("object-format=") and word != "object-format=sha1" for word in words):
        raise Malformed("repositories with SHA-256 object names are not supported")
    kept = [word for word in words if word in _OFFERED or word.partition("=")[0] in _NAMED]
    return " ".join([*kept, "no-thin"])
