"""Content codings that are undone."""

import gzip
import zlib

import pytest

from ringfence.secrets.coding import MOST_BYTES, Decoder, UnreadableError, coding

TEXT = b"some text, and more of it. " * 50
RAW = zlib.compressobj(wbits=-15)
BODIES = [
    ("gzip", gzip.compress(TEXT, mtime=0)),
    ("x-gzip", gzip.compress(TEXT[:100], mtime=0) + gzip.compress(TEXT[100:], mtime=0)),
    ("deflate", zlib.compress(TEXT)),
    ("deflate", RAW.compress(TEXT) + RAW.flush()),
]


@pytest.mark.parametrize(("name", "body"), BODIES)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_bodies_are_read_however_they_are_cut(name: str, body: bytes, size: int) -> None:
    decoder = Decoder(name)
    pieces = [decoder.feed(body[at : at + size], last=False) for at in range(0, len(body), size)]
    assert b"".join([*pieces, decoder.feed(b"", last=True)]) == TEXT


@pytest.mark.parametrize(("name", "body"), BODIES)
def test_a_body_that_is_cut_short_is_an_error(name: str, body: bytes) -> None:
    with pytest.raises(UnreadableError, match="cut short"):
        Decoder(name).feed(body[:-9], last=True)


def test_what_is_no_such_body_is_an_error() -> None:
    with pytest.raises(UnreadableError, match="not in the coding"):
        Decoder("gzip").feed(TEXT, last=True)
    with pytest.raises(UnreadableError, match="`br`"):
        Decoder("br")


def test_a_bomb_is_an_error() -> None:
    with pytest.raises(UnreadableError, match="too much"):
        Decoder("gzip").feed(gzip.compress(bytes(MOST_BYTES + 1)), last=True)


def test_an_empty_body_is_empty() -> None:
    assert Decoder("gzip").feed(b"", last=True) == b"" == Decoder("deflate").feed(b"", last=True)


def test_stated_codings() -> None:
    assert coding([(b"content-encoding", b" GZip ")]) == "gzip"
    assert coding([(b"content-encoding", b"identity"), (b"content-encoding", b"br")]) == "br"
    assert coding([(b"content-encoding", b"gzip, br")]) == "gzip,br"
    assert coding([]) == ""
