"""What reaches a terminal, and what must not."""

import sys

import pytest

from ringfence.cli import terminal


@pytest.fixture
def tty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.usefixtures("tty")
def test_a_terminal_gets_colour() -> None:
    assert terminal.paint("x", "bad") == "\x1b[31mx\x1b[0m"


@pytest.mark.usefixtures("tty")
@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_none_gets_none(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert terminal.paint("x", "bad") == "x"


def test_a_pipe_gets_none() -> None:
    assert terminal.paint("x", "bad") == "x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é", "plain é"),
        ("\x1b]0;x\x07", "\\x1b]0;x\\x07"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\u202etxt", "\\u202etxt"),
        ("\udcff", "\\udcff"),
    ],
)
def test_nothing_steers_the_terminal(text: str, shown: str) -> None:
    assert terminal.safe(text) == shown


def test_columns_are_aligned() -> None:
    assert terminal.table([("a", "bb", "c"), ("aaa", "b", "long one")]) == ["  a    bb  c", "  aaa  b   long one"]


def test_json_keeps_what_is_not_unicode(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.put_json({"name": "\udcff"})
    assert '"\\udcff"' in capsys.readouterr().out
