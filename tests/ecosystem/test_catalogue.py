"""Every entry of the catalogue: the commands of those that have some, and that the entries are whole."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.ecosystem.bench import Bench, carry_out
from tests.ecosystem.checks import Check, all_checks

ALL = all_checks()


@pytest.mark.parametrize(
    "check",
    [pytest.param(one, marks=pytest.mark.timeout(3 * one.timeout_s), id=str(one)) for one in ALL if not one.hand],
)
def test_catalogue(check: Check, bench: Bench) -> None:
    carry_out(check, bench)


def test_every_entry_has_its_own_name() -> None:
    assert [name for name, count in Counter(map(str, ALL)).items() if count > 1] == []


def test_every_entry_has_commands_or_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for check in ALL:
        commands = check.script or check.bash or check.python or check.argv
        assert bool(commands) != check.hand, check
        assert not check.hand or f'"{check.name}"' in tests, f"no test does {check}"


def test_what_does_not_work_says_why() -> None:
    for check in ALL:
        assert (check.verdict == "works") == (not check.why), check
        assert check.verdict != "refused" or check.says, f"{check}: how does the message read?"


def test_every_tool_says_its_version() -> None:
    tools = {check.tool for check in ALL}
    assert tools - {check.tool for check in ALL if check.version} == set()


def test_every_sentence_is_one() -> None:
    for check in ALL:
        assert re.fullmatch(r"[a-z].*[^.]", check.does), check
