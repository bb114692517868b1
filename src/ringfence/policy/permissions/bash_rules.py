"""What a `Bash(...)` rule matches: a command word for word, one that begins with it, or one with wildcards.

| rule | matches |
|---|---|
| `Bash(npm test)` | exactly that text |
| `Bash(npm run:*)`, `Bash(npm run *)` | `npm run` alone or with anything after a space; not `npm runner` |
| `Bash(npm run*)` | anything that begins so |
| `Bash(git * main)` | `*` is any run of characters, spaces too |
"""

import re
from collections.abc import Callable
from functools import lru_cache

Matcher = Callable[[str], bool]


def is_exact(what: str) -> bool:
    """Tell whether the rule is about one text only."""
    return "*" not in what


@lru_cache(maxsize=2048)
def matcher(what: str) -> Matcher:
    """Compile the inside of a `Bash(...)` rule to a test of a command's text."""
    if what.endswith((":*", " *")):
        stem = what[:-2]
        if "*" not in stem:
            return _begins_with(stem.strip())
        return _pattern(stem, r"(?:\s.*)?")
    if "*" not in what:
        exact = what.strip()
        return lambda text: text.strip() == exact
    if what.endswith("*") and "*" not in what[:-1]:
        start = what[:-1]
        return lambda text: text.startswith(start)
    return _pattern(what, "")


def _begins_with(stem: str) -> Matcher:
    starts = (f"{stem} ", f"{stem}\t", f"{stem}\n")
    return lambda text: text.startswith(starts) or text == stem


def _pattern(text: str, end: str) -> Matcher:
    pattern = re.compile(".*".join(re.escape(part) for part in text.split("*")) + end, re.S)
    return lambda text: pattern.fullmatch(text) is not None


def program_of(what: str) -> str:
    """Return the program that the rule names, empty where that is a pattern."""
    first = re.split(r"[\s:]", what.strip(), maxsplit=1)[0]
    return "" if "*" in first else first
