"""A virtual environment that a run makes is one outside, too; where it cannot be, somebody who looks on is told why."""

import pytest

from tests.e2e.commands import Commands

pytestmark = pytest.mark.require("bubblewrap", "userns", "overlay")

MAKE = "/usr/bin/python3 -m venv --without-pip .venv"


def test_it_works_in_the_next_run_and_on_the_host(ringfence: Commands) -> None:
    made = ringfence("run", "-v", "--", "sh", "-c", MAKE)
    assert made.returncode == 0 and "held back" not in made.stderr, made.stderr
    program = ".venv/bin/python"
    prefix = "import sys; print(sys.prefix)"
    again = ringfence("run", "--", program, "-c", prefix)
    assert again.stdout.strip() == f"{ringfence.workspace}/.venv", again.stderr
    outside = ringfence(str(ringfence.workspace / program), "-c", prefix, before=["/usr/bin/env"])
    assert outside.stdout == again.stdout


def test_it_works_after_an_apply_by_hand_and_a_rollback_takes_it_away(ringfence: Commands) -> None:
    assert ringfence("run", "--apply", "ask", "--", "sh", "-c", MAKE).returncode == 0
    (run,) = ringfence.json("runs")
    assert "held" not in ringfence.good("diff", "--stat")
    ringfence.good("apply")
    assert (ringfence.workspace / ".venv/bin/python3").resolve().is_file()
    ringfence.good("rollback", run["run"])
    assert not (ringfence.workspace / ".venv").exists()


def test_one_whose_interpreter_is_not_seen_says_what_is_missing(ringfence: Commands) -> None:
    ringfence.write("tools/python3", "#!/bin/sh\n")
    script = (
        f"{MAKE}; ln -sf $PWD/tools/python3 .venv/bin/python3; printf '#!%s/.venv/bin/python3\\n' $PWD > .venv/bin/tool"
    )
    made = ringfence("run", "-v", "--", "sh", "-c", f"{script}; chmod 755 .venv/bin/tool")
    assert "held back .venv/bin/python3 (link-outside)" in made.stderr, made.stderr
    failed = ringfence("run", "-v", "--", ".venv/bin/tool")
    assert failed.returncode == 127
    assert f"`.venv/bin/tool` needs `{ringfence.workspace}/.venv/bin/python3`, which is not there" in failed.stderr
    assert "`ringfence apply --held .venv/bin/python3`" in failed.stderr
    assert "needs" not in ringfence("run", "--", ".venv/bin/tool").stderr  # nobody looks on


def test_what_a_run_was_asked_for_and_cannot_have_is_said_to_who_looks_on(ringfence: Commands) -> None:
    words = ["--read", "~/typo", "--env", "NOT_SET"]
    said = ringfence("run", "-v", *words, "--", "true").stderr
    assert "ringfence: `--read ~/typo` shows nothing" in said and "ringfence: `--env NOT_SET` passes nothing" in said
    assert ringfence("run", *words, "--", "true").stderr == ""
    explained = ringfence.good("explain", *words, "HOME")
    assert "`--read ~/typo` shows nothing" in explained and "`--env NOT_SET` passes nothing" in explained
    assert "`--read ~/typo` shows nothing" in ringfence.good("plan", *words, "--", "true")


def test_an_active_environment_that_is_not_seen_is_named(ringfence: Commands) -> None:
    place = ringfence.home / "env"
    place.mkdir()
    (place / "pyvenv.cfg").touch()
    for directory in (place, place / "pyvenv.cfg"):
        directory.chmod(0o755)
    said = ringfence("run", "-v", "--", "true", VIRTUAL_ENV=str(place)).stderr
    assert f"`--read {place}` shows it" in said
    shown = ringfence("run", "-v", "--read", str(place), "--", "ls", str(place), VIRTUAL_ENV=str(place))
    assert "shows it" not in shown.stderr and "pyvenv.cfg" in shown.stdout
