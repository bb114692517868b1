"""Large files of git-lfs arrive if their content is what their name says, and in no other case."""

import hashlib
import os
from pathlib import Path

import pytest

from ringfence.model.paths import HostPath
from ringfence.workspace import runs
from ringfence.workspace.apply import apply
from ringfence.workspace.change import Outcome, Result
from ringfence.workspace.filter import Rules, review
from ringfence.workspace.overlay import changes
from ringfence.workspace.rollback import rollback
from tests.trees import Place, in_child, killer, snapshot, write

CONTENT = b"a large file\n" * 1000
NAME = hashlib.sha256(CONTENT).hexdigest()
OTHER = hashlib.sha256(b"something else").hexdigest()


def at(digest: str, top: str = ".git/lfs/objects") -> str:
    return f"{top}/{digest[:2]}/{digest[2:4]}/{digest}"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, {".git/HEAD": "ref: refs/heads/main\n", ".git/objects": None, ".git/refs": None})


def carried(place: Place) -> dict[str, Result]:
    return {result.path: result for result in apply(place.run, place.review())}


def test_a_large_file_arrives_and_can_be_taken_back(place: Place) -> None:
    before = snapshot(place.workspace, directory_times=False)
    write(place.upper, {at(NAME): CONTENT, ".git/lfs/tmp": None})
    assert {result.outcome for result in carried(place).values()} == {Outcome.APPLIED}
    assert (place.workspace / at(NAME)).read_bytes() == CONTENT
    rollback(place.run)
    assert snapshot(place.workspace, directory_times=False) == before


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT[:-1] + b"!", CONTENT + b"\0"])
def test_another_content_never_arrives(place: Place, content: bytes) -> None:
    write(place.upper, {at(NAME): content, at(OTHER): b"something else"})
    found = carried(place)
    assert found[at(NAME)].outcome is Outcome.CONFLICT
    assert found[at(NAME)].reason == "its content does not have the digest that its name says"
    assert found[at(OTHER)].outcome is Outcome.APPLIED  # the others are not kept from it
    assert not os.path.lexists(place.workspace / at(NAME))
    assert os.listdir(os.path.dirname(place.workspace / at(NAME))) == []


def test_another_content_does_not_take_the_place_of_a_large_file_that_is_there(tmp_path: Path) -> None:
    place = Place(tmp_path, {".git/HEAD": "x", at(NAME): CONTENT})
    write(place.upper, {at(NAME): b"planted"}, mtime_ns=0)
    assert carried(place)[at(NAME)].outcome is Outcome.CONFLICT
    assert (place.workspace / at(NAME)).read_bytes() == CONTENT


def test_the_operator_s_word_does_not_let_another_content_through(place: Place) -> None:
    write(place.upper, {at(NAME): b"planted"})
    found = apply(place.run, place.review(release=frozenset({at(NAME)})), overwrite=frozenset({at(NAME)}))
    assert {result.path: result.outcome for result in found}[at(NAME)] is Outcome.CONFLICT


def test_a_link_does_not_arrive(place: Place) -> None:
    write(place.upper, {"data": CONTENT, at(NAME): "-> ../../../../../data"})
    assert carried(place)[at(NAME)].reason.startswith("git-protected")


def test_another_name_of_a_file_is_a_file_of_its_own_on_the_host(place: Place) -> None:
    write(place.upper, {at(NAME): CONTENT})
    os.link(place.upper / at(NAME), place.upper / "beside")
    assert {result.outcome for result in carried(place).values()} == {Outcome.APPLIED}
    (place.workspace / "beside").write_bytes(b"changed")
    assert (place.workspace / at(NAME)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "path",
    [
        at(NAME).upper().replace(".GIT/LFS/OBJECTS", ".git/lfs/objects"),
        at(NAME, ".git/LFS/objects"),
        at(NAME, ".git/lfs/Objects"),
        f".git/lfs/objects/{NAME[:2]}/{NAME}",
        f".git/lfs/objects/{NAME}",
        f".git/lfs/objects/00/{NAME[2:4]}/{NAME}",
        f".git/lfs/objects/{NAME[:2]}/00/{NAME}",
        f".git/lfs/objects/{NAME[:2]}/{NAME[2:4]}/more/{NAME}",
        f"{at(NAME)}/{NAME}",
        f"{at(NAME)}.part",
        f"{at(NAME)}\n",
        f".git/lfs/tmp/{NAME}",
        ".git/lfs/cache/locks/x",
        at(NAME, ".git/modules/sub/lfs/objects"),
        at(NAME, ".git/worktrees/w/lfs/objects"),
    ],
)
def test_every_other_place_is_held(place: Place, path: str) -> None:
    write(place.upper, {path: CONTENT})
    assert carried(place)[path].reason.startswith("git-protected")


def test_a_file_that_is_mostly_hole_is_not_read(place: Place) -> None:
    size = 8 << 30  # at 1 GB/s this would take eight seconds
    place.upper.joinpath(at(NAME)).parent.mkdir(parents=True)
    with open(place.upper / at(NAME), "wb") as file:
        file.truncate(size)
    assert carried(place)[at(NAME)].outcome is Outcome.CONFLICT


def test_the_name_decides_in_git_directories_only(place: Place) -> None:
    write(place.upper, {at(NAME, "lfs/objects"): b"of the project itself", at(NAME, "a.git/lfs/objects"): b"this too"})
    assert {result.outcome for result in carried(place).values()} == {Outcome.APPLIED}


def test_a_git_directory_outside_of_the_workspace_is_held_to_the_same(tmp_path: Path) -> None:
    place = Place(tmp_path, {"main.py": ""})
    directory = tmp_path / "elsewhere.git"
    write(directory, {"HEAD": "ref: refs/heads/main\n", "objects": None, "refs": None, "worktrees/w/HEAD": "x"})
    layer = runs.over(place.run, 1, HostPath(str(directory)))
    kept, odd = at(NAME, "lfs/objects"), at(NAME, "worktrees/w/lfs/objects")
    write(Path(layer.upper), {kept: CONTENT, at(OTHER, "lfs/objects"): b"planted", odd: CONTENT})
    reviewed = review(changes(layer.upper, layer.workspace), rules=Rules(git_directory=True))
    found = {result.path: result.outcome for result in apply(layer, reviewed)}
    assert (found[kept], found[at(OTHER, "lfs/objects")], found[odd]) == (
        Outcome.APPLIED,
        Outcome.CONFLICT,
        Outcome.HELD,
    )


@pytest.mark.parametrize("step", range(12))
def test_a_kill_at_any_step_leaves_no_other_content(place: Place, step: int) -> None:
    write(place.upper, {at(NAME): b"planted"})
    in_child(lambda: apply(place.run, place.review(), step=killer(step)))
    assert not os.path.lexists(place.workspace / at(NAME))
    rollback(place.run)
    assert not os.path.lexists(place.workspace / ".git/lfs")
