"""Names as other file systems would read them, and as a terminal may show them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.model.names import canonical, canonical_path, shown


@pytest.mark.parametrize(
    "name",
    [
        ".git",
        ".GIT",
        ".Git",
        ".g\u200cit",  # HFS+ ignores it
        "\ufeff.git",
        ".git.",
        ".git ",
        ".git. . ",
        "git~1",
        "GIT~2",
        "gi7eba~1",
        ".git::$INDEX_ALLOCATION",
        ".git:stream",
    ],
)
def test_every_spelling_of_git_is_git(name: str) -> None:
    assert canonical(name) == ".git"


@pytest.mark.parametrize("name", [".gitignore", "git", ".github", "git~x", "digit", ".git2", "legit~1"])
def test_other_names_are_not_git(name: str) -> None:
    assert canonical(name) != ".git"


def test_composed_and_decomposed_letters_are_one() -> None:
    assert canonical("e\u0301") == canonical("\u00c9")


@settings(database=None)
@given(st.text(min_size=1).filter(lambda name: "/" not in name))
def test_canonical_is_stable_and_never_empty(name: str) -> None:
    once = canonical(name)
    assert once
    assert canonical_path(f"{name}/{name}") == (once, once)


@settings(database=None)
@given(st.text())
def test_what_is_shown_cannot_steer_a_terminal(text: str) -> None:
    assert all(character.isprintable() for character in shown(text))


def test_what_is_shown_can_be_told_apart() -> None:
    assert shown("plain name.txt") == "plain name.txt"
    assert shown("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
    assert shown("\u00e9") == "\u00e9"
    assert shown("\udcff") == "\\xff"
    assert shown("\u202egnp.exe") == "\\u202egnp.exe"
