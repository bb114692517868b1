"""Files that options name, with the option's value attached, behind it or abbreviated."""

import pytest

from ringfence.policy.permissions.option_files import named
from ringfence.policy.permissions.words import plain_word


@pytest.mark.parametrize(
    ("name", "words", "files"),
    [
        ("sort", "--files0-from=x y", ["x"]),
        ("sort", "--files0-from x y", ["x"]),
        ("sort", "--f x y", ["x"]),
        ("sort", "xxfiles0-from y", []),
        ("sort", "-- y", []),
        ("grep", "-fx y", ["x"]),
        ("grep", "-fxy z", ["xy"]),
        ("grep", "-f x", ["x"]),
        ("grep", "- f", []),
        ("strings", "@x", ["x"]),
        ("ls", "@x", []),
    ],
)
def test_the_files_that_options_name(name: str, words: str, files: list[str]) -> None:
    assert [word.text for word in named(name, [plain_word(word) for word in words.split()])] == files
