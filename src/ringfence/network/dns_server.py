"""The name server inside: names that policy lets be asked about have an address that stands for them; no other exists.

SECURITY: nothing here asks anybody else, so a name is no way out for data; the dialer looks a name up when it connects.
"""

import asyncio
import math
import socket

from ringfence.model.decision import Verdict
from ringfence.policy.hosts import is_address

from . import dns
from .malformed import Malformed
from .session import FIRST_BYTE_TIMEOUT_S, Session
from .stream import Stream
from .synthetic import SyntheticAddresses

MAX_QUERIES = 100  # on one TCP connection
LOCALHOST = "127.0.0.1"


def answer(session: Session, names: SyntheticAddresses, message: bytes) -> bytes:
    """Answer one query; empty where there must be no answer. What is denied has been recorded."""
    try:
        question = dns.parse_query(message)
    except Malformed:
        return dns.failure(message)
    if question.qclass != dns.INTERNET:
        return dns.refused(question)
    if question.pointed_at:
        name = names.name_of(question.pointed_at)
        return dns.pointer_answer(question, name) if name else dns.no_such_name(question)
    local = question.name == "localhost" or question.name.endswith(".localhost")  # RFC 6761 section 6.3
    if not local and not _exists(session, question.name):
        return dns.no_such_name(question)
    if question.qtype != dns.A:
        return dns.no_data(question)
    address = LOCALHOST if local else names.address_of(question.name)
    if address and not local:
        session.name(address, question.name)
    return dns.address_answer(question, address) if address else dns.refused(question)


def _exists(session: Session, name: str) -> bool:
    if not name or is_address(name):
        return False
    decision = session.decide_name(name)
    if decision.verdict is Verdict.DENY:
        session.refuse(None, "egress-denied", decision.reason, host=name, rule=decision.rule, protocol="dns")
        return False
    return True


async def serve_datagrams(listening: socket.socket, session: Session, names: SyntheticAddresses) -> None:
    """Answer queries by UDP until cancelled; one that cannot be answered at once is lost, as UDP allows."""
    arrivals = Stream(listening)
    arrivals.timeout_s = math.inf
    while True:
        await arrivals.wait_until_readable()
        try:
            message, client = listening.recvfrom(dns.QUERY_BYTES + 1)
            if reply := answer(session, names, message):
                listening.sendto(reply, client)
        except OSError:
            pass  # the client is gone, or its buffer is full
        await session.drain()


async def serve_stream(client: Stream, session: Session, names: SyntheticAddresses) -> None:
    """Answer queries by TCP (RFC 7766); raise OSError where the client cuts it short."""
    received = b""
    for _ in range(MAX_QUERIES):
        async with asyncio.timeout(FIRST_BYTE_TIMEOUT_S):
            while len(received) < (length := 2 + int.from_bytes(received[:2], "big")):
                data = await client.read()
                if not data:
                    return
                received += data
        if length > 2 + dns.QUERY_BYTES:
            return
        reply = answer(session, names, received[2:length])
        received = received[length:]
        if not reply:
            return
        await client.write(len(reply).to_bytes(2, "big") + reply)
        await session.drain()
