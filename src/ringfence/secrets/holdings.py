"""What one vault holds: values by the names of their secrets, what stands for each, and what is known of their scopes.

A secret can have several values: that of its source and those that answers have brought (OAuth). Each has a placeholder
of its own, so what a client still holds of before goes on to work. Of too many that answers bring the oldest goes.
"""

import re
from collections.abc import Iterable, Mapping
from enum import Enum

import msgspec

from ringfence.model.passage import Destination, Outgoing
from ringfence.model.secrets import Capture, Injection, Placing, Secret, Secrets
from ringfence.policy import urls
from ringfence.policy.hosts import matches

from .encodings import forms
from .injecting import applies, path_of, reaches
from .placeholders import alike, parts, placeholder
from .scanner import Kind, Needle, Search
from .value import Value

MOST_OF_A_PLACE = 16
"""How many values are kept of one secret that answers have brought, or sources had; each costs time with every byte."""


class Place(Enum):
    """Where a value comes from. A former one of a source is never put in any more, but is still searched for."""

    SOURCE = "source"
    ANSWER = "answer"
    FORMER = "former"


class Bequest(msgspec.Struct, frozen=True):
    """What a vault leaves to the one that takes its place."""

    name: str
    value: bytes
    stand_in: bytes
    place: str


class Held:
    """A value, what stands for it inside, and what takes its place in answers: text of the same shape."""

    __slots__ = ("is_left", "name", "place", "scrubbed", "stand_in", "value")

    def __init__(self, name: str, value: Value, stand_in: bytes, scrubbed: bytes, *, place: Place) -> None:
        self.place = place
        self.is_left = False  # to a successor
        self.name = name
        self.value = value
        self.stand_in = stand_in
        self.scrubbed = scrubbed


class Holdings:
    """The state of one vault."""

    def __init__(self, policy: Secrets) -> None:
        """Begin with nothing."""
        self.policy = policy
        self._held: list[Held] = []
        self._secrets = {secret.name: secret for secret in policy.secrets}
        self._outbound: Search | None = None
        self._inbound: Search | None = None
        self.excess: dict[str, list[str]] = {}  # scopes beyond policy, of tokens whose scopes are known

    def keep(self, name: str, value: bytes, stand_in: bytes = b"", *, place: Place = Place.SOURCE) -> bytes:
        """Keep a value of the secret `name` as its newest; return its placeholder, `stand_in` if that is given.

        The oldest of too many from one place makes room for it. Raises UnfitError for a value that cannot be told from
        other text.
        """
        same = (held for held in self._held if held.name == name and held.value.reveal() == value)
        known = next((held for held in same if stand_in in (b"", held.stand_in)), None)
        if known is not None:
            self._held.remove(known)
            if known.place is not Place.FORMER or place is Place.FORMER:
                self._held.append(known)
                return known.stand_in
        taken = {text for held in self._held for text in (held.stand_in, held.value.reveal())}
        made = placeholder(value, taken)
        chosen = stand_in or made
        scrubbed = chosen if alike(value, chosen) and chosen != value else made
        self._held.append(Held(name, Value(value), chosen, scrubbed, place=place))
        for old in [held for held in self._held if (held.name, held.place) == (name, place)][:-MOST_OF_A_PLACE]:
            self._held.remove(old)
            old.value.close()
        self._outbound = self._inbound = None
        return chosen

    def bequests(self, *, again: bool) -> list[Bequest]:
        """Return what has not been left to a successor yet; with `again`, everything."""
        leaving = [held for held in self._held if again or not held.is_left]
        for held in leaving:
            held.is_left = True
        return [Bequest(held.name, held.value.reveal(), held.stand_in, held.place.value) for held in leaving]

    def inherit(self, left: Bequest) -> None:
        """Take over a value: what answers have brought to be put in, what a source had to be searched for."""
        if left.name in self._secrets:
            place = Place.ANSWER if left.place == Place.ANSWER.value else Place.FORMER
            self.keep(left.name, left.value, left.stand_in, place=place)

    @property
    def _current(self) -> list[Held]:
        return [held for held in self._held if held.place is not Place.FORMER]

    @property
    def placeholders(self) -> dict[str, str]:
        """The latest placeholder of each secret that has a value."""
        return {held.name: held.stand_in.decode("utf-8", "surrogateescape") for held in self._current}

    def secret(self, name: str) -> Secret:
        """Return what policy says of a secret."""
        return self._secrets[name]

    def values(self, name: str) -> dict[bytes, bytes]:
        """Return each placeholder of a secret with its value."""
        return {held.stand_in: held.value.reveal() for held in self._current if held.name == name}

    @property
    def outbound(self) -> Search:
        """What is looked for in requests: placeholders and values."""
        if self._outbound is None:
            stand_ins = (_needle(Kind.PLACEHOLDER, held.name, held.stand_in, held.stand_in) for held in self._current)
            self._outbound = Search([*stand_ins, *self._values()])
        return self._outbound

    @property
    def inbound(self) -> Search:
        """What is looked for in answers: values."""
        if self._inbound is None:
            self._inbound = Search(self._values())
        return self._inbound

    def current_inbound(self) -> Search:
        """Return `inbound`, for streams that outlive it."""
        return self.inbound

    def _values(self) -> Iterable[Needle]:
        return [_needle(Kind.VALUE, held.name, held.value.reveal(), held.scrubbed) for held in self._held]

    def unfolded(self, text: bytes, *, blank: bool) -> bytes:
        """Replace values that have lost their capitals, as the names of hosts and headers do.

        With `blank` nothing takes the place of those, nor of placeholders.
        """
        for held in self._held:
            for folded in {held.value.reveal().lower(), *((held.stand_in.lower(),) if blank else ())}:
                made = b"." * len(folded) if blank else held.scrubbed.lower()
                for found in reversed(list(re.finditer(re.escape(folded), text.lower()))):
                    text = text[: found.start()] + made + text[found.end() :]
        return text

    def restored(self, name: bytes) -> bytes:
        """Return the name of a host with the capitals of what is known."""
        for text in (text for held in self._held for text in (held.value.reveal(), held.stand_in)):
            name = name.replace(text.lower(), text)
        return name

    def injections(self, destination: Destination, request: Outgoing) -> list[tuple[str, Injection]]:
        """List the injections that hold for a request, each with its secret's name."""
        return [
            (secret.name, rule)
            for secret in self.policy.secrets
            for rule in secret.inject
            if applies(rule, destination, request)
        ]

    def injected(self, name: str, host: str) -> list[Injection]:
        """List the injections of a secret at a host, whatever else they demand."""
        found = (rule for secret in self.policy.secrets if secret.name == name for rule in secret.inject)
        return [rule for rule in found if matches(rule.host, host)]

    def is_served(self, destination: Destination) -> bool:
        """Tell whether a host has a secret of this run: it needs no other credential."""
        return any(reaches(rule, destination) for secret in self.policy.secrets for rule in secret.inject)

    def is_intimate(self, destination: Destination) -> bool:
        """Tell whether a host comes to know values, or gives them: its answers must be readable.

        A signature tells no value.
        """
        return any(
            any(rule.placing is not Placing.SIGV4 and reaches(rule, destination) for rule in secret.inject)
            or any(reaches(rule, destination) for rule in secret.captures)
            for secret in self.policy.secrets
        )

    def capture(self, destination: Destination, request: Outgoing) -> dict[str, str]:
        """Return the fields of the answer to a request that bring values, each with the secret's name.

        SECURITY: what a server may take for one of the paths is one, or a value would come in by another spelling.
        """
        found: dict[str, str] = {}
        for rule in self._captures():
            path = path_of(request)
            readings = (path, path.rstrip("/"))
            named = not rule.paths or any(urls.denies(rule.paths, reading) for reading in readings)
            if reaches(rule, destination) and named:
                found |= {field: name for field, name in rule.fields if name in self._secrets}
        return found

    def _captures(self) -> Iterable[Capture]:
        return (rule for secret in self.policy.secrets for rule in secret.captures)

    def close(self) -> None:
        """Zero every value; nothing can be asked of what is held afterwards."""
        for held in self._held:
            held.value.close()
        self._held.clear()
        self._outbound = self._inbound = None


def kept(policy: Secrets, values: Mapping[str, bytes], stand_ins: Mapping[str, str]) -> Holdings:
    """Return holdings with the values of sources; `stand_ins` are placeholders to go on with.

    Raises UnfitError for a value that cannot be told from other text.
    """
    holdings = Holdings(policy)
    for name, value in values.items():
        holdings.keep(name, value, stand_ins.get(name, "").encode("utf-8", "surrogateescape"))
    return holdings


def _needle(kind: Kind, name: str, value: bytes, replacement: bytes) -> Needle:
    return Needle(kind, name, [form for pair in parts(value, replacement) for form in forms(*pair)])
