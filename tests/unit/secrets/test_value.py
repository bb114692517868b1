"""Values are shown to nobody and zeroed at the end."""

import copy
import json
import pickle
from collections.abc import Callable

import msgspec
import pytest

from ringfence.secrets.value import Value

TEXT = b"correct-horse-battery"


@pytest.mark.parametrize(
    "show", [str, repr, "{}".format, "{:>40}".format, lambda value: f"{value!r}", lambda value: f"{[value]}"]
)
def test_no_text_shows_it(show: Callable[[Value], str]) -> None:
    assert "correct" not in show(Value(TEXT)) and "Value(...)" in show(Value(TEXT))


@pytest.mark.parametrize(
    "write", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, msgspec.json.encode, msgspec.to_builtins, hash]
)
def test_nothing_writes_or_copies_it(write: Callable[[Value], object]) -> None:
    with pytest.raises(TypeError) as error:
        write(Value(TEXT))
    assert "correct" not in str(error.value)


def test_it_is_compared_by_its_bytes() -> None:
    assert Value(TEXT) == Value(TEXT)
    assert Value(TEXT) != Value(TEXT + b"x")
    assert Value(TEXT) != TEXT


def test_closing_zeroes_the_bytes() -> None:
    with Value(TEXT) as value:
        kept = value._data
        assert value.reveal() == TEXT
    assert kept == bytes(len(TEXT))
    with pytest.raises(ValueError, match="zeroed"):
        value.reveal()
    value.close()


def test_nothing_is_locked_where_there_is_nothing() -> None:
    assert not Value(b"").locked
