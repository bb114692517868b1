"""The audit for eyes: what `ringfence log` shows on a terminal. Elsewhere each record is one whole line."""

import shutil
from collections.abc import Iterator

import msgspec

from ringfence.audit import read

from .terminal import paint, safe

STYLES = {
    "denial": "bad",
    "limit": "warn",
    "held": "warn",
    "taint": "bad",
    "lost": "bad",
    "broken": "bad",
    "torn": "warn",
}
_SEEN = ("target", "reason")  # said in words, without their names
_CODE_WIDTH = 16
_COLUMN, _NARROW_COLUMN, _WIDE = 41, 23, 90  # where what happened begins, and on a narrow terminal goes on

Word = tuple[str, str]
"""A word and its style, empty for none."""


class Pages:
    """Records as text, those of one run together under its name."""

    def __init__(self, width: int = 0) -> None:
        self.width = width or shutil.get_terminal_size().columns
        self.before: tuple[str, str] | None = None

    def lines(self, record: read.Record) -> Iterator[str]:
        """The lines for the next record: a title where another run, or another day, begins."""
        now = (record.run, record.time[:10])
        if now != self.before:
            if self.before:
                yield ""
            yield title(record)
        self.before = now
        kind = paint(f"{safe(record.kind):<9}", STYLES.get(record.kind, "bold"))
        start = f"  {safe(record.time[11:19])}  {kind}  {safe(record.code):<{_CODE_WIDTH}}  "
        yield from wrapped(start, words(record), self.width)


def title(record: read.Record) -> str:
    """The run, the day, and of a launch what was started and where."""
    name = paint(safe(record.run) or "outside of runs", "bold")
    said = record.fields.get("argv")
    command = safe(" ".join(said)) if isinstance(said, list) else ""
    place = f"  in {safe(str(record.fields['cwd']))}" if command and "cwd" in record.fields else ""
    return f"{name}  {safe(record.time[:10])}" + (f"  {paint(command, 'name')}{paint(place, 'dim')}" if command else "")


def words(record: read.Record) -> list[Word]:
    """What was done to what and why; then, dim, the other fields by their names."""
    fields = dict(record.fields)
    for name in ("argv", "cwd") if record.kind == "launch" else ():
        fields.pop(name, None)
    said = [str(value) for name in _SEEN if (value := fields.pop(name, ""))]
    if said and " " in said[0] and "target" in record.fields:
        said[0] = f'"{said[0]}"'  # a name must not look like the reason behind it
    found: list[Word] = [
        (safe(word), "bold" if at == 0 else "") for at, text in enumerate(said) for word in text.split(" ")
    ]
    plain = msgspec.structs.replace(record, time="", run="", kind="", code="", fields=fields)
    return found + [(word, "dim") for word in read.render(plain).split("  ")[-1].split(" ") if word.strip("- ")]


def wrapped(start: str, rest: list[Word], width: int) -> Iterator[str]:
    """One line, or more where the terminal is too narrow; what follows stands below what `start` leads to."""
    indent = _COLUMN if width >= _WIDE else _NARROW_COLUMN
    line, used = start, _COLUMN
    for word, style in rest:
        if used + len(word) >= width and used > indent:
            yield line.rstrip()
            line, used = " " * indent, indent
        line += (paint(word, style) if style else word) + " "
        used += len(word) + 1
    yield line.rstrip()
