"""Fuzz target: SOCKS5 handshakes (network/socks5.py). How to run it: mutation.py."""

from mutation import run

from ringfence.network.malformed import Malformed
from ringfence.network.socks5 import Connect, Rejected, Socks5
from ringfence.policy.hosts import canonical_host

SEEDS = (
    b"\5\1\0\5\1\0\3\x0bexample.com\1\xbb",
    b"\5\2\0\2\5\1\0\1\xc0\0\2\7\0\x50trailing",
    b"\5\1\2\1\4user\4word\5\1\0\4" + bytes(15) + b"\1\1\xbb",
    b"\5\1\2\1\4user\5wrong",
    b"\5\1\0\5\2\0\3\1a\0\1",
)
PASSWORDS = ("", "user:word")


def spoken(pieces: list[bytes], password: str) -> tuple[Connect | Rejected | str | None, bytes, bytes]:
    """Feed the pieces; return the outcome, what was sent, and what was left for the host that was asked for."""
    machine = Socks5(password)
    sent = b""
    for index, piece in enumerate(pieces):
        try:
            outcome = machine.receive(piece)
        except Malformed as error:
            return error.reason, b"", b""
        sent += machine.to_send()
        if outcome is not None:
            rest = machine.trailing + b"".join(pieces[index + 1 :])
            return outcome, sent, rest if isinstance(outcome, Connect) else b""
    return None, sent, b""


def one_input(data: bytes) -> None:
    """Check that the outcome does not depend on how the bytes arrive."""
    for password in PASSWORDS:
        whole = spoken([data], password)
        assert spoken([bytes((byte,)) for byte in data], password) == whole or not data
        assert spoken([data[: len(data) // 2], data[len(data) // 2 :]], password) == whole
        outcome = whole[0]
        if isinstance(outcome, Connect):
            assert canonical_host(outcome.host) == outcome.host and 0 < outcome.port < 65536


if __name__ == "__main__":
    run(one_input, SEEDS)
