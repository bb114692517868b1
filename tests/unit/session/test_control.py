"""What an operator may tell a live run, and how it is taken."""

import threading

import msgspec
import pytest

from ringfence.model.decision import Verdict
from ringfence.model.egress import Egress
from ringfence.model.errors import HostError, RingfenceError, SandboxError, UsageError
from ringfence.policy.egress import decide_connection
from ringfence.sandbox.peers import UNKNOWN
from ringfence.session.control import Answer, Change, Control, Pending, Reload, rules
from ringfence.session.questions import Question, Questions


class Reloading:
    """Stands in for `vaults.Vaults`."""

    def __init__(self, error: RingfenceError | None = None) -> None:
        self.error = error

    def reload(self, environment: int) -> tuple[str, ...]:
        if self.error:
            raise self.error
        return ("a", f"from {environment}")


class Running:
    """Stands in for `answering.Answering`: the rules in force, the questions, the record."""

    def __init__(self, *verbs: tuple[str, list[str]]) -> None:
        self.egress = Egress(rules=tuple(rule for verb, hosts in verbs for rule in rules(verb, hosts)))
        self.changing = threading.Lock()
        self.questions = Questions(60, lambda _: None)
        self.answers: list[bool] = []
        self.vaults: Reloading | None = None
        self.records: list[tuple[str, str, dict[str, object]]] = []

    def replace(self, egress: Egress) -> None:
        self.egress = egress

    def report(self, kind: str, code: str, fields: dict[str, object]) -> None:
        self.records.append((kind, code, fields))

    def ask(self, host: str, port: int = 443) -> None:
        def reply(*, allowed: bool, reason: str) -> None:
            assert allowed or reason
            self.answers.append(allowed)

        self.questions.put(Question(host, port, ("", ""), UNKNOWN), reply)

    def told(self, request: Change | Pending | Reload | dict[str, object]) -> Answer:
        control = Control.__new__(Control)
        control.answering = self  # type: ignore[assignment] # all that `answer` uses of it
        return control.answer(msgspec.json.encode(request))


def verdict(running: Running, host: str, port: int = 443) -> Verdict:
    return decide_connection(running.egress, host, port).verdict


@pytest.mark.parametrize(("verb", "expected"), [("allow", Verdict.ALLOW), ("ask", Verdict.ASK), ("deny", Verdict.DENY)])
def test_entries_of_a_policy_file_become_rules(verb: str, expected: Verdict) -> None:
    assert [rule.verdict for rule in rules(verb, ["a.example", "*.b.example:8443"])] == [expected] * 2


def test_an_allowance_answers_what_it_covers() -> None:
    running = Running(("ask", ["a.example", "b.example"]))
    for host, port in (("a.example", 443), ("b.example", 443)):
        running.ask(host, port)
    assert running.told(Change(verb="allow", hosts=("a.example",))) == Answer(answered=1)
    assert running.answers == [True]
    assert running.records == [("decision", "egress-changed", {"verdict": "allow", "rules": ["a.example"]})]
    assert running.told(Pending()) == Answer(pending=("b.example:443",))
    running.questions.close()


def test_a_denial_refuses_and_stays() -> None:
    running = Running(("allow", ["a.example"]))
    running.ask("a.example")
    assert running.told(Change(verb="deny", hosts=("a.example",))).answered == 1
    assert running.answers == [False] and verdict(running, "a.example") is Verdict.DENY
    refused = running.told(Change(verb="allow", hosts=("a.example",)))
    assert "stays denied" in refused.error and verdict(running, "a.example") is Verdict.DENY


@pytest.mark.parametrize(
    "request_",
    [
        {"type": "change", "verb": "allow", "hosts": ["https://a.example/"]},
        {"type": "change", "verb": "allow", "hosts": ["*"]},
        {"type": "change", "verb": "drop", "hosts": ["a.example"]},
        {"type": "change", "verb": "allow"},
        {"type": "unknown"},
        [],
    ],
)
def test_what_is_no_request_changes_nothing(request_: dict[str, object]) -> None:
    running = Running(("ask", ["b.example"]))
    before = running.egress
    assert running.told(request_).error
    assert running.egress is before and not running.records


def test_a_bad_entry_names_itself() -> None:
    with pytest.raises(UsageError, match=r"a\.example:0"):
        rules("allow", ["a.example:0"])


def test_an_allowance_answers_the_question_for_every_port_it_names() -> None:
    running = Running(("ask", ["a.example", "b.example"]))
    running.ask("a.example", 80)
    assert running.told(Change(verb="allow", hosts=("a.example",))).answered == 1
    assert [verdict(running, "a.example", port) for port in (80, 443)] == [Verdict.ALLOW] * 2
    assert verdict(running, "b.example") is Verdict.ASK


def test_an_allowance_of_one_port_leaves_the_question_about_others() -> None:
    running = Running(("ask", ["a.example"]))
    assert not running.told(Change(verb="allow", hosts=("a.example:8443",))).error
    assert verdict(running, "a.example", 8443) is Verdict.ALLOW
    assert verdict(running, "a.example", 443) is Verdict.ASK


def test_secrets_are_read_anew_or_stay_as_they_are() -> None:
    running = Running()
    assert "no secrets" in running.told(Reload()).error
    running.vaults = Reloading()
    assert running.told(Reload()).reloaded == ("a", "from -1")
    unset = UsageError("`TOKEN` is not set", hint="set it")
    for error in (unset, SandboxError("it did not start"), HostError("no Landlock")):
        running.vaults = Reloading(error)
        assert running.told(Reload()) == Answer(error=f"the values from before stay in force: {error}", hint=error.hint)


@pytest.mark.parametrize("host", ["*", "a b", "x.example:0"])
def test_an_entry_is_named_once_in_what_is_wrong_with_it(host: str) -> None:
    with pytest.raises(UsageError) as caught:
        rules("allow", [host])
    assert str(caught.value).count(f"`{host}`") == 1
