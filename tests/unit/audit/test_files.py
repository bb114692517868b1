"""Names and the head's format."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.audit.files import HEAD_BYTES, default_directory, format_head, rotated_name, rotated_range


@given(st.integers(0, 10**14), st.integers(0, 10**14))
def test_rotated_names_round_trip(first: int, last: int) -> None:
    assert rotated_range(rotated_name(first, last)) == (first, last)


@pytest.mark.parametrize(
    "name",
    [
        "audit.jsonl",
        "head",
        "audit-1-2.jsonl",
        "audit-000000000001-000000000002.jsonl.gz",
        "audit--.jsonl",
        "",
        "audit-",
    ],
)
def test_other_names_are_no_rotated_files(name: str) -> None:
    assert rotated_range(name) is None


def test_the_head_has_one_length() -> None:
    assert {len(format_head((number, "ab" * 32))) for number in (0, 1, 10**19)} == {HEAD_BYTES}


def test_the_default_directory_follows_the_xdg_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert default_directory({"XDG_STATE_HOME": "/state"}) == "/state/ringfence/audit"
    assert default_directory({"XDG_STATE_HOME": "relative"}) == "/home/ann/.local/state/ringfence/audit"
    assert default_directory({}) == "/home/ann/.local/state/ringfence/audit"
