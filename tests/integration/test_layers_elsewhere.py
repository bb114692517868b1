"""A state directory that cannot hold an overlay's layers, as in a container: they lie elsewhere, and it is said."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ringfence.model.errors import HostError
from ringfence.session import places
from tests.attacks.arena import SOURCE
from tests.e2e.commands import ENTRY

pytestmark = pytest.mark.require("root", "ordinary-user", "bubblewrap", "overlay")

MOUNT = """
set -e
mount -t tmpfs none {root}/fs
mkdir {root}/fs/lower {root}/fs/upper {root}/fs/work {root}/fs/state
mount -t overlay none -o lowerdir={root}/fs/lower,upperdir={root}/fs/upper,workdir={root}/fs/work {root}/fs/state
mkdir {root}/fs/state/user {root}/fs/state/ws {root}/fs/state/shm
chown -R {user} {root}/fs {root}/home
{shm}
cd {root}/{workspace}
su {user} -s /bin/sh -c '
export HOME={root}/home XDG_STATE_HOME={state} PYTHONPATH={source} PYTHONDONTWRITEBYTECODE=1
unset XDG_RUNTIME_DIR XDG_CONFIG_HOME XDG_CACHE_HOME XDG_DATA_HOME
rf() {{ {python} -P -c "{entry}" "$@"; }}
{script}'
"""
MEMORY = "mount -t tmpfs -o mode=1777 none /dev/shm"
NO_BETTER = "mount --bind {root}/fs/state/shm /dev/shm"


class Machine:
    """A mount namespace of its own, whose state directory lies on an overlay."""

    def __init__(self, root: Path, user: str) -> None:
        self.root, self.user = root, user
        for name in ("fs", "home", "ws"):
            (root / name).mkdir()
        os.chmod(root / "ws", 0o777)

    def __call__(
        self, script: str, *, state: str = "", workspace: str = "ws", shm: str = MEMORY
    ) -> subprocess.CompletedProcess[str]:
        text = MOUNT.format(
            root=self.root,
            user=self.user,
            workspace=workspace,
            state=state or f"{self.root}/fs/state/user",
            source=SOURCE,
            python=sys.executable,
            entry=ENTRY,
            script=script,
            shm=shm.format(root=self.root),
        )
        return subprocess.run(["unshare", "-m", "sh", "-c", text], capture_output=True, text=True, timeout=120)


@pytest.fixture
def machine(open_path: Path, ordinary_user: str) -> Machine:
    return Machine(open_path, ordinary_user)


def test_runs_work_and_their_changes_are_applied_and_taken_back(machine: Machine) -> None:
    done = machine(
        "rf run -- sh -c 'echo x > x' && rf run -- sh -c 'cat x; echo y > y' && ls && rf runs"
        " && rf rollback $(rf runs | tail -n 1 | cut -d' ' -f 1) && ls".replace("'", '"')
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:3] == ["x", "x", "y"]
    assert done.stdout.splitlines()[-1] == "x"
    assert done.stderr.count("Can't make overlay mount") == 1  # the first attempt; from then on it is known


def test_the_doctor_says_so(machine: Machine) -> None:
    done = machine("rf doctor")
    assert "degraded  overlay" in done.stdout
    assert "layers lie in memory at /dev/shm/ringfence-" in done.stdout


def test_where_no_place_is_found_nothing_is_run(machine: Machine) -> None:
    done = machine("rf run -- touch x; echo $?; ls; rf doctor", shm=NO_BETTER)
    assert done.stdout.splitlines()[0] == "3"
    assert "missing   overlay" in done.stdout
    assert "x" not in done.stdout.splitlines()
    assert "set XDG_STATE_HOME" in done.stderr


def test_a_workspace_on_an_overlay_or_in_memory_is_no_obstacle(machine: Machine) -> None:
    state = f"{machine.root}/home/state"
    for workspace in ("fs/state/ws", "fs/lower"):
        done = machine(
            'rf run -- sh -c "echo x > x" && cat x && rf doctor | grep overlay', state=state, workspace=workspace
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == "x"
        assert done.stdout.splitlines()[1].startswith("ok")


def test_a_place_that_somebody_else_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    place = tmp_path / "shm/ringfence-0"
    (tmp_path / "ringfence").mkdir()
    (tmp_path / "shm").mkdir()
    (tmp_path / "ringfence" / places.ELSEWHERE).write_text(f"{place}/runs")
    assert places.runs() == f"{place}/runs"
    assert place.stat().st_mode & 0o777 == 0o700
    os.chmod(place, 0o755)
    with pytest.raises(HostError, match="not a private directory"):
        places.runs()
    os.chmod(place, 0o700)
    os.chown(place, 12345, -1)
    with pytest.raises(HostError, match="not a private directory"):
        places.runs()
    place.rename(tmp_path / "moved")
    place.symlink_to(tmp_path / "moved")
    with pytest.raises(HostError, match="not a private directory"):
        places.runs()
