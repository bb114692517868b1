"""What a run is asked for and cannot have is named."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ringfence.cli import unmet
from ringfence.session.options import Options, parse
from tests.house.sources import ROOT

PASSED = {"HOME": "/h", "VIRTUAL_ENV": None, "CONDA_PREFIX": None, "TOKEN": "placeholder", "LC_*": None}


def said(words: list[str], present: dict[str, str] | None = None, *shown: str) -> list[str]:
    options: Options = parse([*words, "--", "true"])[0]
    return list(unmet.wishes(options, unmet.View(shown, PASSED), present or {}))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "there").mkdir()
    return tmp_path


@pytest.mark.parametrize("option", ["--read", "--write"])
def test_a_path_that_is_not_there_is_named(option: str, here: Path) -> None:
    expected = "shows nothing: there is no such file or directory"
    for path in ("typo", "~/typo", "there/typo", f"{here}/typo"):
        assert said([option, path]) == [f"`{option} {path}` {expected}"]
    (here / "dangling").symlink_to("nowhere")
    (here / "file").touch()
    assert len(said([option, "dangling", option, "file/below", option, "there"])) == 2


def test_what_is_there_and_what_is_a_pattern_is_not(here: Path) -> None:
    assert said(["--read", "there", "--read", "~/there", "--write", str(here), "--read", "~/*.conf"]) == []


def test_a_variable_that_is_not_set_is_named() -> None:
    assert said(["--env", "NOPE"]) == ["`--env NOPE` passes nothing: it is not set here"]
    assert said(["--env", "NOPE", "--env", "AWS_*"], {"NOPE": ""}) == []
    assert said(["--env", "TOKEN"]) == []  # a secret fills it


def test_an_active_environment_that_is_not_seen_is_named(here: Path) -> None:
    place = here / "there"
    (place / "pyvenv.cfg").touch()
    (line,) = said([], {"VIRTUAL_ENV": str(place)})
    assert line.endswith(f"`--read {place}` shows it")
    assert said([], {"VIRTUAL_ENV": str(place)}, str(here)) == []
    assert said([], {"VIRTUAL_ENV": str(here)}) == []  # any directory, by mistake
    (place / "conda-meta").mkdir()
    assert len(said([], {"CONDA_PREFIX": str(place)})) == 1


def test_a_linked_environment_is_where_it_leads(here: Path) -> None:
    (here / "there/pyvenv.cfg").touch()
    (here / "link").symlink_to("there")
    assert said([], {"VIRTUAL_ENV": str(here / "link")}, str(here / "there")) == []


def lacks(program: str, here: Path, *shown: str) -> str:
    return unmet.interpreter(program, str(here), unmet.View(("/usr", "/bin", str(here), *shown), {}))


def test_an_interpreter_that_is_missing_is_named(here: Path) -> None:
    scripts = here / "env/bin"
    scripts.mkdir(parents=True)
    (scripts / "pip").write_text(f"#!{scripts}/python\nimport pip\n")
    (scripts / "python").symlink_to("python3")
    line = lacks("env/bin/pip", here)
    assert line.startswith(f"`env/bin/pip` needs `{scripts}/python3`, which is not there; ")
    assert "`ringfence apply --held env/bin/python3`" in line
    assert lacks("env/bin/python", here).startswith("`env/bin/python` needs ")
    (scripts / "python3").symlink_to("/nowhere/python3")
    assert lacks("env/bin/pip", here) == "`env/bin/pip` needs `/nowhere/python3`, which is not there"


@pytest.mark.parametrize("text", ["#!/bin/sh\n", "#!relative\n", "text", "#!", ""])
def test_nothing_is_said_of_a_program_that_lacks_nothing(here: Path, text: str) -> None:
    (here / "program").write_text(text)
    assert lacks("./program", here) == ""
    assert lacks("program", here) == ""
    assert lacks("./none", here) == ""  # the first process says that itself


@pytest.mark.parametrize("line", ["ls -l", "./tool --all", "echo it's"])
def test_a_line_in_the_place_of_a_word_is_told_from_a_program(here: Path, line: str) -> None:
    told = lacks(line, here)
    assert told == f"`{line}` is one word, and no shell reads it: `sh -c {shlex.quote(line)}` has one do so"
    (here / "my tool").write_text("#!/bin/sh\n")
    assert lacks("./my tool", here) == ""


def test_an_interpreter_that_is_not_seen_is_named(here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "python3").touch()
    (here / "python").symlink_to(elsewhere / "python3")
    (here / "tool").write_text(f"#!{here}/python\n")
    for program in ("./tool", "./python"):
        assert lacks(program, here).startswith(f"`{program}` needs `{elsewhere}/python3`, which is not seen inside: ")
        assert "--read" not in lacks(program, here)
        assert lacks(program, here, str(elsewhere)) == ""
    outside = str(elsewhere / "python3")
    assert lacks(outside, here) == f"`{outside}` is not seen inside: `ringfence explain {outside}` says why"


def test_links_in_a_circle_lack_nothing(here: Path) -> None:
    (here / "round").symlink_to("round")
    assert lacks("./round", here) == ""


def test_it_costs_no_import() -> None:
    """Somebody who works in an active environment at a terminal would pay with each run."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); import ringfence.cli.run; before = set(sys.modules)\n"
        "from ringfence.cli import unmet; from ringfence.session.options import Options\n"
        "view, present = unmet.View(['/usr'], {'VIRTUAL_ENV': None}), {'VIRTUAL_ENV': '/usr'}\n"
        "assert list(unmet.wishes(Options(), view, present)) == []\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"ringfence.cli.unmet"}
