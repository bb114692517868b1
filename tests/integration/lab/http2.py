"""HTTP/2 as the lab's servers speak it, by hyper-h2, with the trailers and the early answers that gRPC needs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from tests.integration.lab.http1 import Request

PREFACE_REST = b"SM\r\n\r\n"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\n" + PREFACE_REST
BIG_BYTES = 50 << 20
KEPT_BYTES = 64 << 20


@dataclass(slots=True)
class _Stream:
    request: Request
    body: bytearray = field(default_factory=bytearray)
    pending: memoryview = field(default_factory=lambda: memoryview(b""))
    trailers: list[tuple[str, str]] = field(default_factory=list)
    answered: bool = False


class _Connection:
    def __init__(self, writer: asyncio.StreamWriter, tag: str, seen: Callable[[Request], None]) -> None:
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.writer, self._tag, self._seen = writer, tag, seen
        self._streams: dict[int, _Stream] = {}

    def take(self, data: bytes) -> None:
        for event in self.http.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self._begin(event)
            elif isinstance(event, h2.events.DataReceived):
                self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                stream = self._streams.get(event.stream_id)
                if stream and len(stream.body) < KEPT_BYTES:
                    stream.body += event.data
            elif isinstance(event, h2.events.StreamEnded):
                self._answer(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self._streams.pop(event.stream_id, None)
        self.flush()

    def _begin(self, event: h2.events.RequestReceived) -> None:
        pairs = [(str(name), str(value)) for name, value in event.headers or ()]
        found = dict(pairs)
        headers = [("host", found.get(":authority", "")), *pairs]
        request = Request(found[":method"], found[":path"], "HTTP/2", headers, found[":scheme"], self._tag)
        self._seen(request)
        self._streams[event.stream_id] = _Stream(request)
        if request.path == "/early":
            # Answered, ended, and the rest of the request declined without an error (RFC 9113, 8.1).
            self._respond(event.stream_id, 413, b"too much\n")
            self.flush()
            self.http.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)
            self._streams.pop(event.stream_id, None)

    def _answer(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is None or stream.answered:
            return
        request = stream.request
        if request.header("content-type").startswith("application/grpc"):
            stream.trailers = [("grpc-status", "0"), ("grpc-message", "fine")]
            self._respond(number, 200, bytes(stream.body), "application/grpc")
        elif request.path == "/hdr":
            self._respond(number, 200, "".join(f"{k}: {v}\n" for k, v in request.headers).encode())
        elif request.path == "/echo":
            self._respond(number, 200, bytes(stream.body))
        elif request.path == "/big":
            self._respond(number, 200, bytes(BIG_BYTES))
        else:
            text = f"OK {request.tag} {request.method} {request.target} body={len(stream.body)}\n"
            self._respond(number, 200, text.encode())

    def _respond(self, number: int, status: int, body: bytes, kind: str = "text/plain") -> None:
        stream = self._streams[number]
        stream.answered, stream.pending = True, memoryview(body)
        self.http.send_headers(number, [(":status", str(status)), ("content-type", kind)])

    def flush(self) -> None:
        """Send as much of every response as flow control allows."""
        for number, stream in list(self._streams.items()):
            if not stream.answered:
                continue
            while stream.pending and (room := self.http.local_flow_control_window(number)) > 0:
                size = min(room, self.http.max_outbound_frame_size, len(stream.pending))
                self.http.send_data(number, bytes(stream.pending[:size]))
                stream.pending = stream.pending[size:]
            if not stream.pending:
                if stream.trailers:
                    self.http.send_headers(number, stream.trailers, end_stream=True)
                else:
                    self.http.end_stream(number)
                del self._streams[number]


async def serve_http2(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    tag: str,
    seen: Callable[[Request], None],
    begun: bool = False,
) -> None:
    """Serve one connection; `begun` where its preface has been read."""
    connection = _Connection(writer, tag, seen)
    connection.http.initiate_connection()
    try:
        if begun:
            connection.take(_PREFACE)
        while True:
            writer.write(connection.http.data_to_send())
            await writer.drain()
            data = await reader.read(256 << 10)
            if not data:
                return
            connection.take(data)
    except h2.exceptions.ProtocolError:
        writer.write(connection.http.data_to_send())
