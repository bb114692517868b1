"""Tool calls as JSON lines: read, decided, written."""

import sys
from collections.abc import Iterable, Iterator

import msgspec

from ringfence.integrations import hook_decisions, hook_process
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


CUT = hook_decisions.INPUT_CHARACTERS


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a log or corpus: a call, and what was decided where that is recorded.

    `mode` and `cwd` are those it was decided in, empty if unknown; `contained`: inside a boundary of ours.
    """

    tool: str
    input: dict[str, object] | str = {}
    verdict: str = ""
    mode: str = ""
    cwd: str = ""
    contained: bool = False

    @property
    def call(self) -> ToolCall:
        """The call, whatever form its input is written in."""
        return call_of(self.tool, self.input)


def call_of(tool: str, written: dict[str, object] | str) -> ToolCall:
    """Return the call of `tool` whose input is an object, the text of one, or the value of its main field."""
    if isinstance(written, dict):
        return ToolCall(tool=tool, input=written)
    if tool != "Bash" and (found := as_object(written)):
        return ToolCall(tool=tool, input=found)
    return ToolCall(tool=tool, input={PRIMARY.get(tool, "value"): written})


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ringfence's own audit."""

    kind: str
    code: str = ""
    run: str = ""
    fields: dict[str, object]

    @property
    def line(self) -> Line | None:
        """The call that was decided; None where the record is about something else, or holds only a part of it."""
        field = {name: value for name, value in self.fields.items() if isinstance(value, str)}
        written = field.get("input", "")
        if (self.kind, self.code) != ("decision", "tool-call") or "verdict" not in field or len(written) >= CUT:
            return None
        tool = field.get("tool", "")
        return Line(
            tool=tool,
            input=as_object(written) or written,
            verdict=field["verdict"],
            mode=field.get("mode", ""),
            cwd=field.get("cwd", ""),
            contained=self.run != hook_process.RUN,
        )


def as_object(written: str) -> dict[str, object]:
    """The object that a text is, empty if it is none."""
    try:
        return msgspec.json.decode(written, type=dict[str, object]) if written.startswith("{") else {}
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return {}


def lines(text: Iterable[str], file: str) -> Iterator[Line]:
    """Read calls, one a line; of an audit those that were decided. Raise UsageError with the line of anything else."""
    decoder, records = msgspec.json.Decoder(Line), msgspec.json.Decoder(Record)
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        try:
            if '"fields":' in line:
                found = records.decode(line).line
                yield from () if found is None else (found,)
            else:
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
