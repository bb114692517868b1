"""HTTP/2 through the proxy: hyper-h2 on both ends in the test's hands, TLS and the proxy's core between them.

Longer than 400 lines: conversations of frames, each short, that share the two ends at the top.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import h2.connection
import h2.events
import pytest
from h2.config import H2Configuration
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from ringfence.model.egress import Egress
from ringfence.network import relay, tls
from ringfence.network.authority import Origin
from ringfence.network.ca import SessionAuthority
from ringfence.network.marks import Marks
from ringfence.network.session import Connection, Session
from ringfence.network.stream import Stream
from tests.unit.network.talk import HOST, End, Talk, rule, run, talk

Headers = list[tuple[bytes, bytes]]
LARGE = bytes(range(256)) * 4096 * 8  # 8 MB
HOST_AUTHORITY = SessionAuthority.create()
"""Stands for the authorities that the world trusts; it signs for the upstream hosts."""
AUTHORITY = SessionAuthority.create()
EGRESS = Egress(rules=(rule(http2=True), rule("plain.test")))

tls.prepare()
for offered in (False, True):
    tls.upstream_context(http2=offered).load_verify_locations(cadata=HOST_AUTHORITY.certificate_pem)


class Peer:
    """One end that speaks HTTP/2 by hyper-h2, and remembers what it was told."""

    def __init__(self, end: End, *, client_side: bool) -> None:
        self.end = end
        self.h2 = h2.connection.H2Connection(H2Configuration(client_side=client_side, header_encoding=None))
        self.events: list[h2.events.Event] = []
        self.bodies: dict[int, bytearray] = {}
        self.acknowledging = True
        self.h2.initiate_connection()
        self._received = bytearray()
        self._at = 0 if client_side else 24  # the preface

    async def flush(self) -> None:
        if data := self.h2.data_to_send():
            await self.end.say(data)

    async def listen(self) -> bool:
        """Take what comes next; False at the end."""
        await self.flush()
        data = await self.end.stream.read()
        for event in self._events(data):
            self.events.append(event)
            if isinstance(event, h2.events.DataReceived):
                self.bodies.setdefault(event.stream_id, bytearray()).extend(event.data)
                if self.acknowledging and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        await self.flush()
        return bool(data)

    def _events(self, data: bytes) -> Iterator[h2.events.Event]:
        """Read frame by frame, and go on after GOAWAY, as other clients do and hyper-h2 does not."""
        self._received += data
        while len(self._received) >= self._at + 9:
            size = self._at + 9 + int.from_bytes(self._received[self._at : self._at + 3], "big")
            if len(self._received) < size:
                return
            frame, self._received = bytes(self._received[:size]), self._received[size:]
            self._at = 0
            yield from self.h2.receive_data(frame)
            if frame[3] == 7:
                self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN

    async def event(self, kind: type, stream_id: int | None = None) -> h2.events.Event:
        """Wait for an event of a kind."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and stream_id in (None, getattr(event, "stream_id", None)):
                    self.events.remove(event)
                    return event
            assert await self.listen(), f"ended without {kind.__name__}; {self.events}"

    async def ask(self, method: str = "GET", path: str = "/", *, end: bool = True, **more: str) -> int:
        """Send the head of a request."""
        stream_id = self.h2.get_next_available_stream_id()
        fields = {":method": method, ":scheme": "https", ":authority": HOST, ":path": path}
        fields |= {
            name.replace("authority", ":authority").replace("scheme", ":scheme"): value for name, value in more.items()
        }
        self.h2.send_headers(stream_id, list(fields.items()), end_stream=end)
        await self.flush()
        return stream_id

    async def answer(self, stream_id: int, status: str = "200", *, end: bool = False, **fields: str) -> None:
        """Send the head of a response."""
        self.h2.send_headers(
            stream_id,
            [(":status", status), *((name.replace("_", "-"), value) for name, value in fields.items())],
            end_stream=end,
        )
        await self.flush()

    async def send(self, stream_id: int, data: bytes, *, end: bool = True) -> None:
        """Send a body, as the windows allow."""
        rest = memoryview(data)
        while rest:
            room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size, len(rest))
            if room == 0:
                await self.listen()
                continue
            self.h2.send_data(stream_id, bytes(rest[:room]), end_stream=end and room == len(rest))
            rest = rest[room:]
            await self.flush()
        if end and not data:
            self.h2.end_stream(stream_id)
            await self.flush()

    async def status(self, stream_id: int) -> tuple[bytes, dict[bytes, bytes]]:
        """Wait for the head of a response."""
        event = await self.event(h2.events.ResponseReceived, stream_id)
        assert isinstance(event, h2.events.ResponseReceived)
        fields = dict(event.headers)
        return fields.pop(b":status"), fields

    async def body(self, stream_id: int) -> bytes:
        """Wait for the end of a stream; give its body."""
        await self.event(h2.events.StreamEnded, stream_id)
        return bytes(self.bodies.get(stream_id, b""))


async def serve(client: Stream, session: Session, connection: Connection) -> relay.Connect | None:
    await tls.terminate(client, session, HOST, 443)
    return await relay.serve(client, session, connection, Origin("https", HOST, 443))


@asynccontextmanager
async def table(egress: Egress = EGRESS) -> AsyncIterator[tuple[Talk, Peer]]:
    """Shake hands as the client."""
    context = ssl.create_default_context(cadata=AUTHORITY.certificate_pem)
    context.set_alpn_protocols(["h2", "http/1.1"])
    origin = Origin("https", HOST, 443)
    async with talk(origin, egress, authority=AUTHORITY, serve=serve) as made:
        await made.client.stream.start_tls(context, server_side=False, server_hostname=HOST)
        assert made.client.stream.tls is not None
        assert made.client.stream.tls.selected_alpn_protocol() == "h2"
        client = Peer(made.client, client_side=True)
        await client.flush()
        yield made, client


async def host(made: Talk, *, http2: bool = True, settings: dict[SettingCodes | int, int] | None = None) -> Peer:
    """Be the upstream host of the next connection."""
    end = await made.upstream()
    await end.stream.start_tls(HOST_AUTHORITY.context_for(HOST, http2=http2), server_side=True)
    peer = Peer(end, client_side=False)
    if settings:
        peer.h2.update_settings(settings)
    await peer.flush()
    return peer


async def asked(peer: Peer) -> tuple[int, Headers]:
    """Wait for a request at the host."""
    event = await peer.event(h2.events.RequestReceived)
    assert isinstance(event, h2.events.RequestReceived)
    return event.stream_id, [(bytes(name), bytes(value)) for name, value in event.headers]


def test_streams_are_passed_on_and_the_connection_is_shared() -> None:
    async def conversation() -> None:
        async with table() as (made, client):
            first = await client.ask(path="/a%62?q", te="trailers", cookie="a=b")
            upstream = await host(made)
            stream_id, headers = await asked(upstream)
            assert dict(headers) == {
                b":method": b"GET",
                b":scheme": b"https",
                b":authority": HOST.encode(),
                b":path": b"/ab?q",
                b"cookie": b"a=b",
                b"te": b"trailers",
            }
            second = await client.ask(path="/2")
            other, _ = await asked(upstream)
            for number in (other, stream_id):
                await upstream.answer(number, alt_svc="h3=:443", x_n=str(number))
                await upstream.send(number, b"body %d" % number)
            for number, there in ((second, other), (first, stream_id)):
                status, fields = await client.status(number)
                assert status == b"200"
                assert fields == {b"x-n": b"%d" % there}
                assert await client.body(number) == b"body %d" % there
            assert made.dialled == [(HOST, 443)] and made.schemes == [""], "no vault can be between"
            records = await made.recorded("egress", 2)
            assert {record.fields["path"] for record in records} == {"/ab", "/2"}

    run(conversation())


def test_trailers_pass_both_ways_as_grpc_wants_them() -> None:
    async def conversation() -> None:
        async with table() as (made, client):
            call = await client.ask("POST", "/pkg.Service/Method", end=False, te="trailers")
            await client.send(call, b"\0\0\0\0\1x", end=False)
            client.h2.send_headers(call, [("x-checksum", "1")], end_stream=True)
            await client.flush()
            upstream = await host(made)
            stream_id, _ = await asked(upstream)
            sent = await upstream.event(h2.events.TrailersReceived, stream_id)
            assert isinstance(sent, h2.events.TrailersReceived)
            assert list(sent.headers) == [(b"x-checksum", b"1")]
            assert await upstream.body(stream_id) == b"\0\0\0\0\1x"
            await upstream.answer(stream_id, content_type="application/grpc")
            await upstream.send(stream_id, b"\0\0\0\0\1y", end=False)
            upstream.h2.send_headers(stream_id, [("grpc-status", "0")], end_stream=True)
            await upstream.flush()
            received = await client.event(h2.events.TrailersReceived, call)
            assert isinstance(received, h2.events.TrailersReceived)
            assert list(received.headers) == [(b"grpc-status", b"0")]
            assert await client.body(call) == b"\0\0\0\0\1y"

    run(conversation())


def test_an_answer_of_trailers_alone_stays_one_block() -> None:
    async def conversation() -> None:
        async with table() as (made, client):
            call = await client.ask("POST", end=False)
            upstream = await host(made)
            stream_id, _ = await asked(upstream)
            await upstream.answer(stream_id, end=True, grpc_status="12")
            event = await client.event(h2.events.ResponseReceived, call)
            assert isinstance(event, h2.events.ResponseReceived)
            assert event.stream_ended is not None

    run(conversation())


def test_an_early_answer_passes_a_large_upload_and_stops_it() -> None:
    async def conversation() -> None:
        async with table() as (made, client):
            call = await client.ask("POST", end=False)

            async def send_forever() -> None:
                while True:
                    await client.send(call, LARGE, end=False)

            upload = asyncio.create_task(send_forever())
            upstream = await host(made)
            upstream.acknowledging = False  # nobody reads the upload
            stream_id, _ = await asked(upstream)
            await upstream.answer(stream_id, "413")
            await upstream.send(stream_id, b"too large")
            upstream.h2.reset_stream(stream_id, ErrorCodes.NO_ERROR)
            await upstream.flush()
            with pytest.raises(h2.exceptions.ProtocolError):
                await upload  # the stream was reset
            assert (await client.status(call))[0] == b"413"
            assert client.bodies[call] == b"too large"
            await client.ask(path="/next")
            assert dict((await asked(upstream))[1])[b":path"] == b"/next"

    run(conversation())


def test_a_large_answer_flows_while_a_large_upload_does() -> None:
    async def conversation() -> None:
        async with table() as (made, client):
            call = await client.ask("POST", end=False)
            upstream = await host(made)
            stream_id, _ = await asked(upstream)
            await upstream.answer(stream_id)

            async def talk_at_length(peer: Peer, number: int) -> None:
                await peer.send(number, LARGE)
                await peer.body(number)

            await asyncio.gather(talk_at_length(client, call), talk_at_length(upstream, stream_id))
            assert bytes(client.bodies[call]) == bytes(upstream.bodies[stream_id]) == LARGE

    run(conversation())


def test_a_client_that_does_not_read_one_stream_gets_the_other() -> None:
    async def conversation() -> None:
        async with table() as (made, client):
            client.acknowledging = False
            slow = await client.ask(path="/slow")
            upstream = await host(made)
            slow_id, _ = await asked(upstream)
            await upstream.answer(slow_id)
            await upstream.send(slow_id, b"x" * 65_535, end=False)  # all that the client's window takes, and more
            client.h2.increment_flow_control_window(1 << 20)
            other = await client.ask(path="/other")
            other_id, _ = await asked(upstream)
            await upstream.answer(other_id)
            await upstream.send(other_id, b"here")
            assert await client.body(other) == b"here"
            assert len(client.bodies[slow]) == 65_535

    run(conversation())


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"authority": "other.test"}, b"421"),
        ({"authority": f"{HOST}:8443"}, b"421"),
        ({"authority": f"user@{HOST}"}, b"400"),
        ({"scheme": "http"}, b"421"),
        ({"method": "TRACE"}, b"400"),
        ({"method": "get"}, b"400"),
        ({"path": "/a/../b"}, b"400"),
        ({"path": "https://other.test/"}, b"421"),
    ],
)
def test_a_stream_about_something_else_is_refused_and_the_next_one_served(
    fields: dict[str, str], status: bytes
) -> None:
    async def conversation() -> None:
        async with table() as (made, client):
            call = await client.ask(**fields)  # type: ignore[arg-type]  # names of fields, or parameters
            assert (await client.status(call))[0] == status
            assert (await client.body(call)).startswith(b"ringfence: ")
            assert made.dialled == []
            await client.ask()
            await asked(await host(made))

    run(conversation())


def test_policy_decides_by_stream() -> None:
    egress = Egress(rules=(rule(http2=True, paths=("/open/**",)),))

    async def conversation() -> None:
        async with table(egress) as (made, client):
            denied = await client.ask("POST", "/x", end=False)
            status, fields = await client.status(denied)
            assert status == b"403"
            assert fields[b"x-ringfence"] == b"egress-denied"
            event = await client.event(h2.events.StreamReset, denied)
            assert isinstance(event, h2.events.StreamReset)
            assert event.error_code == ErrorCodes.NO_ERROR
            await client.ask(path="/open/a")
            assert dict((await asked(await host(made)))[1])[b":path"] == b"/open/a"

    run(conversation())


def test_resets_are_passed_on_both_ways() -> None:
    async def conversation() -> None:
        async with table() as (made, client):
            call = await client.ask("POST", end=False)
            upstream = await host(made)
            stream_id, _ = await asked(upstream)
            client.h2.reset_stream(call, ErrorCodes.CANCEL)
            await client.flush()
            event = await upstream.event(h2.events.StreamReset, stream_id)
            assert isinstance(event, h2.events.StreamReset)
            assert event.error_code == ErrorCodes.CANCEL
            call = await client.ask()
            stream_id, _ = await asked(upstream)
            await upstream.answer(stream_id)
            await upstream.send(stream_id, b"half", end=False)
            upstream.h2.reset_stream(stream_id, ErrorCodes.INTERNAL_ERROR)
            await upstream.flush()
            event = await client.event(h2.events.StreamReset, call)
            assert isinstance(event, h2.events.StreamReset)
            assert event.error_code == ErrorCodes.INTERNAL_ERROR

    run(conversation())


def test_a_host_that_is_lost_ends_no_stream_properly() -> None:
    async def conversation() -> None:
        async with table() as (made, client):
            begun, waiting = await client.ask(path="/1"), await client.ask(path="/2")
            upstream = await host(made)
            numbers = [(await asked(upstream))[0] for _ in range(2)]
            await upstream.answer(numbers[0])
            await client.status(begun)
            upstream.end.cut()
            event = await client.event(h2.events.StreamReset, begun)
            assert isinstance(event, h2.events.StreamReset)
            assert event.error_code == ErrorCodes.INTERNAL_ERROR
            assert (await client.status(waiting))[0] == b"502"

    run(conversation())


def test_what_was_begun_is_finished_when_the_host_says_it_goes() -> None:
    async def conversation() -> None:
        async with table() as (made, client):
            first, second = await client.ask(path="/1"), await client.ask(path="/2")
            upstream = await host(made)
            numbers = [(await asked(upstream))[0] for _ in range(2)]
            await upstream.end.say(GoAwayFrame(0, last_stream_id=numbers[0]).serialize())
            event = await client.event(h2.events.StreamReset, second)
            assert isinstance(event, h2.events.StreamReset)
            assert event.error_code == ErrorCodes.REFUSED_STREAM
            await upstream.answer(numbers[0])
            await upstream.send(numbers[0], b"last")
            await client.event(h2.events.ConnectionTerminated)
            assert first == 1

    run(conversation())


def test_no_more_streams_than_the_host_takes() -> None:
    async def conversation() -> None:
        async with table() as (made, client):
            await client.ask(path="/0")
            upstream = await host(made, settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1})
            stream_id, _ = await asked(upstream)
            await upstream.event(h2.events.SettingsAcknowledged)
            for number in (1, 2):
                await client.ask(path=f"/{number}")
            for number in (1, 2):
                await upstream.answer(stream_id, end=True)
                stream_id, headers = await asked(upstream)
                assert dict(headers)[b":path"] == b"/%d" % number

    run(conversation())


def test_a_host_without_http2_is_an_answer() -> None:
    async def conversation() -> None:
        async with table() as (made, client):
            call = await client.ask()
            end = await made.upstream()
            await end.stream.start_tls(HOST_AUTHORITY.context_for(HOST), server_side=True)
            assert (await client.status(call))[0] == b"502"

    run(conversation())


async def listen_to_the_end(peer: Peer) -> None:
    """Hear a connection out; raise ConnectionError as well where it ends without a reset."""
    while await peer.listen():
        pass
    raise ConnectionError


def test_streams_opened_to_be_reset_end_the_connection() -> None:
    async def rapidly(client: Peer) -> None:
        for _ in range(1000):
            client.h2.reset_stream(await client.ask("POST", end=False))
            await client.flush()
        await listen_to_the_end(client)

    async def conversation() -> None:
        async with table() as (_, client):
            with pytest.raises(ConnectionError):
                await rapidly(client)

    run(conversation())


@pytest.mark.parametrize(
    "frames", [b"\0\0\0\x08\0\0\0\0\1", b"\xff\xff\xff\0\0\0\0\0\1", b"\0\0\4\3\0\0\0\0\x63\0\0\0\0"]
)
def test_broken_frames_end_the_connection(frames: bytes) -> None:
    async def conversation() -> None:
        async with table() as (_, client):
            await client.end.say(frames)
            with pytest.raises(ConnectionError):
                await listen_to_the_end(client)

    run(conversation())


def test_a_client_that_only_provokes_answers_is_cut() -> None:
    async def provoke(client: Peer) -> None:
        ping = b"\0\0\x08\6\0\0\0\0\0" + bytes(8)
        while True:
            await client.end.say(ping * 2_000)

    async def conversation() -> None:
        async with table() as (_, client):
            with pytest.raises(ConnectionError):
                await provoke(client)

    run(conversation())


def test_hints_and_a_late_end_pass() -> None:
    async def conversation() -> None:
        async with table() as (made, client):
            call = await client.ask("POST", end=False)
            upstream = await host(made)
            stream_id, _ = await asked(upstream)
            await client.send(call, b"all", end=False)
            await upstream.event(h2.events.DataReceived, stream_id)
            client.h2.end_stream(call)
            await client.flush()
            assert await upstream.body(stream_id) == b"all"
            await upstream.answer(stream_id, "103", link="</a>")
            hint = await client.event(h2.events.InformationalResponseReceived, call)
            assert isinstance(hint, h2.events.InformationalResponseReceived)
            assert dict(hint.headers)[b"link"] == b"</a>"
            await upstream.answer(stream_id, end=True)
            assert (await client.status(call))[0] == b"200"

    run(conversation())


def test_no_stream_is_begun_with_a_host_that_goes() -> None:
    async def conversation() -> None:
        async with table() as (made, client):
            await client.ask(path="/1")
            upstream = await host(made)
            await asked(upstream)
            await upstream.end.say(GoAwayFrame(0, last_stream_id=1).serialize())
            await client.event(h2.events.ConnectionTerminated)
            refused = await client.ask(path="/2")
            event = await client.event(h2.events.StreamReset, refused)
            assert isinstance(event, h2.events.StreamReset)
            assert event.error_code == ErrorCodes.REFUSED_STREAM

    run(conversation())


@pytest.mark.parametrize("path", ["/", "/" + "x" * 2000])
def test_a_budget_of_bytes_ends_the_connection(path: str) -> None:
    egress = Egress(rules=(rule(http2=True, byte_limit=1000),))

    async def conversation() -> None:
        async with table(egress) as (made, client):
            call = await client.ask("POST", path, end=False)
            if path == "/":
                await client.send(call, b"x" * 2000, end=False)
            else:
                await host(made)
            with pytest.raises(ConnectionError):
                await listen_to_the_end(client)
            (record,) = await made.recorded("denial")
            assert record.code == "budget-exceeded"

    run(conversation())


@pytest.mark.parametrize(("path", "token"), [("/", "ghp_x7Qm2LrT9vZk3BnW"), ("/ghp_x7Qm2LrT9vZk3BnW", "none")])
def test_a_placeholder_is_refused_since_no_vault_is_between(path: str, token: str) -> None:
    async def conversation() -> None:
        async with table() as (made, client):
            made.session.marks = Marks({"github": "ghp_x7Qm2LrT9vZk3BnW"})
            first = await client.ask(path=path, authorization=f"token {token}")
            assert (await client.status(first))[0] == b"403"
            assert (await client.body(first)).startswith(b"ringfence: secret-misuse: ")
            (record,) = await made.recorded("denial")
            assert (record.code, record.fields["secret"]) == ("secret-misuse", "github")
            assert made.dialled == []

    run(conversation())
