"""Gates for tests: one that lets everything pass, to be changed where a test wants it."""

from collections.abc import Callable, Iterator

import pytest

from ringfence.model.passage import Destination, Doubt, Headers, Incoming, Noted, Outgoing, Stopped
from tests.unit.network.talk import carrying


class Passing:
    """A passage that changes nothing; attributes change it."""

    def __init__(self, request: Outgoing) -> None:
        self.request = request
        self.whole = False
        self.keep = 0  # so many bytes of the request's body, until its end
        self.body: Callable[[bytes], bytes | Stopped | Doubt] = lambda data: data
        self.answered: Callable[[Incoming], Incoming | Stopped] = lambda head: head
        self.answer_piece: Callable[[bytes], bytes | Stopped] = lambda data: data
        self.departing: Callable[[bytes], bytes | Stopped] = lambda data: data
        self.frames: Callable[[bytes], bytes] = lambda data: data
        self.trailers: Callable[[Headers], Headers | Stopped] = lambda fields: fields
        self.scrubbed_trailers: Callable[[Headers], Headers] = lambda fields: fields
        self.noted: list[Noted] = []
        self.ends = 0
        self.answer_ends = 0
        self._kept = b""

    def request_body(self, data: bytes, *, last: bool) -> bytes | Stopped | Doubt:
        data, self._kept = self._kept + data, b""
        judged = self.body(data)
        if isinstance(judged, Doubt):
            self._kept = data
            return judged
        self.ends += last
        if self.keep and not last and isinstance(judged, bytes):
            judged, self._kept = judged[: -self.keep], judged[-self.keep :]
        return judged

    def settle(self) -> None:
        self.body = lambda data: data

    def request_trailers(self, fields: Headers) -> Headers | Stopped:
        return self.trailers(fields)

    def head(self) -> Outgoing | Stopped:
        return self.request

    def answer(self, head: Incoming) -> Incoming | Stopped:
        return self.answered(head)

    def answer_body(self, data: bytes, *, last: bool) -> bytes | Stopped:
        self.answer_ends += last
        return self.answer_piece(data)

    def answer_trailers(self, fields: Headers) -> Headers:
        return self.scrubbed_trailers(fields)

    def request_upgraded(self, data: bytes) -> bytes | Stopped:
        return self.departing(data)

    def upgraded(self, data: bytes) -> bytes:
        return self.frames(data)

    def notes(self) -> list[Noted]:
        noted, self.noted = self.noted, []
        return noted


class Open:
    """A gate that is open; `change` is applied to each passage, `judge` may say something else first."""

    def __init__(self, change: Callable[[Passing], None] = lambda passage: None) -> None:
        self.change = change
        self.judge: Callable[[Outgoing, bool], Stopped | Doubt | None] = lambda request, settled: None
        self.seen: list[tuple[Destination, Outgoing]] = []
        self.passages: list[Passing] = []

    def open(self, destination: Destination, request: Outgoing, *, settled: bool = False) -> Passing | Stopped | Doubt:
        self.seen.append((destination, request))
        judged = self.judge(request, settled)
        if judged is not None:
            return judged
        passage = Passing(request)
        self.change(passage)
        self.passages.append(passage)
        return passage


@pytest.fixture(params=["direct", "carried"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Without a hop, and through one that changes nothing: what a test sees must be the same."""
    with carrying(Open() if request.param == "carried" else None):
        yield request.param
