"""A policy file in the making: it is sound, says where each line is from, and cannot be steered by names in it."""

import pytest

from ringfence.integrations.draft import Draft, plain, table, toml
from ringfence.model.errors import UsageError

PLACES = {"home": "/home/u", "workspace": "/home/u/w"}


def test_every_line_says_which_setting_it_is_from() -> None:
    draft = Draft("a.json", "--from-a")
    draft.entry("filesystem", "read", toml("/srv"), "files.read")
    draft.entry("filesystem", "read", toml("/srv"), "files.other")
    draft.value("workspace", "mode", toml("readonly"), "files.write")
    draft.remark("colour", "has no effect here")
    text = draft.text(**PLACES)
    assert '    "/srv",  # files.read\n]' in text and "files.other" not in text
    assert 'mode = "readonly"  # files.write' in text
    assert "# colour: has no effect here\n" in text


def test_what_policy_refuses_is_named_by_its_setting() -> None:
    draft = Draft("a.json", "--from-a")
    draft.entry("filesystem", "write", toml("~"), "files.write")
    with pytest.raises(UsageError, match=r"^a\.json: `files\.write` cannot be kept: ") as caught:
        draft.text(**PLACES)
    assert caught.value.hint


def test_all_that_cannot_be_kept_is_named_at_once() -> None:
    draft = Draft("a.json", "--from-a")
    draft.refuse("one", "it is odd")
    draft.refuse("two", "it is odder")
    with pytest.raises(UsageError, match="`one` cannot be kept: it is odd, nor can `two`"):
        draft.text(**PLACES)


def test_a_name_cannot_end_the_comment_that_it_stands_in() -> None:
    draft = Draft("a\n[network]\nmode = 1", "--from-a")
    draft.remark(plain("x\n[env]"), "stays")
    assert "\n[" not in draft.text(**PLACES)


def test_values_are_toml() -> None:
    assert toml('a"b\x7f') == '"a\\"b\\u007f"'
    assert table(host="h", literal=True, reason="") == '{ host = "h", literal = true }'
