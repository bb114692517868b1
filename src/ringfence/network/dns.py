"""Questions that programs inside ask of our name server, and the answers; nothing here asks anybody else.

The rules (RFC 1035 section 4, RFC 6891, RFC 2308):

    message  = id(2), flags(2), counts 1, 0, 0, 0..1 (2 each), question, [ OPT ]
    question = name, type(2), class(2)            name = *( length(1) = 1..63, label ) 0, at most 255 bytes
    OPT      = 0, 41(2), size(2), ttl(4) = extended code, version 0, flags; options<0..2^16-1>

One question a query, in opcode 0, and nothing else but one OPT record. There are no compression pointers in the first
name of a message, and a query has no second one, so a pointer is `Malformed`; so is anything after the end. Flags and
EDNS options that ask for more than we know (recursion, DNSSEC, cookies, client subnets) are accepted and not acted
upon. A question for something that is no host name (the root, labels of arbitrary bytes) is well formed and has an
empty `name`: there is no such host.

Answers repeat the question byte for byte, with the letter case that the client chose to tell answers to it from
others (draft-vixie-dnsext-dns0x20). What is denied and what does not exist is NXDOMAIN; what exists without an address
of the kind asked for is no data; both carry an SOA record of the root, the one name above every other, with a minimum
of a second, so that what the operator allows can be asked for again at once. All answers are shorter than 512 bytes:
none is ever truncated.
"""

from ipaddress import IPv4Address

import msgspec

from .authority import wire_host
from .cursor import Cursor
from .malformed import Malformed

ANSWER_TTL_S = 5  # an address outlives it by far (synthetic.py); a rule that is withdrawn does not
NEGATIVE_TTL_S = 1
QUERY_BYTES = 4096
"""No query is longer; a longer one is not read."""

A, SOA, PTR, AAAA, OPT = 1, 6, 12, 28, 41
INTERNET = 1
NO_ERROR, FORMAT_ERROR, NO_SUCH_NAME, NOT_IMPLEMENTED, REFUSED = 0, 1, 3, 4, 5

_RESPONSE, _RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x8000, 0x0100, 0x0080
_OPCODE, _TRUNCATED = 0x7800, 0x0200
_HEADER_BYTES = 12
_UDP_PAYLOAD = 1232  # what fits every path (DNS flag day 2020); ours are shorter anyway
_QUESTION_NAME = b"\xc0\x0c"  # a pointer to the name in the question
_REVERSE = ".in-addr.arpa"


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A query. `name` is canonical, empty where it is no host name; `wire` is the question as it was written."""

    id: int
    name: str
    qtype: int
    qclass: int
    wire: bytes
    recursion_desired: bool
    edns: bool
    dnssec: bool = False

    @property
    def pointed_at(self) -> str:
        """Return the IPv4 address that a PTR question is about, empty where it is about none."""
        octets = self.name.removesuffix(_REVERSE).split(".")
        if self.qtype != PTR or not self.name.endswith(_REVERSE) or len(octets) != 4:
            return ""
        try:
            return str(IPv4Address(".".join(reversed(octets))))
        except ValueError:
            return ""


def parse_query(message: bytes) -> Question:
    """Read a query as it came by UDP, or by TCP after its length. Raises `Malformed`; `failure` has the answer."""
    cursor = Cursor(message, "DNS query")
    number, flags = cursor.integer(2), cursor.integer(2)
    if flags & (_RESPONSE | _OPCODE | _TRUNCATED):
        raise Malformed("not a DNS query")
    questions, answers, authorities, additional = (cursor.integer(2) for _ in range(4))
    if (questions, answers, authorities) != (1, 0, 0) or additional > 1:
        raise Malformed("DNS query with other records than one question")
    labels = _labels(cursor)
    qtype, qclass = cursor.integer(2), cursor.integer(2)
    wire = message[_HEADER_BYTES : cursor.position]
    dnssec = _options(cursor) if additional else False
    cursor.finish()
    return Question(
        id=number,
        name=_host_name(labels),
        qtype=qtype,
        qclass=qclass,
        wire=wire,
        recursion_desired=bool(flags & _RECURSION_DESIRED),
        edns=bool(additional),
        dnssec=dnssec,
    )


def _labels(cursor: Cursor) -> list[bytes]:
    labels: list[bytes] = []
    start = cursor.position
    while length := cursor.integer(1):
        if length > 63:
            raise Malformed("DNS query with a compressed name")
        labels.append(cursor.take(length))
        if cursor.position - start > 254:  # and the zero at the end
            raise Malformed("DNS query with a name that is too long")
    return labels


def _host_name(labels: list[bytes]) -> str:
    if any(b"." in label for label in labels):
        return ""  # a dot inside a label would look like one between labels
    try:
        return wire_host(b".".join(labels))
    except Malformed:
        return ""


def _options(cursor: Cursor) -> bool:
    """Read the OPT record (RFC 6891 section 6.1.2) and tell whether the client wants DNSSEC (RFC 3225)."""
    name, kind = cursor.integer(1), cursor.integer(2)
    cursor.take(2)
    _extended_code, version, flags = cursor.integer(1), cursor.integer(1), cursor.integer(2)
    cursor.vector(2)
    if (name, kind, version) != (0, OPT, 0):
        raise Malformed("DNS query with another additional record than OPT of version 0")
    return bool(flags & 0x8000)


def address_answer(question: Question, address: str) -> bytes:
    """Answer with one IPv4 address."""
    return _answer(question, NO_ERROR, answer=_record(_QUESTION_NAME, A, ANSWER_TTL_S, IPv4Address(address).packed))


def pointer_answer(question: Question, name: str) -> bytes:
    """Answer a PTR question with a canonical name."""
    return _answer(question, NO_ERROR, answer=_record(_QUESTION_NAME, PTR, ANSWER_TTL_S, wire_name(name)))


def no_data(question: Question) -> bytes:
    """Answer that the name exists and has nothing of the type asked for."""
    return _answer(question, NO_ERROR, authority=_SOA_RECORD)


def no_such_name(question: Question) -> bytes:
    """Answer that there is no such name (NXDOMAIN)."""
    return _answer(question, NO_SUCH_NAME, authority=_SOA_RECORD)


def refused(question: Question) -> bytes:
    """Answer that we do not serve such questions."""
    return _answer(question, REFUSED)


def failure(message: bytes) -> bytes:
    """Return the answer to what `parse_query` refused: FORMERR or NOTIMP; empty where none may be sent.

    Never answered are responses: two servers would go on answering each other.
    """
    if len(message) < _HEADER_BYTES or message[2] & 0x80:
        return b""
    flags = int.from_bytes(message[2:4], "big")
    code = NOT_IMPLEMENTED if flags & _OPCODE else FORMAT_ERROR
    return message[:2] + _flags(flags & (_OPCODE | _RECURSION_DESIRED) | code) + bytes(8)


def wire_name(name: str) -> bytes:
    """Write a canonical name as labels, without compression."""
    labels = [label.encode("ascii") for label in name.split(".")]
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def _record(name: bytes, kind: int, ttl_s: int, data: bytes) -> bytes:
    numbers = (kind, 2), (INTERNET, 2), (ttl_s, 4), (len(data), 2)
    return name + b"".join(number.to_bytes(width, "big") for number, width in numbers) + data


def _flags(flags: int) -> bytes:
    return (flags | _RESPONSE | _RECURSION_AVAILABLE).to_bytes(2, "big")


def _answer(question: Question, code: int, *, answer: bytes = b"", authority: bytes = b"") -> bytes:
    counts = (1, bool(answer), bool(authority), question.edns)
    flags = _flags(code | (_RECURSION_DESIRED if question.recursion_desired else 0))
    header = question.id.to_bytes(2, "big") + flags + b"".join(int(count).to_bytes(2, "big") for count in counts)
    # RFC 6891 section 6.1.1: a query with OPT is answered with OPT.
    options = b"\0" + OPT.to_bytes(2, "big") + _UDP_PAYLOAD.to_bytes(2, "big") + bytes(2)
    options += (0x8000 if question.dnssec else 0).to_bytes(2, "big") + bytes(2)
    return header + question.wire + answer + authority + (options if question.edns else b"")


# RFC 1035 section 3.3.13: two names, then serial, refresh, retry, expire and minimum (RFC 2308: the negative TTL).
_SOA_DATA = wire_name("ringfence.invalid") * 2 + b"".join(
    number.to_bytes(4, "big") for number in (1, 60, 60, 60, NEGATIVE_TTL_S)
)
_SOA_RECORD = _record(b"\0", SOA, NEGATIVE_TTL_S, _SOA_DATA)
