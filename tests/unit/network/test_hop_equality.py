"""What arrives through the proxy and a hop that changes nothing is what arrives through the proxy alone."""

import asyncio

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.network.gates import Open
from tests.unit.network.talk import HOST, End, carrying, run, talk

PIECES = st.lists(st.binary(min_size=1, max_size=40) | st.integers(1, 300_000).map(bytes), max_size=4)
TRAILERS = st.sampled_from([(), ((b"x-sum", b"1"),), ((b"x-sum", b"1"), (b"x-more", b"a b"))])


class Message(msgspec.Struct, frozen=True):
    """A body: its pieces, how it is framed (`length`, `chunked`, `end`, or `none`), what follows it."""

    framing: str
    pieces: tuple[bytes, ...]
    trailers: tuple[tuple[bytes, bytes], ...]

    @property
    def field(self) -> bytes:
        size = sum(map(len, self.pieces))
        return {"length": b"Content-Length: %d\r\n" % size, "chunked": b"Transfer-Encoding: chunked\r\n"}.get(
            self.framing, b""
        )

    @property
    def wire(self) -> list[bytes]:
        if self.framing == "none":
            return []
        if self.framing != "chunked":
            return list(self.pieces)
        last = b"0\r\n" + b"".join(b"%b: %b\r\n" % field for field in self.trailers) + b"\r\n"
        return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in self.pieces] + [last]


class Exchange(msgspec.Struct, frozen=True):
    """A request and its answer. `early`: the host answers before it reads the body."""

    method: bytes
    request: Message
    status: bytes
    answer: Message
    version: bytes
    informed: bool
    expects: bool
    early: bool
    close: bool


def messages(*framings: str) -> st.SearchStrategy[Message]:
    return st.builds(Message, st.sampled_from(framings), PIECES.map(tuple), TRAILERS)


EXCHANGES = st.builds(
    Exchange,
    st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT"]),
    messages("length", "chunked"),
    st.sampled_from([b"200 OK", b"404 Not Found", b"204 No Content", b"304 Not Modified"]),
    messages("length", "chunked", "end"),
    st.sampled_from([b"1.1", b"1.1", b"1.0"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


async def receive(end: End, *, bodiless: bool = False) -> tuple[bytes, bytes, bytes]:
    """Hear a message: its head, its body out of its framing, what follows."""
    head = await end.hear()
    lines = head.lower().split(b"\r\n")
    lengths = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")]
    if bodiless:
        return head, b"", b""
    if b"transfer-encoding: chunked" not in lines:
        return head, await end.hear_bytes(lengths[0] if lengths else 0), b""
    body = b""
    while size := int(await end.hear(b"\r\n"), 16):
        body += await end.hear_bytes(size)
        await end.hear_bytes(2)
    rest = b""
    while (line := await end.hear(b"\r\n")) != b"\r\n":
        rest += line
    return head, body, rest


async def play_host(upstream: End, exchange: Exchange) -> tuple[bytes, bytes, bytes]:
    """Be the host for one request; give what arrived."""
    answer = exchange.answer
    head = b"HTTP/%b %b\r\nX-A: 1\r\n%b" % (exchange.version, exchange.status, answer.field)
    head += b"Connection: close\r\n\r\n" if exchange.close else b"\r\n"
    arrived = (b"", b"", b"")
    if not exchange.early:
        if exchange.expects:
            await upstream.stream.wait_until_readable()
            await upstream.say("HTTP/1.1 100 Continue\r\n\r\n")
        arrived = await receive(upstream)
    else:
        upstream.stream.unread(await upstream.hear())
    if exchange.informed:
        await upstream.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    await upstream.say(head)
    if exchange.method != b"HEAD" and exchange.status[:3] not in (b"204", b"304"):
        for piece in answer.wire:
            await upstream.say(piece)
    if exchange.early:
        arrived = await receive(upstream)
    if answer.framing == "end" or exchange.version == b"1.0" or exchange.close:
        await upstream.leave()
    return arrived


async def play_client(client: End, exchange: Exchange) -> list[tuple[bytes, bytes, bytes]]:
    """Be the client for one request; give what arrived, informational answers too."""
    bodiless = exchange.method in (b"GET", b"HEAD")
    head = b"%b /a?b=c HTTP/1.1\r\nHost: %b\r\nX-B: 2\r\n" % (exchange.method, HOST.encode())
    if not bodiless:
        head += exchange.request.field + (b"Expect: 100-continue\r\n" if exchange.expects else b"")
    await client.say(head + b"\r\n")
    arrived: list[tuple[bytes, bytes, bytes]] = []
    heard = asyncio.Event()

    async def hear() -> None:
        empty = exchange.method == b"HEAD" or exchange.status[:3] in (b"204", b"304")
        while not arrived or arrived[-1][0].startswith(b"HTTP/1.1 1"):
            start = await client.hear()
            heard.set()
            client.stream.unread(start)
            arrived.append(await receive(client, bodiless=empty or start.startswith(b"HTTP/1.1 1")))

    hearing = asyncio.create_task(hear())
    if not bodiless:
        if exchange.expects and not exchange.early:
            await heard.wait()
        for piece in exchange.request.wire:
            await client.say(piece)
    await hearing
    return arrived


async def converse(exchanges: list[Exchange]) -> list[object]:
    """Play exchanges one after the other; give what arrived on both sides, and when there was a new connection."""
    seen: list[object] = []
    async with talk() as table:
        upstream = None
        for exchange in exchanges:
            client = asyncio.create_task(play_client(table.client, exchange))
            if upstream is None:
                upstream = await table.upstream()
                seen.append("connected")
            host = asyncio.create_task(play_host(upstream, exchange))
            seen += [await client, await host]
            if exchange.answer.framing == "end" or exchange.version == b"1.0" or exchange.close:
                await upstream.hear_all()
                upstream = None
    return seen


def playable(exchange: Exchange) -> Exchange:
    """Leave out what a client would not do: wait for leave where there is no body, or nobody will give it."""
    bodiless = exchange.method in (b"GET", b"HEAD")
    request = Message("none", (), ()) if bodiless else exchange.request
    size = sum(map(len, request.pieces))
    # An early answer to a large body ends with whoever reads first; a small one is read to its end all the same.
    early = exchange.early and not bodiless and size < 1000 and not exchange.expects
    ends = exchange.version == b"1.0" or exchange.close or exchange.answer.framing == "end"
    framing = "end" if exchange.version == b"1.0" and exchange.answer.framing == "chunked" else exchange.answer.framing
    if exchange.status[:3] in (b"204", b"304") or exchange.method == b"HEAD":
        framing = "length" if framing == "end" else framing
    answer = msgspec.structs.replace(exchange.answer, framing=framing)
    expects = exchange.expects and not bodiless
    return msgspec.structs.replace(exchange, request=request, answer=answer, early=early and not ends, expects=expects)


@settings(max_examples=100, deadline=None)
@given(st.lists(EXCHANGES.map(playable), min_size=1, max_size=3))
def test_through_a_hop_that_changes_nothing_the_same_arrives(exchanges: list[Exchange]) -> None:
    alone = run(converse(exchanges))
    with carrying(Open()):
        carried = run(converse(exchanges))
    assert carried == alone
