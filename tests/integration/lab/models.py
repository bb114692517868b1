"""Four model APIs whose answers a test has written down: what drives the real agents without a model.

`scenario.json` in the lab's directory holds `{"turns": [[block, ...], ...]}`, a block being `{"text": ...}` or
`{"tool": NAME, "input": {...}}`. Which turn it is follows from the conversation that a request carries, so nothing is
kept between requests. After the last turn the answer is `DONE`; so it is for messages without tools (titles, topics).
"""

import json
import re
import uuid
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.integration.lab.http1 import Response

SCENARIO = "scenario.json"
CHAT = "/v1/chat/completions"
PATHS = (
    *("/v1/messages", "/v1/responses", CHAT, "/backend-api/codex/responses"),
    *("/api/claude_code/settings", "/api/claude_code/policy_limits"),
)
GEMINI = re.compile(r"/v1(?:beta)?/models/[^/:]+:([A-Za-z]+)")
END = [{"text": "DONE"}]
_ANSWERS = ("function_call_output", "custom_tool_call_output")

Block = dict[str, Any]


def speaks(path: str) -> bool:
    """Whether a request for `path` is one to a model."""
    return path in PATHS or GEMINI.fullmatch(path) is not None


class Models:
    """Plays the APIs; `place` is the lab's directory."""

    def __init__(self, place: Path) -> None:
        self._scenario = place / SCENARIO

    async def serve(self, response: Response) -> None:
        """Answer one request with a stream of events; one without a body, such as for a WebSocket, finds nothing."""
        if not response.request.body:
            return await response.send(404, "{}", "application/json")
        body = json.loads(response.request.body)
        if method := GEMINI.fullmatch(response.request.path):
            return await self._gemini(response, body, method[1])
        if response.request.path == CHAT:
            blocks = self._blocks(said(body))
            if not body.get("stream"):
                return await response.send(200, json.dumps(_completion(blocks)), "application/json")
            return await response.send(200, _chat(blocks), "text/event-stream")
        if "messages" in body:
            events = _messages(self._blocks(said(body)) if body.get("tools") else END)
        else:
            events = _items(self._blocks(answered(body)))
        text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        return await response.send(200, text, "text/event-stream")

    async def _gemini(self, response: Response, body: Block, method: str) -> None:
        """Answer as Google's API does: one object, or a stream of such objects."""
        if method == "countTokens":
            return await response.send(200, '{"totalTokens": 1}', "application/json")
        turn = sum(content.get("role") == "model" for content in body["contents"])
        answer = json.dumps(_contents(self._blocks(turn) if body.get("tools") else END))
        if method == "streamGenerateContent":
            return await response.send(200, f"data: {answer}\r\n\r\n", "text/event-stream")
        return await response.send(200, answer, "application/json")

    def _blocks(self, turn: int) -> list[Block]:
        turns: list[list[Block]] = json.loads(self._scenario.read_text())["turns"]
        return turns[turn] if turn < len(turns) else END


def said(body: Block) -> int:
    """Count what the model has said so far."""
    return sum(message["role"] == "assistant" for message in body["messages"])


def answered(body: Block) -> int:
    """Count the batches of answers to its calls that the model has been given."""
    kinds = [item.get("type") in _ANSWERS for item in body.get("input", [])]
    return sum(is_answer for is_answer, _ in groupby(kinds))


def _messages(blocks: list[Block]) -> list[Block]:
    """The Messages API's events."""
    stop = "tool_use" if any("tool" in block for block in blocks) else "end_turn"
    message = {"id": f"msg_{uuid.uuid4().hex}", "type": "message", "role": "assistant", "model": "lab", "content": []}
    usage = {"input_tokens": 1, "output_tokens": 1}
    events: list[Block] = [{"type": "message_start", "message": message | {"stop_reason": None, "usage": usage}}]
    for at, block in enumerate(blocks):
        start: Block = {"type": "text", "text": ""}
        delta: Block = {"type": "text_delta", "text": block.get("text", "")}
        if "tool" in block:
            start = {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex}", "name": block["tool"], "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        events.append({"type": "content_block_start", "index": at, "content_block": start})
        events.append({"type": "content_block_delta", "index": at, "delta": delta})
        events.append({"type": "content_block_stop", "index": at})
    events.append({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage})
    return [*events, {"type": "message_stop"}]


def _items(blocks: list[Block]) -> list[Block]:
    """The Responses API's events."""
    items = []
    for block in blocks:
        if "tool" in block:
            called = {"call_id": f"call_{uuid.uuid4().hex}", "name": block["tool"]}
            written = {"arguments": json.dumps(block["input"]), "status": "completed"}
            items.append({"type": "function_call", "id": f"fc_{uuid.uuid4().hex}"} | called | written)
        else:
            content = [{"type": "output_text", "text": block["text"], "annotations": []}]
            told = {"role": "assistant", "status": "completed", "content": content}
            items.append({"type": "message", "id": f"msg_{uuid.uuid4().hex}"} | told)
    response: Block = {"id": f"resp_{uuid.uuid4().hex}", "object": "response", "status": "in_progress", "output": []}
    events: list[Block] = [{"type": "response.created", "response": response}]
    for at, item in enumerate(items):
        events.append({"type": "response.output_item.added", "output_index": at, "item": item})
        events.append({"type": "response.output_item.done", "output_index": at, "item": item})
    usage: Block = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    done = response | {"status": "completed", "output": items, "usage": usage}
    return [*events, {"type": "response.completed", "response": done}]


def _contents(blocks: list[Block]) -> Block:
    """The answer of Google's API."""
    parts: list[Block] = []
    for block in blocks:
        if "tool" in block:
            parts.append({"functionCall": {"name": block["tool"], "args": block["input"]}})
        else:
            parts.append({"text": block["text"]})
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "lab"}


def _chat(blocks: list[Block]) -> str:
    """The stream of the Chat Completions API: what was said, then the calls, then the reason for the end."""
    whole: Block = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "lab",
    }
    deltas: list[tuple[Block, str | None]] = [({"role": "assistant", "content": ""}, None)]
    calls = 0
    for block in blocks:
        if "tool" in block:
            function = {"name": block["tool"], "arguments": json.dumps(block["input"])}
            call = {"index": calls, "id": f"call_{uuid.uuid4().hex}", "type": "function", "function": function}
            deltas.append(({"tool_calls": [call]}, None))
            calls += 1
        else:
            deltas.append(({"content": block["text"]}, None))
    deltas.append(({}, "tool_calls" if calls else "stop"))
    chunks = [whole | {"choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in deltas]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def _completion(blocks: list[Block]) -> Block:
    """The answer of the Chat Completions API in one piece; text only."""
    message = {"role": "assistant", "content": "".join(block.get("text", "") for block in blocks)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    whole: Block = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion", "created": 1, "model": "lab"}
    return whole | {"choices": [choice], "usage": usage}
