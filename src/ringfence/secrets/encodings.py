r"""Every form in which a value is looked for, and the same form of what replaces it.

A form is a sequence of units, one per character (of Base64: per letter), each a table from the texts that may stand
there to the text of equal length that takes their place. So one form covers every mixture of escapes:

- characters: raw; `%67`, `%2567`, `%252567`; `\u0067`, `\u{67}`, `\x67`, `\147`, with one, two or four backslashes
  (JSON in JSON); `&#103;`, `&#x67;`, with and without semicolon; `=67`; a space as `+`; what JSON and HTML must escape
  by its names; a line end as any line end, `\n`, `%0A`.
- Base64 of a text that holds the value, at each of its three alignments, both alphabets, wrapped in lines or not, `+`
  and `/` escaped or not; Base32 at each of its five. The letters at the edges, which hold bits of what stands next to
  the value too, are matched as the set of letters they may be, and keep the bits that are not of the value.
- hexadecimal, in capitals or not, with separators (`67 68`, `67:68`, `0x67, 0x68`); decimal numbers (`[103, 104]`).
- UTF-16 and UTF-32: with one zero, or three, between characters.
- raw characters in lines, as a narrow page, a shell (`\` at the end) or quoted-printable (`=` at the end) break them.

What is not covered: the value reversed, in pieces, compressed or encrypted within a body, or encoded twice but for
percent signs and backslashes (docs/secrets.md).

Theory of operation: value and replacement have the same classes of characters (placeholders.py), so units have equal
lengths; where they have not (`&#99;` and `&#100;`), the replacement is a mask of the right length.
INVARIANT: for each unit, len(needle) == len(replacement) (tests/unit/secrets/test_encodings.py).
"""

import string
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, lru_cache

Table = dict[bytes, bytes]

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BASE32 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_ESCAPED_LETTERS = {b"+": (b"%2B", b"%2b", b"\\u002b"), b"/": (b"%2F", b"%2f", b"\\/")}
_BACKSLASHES = (b"\\", b"\\\\", b"\\\\\\\\")
_HEX_AROUND = (
    (b"%", b""), (b"%25", b""), (b"%2525", b""), (b"=", b""),
    *((b"&#" + x + zeros, end) for x in (b"x", b"X") for zeros in (b"", b"00") for end in (b"", b";")),
    *((slash + letter, b"") for slash in _BACKSLASHES for letter in (b"u00", b"x", b"U000000")),
    *((slash + b"u{", b"}") for slash in _BACKSLASHES),
)  # fmt: skip
_NAMED = {
    b"&": (b"&amp;", b"&amp;amp;"),
    b"<": (b"&lt;", b"&amp;lt;"),
    b">": (b"&gt;", b"&amp;gt;"),
    b'"': (b"&quot;", b"&amp;quot;", *(slash + b'"' for slash in _BACKSLASHES), b'\\\\\\"'),
    b"'": (b"&apos;", b"\\'"),
    b"\\": (b"\\\\", b"\\\\\\\\"),
    b"/": (b"\\/", b"\\\\/"),
    b" ": (b"+",),
    b"\t": tuple(slash + b"t" for slash in _BACKSLASHES),
    b"\r": tuple(slash + b"r" for slash in _BACKSLASHES),
    b"\n": (*(slash + b"n" for slash in _BACKSLASHES), b"\r\n", b"\\r\\n", b"%0D%0A", b"%0d%0a"),
}
_WRAPS = (b"", b"\n", b"\r\n", b"\r\n ", b"\\n", b"\\r\\n")
_LINES = (b"", b"\n", b"\r\n", b"=\n", b"=\r\n", b"\\\n")
_SEPARATORS = (b"", b"\n", b"\r\n", b" ", b":", b"-", b"0x", b" 0x", b",0x", b", 0x")
_BETWEEN_NUMBERS = (b",", b", ", b" ")
_MASKS = {2: b"95", 3: b"120"}


class Unit:
    """What may stand for one character, each with what takes its place; made once for all that need the same."""

    def __init__(self, table: Mapping[bytes, bytes], shape: "Unit | None" = None) -> None:
        """Take the texts; `lengths` are theirs, in order. `shape` has those of every letter and digit alike."""
        self.table = table
        self.lengths = sorted({len(text) for text in table})
        self.shape = shape or self

    @cached_property
    def begins(self) -> frozenset[bytes]:
        """Give everything that one of the texts goes on from."""
        return frozenset(text[:cut] for text in self.table for cut in range(len(text)))

    @cached_property
    def closed(self) -> "Unit":
        """Give the unit as the last one: no text is the beginning of another, so that it is complete at its end."""
        return Unit({text: self.table[text] for text in self.table if not self._extends_another(text)})

    def _extends_another(self, text: bytes) -> bool:
        return any(text[:length] in self.table for length in self.lengths if length < len(text))


Form = tuple[Unit, ...]
_ALNUM = tuple((string.digits + string.ascii_letters).encode())


def forms(value: bytes, replacement: bytes) -> list[Form]:
    """List the forms of `value` with those of `replacement`, which has its length and classes of characters."""
    pairs = list(zip(value, replacement, strict=True))
    found = [
        _form(pairs, _character),
        _form(pairs, _hexadecimal, _SEPARATORS),
        _form(pairs, _number, _BETWEEN_NUMBERS),
        _form(pairs, _plain, (b"\0", b"\0\0\0")),
        _form(pairs, _printable, _LINES),
    ]
    found += [_packed(value, replacement, before, _BASE64) for before in range(3)]
    found += [_packed(value, replacement, before, _BASE32) for before in range(5)]
    return found


_Spelling = Callable[[int, int], Table]


def _form(pairs: list[tuple[int, int]], spell: _Spelling, before: tuple[bytes, ...] = (b"",)) -> Form:
    """Make a form of one unit per character; between units stands one of `before`."""
    first, *others = pairs
    return (_unit(spell, first, (b"",)), *(_unit(spell, pair, before) for pair in others))


@lru_cache(maxsize=16384)
def _unit(spell: _Spelling, pair: tuple[int, int], before: tuple[bytes, ...]) -> Unit:
    return Unit(_prefixed(spell(*pair), before), _any(spell, before) if pair[0] in _ALNUM else None)


@lru_cache(maxsize=64)
def _any(spell: _Spelling, before: tuple[bytes, ...]) -> Unit:
    """Make the unit of any letter or digit: that there is one here, the placeholder tells as well."""
    return Unit({text: made for byte in _ALNUM for text, made in _prefixed(spell(byte, byte), before).items()})


def _prefixed(table: Table, before: tuple[bytes, ...]) -> Table:
    return {lead + needle: lead + made for lead in before for needle, made in table.items()}


def _plain(a: int, b: int) -> Table:
    return {bytes((a,)): bytes((b,))}


def _printable(a: int, b: int) -> Table:
    return _plain(a, b) | {b"=%02X" % a: b"=%02X" % b}


def _hexadecimal(a: int, b: int) -> Table:
    return {b"%02X" % a: b"%02X" % b} | {b"%02x" % a: b"%02x" % b}  # what may be either is read as small letters


def _number(a: int, b: int) -> Table:
    needle, made = b"%d" % a, b"%d" % b
    return {needle: made if len(made) == len(needle) else _MASKS.get(len(needle), needle)}


def _character(a: int, b: int) -> Table:
    return dict(_escapes(a, b)) | _plain(a, b)


def _escapes(a: int, b: int) -> Iterator[tuple[bytes, bytes]]:
    for needle, made in _hexadecimal(a, b).items():
        yield from ((start + needle + end, start + made + end) for start, end in _HEX_AROUND)
    for needle, made in _number(a, b).items():
        yield from ((start + needle + end, start + made + end) for start in (b"&#", b"&#0") for end in (b"", b";"))
    for slash in _BACKSLASHES[:2]:
        yield slash + b"%03o" % a, slash + b"%03o" % b
    # What has a name is neither letter nor digit, and the same in value and replacement.
    yield from ((name, name) for name in _NAMED.get(bytes((a,)), ()))


def _packed(value: bytes, replacement: bytes, before: int, alphabet: bytes) -> Form:
    """Make the Base64 or Base32 of a text in which `before` bytes stand before the value in its first group."""
    width = 6 if alphabet is _BASE64 else 5
    first, last = 8 * before // width, (8 * (before + len(value)) - 1) // width
    shift = width * (last + 1) - 8 * (before + len(value))  # bits in the last letter that come after the value
    own, needle, made = (
        _groups(number << shift, width, last + 1 - first)
        for number in ((1 << 8 * len(value)) - 1, int.from_bytes(value, "big"), int.from_bytes(replacement, "big"))
    )
    groups = enumerate(zip(own, needle, made, strict=True))
    return tuple(_letters(alphabet, *group, wraps=_WRAPS if at else (b"",)) for at, group in groups)


def _groups(number: int, width: int, count: int) -> list[int]:
    """Cut the last bits of a number into `count` groups of `width`, in time that grows with their number alone."""
    text = f"{number:0{count * width}b}"[-count * width :]
    return [int(text[at : at + width], 2) for at in range(0, len(text), width)]


@lru_cache(maxsize=16384)
def _letters(alphabet: bytes, own: int, bits: int, new: int, *, wraps: tuple[bytes, ...]) -> Unit:
    """Make the unit of one letter, of whose bits those in `own` are of the value."""
    free = (1 << (6 if alphabet is _BASE64 else 5)) - 1 & ~own
    table: Table = {}
    for other in _subsets(free):
        table |= _letter(alphabet, bits | other, new | other)
    return Unit(_prefixed(table, wraps), _any_letter(alphabet, wraps))


@lru_cache(maxsize=64)
def _any_letter(alphabet: bytes, wraps: tuple[bytes, ...]) -> Unit:
    return Unit(
        {
            text: made
            for number in range(len(alphabet))
            for text, made in _prefixed(_letter(alphabet, number, number), wraps).items()
        }
    )


def _subsets(mask: int) -> Iterator[int]:
    """Yield every number whose bits are among those of `mask`."""
    part = mask
    while True:
        yield part
        if not part:
            return
        part = (part - 1) & mask


def _letter(alphabet: bytes, a: int, b: int) -> Table:
    needle, made = alphabet[a : a + 1], alphabet[b : b + 1]
    if alphabet is _BASE32:
        return {needle.lower(): made.lower(), needle: made}
    table = {needle.translate(_URL_SAFE): made.translate(_URL_SAFE), needle: made}
    if a == b and a >= 62:  # of characters that are neither letters nor digits, mostly, and so the same in both
        table |= {text: text for text in _ESCAPED_LETTERS[needle]}
    return table
