"""The server that Claude Code's permission prompt asks, message by message."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ringfence.integrations.permission_prompt import PermissionPrompt
from ringfence.model.approval import Answer, Question


class Bench:
    """A server, a person who answers as told, and what was recorded."""

    def __init__(self, directory: Path, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[Question] = []
        self.recorded: list[Mapping[str, object]] = []
        self.server = PermissionPrompt(str(directory), approver=self, report=self.report)

    def ask(self, question: Question) -> Answer:
        self.asked.append(question)
        return self.answers.pop(0) if self.answers else Answer(allowed=False, reason="there is nobody to ask")

    def report(self, kind: str, code: str, fields: Mapping[str, str | int | bool | list[str] | None], /) -> None:
        self.recorded.append(fields)

    def send(self, method: str, **params: Any) -> Any:
        line = self.server.answer(json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).encode())
        answer = json.loads(line)
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", 7)
        return answer.get("result") or answer["error"]

    def approve(self, tool: str, **given: Any) -> Any:
        result = self.send("tools/call", name="approve", arguments={"tool_name": tool, "input": given})
        return json.loads(result["content"][0]["text"])


def test_it_says_what_it_is(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.send("initialize", protocolVersion="2025-06-18")["serverInfo"]["name"] == "ringfence"
    assert [tool["name"] for tool in bench.send("tools/list")["tools"]] == ["approve"]
    assert bench.server.answer(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}') == b""


def test_a_person_decides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Answer(allowed=True), Answer(allowed=False, reason="the operator refused: no"))
    assert bench.approve("Bash", command="make") == {"behavior": "allow", "updatedInput": {"command": "make"}}
    denied = bench.approve("Bash", command="make")
    assert denied["behavior"] == "deny" and "the operator refused: no" in denied["message"]
    assert [fields["verdict"] for fields in bench.recorded] == ["allow", "deny"]


def test_what_is_denied_is_not_asked(tmp_path: Path, home: Path) -> None:
    (home / ".claude").mkdir()
    (home / ".claude/settings.json").write_text('{"permissions": {"deny": ["Bash(make:*)"]}}')
    bench = Bench(tmp_path, Answer(allowed=True))
    assert bench.approve("Bash", command="make")["behavior"] == "deny"
    assert not bench.asked


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"\xff", b'{"id": 1}'])
def test_what_is_no_message_is_an_error(tmp_path: Path, line: bytes) -> None:
    assert "error" in json.loads(Bench(tmp_path).server.answer(line))


def test_what_there_is_not_is_an_error(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Answer(allowed=True))
    assert "no method" in bench.send("tools/unheard")["message"]
    assert "no method" in bench.send("tools/call", name="other")["message"]
    assert "code" in bench.send("tools/call", name="approve", arguments={"tool_name": 5})
    assert not bench.asked
