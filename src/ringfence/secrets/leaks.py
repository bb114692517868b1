"""Finds well-known credentials in what goes out (credentials.py), also under Base64 and escapes.

Theory of operation. One automaton has the expressions of all rules; text costs one pass. What matches is looked at
rule by rule: is its entropy that of a credential, may it go to this host? Where at the end of a piece one of the words
stands that credentials begin with, that end is kept back. What is written in Base64, with percent signs or `\\u` is
decoded and looked at too, a layer in a layer up to `_DEPTH`.

SECURITY: what was found is never told, the rule's name alone.
Bounds: of what is decoded, `DECODED_BYTES` per message, and one piece of text at a time with `OVERLAP` bytes of what
was before it. A credential written in a piece of Base64 that is longer is found all the same, but for the last letters
of one piece and the first of the next. What evades on purpose is listed in docs/secrets.md.
"""

import binascii
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from ringfence.policy.hosts import matches

from .credentials import DUMMIES, RULES, Rule
from .expressions import compiled

OVERLAP = 1024
DECODED_BYTES = 16 << 20
_REACH = 640  # bytes within which a match must end
_DEPTH = 3
_SHORT_RUN = 4096
_SAMPLE = 256
_RUN = compiled(rb"[0-9A-Za-z+/_-]{24,}(?:(?:\r?\n|\\n)[0-9A-Za-z+/_-]+)*")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_DIGITS = "0123456789abcdefABCDEF"
_BYTES = {(first + second).encode(): bytes.fromhex(first + second) for first in _DIGITS for second in _DIGITS}


class Rules:
    """The rules in force, compiled; holds no state of a message."""

    def __init__(self, names: Sequence[str] | None = None, rules: Sequence[Rule] = RULES) -> None:
        """Take all of `rules`, or those that are named."""
        self._rules = [rule for rule in rules if names is None or rule.name in names]
        expressions = [rule.expression.encode() for rule in self._rules]
        words = sorted({word.encode() for rule in self._rules for word in rule.words})
        self._each = [compiled(expression) for expression in expressions]
        self._any = compiled(b"|".join(b"(?:%b)" % expression for expression in expressions)) if words else None
        self._words = compiled(b"(?i)" + b"|".join(map(re.escape, words)))
        self._beginnings = frozenset(word[:cut] for word in words for cut in range(1, len(word)))
        self._longest = max(map(len, words), default=0)

    def find(self, text: bytes, host: str, *, home: bool = True) -> str | None:
        """Return the name of the rule that matches first in a whole text, None where nothing does.

        With `home`, what may go to `host` is no finding.
        """
        return Watch(self, host, home=home).judge(text, last=True)[0]

    def direct(self, text: bytes, counts: Callable[[Rule], bool], hold: int) -> str | None:
        """Return the rule that matches in a text as it is; what goes on to its end from `hold` is not decided yet."""
        for found in self._any.finditer(text) if self._any is not None else ():
            if found.end() == len(text) and found.start() >= hold:
                break
            for rule, expression in zip(self._rules, self._each, strict=True):
                one = expression.match(text, found.start(), len(text))
                if one is not None and counts(rule) and _is_credential(rule, one.group(1)):
                    return rule.name
        return None

    def hold(self, text: bytes) -> int:
        """Return from where on a text may be the beginning of a match."""
        start = max(0, len(text) - _REACH)
        found = self._words.search(text, start, len(text)) if self._any is not None else None
        return found.start() if found is not None else self._word_beginning(text)

    def _word_beginning(self, text: bytes) -> int:
        tail = text[-self._longest :].lower()
        fitting = (at for at in range(len(tail)) if tail[at:] in self._beginnings)
        return len(text) - len(tail) + next(fitting, len(tail))


def _is_credential(rule: Rule, secret: bytes) -> bool:
    folded = secret.lower()
    return entropy(secret) >= rule.entropy and not any(word.encode() in folded for word in DUMMIES)


class Watch:
    """One message on its way to `host`, in pieces."""

    def __init__(self, rules: Rules, host: str, *, home: bool = True) -> None:
        """Begin; with `home`, credentials that are at home on `host` are no finding."""
        self._rules = rules
        self._before = b""
        self._budget = DECODED_BYTES
        self._host = host
        self._home = home

    def judge(self, text: bytes, *, last: bool) -> tuple[str | None, int]:
        """Return the rule that matches in what was passed and `text`, and from where on `text` must wait for more."""
        whole = self._before + text
        hold = len(whole) if last else self._rules.hold(whole)
        found = self._rules.direct(whole, self._counts, hold) or self._beneath(whole)
        return found, max(0, hold - len(self._before))

    def passed(self, text: bytes) -> None:
        """Take note that `text`, which has been judged, has gone out."""
        self._before = (self._before + text[-OVERLAP:])[-OVERLAP:]

    def _counts(self, rule: Rule) -> bool:
        return not (self._home and any(matches(pattern, self._host) for pattern in rule.hosts))

    def _beneath(self, text: bytes, depth: int = _DEPTH) -> str | None:
        for decoded in decodings(text):
            if len(decoded) > self._budget:
                return None
            self._budget -= len(decoded)
            found = self._rules.direct(decoded, self._counts, len(decoded))
            if found is None and depth > 1 and decoded.isascii():
                found = self._beneath(decoded, depth - 1)
            if found is not None:
                return found
        return None


def entropy(text: bytes) -> float:
    """Return the bits per character that the frequencies of characters in `text` amount to (Shannon)."""
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts) if text else 0.0


def decodings(text: bytes) -> Iterator[bytes]:
    """Yield what a text may be the encoding of: without its escapes, and what its runs of Base64 hold."""
    plain = text
    for escape in (b"%", b"\\u00", b"\\x"):
        if escape in plain:
            plain = _unescaped(plain, escape)
    if len(plain) < len(text):
        yield plain
    for found in _RUN.finditer(text):
        run = found.group().replace(b"\\n", b"").translate(_STANDARD, b"\r\n")
        # What stands before the Base64 may look like a part of it, and the text may begin in its middle: its groups of
        # four begin anywhere. In a long run the place is the one at which it reads as text.
        places = range(4) if len(run) <= _SHORT_RUN else _text_places(run)
        yield from (_unpacked(run[skipped:]) for skipped in places)


def _unescaped(text: bytes, escape: bytes) -> bytes:
    first, *others = text.replace(b"\\" + escape, escape).split(escape) if escape != b"%" else text.split(escape)
    pieces = [first]
    for piece in others:
        byte = _BYTES.get(piece[:2])
        pieces += (escape, piece) if byte is None else (byte, piece[2:])
    return b"".join(pieces)


def _text_places(run: bytes) -> list[int]:
    return [skipped for skipped in range(4) if _unpacked(run[skipped : skipped + _SAMPLE]).isascii()] or [0]


def _unpacked(letters: bytes) -> bytes:
    loose = len(letters) % 4
    letters = letters[:-1] if loose == 1 else letters + b"=" * (-loose % 4)
    return binascii.a2b_base64(letters)
