"""Fuzz target: heads of HTTP/1 requests (network/http1.py), beside h11. How to run it: mutation.py."""

import h11
from mutation import run

from ringfence.network.http1 import HEAD_BYTES, Head, check_head_bytes, forwarded_headers, trailers
from ringfence.network.malformed import Malformed

SEEDS = (
    b"GET /a?b HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    b"PUT http://example.com/ HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
    b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nProxy-Connection: keep-alive\r\n\r\n",
    b"GET / HTTP/1.0\r\nX_A: b\r\nCookie: c\r\n\r\n",
)


def judged(data: bytes) -> Head | str | None:
    """Read, with the reason in the place of the error."""
    try:
        return check_head_bytes(data)
    except Malformed as error:
        return error.reason


def one_input(data: bytes) -> None:
    """Check that a judgement does not depend on how the bytes arrive, and that h11 reads a sound head the same way."""
    final = judged(data)
    for length in range(0, len(data), max(1, len(data) // 16)):
        early = judged(data[:length])
        assert early is None or isinstance(early, str) == isinstance(final, str)
        assert not isinstance(early, Head) or early == final
    if isinstance(final, Head) and not final.problem:
        check_against_h11(data[: final.length], final)


def check_against_h11(data: bytes, head: Head) -> None:
    """Write the head anew as the proxy does, and have h11 read both."""
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    server.receive_data(data)
    event = server.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target, event.http_version) == (head.method, head.target, head.version)
    assert [name for name, _ in event.headers] == [name for name, _ in head.headers]
    fields = forwarded_headers(head.headers, authority=b"example.com", websocket=head.websocket)
    sent = h11.Connection(h11.CLIENT).send(h11.Request(method=head.method, target=b"/", headers=fields))
    assert sent is not None
    again = check_head_bytes(sent)
    assert again is not None and again.problem == "" and again.length == len(sent)
    assert not {name for name, _ in trailers(fields)} & {b"host", b"content-length", b"transfer-encoding"}


if __name__ == "__main__":
    run(one_input, SEEDS)
