"""Connections of programs that know they speak to a proxy: SOCKS5, HTTP CONNECT and absolute-form, by the first byte.

A name that such a client has looked up by itself has become a synthetic address; it is the name again here. What is
tunnelled is then judged as if it had been captured: whom the client asked for, its TLS hello and its requests agree.

git shows its user nothing of an answer to CONNECT but the status, and everything of an answer to a request. So it is
told why inside the TLS that it asked for. Others are not: a tunnel that is refused is what a host out of reach looks
like, whereas pip takes a page that is refused for an empty one, and `curl` ends with 0.
"""

import asyncio

import h11

from ringfence.policy.egress import needs_inspection
from ringfence.policy.hosts import is_address

from . import heads, relay, socks5, tls
from .authority import Target
from .denial import denial
from .heads import HEAD_TIMEOUT_S
from .malformed import Malformed
from .session import FIRST_BYTE_TIMEOUT_S, Connection, Refusal, Session
from .stream import IDLE_TIMEOUT_S, Stream
from .synthetic import SyntheticAddresses
from .tls_hello import Hello
from .transparent import Greeting, carry, first_bytes

TOLD_INSIDE = b"git/"
HTTPS = 443
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


async def serve(
    client: Stream, session: Session, connection: Connection, names: SyntheticAddresses, *, password: str = ""
) -> None:
    """Serve a client of the proxy to its end; raise OSError where a side cuts it short.

    `password` is `user:password` that it must give, empty where none is asked for.
    """
    client.timeout_s = FIRST_BYTE_TIMEOUT_S
    first = await client.read()
    client.unread(first)
    client.timeout_s = IDLE_TIMEOUT_S
    wanted: socks5.Connect | relay.Connect | None = None
    if first[:1] == bytes((socks5.VERSION,)):
        wanted = await socks(client, session, connection, password)
    elif first:
        wanted = await relay.serve(client, session, connection, None, password=password)
    if wanted is None:
        return
    connection.host, connection.port = names.name_of(wanted.host) or wanted.host, wanted.port
    greeting = SOCKS if isinstance(wanted, socks5.Connect) else http_greeting(session, connection)
    refusal = await session.permit_connection(connection, connection.host, connection.port)
    if refusal and isinstance(wanted, relay.Connect) and is_told_inside(session, wanted):
        await client.write(greeting.accepted)
        await tell_inside(client, session, connection, refusal)
    elif refusal:
        await client.write(greeting.refused(refusal))
    else:
        await carry(client, session, connection, greeting)


def is_told_inside(session: Session, wanted: relay.Connect) -> bool:
    """Tell whether a client should read why it is refused in TLS, by an authority that the inside trusts."""
    trusted = needs_inspection(session.egress) and not tls.offers_http2(session, wanted.host, wanted.port)
    return trusted and wanted.port == HTTPS and wanted.agent.startswith(TOLD_INSIDE)


async def tell_inside(client: Stream, session: Session, connection: Connection, refusal: Refusal) -> None:
    """Answer one request for what has been refused, and recorded; SECURITY: nothing is looked up or dialled for it."""
    host, port = connection.host, connection.port
    try:
        opening = await first_bytes(client)
        if isinstance(opening, Hello) and opening.server_name == (None if is_address(host) else host):
            await tls.terminate(client, session, host, port)
            if head := await heads.read_request(client, heads.parser(h11.SERVER)):
                session.suspect(connection, refusal, head.said)
                await client.write(http_greeting(session, connection).refused(refusal))
    except Malformed:
        pass  # it is refused all the same


async def socks(client: Stream, session: Session, connection: Connection, password: str) -> socks5.Connect | None:
    """Carry out a SOCKS5 handshake up to its request, which is left to be answered; None where it ends before."""
    handshake = socks5.Socks5(password)
    try:
        async with asyncio.timeout(HEAD_TIMEOUT_S):
            while data := await client.read():
                outcome = handshake.receive(data)
                await client.write(handshake.to_send())
                if isinstance(outcome, socks5.Connect):
                    client.unread(handshake.trailing)
                    return outcome
                if isinstance(outcome, socks5.Rejected):
                    session.refuse(connection, "bad-request", f"SOCKS5: {outcome.reason}")
                    return None
    except Malformed as error:
        session.refuse(connection, error.code, f"SOCKS5: {error.reason}")
    return None


SOCKS = Greeting(socks5.reply(socks5.Reply.SUCCEEDED), lambda refusal: socks5.reply_to_denial(refusal.code))


def http_greeting(session: Session, connection: Connection) -> Greeting:
    """Give the answers to CONNECT."""
    target = Target(scheme="", host=connection.host, port=connection.port, path="")

    def refused(refusal: Refusal) -> bytes:
        return denial(session, refusal, target, "CONNECT").wire(keep=False)

    return Greeting(ESTABLISHED, refused)
