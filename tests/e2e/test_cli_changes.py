"""`runs`, `diff`, `apply`, `discard` and `rollback` over what a real run left."""

import json

import pytest

from tests.e2e.commands import Commands

pytestmark = pytest.mark.require("bubblewrap", "userns", "overlay")

WORK = """
echo two >> a.txt
mkdir -p new .github/workflows
echo x > new/file
echo y > new/other
echo z > .github/workflows/ci.yml
echo z > .github/workflows/cd.yml
"""


@pytest.fixture
def worked(ringfence: Commands) -> Commands:
    """Give the command line after a run whose changes wait to be applied."""
    ringfence.write("a.txt", "one\n")
    done = ringfence("run", "--apply", "ask", "--", "sh", "-c", WORK)
    assert done.returncode == 0, done.stderr
    return ringfence


def run_of(ringfence: Commands) -> str:
    """The only run there is."""
    (found,) = ringfence.json("runs")
    return str(found["run"])


def text(ringfence: Commands, name: str) -> str | None:
    """A file of the workspace, None if it is not there."""
    path = ringfence.workspace / name
    return path.read_text() if path.exists() else None


def test_a_run_waits_to_be_applied(worked: Commands) -> None:
    (found,) = worked.json("runs")
    assert (found["state"], found["command"], found["workspace"]) == ("ended", "sh", str(worked.workspace))
    assert found["run"] in worked.good("runs")
    assert text(worked, "a.txt") == "one\n"


def test_diff_shows_changes_and_what_is_held(worked: Commands) -> None:
    shown = worked.good("diff")
    assert "--- a/a.txt" in shown and "+two" in shown
    assert "held  .github/workflows/ci.yml (auto-load: " in shown
    assert "M a.txt | +1 -0" in worked.good("diff", run_of(worked)[:12], "--stat")
    found = {item["path"]: item for item in worked.json("diff")["changes"]}
    assert found["a.txt"]["held"] == ""
    assert found[".github/workflows/ci.yml"]["held"] == "auto-load"


def test_apply_brings_in_what_is_not_held(worked: Commands) -> None:
    results = {item["path"]: item["outcome"] for item in worked.json("apply")["results"]}
    assert results["a.txt"] == results["new/file"] == "applied"
    assert results[".github/workflows/ci.yml"] == "held"
    assert (text(worked, "a.txt"), text(worked, ".github/workflows/ci.yml")) == ("one\ntwo\n", None)
    assert worked.json("runs")[0]["state"] == "applied"


def test_what_was_applied_as_a_whole_is_not_called_unchanged(worked: Commands) -> None:
    run = run_of(worked)
    worked.good("apply", run, "--held", ".github/workflows/ci.yml", "--held", ".github/workflows/cd.yml")
    assert f"all that run {run} changed is in {worked.workspace}; `ringfence rollback {run}`" in worked.good("diff")


def test_apply_takes_only_the_paths_named(worked: Commands) -> None:
    worked.good("apply", "new/file")
    assert (text(worked, "new/file"), text(worked, "new/other"), text(worked, "a.txt")) == ("x\n", None, "one\n")
    worked.good("apply")
    assert (text(worked, "new/other"), text(worked, "a.txt")) == ("y\n", "one\ntwo\n")


def test_what_is_held_goes_through_by_name_and_is_recorded(worked: Commands) -> None:
    worked.good("apply", run_of(worked), "--held", ".github/workflows/ci.yml")
    assert text(worked, ".github/workflows/ci.yml") == "z\n"
    assert text(worked, ".github/workflows/cd.yml") is None
    record = json.loads(worked.good("log", "--json", "--kind", "apply"))
    assert record["fields"]["released"] == [".github/workflows/ci.yml"]


def test_what_the_host_changed_is_left_alone(worked: Commands) -> None:
    worked.write("a.txt", "mine\n")
    done = worked("apply")
    assert done.returncode == 1
    assert "conflict  a.txt" in done.stdout
    assert text(worked, "a.txt") == "mine\n"
    assert '"conflict"' in worked.good("log", "--json", "--kind", "held")


def test_rollback_puts_everything_back(worked: Commands) -> None:
    worked.good("apply")
    worked.good("rollback", run_of(worked))
    assert (text(worked, "a.txt"), text(worked, "new/file")) == ("one\n", None)
    assert worked.json("runs")[0]["state"] == "rolled-back"
    assert "nothing of run" in worked.refused(2, "rollback", run_of(worked))


def test_discard_throws_everything_away(worked: Commands) -> None:
    run = run_of(worked)
    worked.good("discard", run)
    assert "was discarded" in worked.refused(2, "diff", run)
    assert "has left changes" in worked.refused(2, "diff")
    assert text(worked, "a.txt") == "one\n"


def test_a_directory_of_held_files_is_not_their_name(worked: Commands) -> None:
    worked.good("apply")
    assert "as `--held .github/workflows/" in worked.refused(2, "apply", "--held", ".github")
    assert "what is left" in worked.refused(2, "apply", "a.txt")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["apply", "nothing/here"], "did not change `nothing/here`"),
        (["apply", "--held", "nothing"], "did not change `nothing`"),
        (["apply", "../out"], "is not below the workspace"),
        (["diff", "1999"], "no run `1999`"),
        (["rollback"], "`ringfence runs` lists them"),
        (["discard", "zzz"], "no run `zzz`"),
    ],
)
def test_what_means_nothing_is_refused(worked: Commands, words: list[str], message: str) -> None:
    assert message in worked.refused(2, *words)


def test_a_beginning_must_fit_one_run(worked: Commands) -> None:
    assert worked("run", "--apply", "ask", "--", "touch", "b").returncode == 0
    assert "fits 2 runs" in worked.refused(2, "diff", "2")


def test_without_runs_there_is_nothing_to_show(ringfence: Commands) -> None:
    assert "has left changes" in ringfence.good("runs")
    assert ringfence.json("runs") == []
    assert "has left changes" in ringfence.refused(2, "apply")


def test_a_conflict_is_decided_by_name_and_the_host_s_version_comes_back(worked: Commands) -> None:
    worked.write("a.txt", "human\n")
    assert worked("apply").returncode == 1
    assert text(worked, "a.txt") == "human\n"
    worked.good("apply", "--overwrite", "a.txt")
    assert text(worked, "a.txt") == "one\ntwo\n"
    assert '"released":["a.txt"]' in worked.good("log", "--json", "--kind", "apply").replace(" ", "")
    worked.good("rollback", run_of(worked))
    assert text(worked, "a.txt") == "human\n"
    assert "did not change `nothing`" in worked.refused(2, "apply", "--overwrite", "nothing")


def test_a_snapshot_is_a_run_of_its_own(worked: Commands) -> None:
    run = run_of(worked)
    assert "snapshot point of run" in worked.good("snapshot", run[:12], "--name", "point")
    found = {item["run"]: item for item in worked.json("runs")}
    assert (found["point"]["of"], found["point"]["state"]) == (run, "snapshot")
    assert worked.json("diff", "point")["changes"] == worked.json("diff")["changes"]
    assert "no run `poi`" in worked.refused(2, "diff", "poi")
    assert "already" in worked.refused(2, "snapshot", "--name", "point")
    assert "no name" in worked.refused(2, "snapshot", "--name", "1")
    worked.good("apply", "point")
    assert text(worked, "a.txt") == "one\ntwo\n"
    worked.good("rollback", "point")
    worked.good("apply", run)
    assert text(worked, "a.txt") == "one\ntwo\n"
    worked.good("discard", "point")
    assert [item["run"] for item in worked.json("runs")] == [run]


def test_live_is_a_choice_of_the_command_line(ringfence: Commands) -> None:
    done = ringfence("run", "--apply", "live", "--", "sh", "-c", "echo x > x")
    assert done.returncode == 0, done.stderr
    assert text(ringfence, "x") == "x\n"
    assert "`live`" in ringfence.refused(2, "run", "--apply", "never", "--", "true")


def test_what_was_rolled_back_can_be_applied_again_after_other_runs(worked: Commands) -> None:
    run = run_of(worked)
    worked.good("apply")
    worked.good("rollback", run)
    assert worked("run", "--", "sh", "-c", "echo z > z").returncode == 0
    worked.good("apply", run)
    assert text(worked, "a.txt") == "one\ntwo\n"
