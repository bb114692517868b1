"""The narrowest rules that would let a call through: what `explain` proposes and a person may add.

Exact commands instead of prefixes, one path instead of its directory, one host, one tool. Nothing is proposed where no
rule can help.
"""

from . import hosts
from .command import Script
from .engine import ToolCall
from .paths import Places, absolute
from .shell_parse import parse

MAX_RULES = 5


def rules_for(call: ToolCall, places: Places) -> list[str]:
    """Return rules that allow exactly this call; empty where only a person or a mode can."""
    if call.tool == "Bash":
        return _commands(parse(call.text("command")))
    if call.tool in ("Read", "Write", "Edit", "NotebookEdit"):
        path = call.text("file_path", "notebook_path")
        tool = "Read" if call.tool == "Read" else "Edit"
        return [f"{tool}(/{_escaped(absolute(path, places))})"] if path else []
    if call.tool == "WebFetch":
        host = hosts.host_of(call.text("url"))
        return [f"WebFetch(domain:{host})"] if host else []
    return [call.tool] if call.tool.startswith("mcp__") else []


def _commands(script: Script) -> list[str]:
    if script.doubts or script.obstacles:
        return []
    texts = [command.raw for command in script.commands if command.words]
    return [f"Bash({text})" for text in dict.fromkeys(texts) if _is_expressible(text)][:MAX_RULES]


def _is_expressible(text: str) -> bool:
    """A text with `*` would be a pattern, and more than itself."""
    return "*" not in text and "\n" not in text


def _escaped(path: str) -> str:
    return "".join(f"\\{character}" if character in "*?[\\" else character for character in path)
