"""What was done to a sequence of lines, without any file."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.audit.chain import BROKEN, GENESIS, encode, encode_torn
from ringfence.audit.check import Checker, ProblemKind


def _lines(count: int, *, run: str = "r") -> list[bytes]:
    lines, link = [], GENESIS
    for number in range(count):
        line, link = encode(link, time="T", run=run, kind="exit", code="", fields={"n": number})
        lines.append(line[:-1])
    return lines


def _check(lines: Iterable[bytes]) -> Checker:
    checker = Checker()
    for number, line in enumerate(lines, 1):
        checker.feed("f", number, line)
    checker.finish(noted=0, open_end=False)
    return checker


def _found(lines: Iterable[bytes]) -> list[tuple[int, str]]:
    checker = _check(lines)
    gaps = [(gap.line, "dropped") for gap in checker.gaps if gap.missing]
    return sorted([(problem.line, problem.kind.value) for problem in checker.problems] + gaps)


def test_an_untouched_chain_has_no_problem() -> None:
    checker = _check(_lines(5))
    assert (checker.problems, checker.gaps, checker.records, checker.last[0]) == ([], [], 5, 5)


@pytest.mark.parametrize("at", range(5))
def test_an_edited_line(at: int) -> None:
    lines = _lines(5)
    lines[at] = lines[at].replace(b'"run":"r"', b'"run":"x"')
    assert _found(lines) == [(at + 1, "edited")]


def test_a_line_overwritten_with_rubbish_counts_as_edited() -> None:
    lines = _lines(5)
    lines[2] = b"x" * len(lines[2])
    assert _found(lines) == [(3, "edited")]


@pytest.mark.parametrize("at", range(4))
def test_a_record_replaced_by_a_sound_one(at: int) -> None:
    lines = _lines(5)
    link = GENESIS
    for line in lines[:at]:
        checker = Checker()
        checker.feed("f", 1, line)
        link = checker.last
    lines[at] = encode(link, time="T", run="forged", kind="exit", code="", fields={})[0][:-1]
    assert _found(lines) == [(at + 1, "edited")]


@pytest.mark.parametrize("at", range(4))
def test_a_dropped_line(at: int) -> None:
    lines = _lines(5)
    del lines[at]
    assert _found(lines) == [(at + 1, "dropped")]


@pytest.mark.parametrize("at", range(4))
def test_two_lines_swapped(at: int) -> None:
    lines = _lines(5)
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    assert _found(lines) == [(at + 2, "reordered")]


def test_a_line_moved_far() -> None:
    lines = _lines(6)
    lines.insert(4, lines.pop(1))
    assert _found(lines) == [(5, "reordered")]


@pytest.mark.parametrize("extra", [b"hello", b"", b'{"seq":3}'])
def test_an_inserted_line(extra: bytes) -> None:
    lines = _lines(5)
    lines.insert(2, extra)
    assert _found(lines) == [(3, "foreign")]


def test_a_repeated_line() -> None:
    lines = _lines(5)
    lines.insert(3, lines[1])
    assert _found(lines) == [(4, "foreign")]


def test_an_inserted_forged_record_is_noticed() -> None:
    lines = _lines(4)
    checker = _check(lines[:2])
    lines.insert(2, encode(checker.last, time="T", run="forged", kind="exit", code="", fields={})[0][:-1])
    assert _found(lines) != []


def test_a_first_record_that_follows_something_else() -> None:
    line, _ = encode((0, "ab" * 32), time="T", run="", kind="exit", code="", fields={})
    assert _found([line[:-1]]) == [(1, "edited")]


def test_edited_and_dropped_together() -> None:
    lines = _lines(6)
    lines[1] = b"rubbish"
    del lines[2:4]
    assert _found(lines) == [(2, "edited"), (3, "dropped")]


def test_a_torn_line_that_is_vouched_for_is_a_warning() -> None:
    lines = _lines(2)
    fragment = lines[1][:40]
    first = _check(lines[:1])
    torn, link = encode_torn(first.last, fragment, time="T")
    after, _ = encode(link, time="T", run="r", kind="exit", code="", fields={})
    sequence = [lines[0], fragment, torn[:-1], after[:-1]]
    assert _found(sequence) == [(2, "torn")]
    assert all(problem.warning for problem in _check(sequence).problems)
    assert _found([lines[0], torn[:-1], after[:-1]]) == [(2, "edited")]
    assert {kind for _, kind in _found([lines[0], fragment[:-1], torn[:-1]])} == {"edited", "foreign"}


def test_a_broken_record_reports_what_it_noted() -> None:
    line, _ = encode(GENESIS, time="T", run="", kind=BROKEN, code="truncated", fields={})
    assert _found([line[:-1]]) == [(1, "truncated")]
    line, _ = encode(GENESIS, time="T", run="", kind=BROKEN, code="whatever", fields={})
    assert _found([line[:-1]]) == [(1, "foreign")]


def test_lines_at_the_end_account_for_records_that_are_noted_elsewhere() -> None:
    checker = Checker()
    for number, line in enumerate([*_lines(3), b"rubbish"], 1):
        checker.feed("f", number, line)
    assert checker.finish(noted=5, open_end=False) == 1
    assert [problem.kind for problem in checker.problems] == [ProblemKind.EDITED]


def test_a_problem_reads_as_file_and_line() -> None:
    problem = _check([b"x"]).problems[0]
    assert str(problem) == "f:1: foreign: ringfence did not write this line"


_MUTATIONS = st.sampled_from(["drop", "swap", "repeat", "edit"])


@given(st.lists(st.tuples(_MUTATIONS, st.integers(0, 6)), min_size=1, max_size=4))
def test_no_mixture_of_changes_before_the_last_line_goes_unnoticed(changes: list[tuple[str, int]]) -> None:
    original = _lines(8)
    lines = original[:-1]
    for change, anywhere in changes:
        if not lines:
            break
        at = anywhere % len(lines)
        match change:
            case "drop":
                del lines[at]
            case "swap":
                lines[at], lines[at - 1] = lines[at - 1], lines[at]
            case "repeat":
                lines.insert(at, lines[0])
            case _:
                lines[at] = lines[at][:-3] + b'0"}'
    lines.append(original[-1])
    assert bool(_found(lines)) == (lines != original)


@given(st.lists(st.binary(max_size=80) | st.sampled_from(_lines(4)), max_size=8))
def test_arbitrary_lines_never_raise(lines: list[bytes]) -> None:
    _check(lines)
