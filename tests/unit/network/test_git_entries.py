"""Headers of a pack's entries, at every size and distance."""

import pytest

from ringfence.network.git_entries import Inflating, read_header
from ringfence.network.malformed import Malformed
from tests.unit.network.packs import distance, head


@pytest.mark.parametrize("size", [0, 15, 16, 2047, 2048, 1 << 20, (1 << 40) + 5])
def test_sizes(size: int) -> None:
    found = read_header(head(3, size) + b"rest", 12)
    assert found is not None
    assert (found.kind, found.size, found.length) == (3, size, len(head(3, size)))


@pytest.mark.parametrize("back", [1, 127, 128, 16_511, 16_512, 1 << 30])
def test_distances(back: int) -> None:
    found = read_header(head(6, 5) + distance(back), back + 12)
    assert found is not None
    assert found.base == 12
    assert read_header((head(6, 5) + distance(back))[:-1], back + 12) is None
    with pytest.raises(Malformed):
        read_header(head(6, 5) + distance(back), back)


def test_names() -> None:
    found = read_header(head(7, 5) + b"n" * 20, 12)
    assert found is not None
    assert found.base == b"n" * 20
    assert read_header(head(7, 5) + b"n" * 19, 12) is None
    assert read_header(b"", 12) is None


def test_a_broken_stream() -> None:
    with pytest.raises(Malformed, match="inflated"):
        Inflating(12, 3, 5, keep=True).take(b"not zlib", 0)
