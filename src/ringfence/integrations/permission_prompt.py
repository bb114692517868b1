"""What Claude Code asks when it runs without a person (`--permission-prompt-tool`): asks on the terminal outside.

A server of the Model Context Protocol over standard input and output: one JSON-RPC message a line. It has one tool,
`approve`. What policy denies is denied without a question; everything else that the agent wants to know, a person is
asked. Whatever is not understood is an error, which the agent takes for a denial.
"""

import time
from collections.abc import Mapping
from typing import Any, BinaryIO

import msgspec

from ringfence import __version__
from ringfence.approvals.terminal import TerminalApprover
from ringfence.audit.writer import AuditWriter
from ringfence.model.decision import Verdict
from ringfence.model.errors import RingfenceError
from ringfence.model.ports import Approver, Report
from ringfence.session import places
from ringfence.session.options import Options

from .hook_decisions import Decider, Surroundings
from .hook_events import EVENT_BYTES, Event, EventName
from .hook_rules import rules_for

ASK_TIMEOUT_S = 120.0
METHOD_NOT_FOUND, INVALID = -32601, -32600  # JSON-RPC 2.0, section 5.1
TOOL = {
    "name": "approve",
    "description": "Ask the operator whether a tool may be used.",
    "inputSchema": {
        "type": "object",
        "properties": {"tool_name": {"type": "string"}, "input": {"type": "object"}, "tool_use_id": {"type": "string"}},
        "required": ["tool_name", "input"],
    },
}


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A request, or a notification where `id` is unset."""

    method: str
    id: int | str | None = None
    params: dict[str, Any] = {}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What `approve` is called with."""

    tool_name: str
    input: dict[str, Any]


class PermissionPrompt:
    """Answers messages; `directory` is where the agent works."""

    def __init__(self, directory: str, *, approver: Approver, report: Report) -> None:
        where = Surroundings(
            client="permission-prompt", workspace=directory, home=places.home(), contained=False, interactive=False
        )
        self.decider = Decider(where, rules_for("claude-code", Options(), directory), approver=approver, report=report)
        self.directory = directory

    def answer(self, line: bytes) -> bytes:
        """The answer to one line; empty where none is due."""
        try:
            message = msgspec.json.decode(line, type=Message)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return _encoded({"id": None, "error": {"code": INVALID, "message": "not a message"}})
        if message.id is None:
            return b""
        try:
            return _encoded({"id": message.id, "result": self.result(message)})
        except (LookupError, msgspec.MsgspecError, RingfenceError) as error:
            return _encoded({"id": message.id, "error": {"code": METHOD_NOT_FOUND, "message": str(error)[:500]}})

    def result(self, message: Message) -> dict[str, Any]:
        """What a request results in; raise LookupError for a method or tool that there is not."""
        match message.method:
            case "initialize":
                version = str(message.params.get("protocolVersion", "2025-06-18"))
                server = {"name": "ringfence", "version": __version__}
                return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server}
            case "ping":
                return {}
            case "tools/list":
                return {"tools": [TOOL]}
            case "tools/call" if message.params.get("name") == TOOL["name"]:
                asked = msgspec.convert(message.params.get("arguments"), type=Asked)
                return {"content": [{"type": "text", "text": msgspec.json.encode(self.approve(asked)).decode()}]}
        raise LookupError(f"no method `{message.method[:100]}`")

    def approve(self, asked: Asked) -> dict[str, Any]:
        """Ask, unless policy denies; the answer in Claude Code's form."""
        name = EventName.PERMISSION_REQUEST
        event = Event(hook_event_name=name, cwd=self.directory, tool_name=asked.tool_name, tool_input=asked.input)
        judged = self.decider.judge(event)
        denied = judged.decision.verdict is Verdict.DENY
        decision = judged.decision if denied else self.decider.settled(judged, event)
        self.decider.record(event, decision)
        if decision.verdict is Verdict.ALLOW:
            return {"behavior": "allow", "updatedInput": asked.input}
        return {"behavior": "deny", "message": f"ringfence: {decision.reason}"}


def _encoded(message: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0"} | message) + b"\n"


def serve(lines: BinaryIO, answers: BinaryIO, directory: str) -> None:
    """Answer every line until the agent closes its end."""
    writer = AuditWriter(places.audit(), fsync="never", rotate_bytes=64 << 20)

    def report(kind: str, code: str, fields: Mapping[str, str | int | bool | list[str] | None], /) -> None:
        writer.record_fields(kind, "hook", time.time_ns(), code, fields=fields)

    try:
        prompt = PermissionPrompt(directory, approver=TerminalApprover(ASK_TIMEOUT_S, takes=True), report=report)
        while line := lines.readline(EVENT_BYTES):
            answers.write(prompt.answer(line))
            answers.flush()
    finally:
        writer.close()
