"""Reading from the front, never past the end."""

import pytest

from ringfence.network.cursor import Cursor
from ringfence.network.malformed import Malformed


def test_what_is_there_is_read_in_order() -> None:
    cursor = Cursor(b"\1\2\3\0\2ab", "sample")
    assert (cursor.integer(1), cursor.integer(2), cursor.vector(2), cursor.position) == (1, 0x203, b"ab", 7)
    assert cursor.finished()
    cursor.finish()


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\3ab", b"\xff\xff"])
def test_what_is_not_there_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed, match="truncated sample"):
        Cursor(data, "sample").vector(2)


def test_what_is_left_over_is_malformed() -> None:
    with pytest.raises(Malformed, match="bytes after the end of the sample"):
        Cursor(b"\0", "sample").finish()
