"""Options of a run, as words."""

import pytest

from ringfence.model.errors import UsageError
from ringfence.session import options


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("--reads=x", "did you mean `--read`?"),
        ("--verbosely", "did you mean `--verbose`?"),
        ("--deny_read", "did you mean `--deny-read`?"),
        ("--zzz", "`--help` lists them; a command may follow `--`"),
    ],
)
def test_an_option_that_is_not_known_is_answered_with_the_nearest(word: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        options.parse([word, "--", "true"])
    assert (str(error.value), error.value.hint) == (f"unknown option `{word.partition('=')[0]}`", hint)


def test_options_of_the_command_are_its_own() -> None:
    assert options.parse(["-v", "program", "--reads"])[1] == ["program", "--reads"]
