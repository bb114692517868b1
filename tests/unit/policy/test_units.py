"""Sizes and times."""

import pytest

from ringfence.policy.units import size_bytes, size_text, time_s


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (0, 0),
        (17, 17),
        ("1B", 1),
        ("2kB", 2000),
        ("2 KB", 2000),
        ("500MB", 500_000_000),
        ("1GB", 10**9),
        ("1TB", 10**12),
        ("1KiB", 1024),
        ("3MiB", 3 << 20),
        ("4GiB", 4 << 30),
        ("1TiB", 1 << 40),
        ("999999999999999TiB", 2**63 - 1),
    ],
)
def test_sizes(written: int | str, meant: int) -> None:
    assert size_bytes(written) == meant


@pytest.mark.parametrize(("written", "meant"), [(0, 0), (5, 5), ("30s", 30), ("5 m", 300), ("2h", 7200), ("1d", 86400)])
def test_times(written: int | str, meant: int) -> None:
    assert time_s(written) == meant


@pytest.mark.parametrize("value", [0, 1, 1000, 1024, 3 << 20, 4 << 30, (4 << 30) + 1, 5 << 40])
def test_size_text_reads_back(value: int) -> None:
    text = size_text(value)
    assert size_bytes(int(text) if text.isdigit() else text) == value


def test_size_text_takes_the_largest_unit() -> None:
    assert [size_text(value) for value in (0, 1023, 2048, 4 << 30)] == ["0", "1023", "2KiB", "4GiB"]


def test_a_size_is_written_with_its_largest_unit() -> None:
    written = [size_text(1 << power) for power in (40, 30, 20, 10, 0)]
    assert [text.strip("0123456789 ") for text in written] == ["TiB", "GiB", "MiB", "KiB", written[-1].strip("1 ")]
