"""Where each key and list entry of a TOML text stands, which `tomllib` does not tell.

Theory of operation: the text has already been accepted by `tomllib`, so this scanner need not judge, only
follow the grammar of TOML 1.0 closely enough to know where it is: it walks tables, key/value pairs, arrays
and inline tables, skips over the four kinds of strings, and notes the line of each key and entry under its
path. Keys are decoded by `tomllib` itself, so quoting and escapes cannot be read differently here.
INVARIANT: every path of the parsed data has a line (tests/properties/test_policy_locate.py).
"""

import tomllib
from typing import Any

from .document import KeyPath


def locate(text: str) -> dict[KeyPath, int]:
    """Map each table, key and list entry of `text`, which must be valid TOML, to its line, from 1."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


def _decode(key: str) -> tuple[str, ...]:
    """Split a possibly dotted and quoted key into its parts."""
    node: Any = tomllib.loads(f"{key} = 0")
    parts = []
    while isinstance(node, dict):
        ((part, node),) = node.items()
        parts.append(part)
    return tuple(parts)


class _Scanner:
    """A cursor over the text; `lines` collects what it passes."""

    def __init__(self, text: str) -> None:
        # tomllib reads CR LF as LF, so lines are counted by LF alone.
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.line = 1
        self.lines: dict[KeyPath, int] = {}
        self.tables: dict[KeyPath, int] = {}  # entries so far of each array of tables

    def document(self) -> None:
        """Walk the whole text."""
        table: KeyPath = ()
        self.blank()
        while self.at < len(self.text):
            if self.peek() == "[":
                table = self.header()
            else:
                self.pair(table)
            self.blank()

    def header(self) -> KeyPath:
        """Read `[a.b]` or `[[a.b]]` and return the path that the pairs below it belong to."""
        line = self.line
        several = self.text.startswith("[[", self.at)
        self.advance(2 if several else 1)
        path = self.resolve(_decode(self.key("]")))
        self.advance(2 if several else 1)
        if several:
            index = self.tables.get(path, 0)
            self.tables[path] = index + 1
            path = (*path, index)
        self.note((), path, line)
        return path

    def resolve(self, keys: tuple[str, ...]) -> KeyPath:
        """Insert the index of the current entry wherever a header goes through an array of tables."""
        path: KeyPath = ()
        for key in keys[:-1]:
            path = (*path, key)
            if path in self.tables:
                path = (*path, self.tables[path] - 1)
        return (*path, keys[-1])

    def pair(self, table: KeyPath) -> None:
        """Read `key = value`."""
        line = self.line
        path = table + _decode(self.key("="))
        self.note(table, path, line)
        self.advance(1)
        self.blank()
        self.value(path)

    def note(self, table: KeyPath, path: KeyPath, line: int) -> None:
        """Record `path` and the tables between `table` and it, unless they were met before."""
        for at in range(len(table), len(path)):
            self.lines.setdefault(path[: at + 1], line)

    def value(self, path: KeyPath) -> None:
        """Skip one value, recording what is inside it."""
        first = self.peek()
        if first in "\"'":
            self.string()
        elif first == "[":
            self.array(path)
        elif first == "{":
            self.inline_table(path)
        else:
            self.skip_until(",]}#\n")

    def array(self, path: KeyPath) -> None:
        """Read `[a, b]`, over as many lines as it takes."""
        self.advance(1)
        index = 0
        self.blank()
        while self.peek() != "]":
            self.lines[(*path, index)] = self.line
            self.value((*path, index))
            index += 1
            self.separator()
        self.advance(1)

    def inline_table(self, path: KeyPath) -> None:
        """Read `{ a = 1, b = 2 }`."""
        self.advance(1)
        self.blank()
        while self.peek() != "}":
            self.pair(path)
            self.separator()
        self.advance(1)

    def separator(self) -> None:
        """Skip an optional comma with the blanks on both sides."""
        self.blank()
        if self.peek() == ",":
            self.advance(1)
            self.blank()

    def key(self, end: str) -> str:
        """Read up to the unquoted character `end` and return the text before it."""
        start = self.at
        while self.peek() != end:
            if self.peek() in "\"'":
                self.string()
            else:
                self.advance(1)
        return self.text[start : self.at]

    def string(self) -> None:
        """Skip a basic or literal string, on one line or several."""
        quote = self.peek()
        mark = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self.advance(len(mark))
        while not self.text.startswith(mark, self.at):
            self.advance(2 if quote == '"' and self.peek() == "\\" else 1)
        # The closing quotes, and up to two that may stand directly before three.
        while self.at < len(self.text) and self.peek() == quote:
            self.advance(1)

    def blank(self) -> None:
        """Skip white space, line ends and comments."""
        while self.at < len(self.text) and self.peek() in " \t\n#":
            if self.peek() == "#":
                self.skip_until("\n")
            else:
                self.advance(1)

    def skip_until(self, ends: str) -> None:
        """Move to the next character in `ends`, or to the end of the text."""
        while self.at < len(self.text) and self.peek() not in ends:
            self.advance(1)

    def peek(self) -> str:
        return self.text[self.at]

    def advance(self, count: int) -> None:
        """Move on by `count` characters, counting lines."""
        self.line += self.text.count("\n", self.at, self.at + count)
        self.at += count
