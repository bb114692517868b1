"""Two model APIs whose answers a test has written down: what drives the real agents without a model.

`scenario.json` in the lab's directory holds `{"turns": [[block, ...], ...]}`, a block being `{"text": ...}` or
`{"tool": NAME, "input": {...}}`. Which turn it is follows from the conversation that a request carries, so nothing is
kept between requests. After the last turn the answer is `DONE`; so it is for messages without tools (titles, topics).
"""

import json
import uuid
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.integration.lab.http1 import Response

SCENARIO = "scenario.json"
PATHS = ("/v1/messages", "/v1/responses", "/api/claude_code/settings", "/api/claude_code/policy_limits")
END = [{"text": "DONE"}]
_ANSWERS = ("function_call_output", "custom_tool_call_output")

Block = dict[str, Any]


class Models:
    """Plays both APIs; `place` is the lab's directory."""

    def __init__(self, place: Path) -> None:
        self._scenario = place / SCENARIO

    async def serve(self, response: Response) -> None:
        """Answer one request with a stream of events; one without a body, such as for a WebSocket, finds nothing."""
        if not response.request.body:
            return await response.send(404, "{}", "application/json")
        body = json.loads(response.request.body)
        if "messages" in body:
            events = _messages(self._blocks(said(body)) if body.get("tools") else END)
        else:
            events = _items(self._blocks(answered(body)))
        text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        return await response.send(200, text, "text/event-stream")

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
