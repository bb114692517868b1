"""How the notation of the shell is read: every word, command and obstacle of a text, with what is said about it.

readings.jsonl was written down by the engine and looked through afterwards; denials are held against what it says.
A change of the reading that is meant changes the file too: run this file.
"""

import json
from typing import Any

import msgspec
import pytest

from ringfence.policy.permissions.command import Word
from ringfence.policy.permissions.shell_parse import parse
from tests.permission_cases import DATA

READINGS = [json.loads(line) for line in (DATA / "readings.jsonl").read_text("utf-8").splitlines()]


def written(value: Any) -> Any:
    """Write down what was read, leaving out what is as always; a word without notation is its text."""
    if isinstance(value, Word) and value == Word(raw=value.text, text=value.text):
        return value.text
    if isinstance(value, msgspec.Struct):
        given = [(field, getattr(value, field.name)) for field in msgspec.structs.fields(value)]
        return {field.name: written(one) for field, one in given if one != field.default}
    if isinstance(value, tuple | frozenset):
        return [written(one) for one in (sorted(value) if isinstance(value, frozenset) else value)]
    return getattr(value, "value", value)


@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: repr(reading["text"][:40]))
def test_what_a_text_says(reading: dict[str, Any]) -> None:
    assert written(parse(reading["text"])) == reading


if __name__ == "__main__":
    lines = [json.dumps(written(parse(reading["text"]))) + "\n" for reading in READINGS]
    (DATA / "readings.jsonl").write_text("".join(lines), "utf-8")
