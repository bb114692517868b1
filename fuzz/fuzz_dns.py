"""Fuzz target: DNS queries and the answers to them (network/dns.py). How to run it: mutation.py."""

from mutation import run

from ringfence.network import dns
from ringfence.network.malformed import Malformed
from ringfence.policy.hosts import canonical_host

HEADER = b"\xab\xcd\1\0\0\1\0\0\0\0\0"
SEEDS = (
    HEADER + b"\0\7example\3com\0\0\1\0\1",
    HEADER + b"\1\7eXample\3com\0\0\x1c\0\1\0\0\x29\4\xd0\0\0\x80\0\0\0",
    HEADER + b"\1\4_dns\4test\0\0\x41\0\1\0\0\x29\x10\0\0\0\0\0\0\x0c\0\x0a\0\x08abcdefgh",
    HEADER + b"\0\0011\0010\00218\003198\7in-addr\4arpa\0\0\x0c\0\1",
    HEADER + b"\0\xc0\x0c\0\1\0\1",
)


def one_input(data: bytes) -> None:
    """Check that a query gets answers that repeat it, and that anything else gets at most a failure."""
    try:
        question = dns.parse_query(data)
    except Malformed:
        answer = dns.failure(data)
        assert answer == b"" or (answer[:2] == data[:2] and answer[2] & 0x80 and answer[3] & 15 in (1, 4))
        return
    assert data[12:].startswith(question.wire)
    assert question.name == "" or canonical_host(question.name) == question.name
    answers = (dns.no_data(question), dns.no_such_name(question), dns.refused(question))
    for answer in (*answers, dns.address_answer(question, "198.18.1.1")):
        assert answer[:2] == data[:2] and answer[12:].startswith(question.wire) and len(answer) <= 512
        assert dns.failure(answer) == b""


if __name__ == "__main__":
    run(one_input, SEEDS)
