"""A kill while a path that was carried over before is carried over again, removed or taken back: nothing is lost."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.workspace import live
from ringfence.workspace.apply import apply, resume
from ringfence.workspace.change import Reviewed
from ringfence.workspace.overlay import changes
from ringfence.workspace.rollback import rollback
from ringfence.workspace.runs import interrupted
from tests.trees import Place, in_child, killer, outcomes, snapshot, whiteout, write


def reviewed(place: Place) -> list[Reviewed]:
    found = changes(place.run.upper, place.run.workspace)
    return [Reviewed(change=change) for change in live.corrected(found, place.run)]


def second_version(place: Place) -> None:
    write(place.upper, {"a": "2\n", "new/f": "2\n", "link": "-> a"})


def removed(place: Place) -> None:
    os.unlink(place.upper / "new/f")
    os.unlink(place.upper / "a")
    whiteout(place.upper, "a")


def replaced(place: Place) -> None:
    os.unlink(place.upper / "a")
    write(place.upper, {"a/inner": "i\n"})
    os.unlink(place.upper / "new/f")
    (place.upper / "new/f").symlink_to("nowhere")


@pytest.mark.parametrize("then", [second_version, removed, replaced])
@pytest.mark.parametrize("finish", [True, False])
def test_killed_at_any_step(tmp_path: Path, then: Callable[[Place], None], finish: bool) -> None:
    for at in range(60):
        root = tmp_path / str(at)
        root.mkdir()
        place = Place(root, {"a": "host\n", "other": "o\n"})
        before = snapshot(place.workspace)
        write(place.upper, {"a": "1\n", "new/f": "1\n"})
        apply(place.run, place.unfiltered())
        then(place)
        wanted = reviewed(place)
        status = in_child(lambda: apply(place.run, wanted, step=killer(at)))  # noqa: B023 - called at once
        if finish:
            if interrupted(place.run):
                resume(place.run)
            assert reviewed(place) == []
        assert set(outcomes(rollback(place.run)).values()) <= {"applied"}
        assert snapshot(place.workspace) == before
        assert not [name for name in os.listdir(place.workspace) if name.startswith(".ringfence")]
        if status == 0:
            return
    pytest.fail("it was never carried to its end")
