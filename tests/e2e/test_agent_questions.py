"""A question on the operator's terminal, while the agent's own streams lead elsewhere."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.terminal import Terminal
from tests.house.sources import ROOT

pytestmark = pytest.mark.require("setsid")

ASK = """
import os, sys
from ringfence.approvals.terminal import TerminalApprover
from ringfence.model.approval import Question
print("ready", flush=True)
sys.stdin.readline()
question = Question(tool="Bash in /w", action=("git push origin main",), crosses="the network", reason="a rule asks")
answer = TerminalApprover(float(sys.argv[1])).ask(question)
print("ANSWER", answer.allowed, answer.lasting.value, answer.reason, flush=True)
"""


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Terminal]:
    """Give a terminal on which a question is about to be asked."""
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": os.environ["PATH"]}
    with Terminal([sys.executable, "-c", ASK, "60"], directory=tmp_path, environment=environment, account={}) as person:
        person.expect("ready")
        yield person


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("y\n", "True once the operator allowed it once"),
        ("s\n", "True session"),
        ("n\n", "False once the operator refused"),
        ("ask me tomorrow\n", "False once the operator refused: ask me tomorrow"),
    ],
)
def test_a_person_answers(asking: Terminal, typed: str, answer: str) -> None:
    asking.send("\n")
    asking.expect("git push origin main")
    asking.expect("because: a rule asks")
    asking.expect("it crosses: the network")
    asking.expect("type a reason: ")
    asking.send(typed)
    asking.expect(f"ANSWER {answer}")


def test_what_was_typed_before_is_no_answer(asking: Terminal) -> None:
    asking.send("\ny\ny\n")  # the first line is read by the agent, the rest waits in the terminal
    asking.expect("type a reason: ")
    asking.send("n\n")
    asking.expect("ANSWER False")


def test_nobody_answers_in_time(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": os.environ["PATH"]}
    argv = [sys.executable, "-c", ASK, "0.2"]
    with Terminal(argv, directory=tmp_path, environment=environment, account={}) as person:
        person.expect("ready")
        person.send("\n")
        person.expect("no answer: denied")
        person.expect("ANSWER False once nobody answered in time")
