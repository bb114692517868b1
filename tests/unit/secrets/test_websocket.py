"""Values in what comes over a WebSocket, however it is framed and cut."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.secrets.encodings import forms
from ringfence.secrets.placeholders import placeholder
from ringfence.secrets.scanner import Kind, Needle, Search
from ringfence.secrets.websocket import Frames

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
