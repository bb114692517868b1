"""What a settings file says it would do, in lines for the person who is asked to trust it.

This is for reading only: nothing is decided by it. The file is read once more, and shown only if it is still the one
that the digest speaks of.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from ringfence.model.errors import UsageError

LIMIT_BYTES = 256 << 10
LINES = 12
WIDTH = 160
DEPTH = 24

_TEXTS = (".md", ".mdc", ".txt", "rules", ".goosehints")
_TELLING = re.compile(
    r"(?i)(command|cmd|run|exec|entry|args|helper|script|hook|url|server|env|registry|path|fsmonitor|editor|pager|proxy"
    r"|filter|textconv|driver|include|permission|mode|allow|image|features|tool|eval|source|export|use_|layout|load)"
)


def effects(path: str, digest: str) -> list[str]:
    """At most a dozen lines of the file that say most about it; raise UsageError if it is not what `digest` says."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            data = file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read `{path}`: {error.strerror}") from error
    if len(data) > LIMIT_BYTES:
        return ["(large; not shown)"]
    if hashlib.sha256(data).hexdigest() != digest:
        raise UsageError(f"`{path}` has just changed", hint="look again")
    if b"\0" in data:
        return ["(not text; not shown)"]
    text = data.decode("utf-8", "replace")
    found = list(lines(path, text))
    return [line[:WIDTH] for line in found[:LINES]] + ([f"... {len(found) - LINES} more"] if len(found) > LINES else [])


def lines(path: str, text: str) -> Iterator[str]:
    """What is worth reading first, whatever the format."""
    if path.lower().endswith(_TEXTS):
        first = next((line.strip() for line in text.splitlines() if line.strip()), "")
        count = len(text.splitlines())
        yield f"{count} {'line' if count == 1 else 'lines'}, beginning: {first}" if first else "no text"
        return
    if path.endswith(".json"):
        try:
            yield from leaves(msgspec.json.decode(text), "")
            return
        except (msgspec.DecodeError, RecursionError):
            pass
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith(("#", "//", ";")) and _TELLING.search(line):
            yield line.strip()


def leaves(value: Any, name: str, depth: int = 0) -> Iterator[str]:
    """Each value under a name that tells something, with its name."""
    if depth > DEPTH:
        yield f"{name}: nested too deeply to be shown"
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from leaves(below, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(value, list) and not all(isinstance(item, str) for item in value):
        for below in value:
            yield from leaves(below, name, depth + 1)
    elif _TELLING.search(name):
        yield f"{name}: {' '.join(value) if isinstance(value, list) else value}"
