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
        return _pattern(what[:-2].strip(), r"(?:[ \t\n].*)?")
    if "*" not in what:
        exact = what.strip()
        return lambda text: text.strip() == exact
    return _pattern(what, "")


def _pattern(text: str, end: str) -> Matcher:
    pattern = re.compile(".*".join(re.escape(part) for part in text.split("*")) + end, re.S)
    return lambda text: pattern.fullmatch(text) is not None


def program_of(what: str) -> str:
    """Return the program that the rule names, empty where that is a pattern."""
    first = re.split(r"[\s:]", what.strip())[0]
    return "" if "*" in first else first
