"""What the hop (hop.py) asks about each request and its answer: who may put secrets in, and what may not pass.

The hop speaks HTTP; whoever implements `Gate` knows the values (secrets/). Bytes given and returned are bodies without
their framing. Nothing here waits: a `Doubt` is put to the operator by the hop.
"""

from typing import Protocol

from ringfence.model.passage import Destination, Doubt, Headers, Incoming, Noted, Outgoing, Stopped


class Passage(Protocol):
    """One request and its answer. The answer may begin before the request's body has ended."""

    @property
    def whole(self) -> bool:
        """Tell whether the request's body is given to its end (at most `WHOLE_BYTES`) before there is a head."""

    def request_body(self, data: bytes, *, last: bool) -> bytes | Stopped | Doubt:
        """Give what of the body may go upstream now; what may be the beginning of something is kept for the next call.

        Called once with `last`, also for an empty body. Only where `whole` may it become another body (then everything
        is given in one call): else the bytes pass unchanged, since their number has been announced. With a `Doubt`
        everything is kept: after `settle()`, call again with no data and the same `last`.
        """

    def settle(self) -> None:
        """Take the operator's yes to the last `Doubt` of `request_body`."""

    def request_trailers(self, fields: Headers) -> Headers | Stopped:
        """Give the fields that follow a chunked body; called after its last piece, if there are any."""

    def head(self) -> Outgoing | Stopped:
        """Give the head to send; after the whole body where `whole`, else before any of it.

        The fields that frame the body are the hop's, which puts them right where a whole body's length has changed.
        """

    def answer(self, head: Incoming) -> Incoming | Stopped:
        """Give an answer's head as it may go inside; informational ones (1xx) as well, before the final one."""

    def answer_body(self, data: bytes, *, last: bool) -> bytes | Stopped:
        """Give what of the answer's body may go inside now; keeps back only what may be part of a secret.

        Called once with `last`, also for an empty body, but not at all for HEAD, 204 and 304, which have none. The
        number of bytes is another one only where the head said `transformed`.
        """

    def answer_trailers(self, fields: Headers) -> Headers:
        """Give the fields that follow a chunked answer; called after its last piece, if there are any."""

    def request_upgraded(self, data: bytes) -> bytes | Stopped:
        """Give what may go upstream of the bytes from inside after 101: all that came, unless something stops it.

        Called without data at their end, for what has been kept back.
        """

    def upgraded(self, data: bytes) -> bytes:
        """Give what may go inside of the bytes from upstream after 101, without secrets: as many in all as came.

        Called without data at their end, for what has been kept back.
        """

    def notes(self) -> list[Noted]:
        """What is to be recorded since the last call."""


class Gate(Protocol):
    """Everything that one run's vault decides."""

    def open(self, destination: Destination, request: Outgoing, *, settled: bool = False) -> Passage | Stopped | Doubt:
        """Judge the head of a request; of `https` the certificate has been or will be verified.

        With the operator's yes to a `Doubt` it is asked once more as `settled`.
        """
