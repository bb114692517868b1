"""The catalogue against everything that must agree with it: dispatch, the options of a run, the reference."""

import re
from pathlib import Path

import pytest

from ringfence.cli import completion, entry
from ringfence.cli import help as help_text
from ringfence.cli.catalogue import COMMANDS, Command, find
from ringfence.cli.run_options import SHAPING
from ringfence.session import options
from tests.house.sources import ROOT

REFERENCE = (ROOT / "docs/cli.md").read_text("utf-8")


def section(command: Command) -> str:
    """The command's section of the reference."""
    found = re.search(rf"(?ms)^## `ringfence {command.name}`\n(.*?)(?=^## )", REFERENCE)
    assert found is not None, command.name
    return found[1]


def test_every_command_that_is_dispatched_is_described() -> None:
    assert {command.name for command in COMMANDS} == set(entry.COMMANDS)


def test_every_module_of_a_command_exists() -> None:
    folder = Path(entry.__file__).parent
    assert all((folder / f"{module}.py").is_file() for module in entry.COMMANDS.values())


def test_the_options_of_a_run_are_those_that_are_parsed() -> None:
    described = {name for option in find("run").options for name in option.names}
    assert described == (set(options.FLAGS) | set(options.SWITCHES)) - {"--json"}
    assert all(bool(option.value) == (option.names[-1] in options.FLAGS) for option in SHAPING)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_reference_has_every_usage_and_option(command: Command) -> None:
    text = section(command)
    assert all(usage in text for usage in command.usage)
    if "options of `ringfence run`" in text:
        text += section(find("run"))
    missing = [name for option in command.options for name in option.names if f"`{name}" not in text]
    assert missing == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_an_example_that_names_it(command: Command) -> None:
    assert command.examples
    assert all(f"ringfence {command.name}" in example for example, _ in command.examples)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_fits_a_wide_terminal(command: Command) -> None:
    lines = [line for text in help_text.described(command) for line in text.split("\n")]
    assert [line for line in lines if len(line) > 132] == []


def test_the_overview_names_every_command() -> None:
    lines = "\n".join(help_text.overview())
    assert all(re.search(rf"(?m)^  {command.name} ", lines) for command in COMMANDS)


@pytest.mark.parametrize("shell", completion.SCRIPTS)
def test_completion_knows_every_command_and_option(shell: str) -> None:
    script = "\n".join(completion.SCRIPTS[shell]())
    for command in COMMANDS:
        assert command.name in script
        for option in command.options:
            assert any(name.lstrip("-") in script for name in option.names)


def test_unknown_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert help_text.unknown("plna") == 2
    assert "did you mean `ringfence plan`?" in capsys.readouterr().err


def test_unknown_escapes_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert help_text.unknown("\x1b[31m") == 2
    assert "\x1b" not in capsys.readouterr().err
