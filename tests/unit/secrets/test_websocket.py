"""Values in what comes and goes over a WebSocket, however it is framed and cut."""

import struct
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.model.passage import Stopped
from ringfence.secrets.encodings import forms
from ringfence.secrets.placeholders import placeholder
from ringfence.secrets.scanner import Kind, Needle, Search
from ringfence.secrets.websocket import Departing, Frames

TOKEN = b"ghp_Zk3vQ9xW2bL7nR5tY8uI1oP4aS6dF0gH2jK9"
STAND_IN = placeholder(TOKEN)
SEARCH = Search([Needle(Kind.VALUE, "token", forms(TOKEN, STAND_IN))])


def frame(
    payload: bytes, *, opcode: int = 1, final: bool = True, compressed: bool = False, masked: bool = False
) -> bytes:
    first = opcode | (0x80 if final else 0) | (0x40 if compressed else 0)
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        head = bytes((first, mask | len(payload)))
    elif len(payload) < 65536:
        head = struct.pack("!BBH", first, mask | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, mask | 127, len(payload))
    return head + (b"\0\0\0\0" if masked else b"") + payload


def passed(data: bytes, size: int = 1 << 20) -> bytes:
    frames = Frames(lambda: SEARCH)
    made = b"".join(frames.feed(data[at : at + size]) for at in range(0, len(data), size))
    return made + frames.feed(b"")


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("room", [0, 200, 70_000])
def test_a_value_in_a_frame_is_replaced(size: int, room: int) -> None:
    around = b"." * room
    assert passed(frame(around + TOKEN + around), size * (1 + room // 100)) == frame(around + STAND_IN + around)


def test_a_value_in_fragments_is_replaced_around_a_ping() -> None:
    data = frame(b"x" + TOKEN[:9], final=False) + frame(b"hello", opcode=9) + frame(TOKEN[9:] + b"y", opcode=0)
    wanted = frame(b"x" + STAND_IN[:9], final=False) + frame(b"hello", opcode=9) + frame(STAND_IN[9:] + b"y", opcode=0)
    assert passed(data) == passed(data, 1) == wanted


def test_a_message_that_is_complete_is_not_kept_back() -> None:
    frames = Frames(lambda: SEARCH)
    assert frames.feed(frame(TOKEN[:20])) == frame(TOKEN[:20])
    assert frames.feed(frame(b"")) == frame(b"")
    assert frames.feed(frame(TOKEN)) == frame(STAND_IN)
    assert frames.names == {"token"}


def test_what_cannot_be_read_passes_as_it_is() -> None:
    for data in (frame(TOKEN, masked=True), frame(TOKEN, compressed=True)):
        assert passed(data + frame(TOKEN)) == data + frame(STAND_IN)


def test_what_is_cut_short_is_given_at_the_end() -> None:
    data = frame(b"abc" * 50)
    for end in range(len(data)):
        assert passed(data[:end]) == data[:end]


FRAMES = st.lists(
    st.builds(
        frame,
        st.sampled_from([TOKEN, TOKEN[:11], TOKEN[11:], b"", b"text", b"Z2hwX1"]),
        opcode=st.sampled_from([0, 1, 2, 9]),
        final=st.booleans(),
    ),
    max_size=8,
).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(FRAMES, st.integers(1, 30))
def test_the_number_of_bytes_stays_and_pieces_give_what_the_whole_gives(data: bytes, size: int) -> None:
    made = passed(data)
    assert len(made) == len(data)
    assert passed(data, size) == made
    assert TOKEN not in made


# ---- what goes

LEAK = Stopped("secret-leak", "a message")


def judge(text: bytes, last: bool) -> tuple[Stopped | None, int]:
    hits, hold = SEARCH.scan(text, last=last)
    return (LEAK if hits else None), hold


def masked(payload: bytes, key: bytes = b"k3y!", *, opcode: int = 1, final: bool = True) -> bytes:
    head = bytearray(frame(payload, opcode=opcode, final=final)[: -len(payload) or None])
    head[1] |= 0x80
    return bytes(head) + key + bytes(byte ^ mask for byte, mask in zip(payload, cycle(key), strict=False))


def departed(data: bytes, size: int = 1 << 20) -> tuple[bytes, Stopped | None]:
    frames = Departing(judge)
    made = b""
    for at in range(0, len(data) + size, size):  # the last piece is empty
        passed = frames.departed(data[at : at + size])
        if isinstance(passed, Stopped):
            return made, passed
        made += passed
    return made, None


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    "data",
    [
        masked(TOKEN),
        masked(b"." * 200 + TOKEN + b".", b"\xff\0\x80a"),
        masked(b"." * 70_000 + TOKEN, opcode=2),
        masked(TOKEN[:9], final=False) + masked(TOKEN[9:], b"abcd", opcode=0),
        masked(TOKEN[:9], final=False) + masked(b"ping", opcode=9) + masked(TOKEN[9:], opcode=0),
        b"".join(masked(bytes((byte,)), opcode=not at, final=at == len(TOKEN) - 1) for at, byte in enumerate(TOKEN)),
        masked(TOKEN, opcode=9),
        masked(TOKEN * 5, opcode=8),
        masked(b"hello") + masked(TOKEN, b"\0\0\0\0"),
        masked(TOKEN)[:-1] + masked(TOKEN)[-1:] + masked(b"more"),
        frame(TOKEN),
    ],
)
def test_a_value_does_not_go_however_it_is_framed_and_cut(data: bytes, size: int) -> None:
    made, stopped = departed(data, size * (1 + len(data) // 2000))
    assert stopped == LEAK
    assert TOKEN not in b"".join(departed_texts(made))


def departed_texts(data: bytes) -> list[bytes]:
    """What a host could read: with each of the keys of these tests, as if one frame went through it all."""
    keys = (b"k3y!", b"\xff\0\x80a", b"abcd", b"\0\0\0\0")
    turned = [key[at:] + key[:at] for key in keys for at in range(4)]
    return [bytes(byte ^ mask for byte, mask in zip(data, cycle(key), strict=False)) for key in turned]


@pytest.mark.parametrize("size", [1, 4, 9, 1000])
def test_what_holds_nothing_goes_on_as_it_came(size: int) -> None:
    data = masked(b"ghp_ is how a token begins") + masked(b"", opcode=9) + masked(b"x" * 300, final=False)
    data += masked(b"y" * 40, b"abcd", opcode=0) + masked(TOKEN[:20]) + masked(b"bye", opcode=8)
    assert departed(data, size) == (data, None)


def test_a_compressed_message_does_not_go() -> None:
    assert departed(frame(b"anything", compressed=True))[1] is not None


def test_the_beginning_of_a_control_frame_does_not_go() -> None:
    """Nobody has judged it, and it ends with the connection."""
    made, stopped = departed(masked(b"ping" + TOKEN, opcode=9)[:-1])
    assert stopped is None and len(made) == 6


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.builds(
            masked,
            st.sampled_from([TOKEN[:11], TOKEN[11:], b"", b"text", b"Z2hwX1"]),
            st.binary(min_size=4, max_size=4),
            opcode=st.sampled_from([0, 1, 2, 9]),
            final=st.booleans(),
        ),
        max_size=8,
    ).map(b"".join),
    st.integers(1, 30),
)
def test_pieces_go_as_the_whole_goes(data: bytes, size: int) -> None:
    whole, stopped = departed(data)
    made, found = departed(data, size)
    assert (stopped is None) is (found is None)
    assert stopped is not None or whole == made == data
