"""Somebody changes what is on disk: each change is found, and the next run does not wipe out the evidence."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.audit.chain import GENESIS, encode, read_seal
from ringfence.audit.files import CURRENT, HEAD, format_head
from ringfence.audit.verify import Report, verify
from ringfence.audit.writer import AuditWriter

_TIME_NS = 1_704_164_645_000_000_000
_RECORDS = 8


def _append(directory: Path, count: int, *, rotate_bytes: int = 0) -> None:
    writer = AuditWriter(str(directory), fsync="never", rotate_bytes=rotate_bytes)
    for number in range(count):
        writer.record_fields("denial", f"run{number}", _TIME_NS, "path-protected", fields={"path": f"/secret/{number}"})


def _kinds(report: Report) -> set[str]:
    return {problem.kind.value for problem in report.problems}


def _places(report: Report) -> list[str]:
    return [f"{problem.file}:{problem.line}:{problem.kind.value}" for problem in report.problems]


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    directory = tmp_path / "audit"
    _append(directory, _RECORDS)
    report = verify(str(directory))  # positive control
    assert (report.ok, report.problems, report.records, report.last[0]) == (True, (), _RECORDS, _RECORDS)
    return directory


def _edit(lines: list[bytes]) -> None:
    lines[3] = lines[3].replace(b"/secret/3", b"/public/3")


def _edit_last(lines: list[bytes]) -> None:
    lines[-1] = lines[-1].replace(b"/secret/7", b"/public/7")


def _drop(lines: list[bytes]) -> None:
    del lines[3]


def _drop_first(lines: list[bytes]) -> None:
    del lines[0]


def _reorder(lines: list[bytes]) -> None:
    lines[2], lines[5] = lines[5], lines[2]


def _truncate(lines: list[bytes]) -> None:
    del lines[-2:]


def _truncate_all(lines: list[bytes]) -> None:
    lines.clear()


def _truncate_within_the_last(lines: list[bytes]) -> None:
    lines[-1] = lines[-1][:50]


def _insert(lines: list[bytes]) -> None:
    lines.insert(4, b'{"kind":"denial"}\n')


def _append_foreign(lines: list[bytes]) -> None:
    lines.append(b"nothing to see here\n")


def _forge(lines: list[bytes]) -> None:
    """Replace a record by another one whose hash is right."""
    before = read_seal(lines[3][:-1])
    assert before is not None
    lines[4] = encode(before.link, time="T", run="forged", kind="exit", code="", fields={})[0]


def _rewrite_the_end(lines: list[bytes]) -> None:
    """Replace the last records by others that form a valid chain."""
    before = read_seal(lines[4][:-1])
    assert before is not None
    link = before.link
    for at in range(5, _RECORDS):
        lines[at], link = encode(link, time="T", run="forged", kind="exit", code="", fields={})


_CHANGES: list[tuple[Callable[[list[bytes]], None], str, int]] = [
    (_edit, "edited", 4),
    (_edit_last, "edited", 8),
    (_drop, "dropped", 4),
    (_drop_first, "dropped", 1),
    (_reorder, "reordered", 6),
    (_truncate, "truncated", 0),
    (_truncate_all, "truncated", 0),
    (_truncate_within_the_last, "truncated", 0),
    (_insert, "foreign", 5),
    (_append_foreign, "foreign", 9),
    (_forge, "edited", 5),
    (_rewrite_the_end, "edited", 0),
]


@pytest.mark.parametrize(("change", "kind", "line"), _CHANGES)
def test_a_change_is_found_before_and_after_the_next_run(
    audit: Path, change: Callable[[list[bytes]], None], kind: str, line: int
) -> None:
    path = audit / CURRENT
    lines = path.read_bytes().splitlines(keepends=True)
    change(lines)
    path.write_bytes(b"".join(lines))

    report = verify(str(audit))
    assert not report.ok
    assert f"{CURRENT}:{line}:{kind}" in _places(report)

    _append(audit, 3)
    report = verify(str(audit))
    assert not report.ok
    assert kind in _kinds(report)


def test_removing_the_file_is_found(audit: Path) -> None:
    (audit / CURRENT).unlink()
    assert _kinds(verify(str(audit))) == {"truncated"}
    _append(audit, 1)
    assert "truncated" in _kinds(verify(str(audit)))


@pytest.mark.parametrize("content", [None, b"", b"garbage", format_head((1, "ab" * 32))[:-1]])
def test_removing_or_spoiling_the_head_is_found(audit: Path, content: bytes | None) -> None:
    (audit / HEAD).unlink()
    if content is not None:
        (audit / HEAD).write_bytes(content)
        (audit / HEAD).chmod(0o600)
    assert _kinds(verify(str(audit))) == {"missing-file"}
    _append(audit, 1)
    assert _kinds(verify(str(audit))) == {"missing-file"}


def test_a_head_that_lags_is_no_problem(audit: Path) -> None:
    content = (audit / HEAD).read_bytes()
    _append(audit, 2)
    (audit / HEAD).write_bytes(content)
    assert verify(str(audit)).problems == ()
    _append(audit, 1)
    assert verify(str(audit)).problems == ()


def test_rewriting_everything_is_found_with_an_anchor_only(audit: Path) -> None:
    anchor = verify(str(audit)).last
    _append(audit, 2)
    assert verify(str(audit), anchor).problems == ()  # positive control

    link, lines = GENESIS, []
    for _ in range(_RECORDS + 2):
        line, link = encode(link, time="T", run="forged", kind="exit", code="", fields={})
        lines.append(line)
    (audit / CURRENT).write_bytes(b"".join(lines))
    (audit / HEAD).write_bytes(format_head(link))
    assert verify(str(audit)).problems == ()
    assert _kinds(verify(str(audit), anchor)) == {"edited"}

    for name in (CURRENT, HEAD):
        (audit / name).unlink()
    assert verify(str(audit)).ok
    assert _kinds(verify(str(audit), anchor)) == {"truncated"}
    audit.rmdir()
    assert verify(str(audit)).ok
    assert _kinds(verify(str(audit), anchor)) == {"truncated"}


def _rotated(audit: Path) -> list[Path]:
    _append(audit, 12, rotate_bytes=600)
    files = sorted(audit.glob("audit-*.jsonl"))
    assert len(files) > 3
    assert verify(str(audit)).problems == ()  # positive control
    return files


def test_removing_a_rotated_file_is_found(audit: Path) -> None:
    _rotated(audit)[1].unlink()
    assert _kinds(verify(str(audit))) == {"missing-file"}


def test_removing_the_oldest_file_is_found(audit: Path) -> None:
    _rotated(audit)[0].unlink()
    assert _kinds(verify(str(audit))) == {"missing-file"}


def test_cutting_a_rotated_file_is_found(audit: Path) -> None:
    victim = _rotated(audit)[1]
    lines = victim.read_bytes().splitlines(keepends=True)
    victim.write_bytes(b"".join(lines[:-1]))
    report = verify(str(audit))
    assert [(problem.file, problem.kind.value) for problem in report.problems] == [(victim.name, "truncated")]
    victim.write_bytes(b"".join(lines[1:]))
    report = verify(str(audit))
    assert [(problem.file, problem.kind.value) for problem in report.problems] == [(victim.name, "dropped")]


def test_swapping_the_names_of_rotated_files_is_found(audit: Path) -> None:
    first, second = _rotated(audit)[1:3]
    first.rename(audit / "aside")
    second.rename(first)
    (audit / "aside").rename(second)
    assert "reordered" in _kinds(verify(str(audit)))


def test_a_rotated_file_replaced_by_a_link_is_found(audit: Path, tmp_path: Path) -> None:
    victim = _rotated(audit)[1]
    victim.rename(tmp_path / "elsewhere")
    victim.symlink_to(tmp_path / "elsewhere")
    assert {"foreign", "truncated"} <= _kinds(verify(str(audit)))


def test_a_file_that_ringfence_did_not_make_is_found(audit: Path) -> None:
    (audit / "notes.txt").touch()
    assert [str(problem) for problem in verify(str(audit)).problems] == [
        "notes.txt: foreign: ringfence did not put it here"
    ]


@pytest.mark.parametrize("name", [CURRENT, HEAD, "."])
def test_loosened_modes_are_found(audit: Path, name: str) -> None:
    (audit / name).chmod(0o755)
    report = verify(str(audit))
    assert [(problem.file, problem.kind.value) for problem in report.problems] == [(name, "foreign")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_owner_is_found(audit: Path) -> None:
    os.chown(audit / CURRENT, 1234, 1234)
    assert _kinds(verify(str(audit))) == {"foreign"}


def test_a_last_record_without_its_newline_is_continued(audit: Path) -> None:
    path = audit / CURRENT
    path.write_bytes(path.read_bytes()[:-1])
    assert verify(str(audit)).problems == ()
    _append(audit, 1)
    report = verify(str(audit))
    assert (report.problems, report.records) == ((), _RECORDS + 1)


def test_a_record_cut_short_while_the_head_lags_is_torn(audit: Path) -> None:
    head = (audit / HEAD).read_bytes()
    _append(audit, 1)
    path = audit / CURRENT
    path.write_bytes(path.read_bytes()[:-30])
    (audit / HEAD).write_bytes(head)
    for more in (0, 2):
        _append(audit, more)
        report = verify(str(audit))
        assert report.ok
        assert _places(report) == [f"{CURRENT}:9:torn"]
    fragment = path.read_bytes().splitlines()[8]
    path.write_bytes(path.read_bytes().replace(fragment, fragment[:-1]))
    assert not verify(str(audit)).ok
