"""Heads of HTTP/1 messages as they arrive on a stream: whole, in time, and with one meaning."""

import asyncio

import h11

from .http1 import HEAD_BYTES, Head, check_head_bytes
from .malformed import Malformed
from .stream import Stream

HEAD_TIMEOUT_S = 30.0
MAX_INFORMATIONAL = 50  # answers before the one: they count against no budget, and need never end


def parser(role: type[h11.CLIENT] | type[h11.SERVER]) -> h11.Connection:
    """Give h11's side of one request and its response, as the one who asks or the one who answers."""
    return h11.Connection(role, max_incomplete_event_size=HEAD_BYTES * 2)


async def read_request(client: Stream, asked: h11.Connection) -> Head | None:
    """Read a request's head, and let h11 agree with it; None where the client ends before one, in whatever way.

    Raise Malformed for one that has no meaning, which stays in the stream; OSError where the client stops in
    the middle.
    """
    try:
        data = await client.read()
    except OSError:
        return None
    if not data:
        return None
    try:
        async with asyncio.timeout(HEAD_TIMEOUT_S):
            while (head := check_head_bytes(data)) is None:
                more = await client.read()
                if not more:
                    raise ConnectionAbortedError("the head ended early")
                data += more
        asked.receive_data(data)
        event = asked.next_event()
        if not isinstance(event, h11.Request) or (event.method, event.target) != (head.method, head.target):
            raise Malformed("not an HTTP/1.1 request")
    except h11.RemoteProtocolError as error:
        client.unread(data)
        raise Malformed("not an HTTP/1.1 request") from error
    except Malformed:
        client.unread(data)
        raise
    return head


async def read_response(upstream: Stream, asking: h11.Connection) -> h11.Response | h11.InformationalResponse:
    """Read the next head of an answer; raise h11.RemoteProtocolError for what is none, OSError as the stream does."""
    try:
        while (event := asking.next_event()) is h11.NEED_DATA:
            data = await upstream.read()
            if not data:
                raise ConnectionAbortedError("the host closed the connection before it had answered")
            asking.receive_data(data)
    except h11.RemoteProtocolError as error:  # whose text is the library's, for its users
        raise h11.RemoteProtocolError("what the host answered is not HTTP/1.1") from error
    if isinstance(event, h11.Response | h11.InformationalResponse):
        return event
    raise h11.RemoteProtocolError("no response")
