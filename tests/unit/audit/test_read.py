"""Records as people see them."""

import pytest

from ringfence.audit.chain import GENESIS, encode
from ringfence.audit.read import Record, parse_record, render
from ringfence.audit.writer import timestamp


def _record(run: str = "4f2a", kind: str = "denial", code: str = "path-protected", **fields: object) -> Record:
    stamp = timestamp(1_704_164_645_000_000_006)
    record = parse_record(encode(GENESIS, time=stamp, run=run, kind=kind, code=code, fields=fields)[0])
    assert record is not None
    return record


def test_a_record_reads_as_one_plain_line() -> None:
    record = _record(path="/home/ann/.ssh/id_ed25519", argv=["cat", "a b"], tries=2, final=True, note="", why=None)
    assert render(record) == (
        "2024-01-02 03:04:05  4f2a  denial     path-protected  "
        'path=/home/ann/.ssh/id_ed25519 argv=[cat, "a b"] final=true note="" tries=2 why=null'
    )


def test_empty_members_leave_no_holes() -> None:
    assert render(_record(run="", kind="torn", code="")) == "2024-01-02 03:04:05  -  torn"


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\u202egnp.exe", "\u200b", "\udc80", "\x9b31m", 'say "x"\n'])
def test_hostile_names_cannot_drive_the_terminal(text: str) -> None:
    line = render(_record(run=text, kind=text, code=text, **{"path": text, "argv": [text], text: 1}))
    assert line.isprintable()


def test_letters_of_any_language_stay_readable() -> None:
    assert "path=/home/Jürgen/文書" in render(_record(path="/home/Jürgen/文書"))


@pytest.mark.parametrize("line", [b"", b"{}", b"[1]", b"\xff", b"[" * 100_000, b'{"v":1,"seq":"1"}'])
def test_what_is_no_record_parses_to_none(line: bytes) -> None:
    assert parse_record(line) is None


def test_names_that_are_not_utf8_survive() -> None:
    assert _record(path="/tmp/\udcff").fields == {"path": "/tmp/\udcff"}
