"""ClientHellos for tests: real ones, from OpenSSL, and ones put together byte by byte."""

import ssl


def real(server_name: str | None = "example.com", alpn: tuple[str, ...] = (), **versions: ssl.TLSVersion) -> bytes:
    """Return what OpenSSL's client sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, version in versions.items():
        setattr(context, name, version)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def vector(width: int, data: bytes) -> bytes:
    """Put the length of `data` before it."""
    return len(data).to_bytes(width, "big") + data


def extension(kind: int, data: bytes) -> bytes:
    """Write one extension."""
    return kind.to_bytes(2, "big") + vector(2, data)


def named(*names: bytes, kind: int = 0) -> bytes:
    """Write a server_name extension."""
    return extension(0, vector(2, b"".join(bytes((kind,)) + vector(2, name) for name in names)))


def body(
    extensions: bytes | None, *, session: bytes = b"", suites: bytes = b"\x13\x01", methods: bytes = b"\0"
) -> bytes:
    """Write a ClientHello without the head of its message; no list of extensions for None."""
    listed = b"" if extensions is None else vector(2, extensions)
    return b"\x03\x03" + bytes(32) + vector(1, session) + vector(2, suites) + vector(1, methods) + listed


def message(content: bytes, kind: int = 1) -> bytes:
    """Write a handshake message."""
    return bytes((kind,)) + vector(3, content)


def records(handshake: bytes, size: int = 1 << 14, *, kind: int = 22, version: bytes = b"\x03\x01") -> bytes:
    """Cut a handshake message into records of at most `size` bytes."""
    pieces = [handshake[start : start + size] for start in range(0, len(handshake), size)]
    return b"".join(bytes((kind,)) + version + vector(2, piece) for piece in pieces)


def hello(*extensions: bytes) -> bytes:
    """Write a hello in one record."""
    return records(message(body(b"".join(extensions))))
