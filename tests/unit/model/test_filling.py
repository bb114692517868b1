"""Placeholders into the text of a file."""

import pytest

from ringfence.model.filling import filled


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("login {a} {b-1}\n", "login 1 2\n"),
        ('{{"k": "{a}"}}', '{"k": "1"}'),
        ("{a} and {missing}", ""),
        ('{{"k": "{missing}"}}', "{}\n"),
        ("plain", "plain"),
    ],
)
def test_what_becomes_of_a_text(text: str, found: str) -> None:
    assert filled(text, {"a": "1", "b-1": "2"}) == found


def test_a_placeholder_is_never_read_as_a_template() -> None:
    assert filled("{a}", {"a": "{b}{{", "b": "x"}) == "{b}{{"
