"""The audit on a terminal: runs under their names, what happened first, nothing that steers the terminal."""

import msgspec
import pytest

from ringfence.audit.read import Record
from ringfence.cli.log_text import Pages

LAUNCH = Record(
    v=1,
    seq=1,
    time="2024-01-02T03:04:05.000000Z",
    run="R1",
    kind="launch",
    code="",
    fields={"argv": ["sh", "-c", "make it"], "cwd": "/w", "mode": "overlay"},
    prev="",
    hash="",
)


def record(kind: str = "denial", code: str = "egress-denied", **fields: str | int) -> Record:
    return msgspec.structs.replace(LAUNCH, kind=kind, code=code, fields=dict(fields))


def test_a_run_has_a_title_and_its_records_stand_below_it() -> None:
    pages = Pages(100)
    assert list(pages.lines(LAUNCH)) == [
        "R1  2024-01-02  sh -c make it  in /w",
        "  03:04:05  launch                       mode=overlay",
    ]
    assert list(pages.lines(record(target="a.example.com:443", reason="no rule allows it", pid=3))) == [
        "  03:04:05  denial     egress-denied     a.example.com:443 no rule allows it pid=3"
    ]
    assert list(pages.lines(msgspec.structs.replace(record(kind="exit", code="", exit=0), run="R2"))) == [
        "",
        "R2  2024-01-02",
        "  03:04:05  exit                         exit=0",
    ]
    assert list(pages.lines(msgspec.structs.replace(record(), run="")))[1] == "outside of runs  2024-01-02"


@pytest.mark.parametrize("width", [30, 60, 80, 90, 120])
def test_no_line_is_wider_than_the_terminal_but_for_one_word(width: int) -> None:
    found = record(target="t" * 10, reason="a reason of quite a few words that goes on and on", program="python3")
    _, *lines = Pages(width).lines(found)
    assert " ".join(" ".join(lines).split()).endswith("goes on and on program=python3")
    assert all(len(line) < max(width, 56) for line in lines)
    assert width > 100 or len(lines) > 1


def test_what_the_contained_side_has_named_cannot_steer_the_terminal_or_pass_for_a_reason() -> None:
    odd = record(code="c\x1b[2J", target="a b\x1b]0;x\x07", reason="r\u202e", program="p\x1b[31m")
    text = "\n".join(Pages(200).lines(odd))
    assert text.replace("\n", "").isprintable()
    assert '"a b\\x1b]0;x\\x07" r' in text
