"""Fuzz target: what searches streams for values (secrets/). How to run it: mutation.py.

The first byte of an input says how the rest is cut.
"""

import base64

from mutation import run

from ringfence.secrets.coding import Decoder, UnreadableError
from ringfence.secrets.encodings import forms
from ringfence.secrets.leaks import Rules, Watch
from ringfence.secrets.placeholders import placeholder
from ringfence.secrets.scanner import Kind, Needle, Search, Stream
from ringfence.secrets.websocket import Frames

TOKEN = b"ghp_Zk3vQ9xW2bL7nR5tY8uI1oP4aS6dF0gH2jK9"
PASSWORD = b'p&ss w"rd/<9+=\\x~4kQ'
SEARCH = Search([Needle(Kind.VALUE, text.hex(), forms(text, placeholder(text))) for text in (TOKEN, PASSWORD)])
RULES = Rules()
SEEDS = (
    b"\5before " + TOKEN + b" after " + PASSWORD,
    b"\1" + base64.b64encode(b"u:" + TOKEN) + b"\n" + base64.b32encode(PASSWORD),
    b"\3" + TOKEN.hex().encode() + b"".join(b"%%%02x" % byte for byte in TOKEN),
    b"\7" + b"".join(b"\\u%04x&#x%x;" % pair for pair in zip(TOKEN[::2], TOKEN[1::2], strict=True)),
    b"\2\x01\x09" + TOKEN[:9] + b"\x89\x02hi\x80\x1f" + TOKEN[9:],
)


def pieces(data: bytes, size: int) -> list[bytes]:
    """Cut data into pieces."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def one_input(data: bytes) -> None:
    """Check that no way of cutting changes what is found, that lengths stay, and that nothing is left."""
    size, text = max(1, data[0] % 64) if data else 1, data[1:]
    whole, _ = SEARCH.replaced(text)
    assert len(whole) == len(text)
    assert not any(value in whole for value in (TOKEN, PASSWORD))
    stream = Stream(lambda: SEARCH)
    assert b"".join([*map(stream.feed, pieces(text, size)), stream.feed(b"", last=True)]) == whole
    check_frames(text, size)
    watch = Watch(RULES, "example.com")
    for piece in pieces(text, size * 16):
        _, hold = watch.judge(piece, last=False)
        assert 0 <= hold <= len(piece)
        watch.passed(piece[:hold])
    for name in ("gzip", "deflate"):
        try:
            Decoder(name).feed(text, last=True)
        except UnreadableError:
            continue


def check_frames(data: bytes, size: int) -> None:
    """Read the input as the frames of a WebSocket."""
    frames, others = Frames(lambda: SEARCH), Frames(lambda: SEARCH)
    whole = frames.feed(data) + frames.feed(b"")
    assert len(whole) == len(data)
    assert b"".join(map(others.feed, pieces(data, size))) + others.feed(b"") == whole


if __name__ == "__main__":
    run(one_input, SEEDS)
