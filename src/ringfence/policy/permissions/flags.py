"""Which options of a program are known, and how they take their values.

An option that is not listed is not known, and nothing follows from it. Values of short options stand in the next word;
only options in `attached` may have a number right behind them (`-A3`), and those in `numbers` take nothing else: what
is no number there is taken for something else by another reader. Abbreviated long options are never accepted:
`--upload-pa=x` would be another option than the one that was looked at.
"""

from collections.abc import Sequence

import msgspec


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """Options without value in `short` and `long`, with one in `short_value` and `long_value`; all space-separated."""

    short: str
    short_value: str
    long: frozenset[str]
    long_value: frozenset[str]
    attached: str
    numbers: frozenset[str]
    numeric: bool
    operands: int
    dashes: bool


def flags(
    short: str = "",
    long: str = "",
    *,
    short_value: str = "",
    long_value: str = "",
    attached: str = "",
    numbers: str = "",
    **more: bool | int,
) -> Flags:
    """Write down a table: `short` is letters, `long` names without their dashes."""
    return Flags(
        short=short,
        long=frozenset(long.split()),
        short_value=short_value,
        long_value=frozenset(long_value.split()),
        attached=attached,
        numbers=frozenset(numbers.split()),
        numeric=bool(more.get("numeric", False)),
        operands=int(more.get("operands", -1)),
        dashes=bool(more.get("dashes", True)),
    )


NONE = flags()
"""No options at all."""


def operands_of(table: Flags, words: Sequence[str]) -> list[str] | None:
    """Return what in `words` is no option, or None where an option is not in `table`."""
    found: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            if not table.dashes:
                return None
            found += words[at:]
            break
        if not word.startswith("-") or word == "-":
            found.append(word)
            continue
        takes = _takes_value(table, word)
        if takes is None:
            return None
        if takes:
            if at >= len(words) or words[at].startswith("-"):
                return None
            if word.lstrip("-") in table.numbers and not _is_number(words[at]):
                return None
            at += 1
    return found if table.operands < 0 or len(found) <= table.operands else None


def _takes_value(table: Flags, word: str) -> bool | None:
    """Tell whether the option takes the next word as its value; None for an option that is not known."""
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        if equals:
            known = name in table.long_value and not value.startswith("-")
            return False if known and (name not in table.numbers or _is_number(value)) else None
        return True if name in table.long_value and name not in table.long else False if name in table.long else None
    letters = word[1:]
    if len(letters) == 1 and letters in table.short_value:
        return True
    if all(letter in table.short for letter in letters):
        return False
    if table.numeric and letters.isdigit():
        return False
    return False if letters[0] in table.attached and letters[1:].isdigit() else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
