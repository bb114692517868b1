"""One request and its response in HTTP/2, as two flows that know nothing of each other.

A flow holds what was received and not yet sent, which is never more than the window that was granted: it is granted
anew only for what has been sent on. So a side that does not read stops the one that sends, and nobody else.
"""

import asyncio
from collections import deque

from h2.exceptions import ProtocolError

from .http1 import Headers
from .http2_connection import Http2Connection


class Flow:
    """One direction of a stream: from stream `source_id` of `source` to `sink_id` of `sink`, once there is one."""

    def __init__(self, source: Http2Connection | None, source_id: int) -> None:
        """Begin to receive; `start` says where to. What comes from us has no source."""
        self.source, self.source_id = source, source_id
        self.sink: Http2Connection | None = None
        self.sink_id = 0
        self.trailers: Headers = ()
        self.ended = self.finished = self.dropped = False  # received to its end; sent to its end; wanted no more
        self.count = 0
        self._pieces: deque[bytes] = deque()

    def start(self, sink: Http2Connection, sink_id: int, headers: Headers) -> None:
        """Send the head, and with it what there is already."""
        self.sink, self.sink_id = sink, sink_id
        try:
            self.finished = self.ended and not self._pieces and not self.trailers
            sink.h2.send_headers(sink_id, headers, end_stream=self.finished)
        except ProtocolError:
            self.drop()
        self.push()

    def receive(self, data: bytes, counted: int) -> None:
        """Take bytes; `counted` of them count against the window, padding included."""
        self.count += len(data)
        if data and not self.dropped:
            self._pieces.append(data)
            counted -= len(data)
        if self.source is not None:
            self.source.acknowledge(self.source_id, counted)

    def push(self) -> None:
        """Send as much as the other side's windows take, and the end if that was all."""
        if self.sink is None or self.finished or self.dropped:
            return
        try:
            self._send(self.sink)
        except ProtocolError:
            self.drop()  # it was reset; h2 knows before we are told
        self.sink.flush()

    def _send(self, sink: Http2Connection) -> None:
        while self._pieces:
            room = min(sink.h2.local_flow_control_window(self.sink_id), sink.h2.max_outbound_frame_size)
            if room <= 0:
                return
            data = self._pieces.popleft()
            if len(data) > room:
                self._pieces.appendleft(data[room:])
                data = data[:room]
            self.finished = self.ended and not self._pieces and not self.trailers
            sink.h2.send_data(self.sink_id, data, end_stream=self.finished)
            if self.source is not None:
                sink.owe(self.source, self.source_id, len(data))
        if self.ended and not self.finished:
            self.finished = True
            if self.trailers:
                sink.h2.send_headers(self.sink_id, self.trailers, end_stream=True)
            else:
                sink.h2.end_stream(self.sink_id)

    def drop(self) -> None:
        """Want no more of it."""
        self.dropped = True
        held = sum(map(len, self._pieces))
        self._pieces.clear()
        if self.source is not None:
            self.source.acknowledge(self.source_id, held)


class Exchange:
    """A request, and its response when there is one."""

    def __init__(self, client: Http2Connection, stream_id: int, began: float) -> None:
        """Begin with stream `stream_id` of the client's."""
        self.up = Flow(client, stream_id)
        self.down: Flow | None = None
        self.client_id = stream_id
        self.method, self.path, self.rule = "", "", ""
        self.status = 0
        self.began = began
        self.admission: asyncio.Task[None] | None = None
