"""Whatever a client sends, an upstream host that reads as leniently as any sees the requests that were decided on."""

import asyncio
import re

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.model.egress import Egress
from tests.unit.network.talk import HOST, End, rule, run, talk

EGRESS = Egress(rules=(rule(methods=("GET", "POST"), paths=("/ok/**",)),))

PIECES = st.sampled_from(
    [
        b"GET /ok/a HTTP/1.1\r\n",
        b"POST /ok/b HTTP/1.1\r\n",
        b"POST /denied HTTP/1.1\r\n",
        b"DELETE /ok/c HTTP/1.1\r\n",
        b"GET /ok/%2e%2e/denied HTTP/1.1\r\n",
        b"GET http://other.test/ok/x HTTP/1.1\r\n",
        b"Host: api.test\r\n",
        b"Host: api.test\r\n",
        b"Host: api.test\r\n",
        b"Host: other.test\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Content-Length: 43\r\n",
        b"Content-Length : 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding:\tchunked\r\n",
        b"Transfer-Encoding: x, chunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Connection: keep-alive, Content-Length\r\n",
        b"Expect: 100-continue\r\n",
        b" folded\r\n",
        b"X: \n",
        b"\r\n",
        b"\r\n",
        b"\n",
        b"hello",
        b"5\r\nhello\r\n",
        b"5;a=b\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\nContent-Length: 5\r\n\r\n",
        b"GET /denied HTTP/1.1\r\nHost: other.test\r\n\r\n",
    ]
)
WHOLE = st.sampled_from(
    [
        b"GET /ok/1 HTTP/1.1\r\nHost: api.test\r\n\r\n",
        b"POST /ok/2 HTTP/1.1\r\nHost: api.test\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /ok/3 HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"POST /ok/4 HTTP/1.1\r\nHost: api.test\r\nContent-Length: 43\r\n\r\n",
    ]
)
HEAD = re.compile(rb"\r?\n\r?\n")


def lenient(data: bytes) -> list[tuple[bytes, list[bytes]]]:
    """Read requests as a careless server does: bare line feeds, any spelling of chunked, the first length."""
    found = []
    while end := HEAD.search(data):
        line, *fields = data[: end.start()].replace(b"\r\n", b"\n").split(b"\n")
        data = data[end.end() :]
        named = [field.partition(b":") for field in fields]
        values = [(name.strip().lower(), value.strip()) for name, _, value in named]
        found.append((line, [value for name, value in values if name == b"host"]))
        if any(name == b"transfer-encoding" and b"chunked" in value.lower() for name, value in values):
            data = after_chunks(data)
        else:
            data = data[next((int(value) for name, value in values if name == b"content-length"), 0) :]
    return found


def after_chunks(data: bytes) -> bytes:
    """Skip a chunked body; trailers end at an empty line."""
    while True:
        size, _, data = data.partition(b"\n")
        count = int(size.partition(b";")[0] or b"0", 16)
        if not count:
            return data.partition(b"\r\n")[2] if data.startswith(b"\r\n") else data.partition(b"\r\n\r\n")[2]
        data = data[count + 2 :]


async def upstream_host(end: End, heard: list[bytes]) -> None:
    """Answer every request that h11 sees, and keep every byte."""
    parser = h11.Connection(h11.SERVER)
    try:
        while data := await end.stream.read():
            heard[-1] += data
            parser.receive_data(data)
            while not isinstance(event := parser.next_event(), type(h11.NEED_DATA)):
                if isinstance(event, h11.EndOfMessage):
                    head = h11.Response(status_code=200, headers=[("Content-Length", "2")])
                    parts = (head, h11.Data(data=b"ok"), h11.EndOfMessage())
                    await end.say(b"".join(parser.send(part) or b"" for part in parts))
                    parser.start_next_cycle()
    except OSError:
        pass  # cut: the client did not finish what it began


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(WHOLE, PIECES), max_size=14))
def test_only_what_was_decided_on_is_seen(pieces: list[bytes]) -> None:
    async def conversation() -> None:
        async with talk(egress=EGRESS) as table:
            heard: list[bytes] = []

            async def upstreams() -> None:
                while True:
                    end = await table.upstream()
                    heard.append(b"")
                    await upstream_host(end, heard)

            listening = asyncio.create_task(upstreams())
            try:
                await table.client.say(b"".join(pieces))
                await table.client.leave()
                while await table.client.stream.read():
                    pass
            except OSError:
                pass  # it was cut in the middle of a message
            await asyncio.wait([table.served])
            listening.cancel()
            await asyncio.wait([listening])
            seen = [request for data in heard for request in lenient(data)]
            assert all(hosts == [HOST.encode()] for _, hosts in seen), seen
            assert all(re.match(rb"(GET|POST) /ok/\w ", line) for line, _ in seen), seen
            await table.session.drain()
            await asyncio.sleep(0)
            passed = [record for record in table.records if record.kind == "egress" and "method" in record.fields]
            assert len(seen) <= len(passed)

    run(conversation())
