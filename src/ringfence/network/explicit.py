"""Connections of programs that know they speak to a proxy: SOCKS5, HTTP CONNECT and absolute-form, by the first byte.

A name that such a client has looked up by itself has become a synthetic address; it is the name again here. What is
tunnelled is then judged as if it had been captured: whom the client asked for, its TLS hello and its requests agree.
"""

import asyncio

from . import relay, socks5
from .authority import Target
from .denial import denial
from .heads import HEAD_TIMEOUT_S
from .malformed import Malformed
from .session import FIRST_BYTE_TIMEOUT_S, Connection, Refusal, Session
from .stream import IDLE_TIMEOUT_S, Stream
from .synthetic import SyntheticAddresses
from .transparent import Greeting, carry

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
    if refusal:
        await client.write(greeting.refused(refusal))
    else:
        await carry(client, session, connection, greeting)


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
