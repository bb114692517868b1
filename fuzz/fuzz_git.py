"""Fuzz target: packet lines, commands of pushes and packs (network/git_*.py). How to run it: mutation.py."""

import base64
import functools
import zlib
from collections.abc import Callable

from mutation import run

from ringfence.model.git import Signer
from ringfence.network.git_advertisement import read_advertisement
from ringfence.network.git_objects import NAMES, identifier, read_tree
from ringfence.network.git_pack import Pack
from ringfence.network.git_packets import Commands, packet_line
from ringfence.network.git_signature import problem
from ringfence.network.malformed import Malformed

WHO = b"A <a@example.com> 1700000000 +0000\n"
COMMIT = b"tree " + b"1" * 40 + b"\nauthor " + WHO + b"committer " + WHO + b"\nm\n"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOJvPI25RpwZdYyTqF7dvkuvKTRtu92VdgAbU6kZ4J7z"
ARMOR = base64.encodebytes(
    b"SSHSIG\0\0\0\1"
    + b"".join(
        len(part).to_bytes(4, "big") + part
        for part in (
            base64.b64decode(KEY.split()[1]),
            b"git",
            b"",
            b"sha512",
            b"\0\0\0\x0bssh-ed25519\0\0\0@" + bytes(64),
        )
    )
).replace(b"\n", b"\n ")
HEADER = b"\ngpgsig -----BEGIN SSH SIGNATURE-----\n " + ARMOR + b"-----END SSH SIGNATURE-----\n\n"
TREE = b"100644 a\0" + bytes(20) + b"40000 d\0" + bytes(20)
SEEDS = (
    COMMIT.replace(b"\n\n", HEADER),
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
    """Check that each parser reads it or says why not; no object has a name, or a signature, that is not its own."""
    judged(lambda: Commands().feed(data))
    judged(lambda: read_advertisement(data))
    assert problem(data, (Signer(KEY),), 0)  # by whoever has that key, which nobody is here
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
