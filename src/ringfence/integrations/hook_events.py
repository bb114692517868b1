"""The JSON that agents' hooks speak: events in, answers out. Pure.

Claude Code and Codex send the same events with nearly the same fields. They differ in what they take for an answer:
Codex knows no `ask` before a tool is used, and `allow` only beside a changed input. Both let a call pass when a hook
fails in any way but exit status 2, so whatever is not understood here is answered with that.
"""

from enum import Enum

import msgspec

from ringfence.model.decision import Verdict

EVENT_BYTES = 16 << 20
CLIENTS = ("claude-code", "codex")
REFUSED = 2


class EventName(Enum):
    """The events that a hook of ours is installed for."""

    PRE_TOOL_USE = "PreToolUse"
    PERMISSION_REQUEST = "PermissionRequest"
    POST_TOOL_USE = "PostToolUse"
    SESSION_START = "SessionStart"
    USER_PROMPT_SUBMIT = "UserPromptSubmit"


DECIDING = (EventName.PRE_TOOL_USE, EventName.PERMISSION_REQUEST)
"""The events that ask whether something may be done; the others only tell."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event as an agent sends it; fields that nothing here needs are left alone."""

    hook_event_name: EventName
    session_id: str = ""
    cwd: str = ""
    permission_mode: str = "default"
    tool_name: str = ""
    tool_input: dict[str, object] = {}


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered. `verdict` None leaves the agent to its own rules; `context` is told to the model."""

    verdict: Verdict | None = None
    reason: str = ""
    updated_input: dict[str, object] | None = None
    context: str = ""


def read(data: bytes) -> Event:
    """Read an event; raise ValueError for one that is not understood, which must be answered by a refusal."""
    if len(data) > EVENT_BYTES:
        raise ValueError("the event is too long")
    try:
        event = msgspec.json.decode(data, type=Event)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"the event is not understood: {str(error)[:200]}") from None
    if event.hook_event_name in DECIDING and not event.tool_name:
        raise ValueError("the event names no tool")
    return event


def written(client: str, event: Event, reply: Reply) -> bytes:
    """Write `reply` as `client` takes it; raise ValueError for an answer that it has no words for."""
    specific: dict[str, object] = {}
    match event.hook_event_name:
        case EventName.PRE_TOOL_USE:
            specific = _before(client, reply)
        case EventName.PERMISSION_REQUEST:
            specific = _requested(reply)
        case EventName.POST_TOOL_USE | EventName.SESSION_START | EventName.USER_PROMPT_SUBMIT:
            specific = {"additionalContext": reply.context} if reply.context else {}
    if not specific:
        return b"{}\n"
    named = {"hookEventName": event.hook_event_name.value} | specific
    return msgspec.json.encode({"hookSpecificOutput": named}) + b"\n"


def _before(client: str, reply: Reply) -> dict[str, object]:
    if reply.verdict is None:
        return {}
    changed = {"updatedInput": reply.updated_input} if reply.updated_input is not None else {}
    if client == "codex":
        if reply.verdict is Verdict.ASK:
            raise ValueError("a person has to be asked, which this agent's hooks cannot do")
        if reply.verdict is Verdict.ALLOW and not changed:
            return {}
    reason = {"permissionDecisionReason": reply.reason or "policy"} if client != "codex" or not changed else {}
    return {"permissionDecision": reply.verdict.name.lower(), **reason, **changed}


def _requested(reply: Reply) -> dict[str, object]:
    if reply.verdict is None or reply.verdict is Verdict.ASK:
        return {}
    if reply.verdict is Verdict.ALLOW:
        return {"decision": {"behavior": "allow"}}
    return {"decision": {"behavior": "deny", "message": reply.reason or "policy"}}
