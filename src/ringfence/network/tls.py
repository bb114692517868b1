"""TLS on both sides of an inspected connection: the session's certificate inside, real verification outside.

Contexts and certificates are made by `prepare`, while files can still be opened; after it nothing here reads one.
"""

import functools
import importlib
import ssl
import sys

from ringfence.planner.trust_store import BUNDLE_PATHS
from ringfence.policy.egress import matching
from ringfence.policy.git import governed

from .session import Connection, Refusal, Session
from .stream import Stream

HANDSHAKE_TIMEOUT_S = 20.0
HTTP2_MODULE = "ringfence.network.http2"


@functools.cache
def system_certificates() -> bytes:
    """Read the host's certificate authorities (PEM): SSL_CERT_FILE, else OpenSSL's own file, else the usual places.

    Empty where there are none; then no upstream host is verified, and none is spoken to.
    """
    default = ssl.get_default_verify_paths()
    for path in (default.cafile, *(path for path, _ in BUNDLE_PATHS)):
        try:
            with open(path or "", "rb") as file:
                return file.read()
        except OSError:
            continue
    return b""


@functools.cache
def _verifying() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # CERT_REQUIRED and check_hostname are its defaults
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    pem = system_certificates()
    if b"-----BEGIN CERTIFICATE-----" in pem:
        context.load_verify_locations(cadata=pem.decode("ascii", "ignore"))  # a path would be read again and again
    return context


def upstream_context(*, http2: bool) -> ssl.SSLContext:
    """Give the client side for one handshake: the host's authorities, the host's name demanded, TLS 1.2 or newer.

    It is the same context each time, since reading the authorities takes long; what it offers is the connection's as
    soon as that begins (SSL_CTX_set_alpn_protos(3)).
    """
    context = _verifying()
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    return context


def prepare(*, http2: bool = True) -> None:
    """Load what handshakes need, while files can be opened; without `http2` no rule can have it."""
    "localhost".encode("idna")  # the codec that ssl encodes server names with
    upstream_context(http2=http2)
    if http2:
        importlib.import_module(HTTP2_MODULE)


def offers_http2(session: Session, host: str, port: int) -> bool:
    """Tell whether a rule about `host` on `port` asks for HTTP/2, and it has been prepared."""
    if governed(session.egress, host):
        return False  # git is judged in HTTP/1.1 (git_service.py)
    return HTTP2_MODULE in sys.modules and any(rule.http2 for rule in matching(session.egress, host, port))


async def terminate(client: Stream, session: Session, host: str, port: int = 443) -> None:
    """Be `host` for a client inside; raise OSError where the handshake fails, as with one that pins certificates."""
    context = session.authority.context_for(host, http2=offers_http2(session, host, port))
    await _handshake(client, context, server_side=True)


async def connect(session: Session, connection: Connection, *, http2: bool = False) -> Stream | Refusal:
    """Connect to what `connection` is for, with TLS where its scheme is `https`; a refusal has been recorded.

    `http2` offers it to the server, which may still choose HTTP/1.1.
    """
    scheme = "" if http2 else connection.scheme
    dialed = await session.dial(connection, connection.host, connection.port, scheme=scheme)
    if isinstance(dialed, Refusal) or connection.scheme != "https" or connection.carried:
        return dialed
    failed = await secure(dialed, connection.host, http2=http2)
    return session.refuse(connection, failed.code, failed.reason) if failed else dialed


async def secure(upstream: Stream, host: str, *, http2: bool = False) -> Refusal | None:
    """Make TLS with `host`, who must prove to be it; where that fails, cut the connection and say why."""
    try:
        await _handshake(upstream, upstream_context(http2=http2), server_side=False, host=host)
    except ssl.SSLCertVerificationError as error:
        upstream.abort()
        return Refusal("upstream-certificate", error.verify_message)
    except OSError as error:
        upstream.abort()
        return Refusal("timed-out" if isinstance(error, TimeoutError) else "unreachable", f"TLS: {_reason(error)}")
    return None


async def _handshake(stream: Stream, context: ssl.SSLContext, *, server_side: bool, host: str = "") -> None:
    idle, stream.timeout_s = stream.timeout_s, HANDSHAKE_TIMEOUT_S
    try:
        await stream.start_tls(context, server_side=server_side, server_hostname=host)
    finally:
        stream.timeout_s = idle


def _reason(error: OSError) -> str:
    return (getattr(error, "reason", None) or str(error) or type(error).__name__).replace("_", " ").lower()
