"""Questions to the operator: each is answered exactly once, and without an answer it is a denial."""

import threading

import pytest

from ringfence.sandbox.peers import UNKNOWN
from ringfence.session.questions import NO_ANSWER, PENDING_AT_MOST, Question, Questions

Answers = list[tuple[bool, str]]


class Asked:
    """Questions with a list of what was answered."""

    def __init__(self, timeout_s: float = 60) -> None:
        self.noticed: list[Question] = []
        self.questions = Questions(timeout_s, self.noticed.append)
        self.answers: dict[str, Answers] = {}
        self.answered = threading.Event()

    def ask(self, host: str) -> None:
        def reply(*, allowed: bool, reason: str) -> None:
            self.answers.setdefault(host, []).append((allowed, reason))
            self.answered.set()

        self.questions.put(Question(host, 443, ("", ""), UNKNOWN), reply)


@pytest.fixture
def asked() -> Asked:
    return Asked()


def test_an_answer_reaches_those_it_is_about(asked: Asked) -> None:
    for host in ("a.example", "b.example", "a.example"):
        asked.ask(host)
    assert asked.questions.answer(lambda question: question.host == "a.example", allowed=True, reason="") == 2
    assert asked.answers == {"a.example": [(True, ""), (True, "")]}
    assert [question.target for question in asked.questions.pending()] == ["b.example:443"]
    asked.questions.close()
    assert asked.answers["b.example"] == [(False, "the run has ended")]


def test_time_runs_out() -> None:
    asked = Asked(timeout_s=0.01)
    asked.ask("a.example")
    assert asked.answered.wait(60)
    assert asked.answers == {"a.example": [(False, NO_ANSWER)]}
    assert asked.questions.answer(lambda _: True, allowed=True, reason="") == 0


def test_a_flood_is_refused_and_leaves_the_first_ones(asked: Asked) -> None:
    for number in range(PENDING_AT_MOST + 1):
        asked.ask(f"{number}.example")
    assert len(asked.noticed) == PENDING_AT_MOST
    assert asked.answers == {f"{PENDING_AT_MOST}.example": [(False, "too many open questions")]}
    asked.questions.close()
    assert len(asked.answers) == PENDING_AT_MOST + 1


def test_an_address_of_version_six_is_named_in_brackets() -> None:
    assert Question("fd00::1", 80, ("", ""), UNKNOWN).target == "[fd00::1]:80"
