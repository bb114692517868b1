"""The words of `ringfence log`."""

import pytest

from ringfence.audit.read import Record
from ringfence.cli import log
from ringfence.model.errors import UsageError

NOW_NS = 1_700_000_000 * 10**9


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("2h", 7200), ("1d", 86400), ("999999999d", 1_700_000_000)]
)
def test_durations_are_before_now(text: str, seconds: int) -> None:
    assert log.moment(text, NOW_NS) == NOW_NS - seconds * 10**9


@pytest.mark.parametrize("text", ["2023-11-14T22:13:20Z", "2023-11-14T23:13:20+01:00"])
def test_dates_may_carry_a_zone(text: str) -> None:
    assert log.moment(text, 0) == NOW_NS


@pytest.mark.parametrize("text", ["", "yesterday", "5", "-5m", "5 weeks", "2023-13-01"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        log.moment(text, NOW_NS)


def test_an_anchor_is_a_number_and_a_hash() -> None:
    assert log.anchor("12:" + "a" * 64) == (12, "a" * 64)


@pytest.mark.parametrize("text", ["12", "12:", ":" + "a" * 64, "x:" + "a" * 64, "1:" + "g" * 64, "1:" + "a" * 63])
def test_other_anchors_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not an anchor"):
        log.anchor(text)


@pytest.mark.parametrize("text", ["-1", "x", "", "1e3"])
def test_a_count_is_a_number(text: str) -> None:
    with pytest.raises(UsageError, match="is not a number"):
        log.count(text)


def test_fields_that_say_nothing_are_left_out_and_the_target_comes_first() -> None:
    fields: dict[str, str | int | bool | list[str] | None] = {"pid": 0, "program": "", "reason": "r", "target": "a:1"}
    record = Record(
        v=1, seq=1, time="2024-01-02T03:04:05.0Z", run="R", kind="denial", code="c", fields=fields, prev="", hash=""
    )
    assert log.coloured(record) == "2024-01-02 03:04:05  R  denial     c  target=a:1 reason=r"
    assert '"pid": 0' in log.as_json(record)


@pytest.mark.parametrize(("number", "said"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_one_is_not_many(number: int, said: str) -> None:
    assert log.counted(number, "file") == said
