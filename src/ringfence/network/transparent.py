"""Connections of programs that know of no proxy: the address they wanted says to whom, the first bytes say how.

The rules, for a connection that is to `host`:
- A synthetic address stands for its name, another one for itself; the sandbox's loopback, on a port that is captured,
  for the host's, where a rule speaks of `host-loopback`.
- RAW: the upstream host is dialled at once, for it may be the one to speak first.
- Else the client speaks first. A TLS hello names `host` (nothing, where that is an address), or it is a `mismatch`.
  Under SNI its bytes pass; under INSPECT, and where policy denies, the session's authority answers and each request
  is decided on, so that a program can read why it is refused. HTTP in the clear is decided on by request, always.
- Any other bytes are refused.

`carry` does all this also for connections that an explicit client asked for by name (explicit.py).
"""

import asyncio
import re
from collections.abc import Callable
from enum import Enum

import msgspec

from ringfence.model.decision import Verdict
from ringfence.model.egress import HOST_LOOPBACK, Inspection
from ringfence.policy.egress import decide_connection, inspection
from ringfence.policy.hosts import is_address

from . import relay, tls, tunnel
from .authority import Origin
from .heads import HEAD_TIMEOUT_S
from .malformed import Malformed
from .session import FIRST_BYTE_TIMEOUT_S, Connection, Refusal, Session
from .stream import IDLE_TIMEOUT_S, Stream
from .synthetic import SyntheticAddresses
from .tls_hello import BUFFER_BYTES, Hello, parse_client_hello

HANDSHAKE = 0x16  # the content type of a hello's record, RFC 8446 section 5.1
ACCESS_DENIED = bytes((21, 3, 3, 0, 2, 2, 49))  # a fatal alert, RFC 8446 section 6.2
NOT_UNDERSTOOD = b"ringfence: egress-denied: only TLS and HTTP may pass\r\n"

_METHOD = re.compile(rb"[A-Z][A-Z-]{0,31}")


class Opening(Enum):
    """What a client begins with, where it is no TLS hello."""

    HTTP = "HTTP"
    OTHER = "other"


class Greeting(msgspec.Struct, frozen=True):
    """What a client that asked for a connection waits for: to be let on, or to be refused."""

    accepted: bytes
    refused: Callable[[Refusal], bytes]


UNGREETED = Greeting(b"", lambda refusal: b"")
UNGREETED_TLS = Greeting(b"", lambda refusal: ACCESS_DENIED)


async def serve(client: Stream, session: Session, connection: Connection, names: SyntheticAddresses) -> None:
    """Serve a captured connection to its end; raise OSError where a side cuts it short."""
    address, connection.port = connection.local
    name = names.hold(address)
    connection.host = name or (HOST_LOOPBACK if address in ("127.0.0.1", "::1") else address)
    try:
        if connection.host == HOST_LOOPBACK and _denied(session, connection):
            session.refuse(connection, "egress-denied", "nothing listens there, inside or by a rule")
            client.abort()
        else:
            await carry(client, session, connection, UNGREETED)
    finally:
        if name:
            names.release(address)


async def carry(client: Stream, session: Session, connection: Connection, greeting: Greeting) -> None:
    """Serve a connection to the host and port that `connection` says, for a client that waits for `greeting`."""
    host, port = connection.host, connection.port
    depth = Inspection.INSPECT if _denied(session, connection) else inspection(session.egress, host, port)
    if depth is Inspection.RAW:
        connection.scheme = "tcp"
        await opaque(client, session, connection, greeting)
        return
    await client.write(greeting.accepted)
    try:
        opening = await first_bytes(client)
    except Malformed as error:
        session.refuse(connection, error.code, error.reason)
        await client.write(ACCESS_DENIED)
        return
    except TimeoutError:
        session.refuse(connection, "timed-out", "the client did not say what it wants")
        raise
    if isinstance(opening, Hello):
        await secure(client, session, connection, hello=opening, depth=depth)
    elif opening is Opening.HTTP:
        connection.scheme = "http"
        await relay.serve(client, session, connection, Origin("http", host, port))
    elif opening is Opening.OTHER:
        session.refuse(connection, "egress-denied", "neither TLS nor HTTP, which only a raw rule lets pass")
        await client.write(NOT_UNDERSTOOD)


async def first_bytes(client: Stream) -> Hello | Opening | None:
    """Read until it is clear what a client speaks, leaving the bytes in the stream; None where it says nothing.

    Raise Malformed for a TLS hello that is none, TimeoutError for one who takes too long.
    """
    client.timeout_s = FIRST_BYTE_TIMEOUT_S
    data = await client.read(BUFFER_BYTES)
    if not data:
        return None
    try:
        async with asyncio.timeout(HEAD_TIMEOUT_S):
            while (opening := judged(data)) is None and (more := await client.read(BUFFER_BYTES)):
                data += more
    finally:
        client.unread(data)
        client.timeout_s = IDLE_TIMEOUT_S
    return opening or Opening.OTHER


def judged(data: bytes) -> Hello | Opening | None:
    """Tell what bytes begin; None while that is open. Raise Malformed for a TLS hello that is none."""
    if data[0] == HANDSHAKE:
        return parse_client_hello(data)
    method = _METHOD.match(data)
    if method is None or data[method.end() :][:1] not in (b" ", b""):
        return Opening.OTHER
    return Opening.HTTP if len(data) > method.end() else None


async def secure(client: Stream, session: Session, connection: Connection, *, hello: Hello, depth: Inspection) -> None:
    """Serve a connection that begins with a TLS hello; SECURITY: it goes on only if the hello names the same host."""
    host, port = connection.host, connection.port
    if hello.server_name != (None if is_address(host) else host):
        session.refuse(connection, "mismatch", f"the TLS hello names `{hello.server_name or 'nobody'}`")
        await client.write(ACCESS_DENIED)
        return
    if depth is Inspection.SNI:
        connection.scheme = "tls"
        await opaque(client, session, connection, UNGREETED_TLS)
        return
    connection.scheme = "https"
    try:
        await tls.terminate(client, session, host, port)
    except OSError as error:
        code = "egress-denied" if _denied(session, connection) else "bad-request"
        session.refuse(connection, code, f"the client did not accept to be inspected: {error}")
        raise
    await relay.serve(client, session, connection, Origin("https", host, port))


async def opaque(client: Stream, session: Session, connection: Connection, greeting: Greeting) -> None:
    """Connect and pass bytes unseen, where policy allows it; else answer, or reset who waits for no answer."""
    host, port = connection.host, connection.port
    upstream = await session.permit_tunnel(connection, host, port) or await session.dial(connection, host, port)
    if not isinstance(upstream, Refusal):
        await tunnel.serve(client, upstream, session, connection, greeting=greeting.accepted)
    elif answer := greeting.refused(upstream):
        await client.write(answer)
    else:
        client.abort()


def _denied(session: Session, connection: Connection) -> bool:
    return decide_connection(session.egress, connection.host, connection.port).verdict is Verdict.DENY
