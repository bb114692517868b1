"""Fuzz target: TLS ClientHellos (network/tls_hello.py). How to run it: mutation.py."""

import ssl

from mutation import run

from ringfence.network.malformed import Malformed
from ringfence.network.tls_hello import Hello, parse_client_hello
from ringfence.policy.hosts import canonical_host


def real(name: str | None, protocols: list[str]) -> bytes:
    """Return what OpenSSL's client sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ECDHE+AESGCM")
    context.set_alpn_protocols(protocols)
    outgoing = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


WHOLE = real("example.com", ["h2", "http/1.1"])
SEEDS = (
    WHOLE,
    real(None, ["h2"]),
    b"".join(b"\x16\3\1" + len(part).to_bytes(2, "big") + part for part in (WHOLE[5:60], WHOLE[60:])),
)


def judged(data: bytes) -> Hello | str | None:
    """Parse, with the reason in the place of the error."""
    try:
        return parse_client_hello(data)
    except Malformed as error:
        return error.reason


def one_input(data: bytes) -> None:
    """Check that a judgement, once there, does not depend on what follows or on how the bytes arrive."""
    final = judged(data)
    for length in range(0, len(data), max(1, len(data) // 16)):
        early = judged(data[:length])
        assert early is None or isinstance(early, str) == isinstance(final, str)
        assert not isinstance(early, Hello) or early == final
    if isinstance(final, Hello):
        assert judged(data + b"\x17\3\3\0\1\0") == final
        assert final.server_name is None or canonical_host(final.server_name) == final.server_name


if __name__ == "__main__":
    run(one_input, SEEDS)
