"""What goes to standard output: colour only on terminals, and no character that could steer one."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

_STYLES = {"bold": "1", "dim": "2", "bad": "31", "good": "32", "warn": "33", "name": "36"}


def coloured() -> bool:
    """Whether standard output takes colour: a terminal that is not dumb, and no NO_COLOR (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str) -> str:
    """`text` in one of the styles bold, dim, good, warn, bad and name, where that is wanted."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if text and coloured() else text


def safe(text: str) -> str:
    """`text` with every character that a terminal would act on, or that cannot be encoded, written as an escape.

    SECURITY: names of files, programs and variables may be chosen by the contained side.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


def put(*lines: str) -> None:
    """Write lines to standard output at once, so that a reader that has gone is noticed here."""
    sys.stdout.write("".join(line + "\n" for line in lines))
    sys.stdout.flush()


def put_json(value: Any) -> None:
    """Write a value of ours as indented JSON; text that is not Unicode keeps its bytes as lone surrogates' escapes."""
    import json

    put(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=True))


def table(rows: Iterable[Sequence[str]], *, indent: int = 2, styles: Sequence[str] = ()) -> list[str]:
    """Rows as lines with aligned columns; the last column is not padded. `styles` names one style per column."""
    cells = [[safe(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        words = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        words[-1] = row[-1]
        painted = [paint(word, style) if style else word for word, style in zip(words, styles, strict=False)]
        lines.append((" " * indent + "  ".join(painted + words[len(painted) :])).rstrip())
    return lines
