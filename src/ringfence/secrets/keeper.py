"""The keeper of one vault's values: judges every request and every answer between the sandbox and a host (Gate).

`open` judges the head of a request and gives its passage, which judges what follows. Values, placeholders and what
answers bring are in its `Holdings`; the keeper itself does no I/O and knows no clock.
"""

from collections.abc import Mapping
from functools import cached_property

from ringfence.model.passage import Destination, Doubt, Headers, Incoming, Noted, Outgoing, Stopped
from ringfence.model.secrets import Secrets

from .answering import Answering
from .holdings import Bequest, Holdings, kept
from .leaks import Rules, Watch
from .scanner import apply
from .sending import MASK, Sending, masked
from .websocket import Departing

WITHHELD = "withheld"
_NO_REQUEST = Outgoing(b"", b"", ())


class Exchange:
    """One request and its answer, judged; what the hop calls a passage."""

    def __init__(self, keeper: "Keeper", sending: Sending, answering: Answering) -> None:
        """Join the two sides."""
        self._keeper = keeper
        self._sending = sending
        self._answering = answering
        self._departing = Departing(sending.message)

    @property
    def whole(self) -> bool:
        """Tell whether the whole body is wanted before the head."""
        return self._sending.whole

    def request_body(self, data: bytes, *, last: bool) -> bytes | Stopped | Doubt:
        """Judge the next piece of the request's body."""
        return self._sending.body(data, last=last)

    def settle(self) -> None:
        """Take the operator's yes to the last Doubt."""
        self._sending.settle()

    def request_trailers(self, fields: Headers) -> Headers | Stopped:
        """Judge the fields behind the request's body."""
        return self._sending.trailers(fields)

    def head(self) -> Outgoing | Stopped:
        """Give the request's head, with its values."""
        return self._sending.head()

    def answer(self, head: Incoming) -> Incoming | Stopped:
        """Judge an answer's head."""
        return self._answering.head(head)

    def answer_body(self, data: bytes, *, last: bool) -> bytes | Stopped:
        """Judge the next piece of the answer's body."""
        given = self._answering.body(data, last=last)
        self._keeper.minted |= self._answering.minted
        self._answering.minted = {}
        return given

    def answer_trailers(self, fields: Headers) -> Headers:
        """Judge the fields behind the answer's body."""
        return self._answering.fields(fields)

    def request_upgraded(self, data: bytes) -> bytes | Stopped:
        """Judge what goes over a WebSocket."""
        return self._departing.departed(data)

    def upgraded(self, data: bytes) -> bytes:
        """Judge what comes over a WebSocket."""
        return self._answering.upgraded(data)

    def notes(self) -> list[Noted]:
        """Return what is to be recorded since the last call."""
        noted, self._sending.notes = self._sending.notes, []
        return noted + self._answering.notes()


class Keeper:
    """What a vault knows, as the Gate of its hop."""

    def __init__(
        self, policy: Secrets, values: Mapping[str, bytes], placeholders: Mapping[str, str] | None = None
    ) -> None:
        """Keep `values` by the names of their secrets; `placeholders` are those of a vault that it replaces.

        Raises UnfitError for a value that nothing can stand for: try each with `placeholders.placeholder` before.
        """
        self._holdings: Holdings = kept(policy, values, placeholders or {})
        self._named = policy.leaks.rules if policy.leaks is not None else ()
        self.minted: dict[str, str] = {}

    @cached_property
    def _rules(self) -> Rules:
        """Compile the rules with the first request: a run waits for its placeholders alone."""
        return Rules(self._named)

    @property
    def placeholders(self) -> dict[str, str]:
        """What stands for each secret that has a value."""
        return self._holdings.placeholders

    def take_minted(self) -> dict[str, str]:
        """Return the placeholders of values that answers have brought since the last call."""
        minted, self.minted = self.minted, {}
        return minted

    def bequests(self, *, again: bool) -> list[Bequest]:
        """Return what the keeper of a successor has not been told yet; with `again`, everything."""
        return self._holdings.bequests(again=again)

    def inherit(self, left: Bequest) -> None:
        """Go on with what another keeper leaves; raises UnfitError as `Keeper` does."""
        self._holdings.inherit(left)

    def open(self, destination: Destination, request: Outgoing, *, settled: bool = False) -> Exchange | Stopped | Doubt:
        """Judge the head of a request."""
        sending = Sending(self._holdings, self._rules, destination, request, settled=settled)
        problem = sending.judge_head()
        if problem is not None:
            return problem
        return Exchange(self, sending, Answering(self._holdings, destination, request, sending))

    def refusal(self, host: str, port: int) -> Stopped | None:
        """Tell why a name may not even be looked up: it holds what may not go where it leads to."""
        return Sending(self._holdings, self._rules, Destination("tcp", host, port), _NO_REQUEST, settled=False).name()

    def cleansed(self, text: str, *, cut: bool) -> str:
        """Return a text for the record without any value, and nothing of it where a rule finds a credential in it.

        With `cut` it went on, and perhaps a value at its end with it.
        """
        data = text.encode("utf-8", "replace")
        hits, hold = self._holdings.outbound.scan(data, last=not cut)
        if self._holdings.policy.leaks is not None:
            blank = self._holdings.unfolded(masked(data, hits), blank=True)
            found, until = Watch(self._rules, "", home=False).judge(blank, last=not cut)
            if found is not None:
                return WITHHELD
            hold = min(hold, until)
        kept = apply(data, hits, len(data))[:hold] + MASK * (len(data) - hold)
        return self._holdings.unfolded(kept, blank=False).decode("utf-8", "replace")

    def close(self) -> None:
        """Zero every value."""
        self._holdings.close()
