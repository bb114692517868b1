"""docs/compatibility.md says what the catalogue says, and nothing else."""

import msgspec
import pytest

from tests.ecosystem.checks import Check, all_checks
from tests.ecosystem.compatibility import PAGE, USERS, Finding, Result, collected, findings, heading, key, merged, page

CHECKS = all_checks()
FILES = list(dict.fromkeys(check.file for check in CHECKS))
FOUND = {key(check): Finding("1.0", "root") for check in CHECKS}


def test_each_line_of_a_file_does_something_else() -> None:
    assert len(FOUND) == len(CHECKS)


def test_each_file_has_its_own_heading() -> None:
    assert len({heading(file) for file in FILES}) == len(FILES)


def test_the_page_has_a_row_for_each_check_and_no_other() -> None:
    """Where this fails, `scripts/compatibility` makes the page anew."""
    text = PAGE.read_text(encoding="utf-8")
    found = findings(text, FILES)
    wanted = {key(check) for check in CHECKS}
    assert sorted(wanted - found.keys()) == [] == sorted(found.keys() - wanted)
    assert page(CHECKS, found) == text
    assert {finding.users for finding in found.values()} <= {"root, user", *USERS.values()}
    assert [key for key, finding in found.items() if not finding.version] == []


@pytest.mark.parametrize(
    "change",
    [
        {"why": "another reason"},
        {"verdict": "works", "why": ""},
        {"tool": "another tool"},
        {"does": "does another thing"},
    ],
)
def test_a_stale_row_is_seen(change: dict[str, str]) -> None:
    old = next(check for check in CHECKS if check.verdict == "limited")
    changed: list[Check] = [msgspec.structs.replace(check, **change) if check is old else check for check in CHECKS]
    known = {key(check): Finding("1.0", "root") for check in changed}
    assert page(changed, known) != page(CHECKS, FOUND)


def test_what_a_run_found_is_read_back_from_the_page() -> None:
    assert findings(page(CHECKS, FOUND), FILES) == FOUND


def test_the_results_of_both_accounts_are_joined() -> None:
    results = [
        Result("a", "tool", "does one", "1.2", "ordinary"),
        Result("a", "tool", "does one", "1.2", "root"),
        Result("a", "tool", "does two", "", "ordinary"),
    ]
    assert collected(results) == {
        ("a", "tool", "does one"): Finding("1.2", "root, user"),
        ("a", "tool", "does two"): Finding("1.2", "user"),
    }


def test_a_run_of_some_checks_leaves_the_others_as_they_are() -> None:
    old = {("a", "tool", "does one"): Finding("1.2", "root, user"), ("a", "tool", "does two"): Finding("1.2", "user")}
    new = {("a", "tool", "does two"): Finding("", "root, user"), ("a", "tool", "does three"): Finding("1.3", "root")}
    assert merged(old, new) == {
        ("a", "tool", "does one"): Finding("1.3", "root, user"),
        ("a", "tool", "does two"): Finding("1.3", "root, user"),
        ("a", "tool", "does three"): Finding("1.3", "root"),
    }
