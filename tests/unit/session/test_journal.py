"""What a session notes before it is appended to the audit: it survives the process that noted it."""

import json
import os
from pathlib import Path

import pytest

from ringfence.model.errors import SandboxError
from ringfence.session import journal, places, wiring
from ringfence.session.journal import Journal
from ringfence.workspace import layout

BEGUN: journal.Event = ("command", "begun", {"command": 1, "argv": ["true"]}, 1)
ENDED: journal.Event = ("command", "ended", {"command": 1, "exit": 0}, 2)


def recorder(run: str) -> wiring.Recorder:
    """Give one that records for a run."""
    return wiring.Recorder(run, ("exit", 0), wiring.Kept())


def recorded() -> list[tuple[str, str, str]]:
    """Run, kind and code of everything in the audit."""
    path = Path(places.audit()) / "audit.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [(one["run"], one["kind"], one["code"]) for one in found]


def test_what_was_noted_is_found_in_order(tmp_path: Path) -> None:
    noted = Journal(str(tmp_path))
    noted.note(BEGUN)
    noted.turn()
    noted.note(ENDED)
    assert journal.left(str(tmp_path)) == [BEGUN, ENDED]
    noted.clear(0)
    assert journal.left(str(tmp_path)) == [ENDED]
    noted.close()
    assert os.listdir(tmp_path) == [] and journal.left(str(tmp_path)) == []


def test_a_line_that_was_cut_short_is_none(tmp_path: Path) -> None:
    noted = Journal(str(tmp_path))
    noted.note(BEGUN)
    with open(tmp_path / "journal.0", "ab") as file:
        file.write(b'["command","en\n["command"')
    assert journal.left(str(tmp_path)) == [BEGUN]
    noted.close()


def test_what_cannot_be_noted_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="cannot note events"):
        Journal(str(tmp_path / "none"))
    noted = Journal(str(tmp_path))
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, noted.files[0])
    os.close(full)
    with pytest.raises(SandboxError, match="cannot note events"):
        noted.note(BEGUN)
    noted.close()


def test_a_deferred_event_is_appended_before_the_next_and_forgotten(tmp_path: Path) -> None:
    record = recorder("R1")
    record.journal = Journal(str(tmp_path))
    record.defer("command", "begun", {"command": 1})
    assert recorded() == [] and len(journal.left(str(tmp_path))) == 1
    record.report("denial", "path-protected", {"command": 1})
    assert recorded() == [("R1", "command", "begun"), ("R1", "denial", "path-protected")]
    assert journal.left(str(tmp_path)) == []
    record.defer("command", "ended", {"command": 1})
    record.close()
    assert recorded()[2:] == [("R1", "command", "ended")]


def test_without_a_journal_nothing_is_deferred() -> None:
    record = recorder("R1")
    record.defer("command", "begun", {"command": 1})
    assert recorded() == [("R1", "command", "begun")]


def test_the_next_run_appends_what_a_lost_one_had_noted(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    place = runs / "20240101-000000-abcdef"
    place.mkdir(parents=True)
    (place / layout.LOCK).touch(0o600)
    layout.write_metadata(str(place), "/", "(session)", state="running", start_ns=1)
    noted = Journal(str(place))
    noted.note(BEGUN)
    wiring.report_lost(str(runs), recorder("R2"))
    name = place.name
    assert recorded() == [(name, "command", "begun"), ("R2", "lost", "")]
    noted.close()
