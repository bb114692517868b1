"""Seal records into a chain, and read the seal of a line without parsing its JSON.

Theory of operation. A record is a JSON object in canonical form: keys sorted, no spaces, ASCII only, which is
exactly what `json.dumps(record, sort_keys=True, separators=(",", ":"))` and `jq -caS` print. Its hash is

    sha256( prev || canonical(record without "hash") )        both as ASCII, `prev` as 64 hex digits

and is put in as the last member, out of sorted order, so that anyone can cut it off again without a JSON parser:

    {"code":C,"fields":F,"kind":K,"prev":P,"run":R,"seq":N,"time":T,"v":1,"hash":H}

SECURITY: the writer reads seals from the tail of a file that may have been tampered with. It looks for members from
the end: what follows `fields` is strings and numbers only, and inside a JSON string a quote is always escaped, so
`,"prev":"` cannot occur within a value there. A line in any other layout has no seal.

This module is on the hot path: `json` costs 6 ms to import, `hashlib` 2 ms (it loads OpenSSL), `typing` 7 ms.
"""

try:
    from _sha2 import sha256  # type: ignore[import-not-found, unused-ignore]  # Python >= 3.12; not in typeshed
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found, unused-ignore]  # Python 3.11; not in typeshed
    except ImportError:
        from hashlib import sha256  # an interpreter built without its own SHA-2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1

Link = tuple[int, str]
"""A place in the chain: sequence number and hash of the record that stands there."""

GENESIS: Link = (0, "0" * 64)
"""What the first record (sequence number 1) follows."""

TORN = "torn"
"""Kind of the record that vouches for the line before it: a write that was cut short, not a record."""
BROKEN = "broken"
"""Kind of the record that notes a disagreement of head and file; its code is the kind of problem."""
ROTATION = "rotation"
"""Kind of the first record of a file that continues another one."""

_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
_HEX = frozenset("0123456789abcdef")
_HASH_START = b',"hash":"'
_HASH_LENGTH = len(_HASH_START) + 64 + len(b'"}')


class Seal:
    """What a line says of its own place in the chain.

    `sound` tells whether the line's hash is right for its content; it says nothing of the lines around it.
    """

    __slots__ = ("code", "kind", "link", "prev", "sound")

    def __init__(self, *, link: Link, prev: str, kind: str, code: str, sound: bool) -> None:
        self.link = link
        self.prev = prev
        self.kind = kind
        self.code = code
        self.sound = sound


def digest(content: bytes) -> str:
    """Give the SHA-256 of `content` in hex."""
    return str(sha256(content).hexdigest())


def canonical(value: object) -> str:
    """Encode `value` (str, int, bool, None, list, tuple, or dict with str keys) as canonical JSON.

    Raises `TypeError` for anything else: floats have no canonical form, and bytes are somebody's mistake.
    """
    if isinstance(value, str):
        return _quote(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)  # an IntEnum's own repr is not JSON
    if isinstance(value, list | tuple):
        return "[" + ",".join([canonical(item) for item in value]) + "]"
    if isinstance(value, dict):
        return "{" + ",".join([_quote(key) + ":" + canonical(value[key]) for key in sorted(value)]) + "}"
    raise TypeError(f"no canonical form for a value of type `{type(value).__name__}`")


def encode(
    previous: Link, *, time: str, run: str, kind: str, code: str, fields: "Mapping[str, object]"
) -> tuple[bytes, Link]:
    """Seal one record behind `previous`: its line, newline included, and the link that the next one follows.

    `time` is RFC 3339 in UTC. Raises `TypeError` for a field that has no canonical form.
    """
    sequence, prev = previous[0] + 1, previous[1]
    body = canonical(
        {
            "code": code,
            "fields": dict(fields),
            "kind": kind,
            "prev": prev,
            "run": run,
            "seq": sequence,
            "time": time,
            "v": VERSION,
        }
    )
    value = digest((prev + body).encode("ascii"))
    return f'{body[:-1]},"hash":"{value}"}}\n'.encode("ascii"), (sequence, value)


def encode_torn(previous: Link, fragment: bytes, *, time: str) -> tuple[bytes, Link]:
    """Seal the record that vouches for `fragment`, the unterminated rest of a write that was cut short."""
    return encode(previous, time=time, run="", kind=TORN, code="", fields=_torn_fields(fragment))


def vouches(line: bytes, fragment: bytes) -> bool:
    """Tell whether `line`, a sound record, is the torn record written for exactly this `fragment`."""
    head = '{"code":"","fields":' + canonical(_torn_fields(fragment)) + f',"kind":"{TORN}",'
    return line.startswith(head.encode("ascii"))


def read_seal(line: bytes) -> Seal | None:
    """Read the seal of `line` (without its newline); None if it does not have the layout of a record."""
    body, tail = line[:-_HASH_LENGTH], line[-_HASH_LENGTH:]
    claimed = _text(tail[len(_HASH_START) : -2])
    # From the end towards the front, see SECURITY above.
    time_at = body.rfind(b',"time":"')
    sequence_at = body.rfind(b',"seq":', 0, max(time_at, 0))
    run_at = body.rfind(b',"run":"', 0, max(sequence_at, 0))
    kind_at = body.rfind(b',"kind":"', 0, max(run_at, 0))
    sequence = _text(body[sequence_at + 7 : time_at])
    kind, separator, prev = _text(body[kind_at + 9 : run_at - 1]).partition('","prev":"')
    shaped = (
        kind_at >= 0
        and separator
        and tail.startswith(_HASH_START)
        and tail.endswith(b'"}')
        and body.startswith(b'{"code":"')
        and body.endswith(b'","v":%d' % VERSION)
        and _is_number(sequence)
        and _is_hash(prev)
        and _is_hash(claimed)
    )
    if not shaped:
        return None
    return Seal(
        link=(int(sequence), claimed),
        prev=prev,
        kind=kind,
        code=_text(body[9 : body.index(b'"', 9)]),
        sound=digest(prev.encode("ascii") + body + b"}") == claimed,
    )


def _quote(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join([_escape(character) for character in text]) + '"'


def _escape(character: str) -> str:
    if " " <= character <= "~":
        return _SHORT_ESCAPES.get(character, character)
    point = ord(character)
    if point > 0xFFFF:  # RFC 8259 section 7: a surrogate pair
        point -= 0x10000
        return f"\\u{0xD800 | point >> 10:04x}\\u{0xDC00 | point & 0x3FF:04x}"
    return _SHORT_ESCAPES.get(character) or f"\\u{point:04x}"


def _torn_fields(fragment: bytes) -> dict[str, object]:
    return {"bytes": len(fragment), "sha256": digest(fragment)}


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "replace")


def _is_hash(text: str) -> bool:
    return len(text) == 64 and _HEX.issuperset(text)


def _is_number(text: str) -> bool:
    # At most 20 digits: `int` of a longer hostile string is slow, and refused beyond 4,300.
    return text.isascii() and text.isdigit() and len(text) <= 20 and text[0] != "0"
