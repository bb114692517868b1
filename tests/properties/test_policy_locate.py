"""Every key and entry of any TOML document has a line, and it is the right one."""

import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.model.errors import UsageError
from ringfence.policy.document import KeyPath
from ringfence.policy.locate import locate
from ringfence.policy.parse import parse

KEYS = st.one_of(st.from_regex(r"[a-z0-9_-]{1,4}", fullmatch=True), st.text("a.]=#'\"\\[ é", max_size=4))
SCALARS = st.one_of(
    st.sampled_from(["1", "true", "-1.5", "1979-05-27 07:32:00", "'x # ]'", "''", '"a\\"]#"', "'''\n'' ]\n'''"]),
    st.sampled_from(['"""\n\\""" [x]\nk = 1 """""', '""', '""""""']),
)


def quoted(key: str) -> str:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class Writer:
    """Writes a document and notes, independently of the scanner, on which line each thing went."""

    def __init__(self, breaks: list[str]) -> None:
        self.text = ""
        self.lines: dict[KeyPath, int] = {}
        self.breaks = breaks

    def gap(self) -> None:
        self.text += self.breaks[len(self.text) % len(self.breaks)]

    def mark(self, path: KeyPath) -> None:
        self.lines[path] = self.text.count("\n") + 1

    def value(self, value: Any, path: KeyPath) -> None:
        if isinstance(value, list):
            self.text += "["
            for index, item in enumerate(value):
                self.gap()
                self.mark((*path, index))
                self.value(item, (*path, index))
                self.gap()
                self.text += ","
            self.gap()
            self.text += "]"
        elif isinstance(value, dict):
            self.text += "{ "
            for number, (key, item) in enumerate(value.items()):
                self.text += ", " if number else ""
                self.pair(key, item, path)
            self.text += " }"
        else:
            self.text += value

    def pair(self, key: str, value: Any, path: KeyPath) -> None:
        self.mark((*path, key))
        self.text += f"{quoted(key)} = "
        self.value(value, (*path, key))


VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
BREAKS = st.lists(st.sampled_from(["", " ", "\n", "\r\n", " # ] } ' \"\n", "\n\n\t"]), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3), max_size=3), BREAKS)
def test_each_thing_is_found_where_it_was_written(document: dict[str, dict[str, Any]], breaks: list[str]) -> None:
    writer = Writer(breaks)
    for table, pairs in document.items():
        writer.mark((table,))
        writer.text += f"[{quoted(table)}] # ]\n"
        for key, value in pairs.items():
            writer.pair(key, value, (table,))
            writer.text += "\n"
    tomllib.loads(writer.text)
    assert locate(writer.text) == writer.lines


def refusal(text: str) -> UsageError | None:
    """Parse `text` and return the error, if there is one; any other exception fails the test."""
    try:
        parse(text, file="p.toml", scope="user")
    except UsageError as error:
        return error
    return None


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from('version = 1|\n|[|]|[[|a|.|"|\'|"""|=| |{|}|,|#|\\|extends|limits|env|set|0'.split("|")),
        max_size=25,
    )
)
def test_garbage_is_accepted_or_refused_by_one_error(pieces: list[str]) -> None:
    error = refusal("".join(pieces))
    assert error is None or (error.place.startswith("p.toml") and "\n" not in error.message)
