"""Run directories: made, read, locked, discarded, expired."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ringfence.model.errors import HostError, UsageError
from ringfence.model.paths import HostPath
from ringfence.workspace import layout, runs
from ringfence.workspace.apply import apply
from ringfence.workspace.journal import Journal, ends_finished
from ringfence.workspace.removal import remove_tree
from ringfence.workspace.rollback import rollback
from ringfence.workspace.runs import State
from tests.trees import Place, in_child, killer, write

# What a launch has loaded anyway, and what `layout` may add to it.
ALLOWED = {"_json", "fcntl", "time", "ringfence", "ringfence.workspace", "ringfence.workspace.layout"}
ALLOWED_AT_REMOVAL = {"ringfence", "ringfence.workspace", "ringfence.workspace.removal"}


@pytest.mark.parametrize(("module", "allowed"), [("layout", ALLOWED), ("removal", ALLOWED_AT_REMOVAL)])
def test_import_budget(module: str, allowed: set[str]) -> None:
    code = f"import sys, os, stat; before = set(sys.modules); import ringfence.workspace.{module}; "
    code += "print(*sorted(set(sys.modules) - before))"
    source = str(Path(layout.__file__).parents[2])
    code = f"import sys; sys.path.insert(0, {source!r}); {code}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= allowed


def test_a_new_run(tmp_path: Path) -> None:
    workspace = tmp_path / 'odd "name"\n\udcff'
    workspace.mkdir(mode=0o750)
    os.chmod(workspace, 0o750)
    created = layout.create(str(tmp_path / "runs"), workspace=str(workspace), argv0='sh "x"')
    directory = HostPath(created.directory)
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(f"{directory}/upper").st_mode) == 0o750
    run = runs.load(directory)
    assert run.workspace == str(workspace)
    assert run.argv0 == 'sh "x"'
    assert run.state is State.RUNNING
    assert run.run == created.run
    assert runs.is_live(run)
    assert not os.get_inheritable(created.lock_fd)
    os.close(created.lock_fd)
    assert not runs.is_live(run)
    assert runs.set_state(run, State.ENDED).state is State.ENDED
    assert runs.load(directory) == runs.over(runs.set_state(run, State.ENDED), 0, run.workspace)
    assert oct(os.stat(f"{directory}/run.json").st_mode) == "0o100600"


def test_names_sort_by_time_and_do_not_collide(tmp_path: Path) -> None:
    names = {layout.new_run() for _ in range(50)}
    assert len(names) > 45
    os.close(layout.create(str(tmp_path), workspace=str(tmp_path), argv0="x", run="same").lock_fd)
    with pytest.raises(FileExistsError):
        layout.create(str(tmp_path), workspace=str(tmp_path), argv0="x", run="same")


def test_the_state_directory() -> None:
    home = "/home/u"
    assert layout.runs_directory({}, home) == "/home/u/.local/state/ringfence/runs"
    assert layout.runs_directory({"XDG_STATE_HOME": "/s"}, home) == "/s/ringfence/runs"
    assert layout.runs_directory({"XDG_STATE_HOME": "relative"}, home) == "/home/u/.local/state/ringfence/runs"


def test_records_that_cannot_be_read(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    with pytest.raises(UsageError, match="no run `missing`"):
        runs.load(HostPath(f"{place.runs}/missing"))
    Path(f"{place.run.directory}/run.json").write_text('{"state": "unheard-of"}')
    with pytest.raises(HostError, match="cannot be read"):
        runs.load(place.run.directory)
    assert runs.list_runs(place.runs) == []
    assert runs.list_runs(HostPath(f"{tmp_path}/nowhere")) == []


def test_discard_keeps_the_way_back(tmp_path: Path) -> None:
    place = Place(tmp_path, {"a": "old"})
    write(place.upper, {"a": "new"})
    work = Path(place.run.directory) / "work/work"
    work.mkdir()
    (work / "inner").mkdir()
    os.chmod(work, 0)  # as overlayfs leaves it
    apply(place.run, place.unfiltered())
    applied = runs.discard(runs.load(place.run.directory))
    assert applied.state is State.APPLIED
    assert not place.upper.exists()
    assert not work.parent.exists()
    rollback(applied)
    assert (place.workspace / "a").read_text() == "old"


def test_discard_of_a_run_that_was_never_applied(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    write(place.upper, {"deep/a": "a"})
    (Path(place.run.directory) / "upper.1").mkdir()
    os.chmod(place.upper / "deep", 0)
    assert runs.discard(place.run).state is State.DISCARDED
    assert sorted(os.listdir(place.run.directory)) == ["lock", "run.json"]
    assert runs.discard(runs.load(place.run.directory)).state is State.DISCARDED


def test_a_live_run_is_neither_discarded_nor_deleted(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    with runs.lock(place.run):
        for action in (runs.discard, runs.delete):
            with pytest.raises(HostError, match="still going on"):
                action(place.run)
    runs.delete(place.run)
    assert not Path(place.run.directory).exists()


def test_an_interrupted_apply_is_not_thrown_away(tmp_path: Path) -> None:
    place = Place(tmp_path, {"a": "old"})
    write(place.upper, {"a": "new"})
    allowed = place.unfiltered()
    in_child(lambda: apply(place.run, allowed, step=killer(4)))
    assert runs.interrupted(place.run)
    with pytest.raises(HostError, match="interrupted"):
        runs.discard(place.run)
    runs.set_state(place.run, State.APPLIED)
    assert runs.expire(place.runs, keep=0) == []
    rollback(place.run)
    assert not runs.interrupted(place.run)
    assert runs.expire(place.runs, keep=0) == [place.run.run]


def test_expiry_keeps_the_latest_applied_and_rolled_back_runs_of_each_workspace(tmp_path: Path) -> None:
    states = {
        "1": State.APPLIED,
        "2": State.APPLIED,
        "3": State.DISCARDED,
        "4": State.APPLIED,
        "5": State.ENDED,
        "6": State.ROLLED_BACK,
        "7": State.RUNNING,
    }
    directory = HostPath(str(tmp_path / "runs"))
    for name, state in states.items():
        for workspace in ("one", "two"):
            (tmp_path / workspace).mkdir(exist_ok=True)
            made = layout.create(directory, workspace=str(tmp_path / workspace), argv0="x", run=f"{name}-{workspace}")
            os.close(made.lock_fd)
            runs.set_state(runs.load(HostPath(made.directory)), state)
    runs.expire(directory, keep=2)
    left = [run.run for run in runs.list_runs(directory)]
    assert left == [f"{name}-{workspace}" for name in "4567" for workspace in ("one", "two")]


def test_a_further_layer_has_its_own_journal_and_says_nothing_about_the_run(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    repository = tmp_path / "repository"
    write(repository, {"HEAD": "ref: refs/heads/main\n", "refs/heads/main": "0" * 40})
    os.mkdir(f"{place.run.directory}/upper.1")
    further = runs.over(place.begin(), 1, HostPath(str(repository)))
    os.mkdir(further.upper)
    write(Path(further.upper), {"refs/heads/main": "1" * 40, "config": "evil"})
    place.run = further
    found = {result.path: result.outcome.value for result in apply(further, place.review(git_directory=True))}
    assert found == {"config": "held", "refs/heads/main": "applied"}
    assert runs.load(further.directory).state is State.RUNNING
    assert {"journal.1", "undo.1"} <= set(os.listdir(further.directory))
    rollback(further)
    assert (repository / "refs/heads/main").read_text() == "0" * 40


def test_remove_tree_never_leaves_the_tree(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("x")
    os.chmod(tmp_path / "outside", 0o500)
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/link").symlink_to(tmp_path / "outside")
    (tmp_path / "tree/sub/link").symlink_to(tmp_path / "outside/file")
    remove_tree(str(tmp_path / "tree"))
    remove_tree(str(tmp_path / "tree"))
    assert not (tmp_path / "tree").exists()
    assert (tmp_path / "outside/file").read_text() == "x"
    assert stat.S_IMODE((tmp_path / "outside").stat().st_mode) == 0o500
    (tmp_path / "one").write_text("x")
    remove_tree(str(tmp_path / "one"))
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"step": "finished"}\n',
        b'{"step": "plan", "changes": []}\n',
        b'{"step": "finished"}\n{"step": "plan", "changes": []}\n',
        b'{"step": "plan", "changes": []}\n{"step": "finished"}\n',
        b'{"step": "plan", "changes": []}\n{"step": "finish',
        b'{"step": "finished"}\n{"step": "pl',
        b'{"step": "fini',
        b'{"step": "touch", "path": "%s", "mtime_ns": 1}\n' % (b"x" * 5000),
        b'{"step": "touch", "path": "%s", "mtime_ns": 1}\n{"step": "finished"}\n' % (b"x" * 5000),
        b'{"step": "finished"}\n{"step": "touch", "path": "%s' % (b"x" * 100),
    ],
)
def test_the_end_of_a_journal_tells_what_the_whole_of_it_does(tmp_path: Path, content: bytes) -> None:
    path = HostPath(str(tmp_path / "journal"))
    Path(path).write_bytes(content)
    with Journal(path, look=True) as journal:
        assert ends_finished(path) == journal.finished
