"""DNS queries: those that resolvers send, those that nobody should, and the answers byte by byte."""

import struct

import msgspec
import pytest

from ringfence.network import dns
from ringfence.network.dns import Question, failure, parse_query
from ringfence.network.malformed import Malformed

OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def name(text: str) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in text.encode("latin-1").split(b".") if label) + b"\0"


def query(asked: bytes = name("example.com"), qtype: int = 1, **fields: int | bytes) -> bytes:
    """Write a query; `fields` are id, flags, the four counts, qclass, and `tail` for what follows the question."""
    flags = fields.get("flags", 0x0100)
    counts = (fields.get("questions", 1), fields.get("answers", 0), fields.get("authorities", 0))
    header = struct.pack("!6H", fields.get("id", 0xABCD), flags, *counts, fields.get("additional", 0))
    tail = fields.get("tail", b"")
    assert isinstance(tail, bytes)
    return header + asked + struct.pack("!HH", qtype, fields.get("qclass", 1)) + tail


def opt(*, version: int = 0, flags: int = 0, options: bytes = b"", kind: int = 41, owner: bytes = b"\0") -> bytes:
    return owner + struct.pack("!HHBBHH", kind, 1232, 0, version, flags, len(options)) + options


def asked(**fields: int | str | bytes) -> Question:
    plain = Question(
        id=0xABCD,
        name="example.com",
        qtype=1,
        qclass=1,
        wire=name("example.com") + b"\0\1\0\1",
        recursion_desired=True,
        edns=False,
    )
    return msgspec.structs.replace(plain, **fields)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (query(), asked()),
        (query(flags=0), asked(recursion_desired=False)),
        (query(flags=0x01BF), asked()),  # AD, CD, RA and a code mean nothing here
        (query(additional=1, tail=opt()), asked(edns=True)),
        (query(additional=1, tail=opt(flags=0x8000)), asked(edns=True, dnssec=True)),
        (query(additional=1, tail=opt(flags=0x7FFF)), asked(edns=True)),
        (query(additional=1, tail=opt(options=b"\0\x0a\0\x08abcdefgh")), asked(edns=True)),
        (query(name("eXaMpLe.CoM")), asked(wire=name("eXaMpLe.CoM") + b"\0\1\0\1")),
        (query(qtype=65), asked(qtype=65, wire=name("example.com") + b"\0\x41\0\1")),
        (query(qclass=255), asked(qclass=255, wire=name("example.com") + b"\0\1\0\xff")),
        (query(name("_srv._tcp.a.test")), asked(name="_srv._tcp.a.test", wire=name("_srv._tcp.a.test") + b"\0\1\0\1")),
    ],
)
def test_a_query_is_read(message: bytes, expected: Question) -> None:
    assert parse_query(message) == expected


@pytest.mark.parametrize(
    "wire",
    [
        b"\0", name("a b"), name("a*.test"), b"\3a.b\4test\0", b"\1\0\0", b"\2\xc3\xa9\0", name("1.2.3"),
        name("-a.test"), name("xn--a.test"), b"\1\xff\0", name("a@b"), name("0x7f.1"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_host_name_names_no_host(wire: bytes) -> None:
    assert parse_query(query(wire)).name == ""


LONG = b"\x3f" + b"a" * 63
MALFORMED = {
    "nothing": b"",
    "half a header": query()[:11],
    "a response": query(flags=0x8180),
    "a status query": query(flags=0x1000),
    "an update": query(flags=0x2800),
    "a truncated query": query(flags=0x0300),
    "no question": query(questions=0),
    "two questions": query(questions=2, tail=name("a.test") + b"\0\1\0\1"),
    "an answer": query(answers=1),
    "an authority": query(authorities=1),
    "two additional records": query(additional=2, tail=OPT + OPT),
    "an additional record that is missing": query(additional=1),
    "another additional record": query(additional=1, tail=opt(kind=1)),
    "a signature": query(additional=1, tail=opt(kind=250)),
    "an OPT with a name": query(additional=1, tail=opt(owner=name("a"))),
    "EDNS 1": query(additional=1, tail=opt(version=1)),
    "an OPT cut short": query(additional=1, tail=opt()[:-1]),
    "options cut short": query(additional=1, tail=opt(options=b"abcd")[:-1]),
    "bytes behind the OPT": query(additional=1, tail=opt() + b"\0"),
    "bytes behind the question": query(tail=b"\0"),
    "an OPT that is not counted": query(tail=opt()),
    "no class": query()[:-2],
    "no type": query()[:-4],
    "a name without an end": query()[:20],
    "a label cut short": query(b"\x3fexample"),
    "a pointer to itself": query(b"\xc0\x0c"),
    "a pointer forward": query(b"\xc0\xff"),
    "a pointer behind a label": query(b"\7example\xc0\x0c"),
    "a label of an extended type": query(b"\x41example\0"),
    "a label of a reserved type": query(b"\x80example\0"),
    "a label of 64 bytes": query(b"\x40" + b"a" * 64 + b"\0"),
    "a name of 256 bytes": query(LONG * 3 + b"\x3e" + b"a" * 62 + b"\0"),
    "a name that never ends": query(LONG * 200 + b"\0"),
}


@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_query_is_refused(message: bytes) -> None:
    with pytest.raises(Malformed):
        parse_query(message)


@pytest.mark.parametrize("length", range(len(query(additional=1, tail=opt()))))
def test_a_cut_query_is_refused(length: int) -> None:
    with pytest.raises(Malformed):
        parse_query(query(additional=1, tail=opt())[:length])


def test_the_longest_name_is_read() -> None:
    text = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert len(text) == 253
    assert parse_query(query(name(text))).name == text


QUESTION = parse_query(query(name("ExAmple.com"), additional=1, tail=opt(flags=0x8000)))
PLAIN = parse_query(query(flags=0))
SOA = (
    b"\0\0\6\0\1\0\0\0\1" + struct.pack("!H", 58) + name("ringfence.invalid") * 2 + struct.pack("!5I", 1, 60, 60, 60, 1)
)
OPT_BACK = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            dns.address_answer(QUESTION, "198.18.1.0"),
            (0x8180, (1, 1, 0, 1), QUESTION.wire + b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\xc6\x12\1\0" + OPT_BACK),
        ),
        (
            dns.address_answer(PLAIN, "198.18.1.0"),
            (0x8080, (1, 1, 0, 0), PLAIN.wire + b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\xc6\x12\1\0"),
        ),
        (dns.no_data(QUESTION), (0x8180, (1, 0, 1, 1), QUESTION.wire + SOA + OPT_BACK)),
        (dns.no_such_name(PLAIN), (0x8083, (1, 0, 1, 0), PLAIN.wire + SOA)),
        (
            dns.refused(parse_query(query(additional=1, tail=opt()))),
            (0x8185, (1, 0, 0, 1), PLAIN.wire + b"\0\0\x29\x04\xd0\0\0\0\0\0\0"),
        ),
        (dns.refused(PLAIN), (0x8085, (1, 0, 0, 0), PLAIN.wire)),
        (
            dns.pointer_answer(PLAIN, "a.test"),
            (0x8080, (1, 1, 0, 0), PLAIN.wire + b"\xc0\x0c\0\x0c\0\1\0\0\0\5\0\x08\1a\4test\0"),
        ),
    ],
)
def test_an_answer_is_written(answer: bytes, expected: tuple[int, tuple[int, ...], bytes]) -> None:
    flags, counts, rest = expected
    assert answer == struct.pack("!6H", 0xABCD, flags, *counts) + rest


def test_no_answer_needs_more_than_512_bytes() -> None:
    longest = parse_query(query(name(".".join(["a" * 63] * 3 + ["b" * 61])), additional=1, tail=opt()))
    answers = (dns.no_data(longest), dns.no_such_name(longest), dns.pointer_answer(longest, longest.name))
    assert max(len(answer) for answer in (*answers, dns.address_answer(longest, "198.18.1.0"))) < 600
    assert max(len(answer) for answer in (dns.no_data(longest), dns.address_answer(longest, "198.18.1.0"))) <= 512


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (query(tail=b"junk"), b"\xab\xcd\x81\x81" + bytes(8)),
        (query(flags=0, questions=0), b"\xab\xcd\x80\x81" + bytes(8)),
        (query(flags=0x2900), b"\xab\xcd\xa9\x84" + bytes(8)),
        (query()[:12], b"\xab\xcd\x81\x81" + bytes(8)),
        (query()[:11], b""),
        (b"", b""),
        (query(flags=0x8180), b""),
        (query(flags=0x8000), b""),
        (query(flags=0x0080, questions=0), b"\xab\xcd\x80\x81" + bytes(8)),
        (query(flags=0xFFFF), b""),
    ],
)
def test_a_failure_is_answered_unless_that_could_go_on_for_ever(message: bytes, expected: bytes) -> None:
    assert failure(message) == expected


@pytest.mark.parametrize(
    ("text", "qtype", "expected"),
    [
        ("7.2.0.192.in-addr.arpa", 12, "192.0.2.7"),
        ("0.1.18.198.IN-ADDR.ARPA", 12, "198.18.1.0"),
        ("7.2.0.192.in-addr.arpa", 1, ""),
        ("2.0.192.in-addr.arpa", 12, ""),
        ("1.7.2.0.192.in-addr.arpa", 12, ""),
        ("07.2.0.192.in-addr.arpa", 12, ""),
        ("256.2.0.192.in-addr.arpa", 12, ""),
        ("a.b.c.d.in-addr.arpa", 12, ""),
        ("1.2.3.4.example.com", 12, ""),
        ("1.0.0.0.ip6.arpa", 12, ""),
    ],
)
def test_a_reverse_question_is_about_an_address(text: str, qtype: int, expected: str) -> None:
    assert parse_query(query(name(text), qtype)).pointed_at == expected
