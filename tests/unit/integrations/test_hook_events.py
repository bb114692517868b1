"""What agents' hooks say, and what is said to them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.integrations.hook_events import CLIENTS, EVENT_BYTES, Event, EventName, Reply, read, written
from ringfence.model.decision import Verdict

BEFORE = Event(hook_event_name=EventName.PRE_TOOL_USE, tool_name="Bash", tool_input={"command": "x"})
REQUESTED = Event(hook_event_name=EventName.PERMISSION_REQUEST, tool_name="Bash")


def said(client: str, event: Event, reply: Reply) -> dict[str, object]:
    answer: dict[str, object] = json.loads(written(client, event, reply)).get("hookSpecificOutput", {})
    return answer


def test_an_event_is_read_with_fields_that_nobody_knows() -> None:
    data = {
        "hook_event_name": "PreToolUse",
        "tool_name": "Bash",
        "tool_input": {"command": "ls"},
        "effort": {"level": 1},
    }
    assert read(json.dumps(data).encode()).tool_input == {"command": "ls"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"hook_event_name": "Unknown"}',
        b'{"hook_event_name": "PreToolUse"}',
        b'{"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": "x"}',
        b'{"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"a": ' + b"[" * 100_000,
        b'{"hook_event_name": "Unknown", "x": "' + b" " * EVENT_BYTES + b'"}',
    ],
)
def test_what_is_not_understood_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="event"):
        read(data)


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    try:
        read(data)
    except ValueError:
        pass


def test_claude_is_told_verdict_and_reason() -> None:
    for verdict in Verdict:
        answer = said("claude-code", BEFORE, Reply(verdict=verdict, reason="because"))
        assert answer["permissionDecision"] == verdict.name.lower()
        assert answer["permissionDecisionReason"] == "because"


def test_codex_is_told_nothing_but_denials() -> None:
    assert written("codex", BEFORE, Reply(verdict=Verdict.ALLOW, reason="x")) == b"{}\n"
    assert said("codex", BEFORE, Reply(verdict=Verdict.DENY, reason="no"))["permissionDecision"] == "deny"
    with pytest.raises(ValueError, match="a person has to be asked"):
        written("codex", BEFORE, Reply(verdict=Verdict.ASK))


def test_a_changed_input_is_passed_on_whole() -> None:
    reply = Reply(verdict=Verdict.ALLOW, updated_input={"command": "y", "timeout": 5})
    for client in CLIENTS:
        answer = said(client, BEFORE, reply)
        assert answer["updatedInput"] == {"command": "y", "timeout": 5} and answer["permissionDecision"] == "allow"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_request_is_allowed_denied_or_left_to_the_agent(client: str) -> None:
    assert said(client, REQUESTED, Reply(verdict=Verdict.ALLOW))["decision"] == {"behavior": "allow"}
    denied = said(client, REQUESTED, Reply(verdict=Verdict.DENY, reason="no"))["decision"]
    assert denied == {"behavior": "deny", "message": "no"}
    assert said(client, REQUESTED, Reply(verdict=Verdict.ASK)) == {}
    assert said(client, REQUESTED, Reply()) == {}


def test_the_model_is_told_where_it_is() -> None:
    start = Event(hook_event_name=EventName.SESSION_START)
    assert said("codex", start, Reply(context="here"))["additionalContext"] == "here"
    assert said("codex", start, Reply()) == {}
