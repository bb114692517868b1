"""Fuzz target: packet lines, commands of pushes and packs (network/git_*.py). How to run it: mutation.py."""

import functools
import zlib
from collections.abc import Callable

from mutation import run

from ringfence.network.git_advertisement import read_advertisement
from ringfence.network.git_objects import NAMES, identifier, read_tree
from ringfence.network.git_pack import Pack
from ringfence.network.git_packets import Commands, packet_line
from ringfence.network.malformed import Malformed

WHO = b"A <a@example.com> 1700000000 +0000\n"
COMMIT = b"tree " + b"1" * 40 + b"\nauthor " + WHO + b"committer " + WHO + b"\nm\n"
TREE = b"100644 a\0" + bytes(20) + b"40000 d\0" + bytes(20)
SEEDS = (
    b"PACK\0\0\0\2\0\0\0\1" + bytes([0x90 | len(COMMIT) & 15, len(COMMIT) >> 4]) + zlib.compress(COMMIT) + bytes(20),
    b"PACK\0\0\0\2\0\0\0\2"
    + bytes([0xA0 | len(TREE) & 15, len(TREE) >> 4])
    + zlib.compress(TREE)
    + b"\x65\x1a"
    + zlib.compress(bytes([len(TREE), len(TREE), 0x90, len(TREE)]))
    + bytes(20),
    packet_line(b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/a\0 report-status side-band-64k") + b"0000PACK",
    packet_line(b"# service=git-receive-pack\n")
    + b"0000"
    + packet_line(b"1" * 40 + b" refs/heads/a\0ofs-delta\n")
    + b"0000",
)


def one_input(data: bytes) -> None:
    """Check that each parser reads it or says why not, and that no object has a name that is not its digest."""
    judged(lambda: Commands().feed(data))
    judged(lambda: read_advertisement(data))
    pack = Pack(trees=True)
    judged(lambda: follow(pack, data))
    for name in pack.offsets:
        content = pack.content(lambda offset, size: data[offset : offset + size], name)
        assert name in {identifier(kind, content) for kind in NAMES}
        judged(functools.partial(read_tree, content))


def follow(pack: Pack, data: bytes) -> None:
    """Read a pack as it would arrive."""
    for at in range(0, len(data), 64):
        pack.feed(data[at : at + 64])
    pack.finish()
    for _ in pack.resolve(lambda offset, size: data[offset : offset + size]):
        pass


def judged(read: Callable[[], object]) -> None:
    """Have something read."""
    try:
        read()
    except Malformed:
        pass


if __name__ == "__main__":
    run(one_input, SEEDS)
