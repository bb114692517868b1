"""The manual page: current, complete, and sound for the formatter."""

import shutil
import subprocess

import pytest

from ringfence import __version__
from ringfence.cli.catalogue import COMMANDS
from ringfence.cli.manual import page
from tests.house.sources import ROOT

PAGE = ROOT / "docs/ringfence.1"


def test_the_page_in_the_repository_is_current() -> None:
    assert PAGE.read_text("utf-8") == page(__version__), "run scripts/man"


def test_every_command_and_option_is_in_it() -> None:
    text = page(__version__).replace("\\-", "-")
    assert [command.name for command in COMMANDS if f"\n.SS {command.name}\n" not in text] == []
    names = {name for command in COMMANDS for option in command.options for name in option.names}
    assert [name for name in names if f"\\fB{name}\\fR" not in text] == []


def test_no_text_becomes_a_request() -> None:
    known = {".TH", ".SH", ".SS", ".PP", ".TP", ".RS", ".RE", ".nf", ".fi", '.\\"'}
    requests = {line.split(" ")[0] for line in page(__version__).splitlines() if line.startswith((".", "'"))}
    assert requests <= known
    assert page("0").isascii()


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff formats manual pages, and is not installed")
def test_the_formatter_has_nothing_to_complain_about() -> None:
    done = subprocess.run(["groff", "-man", "-Tascii", "-ww", str(PAGE)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ringfence run" in done.stdout
