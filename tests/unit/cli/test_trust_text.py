"""What is shown of a file that would take effect by itself."""

import pytest

from ringfence.cli.trust_text import lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("be kind\n", "1 line, beginning: be kind"),
        ("\n  be kind\nalways\n", "3 lines, beginning: be kind"),
        ("\n\n", "no text"),
        ("", "no text"),
    ],
)
def test_a_text_is_told_by_its_length_and_its_beginning(text: str, shown: str) -> None:
    assert list(lines("CLAUDE.md", text)) == [shown]
