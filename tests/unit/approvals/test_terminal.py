"""The question as it is shown, and what is taken for an answer."""

import os
import pty
import resource

import pytest

from ringfence.approvals.terminal import NOBODY, SHOWN_LINES, TerminalApprover, answered, shown
from ringfence.model.approval import Lasting, Question

QUESTION = Question(tool="Bash", action=("make",), crosses="everything", reason="no rule speaks of it")


@pytest.mark.parametrize("line", ["", "n", "no", "yy", "y y", "ja", "\x00y", "always"])
def test_only_yes_is_yes(line: str) -> None:
    assert not answered(line).allowed


def test_the_person_s_reason_reaches_the_agent() -> None:
    assert answered("use the other file").reason == "the operator refused: use the other file"
    assert answered(None).reason == "nobody answered in time"


def test_an_allowance_is_once_or_for_the_session() -> None:
    assert answered("Y").lasting is Lasting.ONCE and answered("y").allowed
    assert answered("s").lasting is Lasting.SESSION and answered("s").allowed


def test_always_is_an_answer_only_where_there_is_a_rule() -> None:
    assert not answered("a").allowed
    assert answered("a", lasts=True).lasting is Lasting.RULE
    ruled = Question(tool="Bash", action=("make",), crosses="", reason="r", rules=("Bash(make)",))
    assert "always: Bash(make)" in shown(ruled) and "[a] always" in shown(ruled)
    assert "always" not in shown(QUESTION)


def test_nothing_that_an_agent_wrote_steers_the_terminal() -> None:
    nasty = Question(tool="\x1b[2J", action=("a\rb\n  [y] once", "\x9b31m"), crosses="\x07", reason="\u202eyes")
    text = shown(nasty)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert text.count("\n") == shown(QUESTION).count("\n") + 1


def test_a_long_action_does_not_push_the_question_away() -> None:
    many = Question(tool="Bash", action=("x" * 10_000,) * 500, crosses="", reason="r")
    assert len(shown(many).splitlines()) < SHOWN_LINES + 6
    assert len(shown(many)) < 20_000


def test_without_a_terminal_nobody_is_asked() -> None:
    answer = TerminalApprover(1.0, path="/nonexistent").ask(QUESTION)
    assert (answer.allowed, answer.reason) == (False, NOBODY)


def test_an_answer_is_heard_where_many_files_are_open() -> None:
    """A process that holds many sandboxes has numbers that select(2) does not take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(2048, hard)), hard))
    ours, theirs = pty.openpty()
    high = 1500
    try:
        os.dup2(theirs, high)
        os.write(ours, b"y\n")
        assert TerminalApprover(60.0).line(high) == "y"
        assert TerminalApprover(0.01).line(high) is None
    finally:
        os.closerange(high, high + 1)
        os.close(ours)
        os.close(theirs)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
