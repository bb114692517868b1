"""Help, version, completion, and what is said of words that mean nothing."""

import shutil
import subprocess

import pytest

from tests.e2e.commands import Commands


def test_help_is_one_screen_with_examples(ringfence: Commands) -> None:
    text = ringfence.good("--help")
    assert text == ringfence.good() == ringfence.good("help")
    assert "ringfence run npm test" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("name", ["run", "shell", "plan", "explain", "doctor", "log", "policy", "diff", "completion"])
def test_every_command_has_help(ringfence: Commands, name: str) -> None:
    assert ringfence.good(name, "--help") == ringfence.good("help", name) == ringfence.good(name, "-h")


def test_a_wrong_command_is_answered_with_the_nearest(ringfence: Commands) -> None:
    assert "did you mean `ringfence doctor`?" in ringfence.refused(2, "docter")
    assert "options stand behind the command" in ringfence.refused(2, "--json")


def test_the_version(ringfence: Commands) -> None:
    assert ringfence.good("--version").startswith("ringfence 0.")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_its_shell(ringfence: Commands, shell: str) -> None:
    script = ringfence.good("completion", shell)
    assert "explain" in script
    if program := shutil.which(shell):
        done = subprocess.run([program, "-n"], input=script, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        (["ru"], ["run", "runs"]),
        (["run", "--wo"], ["--workspace"]),
        (["run", "--workspace", "re"], ["readonly"]),
        (["policy", "ch"], ["check"]),
        (["log", "--kind", "d"], ["decision", "denial"]),
        (["doctor", ""], []),
    ],
)
@pytest.mark.require("bash")
def test_bash_completes(ringfence: Commands, words: list[str], completions: list[str]) -> None:
    script = ringfence.good("completion", "bash") + (
        'COMP_WORDS=(ringfence "$@"); COMP_CWORD=$#; _ringfence; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script, "bash", *words], cwd=ringfence.home, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == completions, done.stderr


def test_an_unknown_shell_is_refused(ringfence: Commands) -> None:
    assert "no completion for `tcsh`" in ringfence.refused(2, "completion", "tcsh")


@pytest.mark.parametrize(
    "words",
    [
        ("run", "-C", "/no\nsuch\x1b[2J", "--", "true"),
        ("policy", "check", "no\nsuch\x1b]0;x\x07"),
        ("policy", "check", "--scope", "user", "no\nsuch"),
        ("diff", "no\nsuch"),
        ("explain", "host", "a\nb"),
        ("log", "--since", "x\ny"),
        ("plan", "--backend", "x\ny"),
        ("doctor", "--x\ny"),
    ],
)
def test_an_error_is_one_line_and_a_hint_whatever_a_thing_is_called(
    ringfence: Commands, words: tuple[str, ...]
) -> None:
    said = ringfence.refused(2, *words)
    assert said.replace("\n", "").isprintable()
