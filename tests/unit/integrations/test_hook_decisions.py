"""What a boundary settles, what rules say in spite of it, and who is asked about the rest."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from ringfence.integrations import hook_decisions
from ringfence.integrations.hook_decisions import Decider, Surroundings
from ringfence.integrations.hook_events import Event, EventName, Reply
from ringfence.integrations.hook_rules import Rules
from ringfence.model.approval import Answer, Lasting, Question
from ringfence.model.decision import Verdict
from ringfence.policy.permissions import claude_settings
from ringfence.policy.permissions.scopes import Scope

INSIDE = Surroundings(
    client="claude-code", workspace="/w", home="/home/u", contained=True, interactive=False, context="you are here"
)
OUTSIDE = msgspec.structs.replace(INSIDE, contained=False)


class Person:
    """Answers as told, and keeps what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[Question] = []

    def ask(self, question: Question) -> Answer:
        self.asked.append(question)
        return self.answers.pop(0) if self.answers else Answer(allowed=False, reason="there is nobody to ask")


class Bench:
    """A decider with a person and a record."""

    def __init__(self, where: Surroundings = INSIDE, *answers: Answer, rules: str = "{}") -> None:
        scope: Scope = claude_settings.read_settings(
            rules, scope="user", file="/home/u/.claude/settings.json", cwd="/w"
        )
        self.person = Person(*answers)
        self.added: list[Sequence[str]] = []
        self.recorded: list[Mapping[str, object]] = []
        self.decider = Decider(
            where,
            Rules(scopes=(scope,), trusted=False),
            approver=self.person,
            report=self.report,
            remember=self.added.append,
        )

    def report(self, kind: str, code: str, fields: Mapping[str, str | int | bool | list[str] | None], /) -> None:
        assert (kind, code) == ("decision", "tool-call")
        self.recorded.append(fields)

    def call(self, tool: str, *, mode: str = "default", event: str = "PreToolUse", **given: Any) -> Reply:
        named = EventName(event)
        return self.decider.reply(
            Event(hook_event_name=named, cwd="/w", tool_name=tool, tool_input=given, permission_mode=mode)
        )


@pytest.mark.parametrize(
    ("tool", "given"),
    [
        ("Bash", {"command": "npm install left-pad && make"}),
        ("Write", {"file_path": "/w/a.txt", "content": "x"}),
        ("Read", {"file_path": "/usr/include/stdio.h"}),
        ("WebFetch", {"url": "https://example.com/"}),
        ("mcp__server__tool", {}),
    ],
)
def test_what_stays_in_the_boundary_is_not_asked(tool: str, given: dict[str, Any]) -> None:
    inside, outside = Bench(), Bench(OUTSIDE)
    assert inside.call(tool, **given).verdict is Verdict.ALLOW
    assert not inside.person.asked
    assert outside.call(tool, **given).verdict is Verdict.DENY
    assert outside.person.asked


def test_denials_hold_inside() -> None:
    bench = Bench(rules='{"permissions": {"deny": ["Bash(git push:*)", "Read(//etc/**)"]}}')
    assert bench.call("Bash", command="env git push").verdict is Verdict.DENY
    assert bench.call("Read", file_path="/etc/hosts").verdict is Verdict.DENY
    assert [fields["rule"] for fields in bench.recorded] == ["Bash(git push:*)", "Read(//etc/**)"]


def test_what_a_rule_asks_about_is_asked_inside() -> None:
    bench = Bench(INSIDE, Answer(allowed=True), rules='{"permissions": {"ask": ["Bash(git commit:*)"]}}')
    assert bench.call("Bash", command="git commit -m x").verdict is Verdict.ALLOW
    (question,) = bench.person.asked
    assert question.action == ("git commit -m x",) and question.crosses == ""


def test_what_runs_later_is_asked_inside() -> None:
    bench = Bench()
    reply = bench.call("Write", file_path="/w/.claude/settings.json", content="{}")
    assert reply.verdict is Verdict.DENY
    assert "run or obeyed later" in reply.reason and reply.reason.endswith("nobody to ask")


def test_an_answer_may_hold_for_the_session() -> None:
    always = Answer(allowed=True, lasting=Lasting.SESSION)
    bench = Bench(OUTSIDE, always)
    assert bench.call("Bash", command="make").verdict is Verdict.ALLOW
    assert bench.call("Bash", command="make").verdict is Verdict.ALLOW
    assert bench.call("Bash", command="make all").verdict is Verdict.DENY
    assert len(bench.person.asked) == 2
    assert "everything" in bench.person.asked[0].crosses


def test_an_answer_may_become_a_rule() -> None:
    bench = Bench(OUTSIDE, Answer(allowed=True, lasting=Lasting.RULE), Answer(allowed=True, lasting=Lasting.RULE))
    assert bench.call("Bash", command="make all").verdict is Verdict.ALLOW
    assert bench.person.asked[0].rules == ("Bash(make all)",)
    assert bench.call("Bash", command="make all").verdict is Verdict.ALLOW
    assert bench.added == [("Bash(make all)",)] and len(bench.person.asked) == 1


def test_what_a_rule_asks_about_no_rule_settles() -> None:
    bench = Bench(OUTSIDE, rules='{"permissions": {"ask": ["Bash(make:*)"]}}')
    assert bench.call("Bash", command="make").verdict is Verdict.DENY
    assert bench.person.asked[0].rules == ()


def test_the_agent_asks_the_person_in_front_of_it() -> None:
    bench = Bench(msgspec.structs.replace(OUTSIDE, interactive=True))
    assert bench.call("Bash", command="make").verdict is Verdict.ASK
    assert not bench.person.asked


def test_codex_cannot_ask_and_its_mode_is_not_a_choice() -> None:
    bench = Bench(msgspec.structs.replace(INSIDE, client="codex", interactive=True))
    asked = '{"permissions": {"ask": ["Bash(make:*)"]}}'
    assert bench.call("Bash", command="make", mode="bypassPermissions").verdict is Verdict.ALLOW
    bench = Bench(msgspec.structs.replace(INSIDE, client="codex", interactive=True), rules=asked)
    assert bench.call("Bash", command="make", mode="bypassPermissions").verdict is Verdict.DENY
    assert bench.person.asked


def test_a_contained_agent_cannot_name_its_workspace() -> None:
    bench = Bench(rules='{"permissions": {"deny": ["Read(./key)"]}}')
    event = Event(
        hook_event_name=EventName.PRE_TOOL_USE, cwd="/elsewhere", tool_name="Read", tool_input={"file_path": "/w/key"}
    )
    assert bench.decider.reply(event).verdict is Verdict.DENY


def test_commands_are_put_into_a_boundary_of_their_own() -> None:
    wrapped = msgspec.structs.replace(OUTSIDE, wrapper=("ringfence", "run", "--"), interactive=True)
    bench = Bench(wrapped, rules='{"permissions": {"deny": ["Bash(git push:*)"]}}')
    reply = bench.call("Bash", command="echo 'it' && make", timeout=5)
    expected = "ringfence run -- /bin/bash -c 'echo '\"'\"'it'\"'\"' && make'"
    assert reply.verdict is Verdict.ALLOW
    assert reply.updated_input == {"command": expected, "timeout": 5}
    assert bench.call("Bash", command="git push").updated_input is None
    assert bench.call("Read", file_path="/w/x").updated_input is None


def test_what_is_only_told_is_recorded_without_its_content() -> None:
    bench = Bench()
    reply = bench.call("Bash", event="PostToolUse", secret="s3cret")
    assert reply == Reply()
    assert bench.call("", event="SessionStart") == Reply(context="you are here")
    assert "s3cret" not in str(bench.recorded)


def test_what_is_recorded_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_decisions, "RECORDED_AT_MOST", 1000)
    bench = Bench()
    assert bench.call("Bash", command="echo " + "x" * 2000).verdict is Verdict.ALLOW
    assert bench.call("Bash", command="ls").verdict is Verdict.DENY
    assert len(bench.recorded) == 1


def test_a_session_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_decisions, "DECISIONS_AT_MOST", 1)
    bench = Bench()
    assert bench.call("Bash", command="ls").verdict is Verdict.ALLOW
    assert bench.call("Bash", command="ls").verdict is Verdict.DENY
