"""Tool calls as JSON lines: read, decided, written."""

import sys
from collections.abc import Iterable, Iterator

import msgspec

from ringfence.model.decision import Decision, Verdict
from ringfence.model.errors import UsageError
from ringfence.policy.permissions.engine import ToolCall

PRIMARY = {
    "Bash": "command",
    "Read": "file_path",
    "Write": "file_path",
    "Edit": "file_path",
    "NotebookEdit": "notebook_path",
    "WebFetch": "url",
    "Agent": "subagent_type",
    "Skill": "skill",
}
"""The field that a text stands for where only a text is given."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a log or corpus: a call, and what was decided where that is recorded."""

    tool: str
    input: dict[str, object] | str = {}
    verdict: str = ""

    @property
    def call(self) -> ToolCall:
        """The call, whatever form its input is written in."""
        return call_of(self.tool, self.input)


def call_of(tool: str, written: dict[str, object] | str) -> ToolCall:
    """Return the call of `tool` whose input is an object, the text of one, or the value of its main field."""
    if isinstance(written, dict):
        return ToolCall(tool=tool, input=written)
    if tool != "Bash" and written.startswith("{"):
        try:
            return ToolCall(tool=tool, input=msgspec.json.decode(written, type=dict[str, object]))
        except msgspec.MsgspecError:
            pass
    return ToolCall(tool=tool, input={PRIMARY.get(tool, "value"): written})


def lines(text: Iterable[str], file: str) -> Iterator[Line]:
    """Read calls, one a line; raise UsageError with the line of one that is not understood."""
    decoder = msgspec.json.Decoder(Line)
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        try:
            yield decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeEncodeError) as error:
            place = f"{file}:{number}"
            hint = 'one call a line: {"tool": "Bash", "input": {"command": "ls"}}'
            raise UsageError(f"not a tool call: {str(error)[:100].lower()}", place=place, hint=hint) from None


def written(decision: Decision) -> dict[str, object]:
    """Return the decision as it is printed."""
    found: dict[str, object] = {
        "verdict": decision.verdict.name.lower(),
        "reason": decision.reason,
        "rule": decision.rule,
        "source": str(decision.source),
    }
    return found | ({"unknown": list(decision.errors)} if decision.errors else {})


def verdict_of(name: str) -> Verdict | None:
    """Return the verdict of that name."""
    return Verdict.__members__.get(name.upper())


def put_line(value: dict[str, object]) -> None:
    """Write one line of JSON, in ASCII: what a call names is chosen by the agent."""
    import json

    sys.stdout.write(json.dumps(value) + "\n")
