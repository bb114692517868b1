"""The parts of the writer that need no file."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.audit.writer import AuditWriter, timestamp


@given(st.integers(0, 253_402_300_799_999_999_999))
def test_timestamps_are_rfc_3339_and_sort(time_ns: int) -> None:
    stamp = timestamp(time_ns)
    assert stamp.endswith("Z")
    assert len(stamp) == 30
    parsed = datetime.fromisoformat(stamp[:19]).replace(tzinfo=UTC)
    assert int(parsed.timestamp()) * 10**9 + int(stamp[20:29]) == time_ns
    assert stamp <= timestamp(time_ns + 1) or time_ns == 253_402_300_799_999_999_999


def test_an_unknown_fsync_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="sometimes"):
        AuditWriter("/nowhere", fsync="sometimes")


def test_making_and_closing_a_writer_touches_nothing() -> None:
    AuditWriter("/nowhere").close()
