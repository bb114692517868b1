"""Searches a stream for every form of many texts at once, and replaces them, keeping back no more than it must.

Theory of operation. RE2 looks for the first `ANCHOR` units of any form: one pass of an automaton whose time does not
depend on how many forms there are, nor on the text. From where it finds something, `_follow` walks the units of the
forms that may begin there, and so tells what matches, by which spelling of each character, or that the text ends too
early to tell. What is found is what leftmost-longest search of the whole text finds, however it is cut into pieces; a
second expression, run over the last bytes alone, finds where something may just be beginning; that, too, is followed.

SECURITY: what is kept back is seen by both sides as a pause, and both may be one attacker, who would try one character
after the other. So whether a text is kept back depends on the first `_BEGINNING` characters of a value, and otherwise
on its shape alone, which its placeholder tells as well (test_scanner.py, `test_what_is_kept_back_*`). Nor is time spent
on texts that go on like a value for longer than an anchor, but for very long values.

INVARIANT: feeding in pieces gives what feeding at once gives (tests/unit/secrets/test_scanner.py).
INVARIANT: a piece that ends in nothing that a form begins with is given whole, at once (same place).
"""

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import cached_property

import msgspec

from .encodings import Form, Unit
from .expressions import Expression, compiled

ANCHOR = 6
_BEGINNING = 2  # units
_WINDOW = 1024  # bytes; longer than a token in its longest spelling
_COMPILED = 256  # units of a form that is compiled as a whole, with the first text that begins like it


class Kind(Enum):
    """What it is that is looked for."""

    VALUE = "value"
    PLACEHOLDER = "placeholder"


class Needle(msgspec.Struct, frozen=True):
    """A text to look for: what it is, whose, and its forms."""

    kind: Kind
    name: str
    forms: Sequence[Form]


class Hit(msgspec.Struct, frozen=True):
    """Where something was found, and what takes its place, of the same length."""

    kind: Kind
    name: str
    start: int
    end: int
    replacement: bytes


class _Track:
    """One form that is looked for."""

    def __init__(self, needle: Needle, form: Form) -> None:
        self.needle = needle
        # What ends a match must not be the beginning of something longer: else the end of a piece would decide nothing.
        self.units = (*form[:-1], form[-1].closed)
        self.shape = (*form[:_BEGINNING], *(unit.shape for unit in form[_BEGINNING:]))
        self.longest = _longest(self.shape)

    @cached_property
    def _whole(self) -> Expression | None:
        if len(self.units) > _COMPILED:
            return None
        return compiled(b"".join(_either(unit.table) for unit in self.units))

    def may_match(self, text: bytes, start: int) -> bool:
        """Tell whether the form stands at `start`, in a time that does not tell how much of it does."""
        return self._whole is None or self._whole.match(text, start, len(text)) is not None


_Chain = tuple["_Chain | None", bytes]


class Search:
    """A set of needles, compiled once; holds no state of a stream."""

    def __init__(self, needles: Iterable[Needle]) -> None:
        """Compile; takes some milliseconds per needle."""
        listed = [(needle, form) for needle in needles for form in needle.forms if form]
        self._tracks: dict[int, list[_Track]] = {}
        for needle, form in listed:
            track = _Track(needle, form)
            for first in {text[0] for text in form[0].table}:
                self._tracks.setdefault(first, []).append(track)
        anchors = sorted({_anchor(form) for _, form in listed})
        endings = sorted({_beginning(form[:_BEGINNING]) for _, form in listed})
        self._anchors = compiled(b"|".join(anchors)) if anchors else None
        self._beginnings = compiled(b"(?:" + b"|".join(endings) + rb")\z") if anchors else None
        self._window = min(_WINDOW, max((_longest(form) for _, form in listed), default=0))

    def scan(self, text: bytes, *, last: bool) -> tuple[list[Hit], int]:
        """Return what is found in `text`, in order, and from where on the text cannot be judged before it goes on."""
        hits: list[Hit] = []
        at, end = 0, len(text)
        if self._anchors is None:
            return hits, end
        hold = end if last else self._hold(text, 0)
        while (found := self._anchors.search(text, at, end)) is not None and found.start() < hold:
            start = found.start()
            if not last and self._goes_on(text, start):
                return hits, start
            hit = self._follow(text, start)
            if hit is None:
                at = start + 1
                continue
            hits.append(hit)
            at = hit.end
            if at > hold:
                hold = self._hold(text, at)
        return hits, hold

    def replaced(self, text: bytes) -> tuple[bytes, list[str]]:
        """Return a whole text with everything replaced, and the names of what was."""
        hits, _ = self.scan(text, last=True)
        return apply(text, hits, len(text)), [hit.name for hit in hits]

    def _hold(self, text: bytes, at: int) -> int:
        """Return where, from `at` on, the last bytes begin to be the beginning of something."""
        at = max(at, len(text) - self._window)
        while self._beginnings is not None and (found := self._beginnings.search(text, at, len(text))) is not None:
            if self._goes_on(text, found.start()):
                return int(found.start())
            at = found.start() + 1
        return len(text)

    def _follow(self, text: bytes, start: int) -> Hit | None:
        """Return the longest match at `start`."""
        best: Hit | None = None
        for track in self._tracks.get(text[start], ()):
            if not track.may_match(text, start):
                continue
            end, chain = _walk(track.units, text, start)
            if chain is not None and (best is None or end > best.end):
                best = Hit(track.needle.kind, track.needle.name, start, end, _joined(chain))
        return best

    def _goes_on(self, text: bytes, start: int) -> bool:
        """Tell whether the text ends where something that may begin at `start` still goes on."""
        return any(
            len(text) - start < track.longest and _is_beginning(track.shape, text, start)
            for track in self._tracks.get(text[start], ())
        )


class Stream:
    """One stream in which everything that is found is replaced."""

    def __init__(self, search: Callable[[], Search]) -> None:
        """Begin a stream; `search` is asked for at each piece, since needles are added while a stream flows."""
        self._search = search
        self._kept = b""
        self.names: set[str] = set()

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """Return what can be judged now; add the names of what has been replaced to `names`."""
        text = self._kept + data if self._kept else bytes(data)
        hits, hold = self._search().scan(text, last=last)
        self._kept = text[hold:]
        self.names.update(hit.name for hit in hits)
        return apply(text, hits, hold)


def apply(text: bytes, hits: Sequence[Hit], end: int) -> bytes:
    """Return `text` up to `end`, with the replacements of `hits`."""
    if not hits:
        return text if end == len(text) else text[:end]
    pieces: list[bytes] = []
    at = 0
    for hit in hits:
        pieces += (text[at : hit.start], hit.replacement)
        at = hit.end
    return b"".join((*pieces, text[at:end]))


def _walk(units: Sequence[Unit], text: bytes, start: int) -> tuple[int, _Chain | None]:
    """Follow one form from `start`: the longest end, with what was chosen on the way."""
    places: dict[int, _Chain | None] = {start: None}
    for unit in units:
        after: dict[int, _Chain | None] = {}
        for place, chain in places.items():
            for length in unit.lengths:
                made = unit.table.get(text[place : place + length])
                if made is not None:
                    after.setdefault(place + length, (chain, made))
        places = after
        if not places:
            return start, None
    end = max(places)
    return end, places[end]


def _is_beginning(units: Sequence[Unit], text: bytes, start: int) -> bool:
    """Tell whether `text` ends within one form that begins at `start`."""
    places = {start}
    for unit in units:
        if any(len(text) - place < unit.lengths[-1] and text[place:] in unit.begins for place in places):
            return True
        places = {
            place + length for place in places for length in unit.lengths if text[place : place + length] in unit.table
        }
        if not places:
            return False
    return False


def _joined(chain: _Chain | None) -> bytes:
    made = []
    while chain is not None:
        chain, text = chain
        made.append(text)
    return b"".join(reversed(made))


def _quoted(text: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in text)


def _either(texts: Iterable[bytes]) -> bytes:
    return b"(?:" + b"|".join(_quoted(text) for text in sorted(texts)) + b")"


def _anchor(form: Form) -> bytes:
    return b"".join(_either(unit.table) for unit in form[:ANCHOR])


def _beginning(form: Form) -> bytes:
    """Return an expression for every text that is the beginning of `form`, itself included, and whatever follows."""
    expression = b"(?s:.*)"
    for unit in reversed(form):
        started = _either(unit.begins - {b""}) + b"|" if unit.lengths[-1] > 1 else b""
        expression = started + _either(unit.table) + b"(?:" + expression + b")?"
    return b"(?:" + expression + b")"


def _longest(form: Form) -> int:
    return sum(unit.lengths[-1] for unit in form)
