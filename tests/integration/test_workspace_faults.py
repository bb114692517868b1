"""A killed apply or rollback leaves a host that can be finished or put back exactly, wherever the kill came."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ringfence.workspace.apply import apply, resume
from ringfence.workspace.change import Outcome
from ringfence.workspace.rollback import rollback
from ringfence.workspace.runs import State, interrupted, load
from tests.trees import Place, in_child, killer, opaque, outcomes, snapshot, whiteout, without_times, write

_RENAMEAT2 = 316 if os.uname().machine == "x86_64" else 276  # asm/unistd_64.h, asm-generic/unistd.h
_OPENAT2 = 437

FILES: dict[str, str | bytes | None] = {
    "kept.txt": "kept",
    "modified.txt": "old content",
    "removed.txt": "removed",
    "link": "-> kept.txt",
    "to-link.txt": "becomes a link",
    "mode.sh": "#!/bin/sh\n",
    "gone/deep/a": "a",
    "gone/deep/b": "b",
    "gone/link": "-> deep/a",
    "to-file/one": "1",
    "to-directory": "a file",
    "tight/inner": "in a directory without write access",
    "tight/second": "second",
    "dirmode/x": "x",
}


def place(root: Path, state: Path) -> Place:
    """Make a workspace and a run whose upper layer does something of every kind."""
    made = Place(root, FILES, state=state)
    os.chmod(made.workspace / "gone/deep", 0o500)
    os.chmod(made.workspace / "tight", 0o555)
    os.utime(made.workspace, ns=(1, 1_500_000_000_000_000_000))
    upper = made.upper
    write(upper, {"modified.txt": "new", "created.txt": "created", "new/sub/file": "n", "new/link": "-> sub"})
    write(upper, {"to-link.txt": "-> kept.txt", "to-file": "now a file", "mode.sh": "#!/bin/sh\n"})
    write(upper, {"tight/inner": "changed", "dirmode": None})
    os.chmod(upper / "mode.sh", 0o755)
    os.chmod(upper / "tight", 0o555)
    os.chmod(upper / "dirmode", 0o700)
    os.chmod(upper / "new", 0o555)
    whiteout(upper, "removed.txt")
    whiteout(upper, "gone")
    (upper / "link").symlink_to("modified.txt")
    opaque(upper, "to-directory")
    write(upper, {"to-directory/now": "in a directory"})
    return made


@pytest.fixture(params=["same-file-system", "other-file-system"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | None]:
    if request.param == "same-file-system":
        yield None
        return
    with TemporaryDirectory(dir="/dev/shm", prefix="ringfence-test-") as directory:
        if os.stat(directory).st_dev == os.stat(tmp_path).st_dev:
            pytest.skip("there is only one file system")
        yield Path(directory)


class Fresh:
    """As many equal workspaces as a test asks for."""

    def __init__(self, tmp_path: Path, state: Path | None) -> None:
        self._tmp_path = tmp_path
        self._state = state
        self._number = 0

    def __call__(self) -> Place:
        self._number += 1
        root = self._tmp_path / str(self._number)
        root.mkdir()
        return place(root, (self._state or root) / str(self._number))


@pytest.fixture
def fresh(tmp_path: Path, state: Path | None) -> Fresh:
    return Fresh(tmp_path, state)


def steps_of(fresh: Fresh, *, back: bool) -> int:
    """Count the steps of an apply, or of the rollback after it."""
    made, counted = fresh(), 0

    def step(_name: str) -> None:
        nonlocal counted
        counted += 1

    apply(made.run, made.unfiltered(), step=(lambda _name: None) if back else step)
    if back:
        rollback(made.run, step=step)
    return counted


def expected(fresh: Fresh) -> dict[str, tuple[str, int, bytes]]:
    made = fresh()
    results = apply(made.run, made.unfiltered())
    assert {result.outcome for result in results} == {Outcome.APPLIED}
    return without_times(snapshot(made.workspace))


def test_everything_is_applied_and_put_back(fresh: Fresh) -> None:
    made = fresh()
    before = snapshot(made.workspace)
    results = outcomes(apply(made.run, made.unfiltered()))
    assert set(results.values()) == {"applied"}
    after = snapshot(made.workspace)
    assert after["modified.txt"] == ("file", 0o644, 1_600_000_000_123_456_789, b"new")
    assert after["to-directory/now"][3] == b"in a directory"
    assert after["to-file"][:2] == ("file", 0o644)
    assert after["to-link.txt"][3] == b"kept.txt"
    assert after["mode.sh"][1] == 0o755
    assert after["new"][1] == 0o555
    assert after["tight"][1] == 0o555
    assert after["dirmode"][1] == 0o700
    assert not {path for path in after if path.startswith(("gone", "removed", ".ringfence"))}
    assert load(made.run.directory).state is State.APPLIED
    assert set(outcomes(rollback(made.run)).values()) == {"applied"}
    assert snapshot(made.workspace) == before
    assert load(made.run.directory).state is State.ROLLED_BACK


@pytest.mark.parametrize("denied", [(), (_RENAMEAT2, _OPENAT2)], ids=["all-calls", "old-kernel"])
def test_a_kill_at_any_step_of_an_apply(fresh: Fresh, denied: tuple[int, ...]) -> None:
    count, whole = steps_of(fresh, back=False), expected(fresh)
    assert count > 60
    for at in range(count):
        made = fresh()
        before, allowed = snapshot(made.workspace), made.unfiltered()
        status = in_child(partial(apply, made.run, allowed, step=killer(at)), deny=denied)
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert interrupted(made.run)
        if at % 2:
            results = resume(made.run)
            assert {result.outcome for result in results} <= {Outcome.APPLIED}, (at, results)
            assert without_times(snapshot(made.workspace)) == whole, at
        assert {result.outcome for result in rollback(made.run)} <= {Outcome.APPLIED}, at
        assert snapshot(made.workspace) == before, at
        assert not interrupted(made.run)


def test_a_kill_at_any_step_of_a_rollback(fresh: Fresh) -> None:
    for at in range(steps_of(fresh, back=True)):
        made = fresh()
        before = snapshot(made.workspace)
        apply(made.run, made.unfiltered())
        status = in_child(partial(rollback, made.run, step=killer(at)))
        assert os.WIFSIGNALED(status)
        assert {result.outcome for result in rollback(made.run)} <= {Outcome.APPLIED}, at
        assert snapshot(made.workspace) == before, at


def test_a_run_can_be_applied_again_after_its_rollback(fresh: Fresh) -> None:
    made = fresh()
    before = snapshot(made.workspace)
    for _ in range(2):
        assert set(outcomes(apply(made.run, made.unfiltered())).values()) == {"applied"}
        rollback(made.run)
        assert snapshot(made.workspace) == before


def test_an_old_kernel_applies_and_rolls_back(fresh: Fresh) -> None:
    whole, made = expected(fresh), fresh()
    before, allowed = snapshot(made.workspace), made.unfiltered()
    assert in_child(lambda: apply(made.run, allowed), deny=(_RENAMEAT2, _OPENAT2)) == 0
    assert without_times(snapshot(made.workspace)) == whole
    assert in_child(lambda: rollback(made.run), deny=(_RENAMEAT2, _OPENAT2)) == 0
    assert snapshot(made.workspace) == before
