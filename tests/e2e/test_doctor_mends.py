"""`doctor --mend`: each thing broken on purpose, shown, mended, and fine the second time; nothing in use is touched."""

import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.commands import Commands

pytestmark = pytest.mark.require("bubblewrap", "userns", "overlay")

LONG_AGO = time.time() - 3600
# Control groups are the whole machine's: root would be shown what is left of other tests' runs that were killed.
ALONE = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"', "sh")
RUN = "20250131-235959-0a1b2c"
STANDBY = "0123456789abcdef01234567"
FINE = "nothing of ringfence's own needs mending\n"


class Alone(Commands):
    """The command line where no control groups are to be seen."""

    def words(self, *words: str) -> list[str]:
        """The words that run one command line."""
        return [*ALONE, *super().words(*words)] if self.account.pw_uid == 0 else super().words(*words)


@pytest.fixture
def ringfence(ringfence: Commands) -> Commands:
    return Alone(ringfence.home.parent, ringfence.account)


def belongs(ringfence: Commands, *paths: Path) -> None:
    """Give `paths`, just made, to the account, and an age."""
    for path in paths:
        os.chown(path, ringfence.account.pw_uid, ringfence.account.pw_gid, follow_symlinks=False)
    for path in reversed(paths):
        os.utime(path, (LONG_AGO, LONG_AGO), follow_symlinks=False)


def directory(ringfence: Commands, place: Path, mode: int = 0o700) -> Path:
    """Make a directory below the home, each one on the way private."""
    for path in [*reversed(place.relative_to(ringfence.home).parents[:-1]), place.relative_to(ringfence.home)]:
        if not (ringfence.home / path).exists():
            (ringfence.home / path).mkdir(mode=0o700)
            belongs(ringfence, ringfence.home / path)
    place.chmod(mode)
    return place


def file(ringfence: Commands, place: Path, data: bytes = b"", mode: int = 0o600) -> Path:
    directory(ringfence, place.parent)
    place.write_bytes(data)
    place.chmod(mode)
    belongs(ringfence, place)
    return place


def run_left(ringfence: Commands, name: str = RUN, *, state: str = "running") -> Path:
    """What a run leaves whose supervisor was killed before the command had written anything."""
    place = directory(ringfence, ringfence.state / "runs" / name)
    for part in ("upper", "work"):
        directory(ringfence, place / part)
    record = {"version": 1, "workspace": str(ringfence.workspace), "argv0": "true", "state": state, "start_ns": 1}
    file(ringfence, place / "run.json", json.dumps(record).encode())
    file(ringfence, place / "lock")
    belongs(ringfence, place)
    return place


def socket_left(ringfence: Commands) -> Path:
    """The socket of a standby that was killed."""
    place = directory(ringfence, ringfence.state / "standby") / STANDBY
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(place))
    file(ringfence, place.with_suffix(".lock"))
    belongs(ringfence, place)
    return place


def cache_damaged(ringfence: Commands) -> Path:
    return file(ringfence, ringfence.home / ".cache/ringfence/launch" / ("ab" * 16), b"not what it was")


def cache_open(ringfence: Commands) -> Path:
    file(ringfence, ringfence.home / ".cache/ringfence/launch" / ("ab" * 16), b"x")
    return directory(ringfence, ringfence.home / ".cache/ringfence/launch", 0o770)


def cache_unfinished(ringfence: Commands) -> Path:
    return file(ringfence, ringfence.home / ".cache/ringfence/launch" / ("ab" * 16 + ".4194305"))


def scratch_left(ringfence: Commands) -> Path:
    return directory(ringfence, ringfence.state / ".doctor-abc")


def fresh_left(ringfence: Commands) -> Path:
    place = directory(ringfence, ringfence.state / "agents/claude/fresh-0123456789abcdef")
    file(ringfence, place / "0/.credentials.json", b"{}")
    belongs(ringfence, place)
    return place


REMOVED: dict[str, Callable[[Commands], Path]] = {
    "dead runs": run_left,
    "standby": socket_left,
    "cache": cache_damaged,
    "cache, open": cache_open,
    "cache, unfinished": cache_unfinished,
    "scratch": scratch_left,
    "agents": fresh_left,
}


@pytest.mark.parametrize("name", REMOVED)
def test_a_leftover_is_shown_then_removed_then_fine(ringfence: Commands, name: str) -> None:
    place = REMOVED[name](ringfence)
    shown = ringfence("doctor", "--mend")
    assert shown.returncode == 2
    assert shown.stdout.startswith(f"{name.partition(',')[0]}: ")
    assert str(place) in shown.stdout
    assert shown.stderr.startswith("ringfence: nothing was changed: there is no terminal to ask on\n  hint: ")
    assert place.exists() or place.is_socket()
    mended = ringfence.good("doctor", "--mend", "--yes")
    assert f"  done  {'rm -r' if name in TREES else 'rm'} {place}\n" in mended
    if name == "cache, open":  # the run that `doctor` makes afterwards has made it anew
        assert place.stat().st_mode & 0o7777 == 0o700
        assert not (place / ("ab" * 16)).exists()
    else:
        assert not os.path.lexists(place)
    assert ringfence.good("doctor", "--mend").startswith(FINE)


TREES = ("dead runs", "cache, open", "scratch", "agents")
MODES = {
    "audit": (".local/state/ringfence/audit", 0o755, 0o700),
    "state directory": (".local/state/ringfence", 0o777, 0o755),
    "state directory `runs`": (".local/state/ringfence/runs", 0o710, 0o700),
    "cache directory": (".cache/ringfence", 0o720, 0o700),
    "configuration": (".config/ringfence", 0o070, 0o750),
    "decisions about checkouts": (".local/share/ringfence/trust", 0o000, 0o700),
}


@pytest.mark.parametrize("name", MODES)
def test_a_mode_is_set_right_and_can_be_set_back(ringfence: Commands, name: str) -> None:
    where, wrong, right = MODES[name]
    place = directory(ringfence, ringfence.home / where)
    place.chmod(wrong)
    mended = ringfence.good("doctor", "--mend", "--yes")
    assert f"  chmod {right:04o} {place}   (undo: chmod {wrong:04o} {place})\n  " in mended
    assert place.stat().st_mode & 0o7777 == right
    assert ringfence.good("doctor", "--mend").startswith(FINE)


def test_an_audit_that_was_open_is_to_be_verified(ringfence: Commands) -> None:
    assert ringfence("run", "--", "true").returncode == 0
    (ringfence.state / "audit/audit.jsonl").chmod(0o644)
    assert ringfence("run", "--", "true").returncode == 125
    assert "then: ringfence log verify" in ringfence.good("doctor", "--mend", "--yes")
    assert ringfence("run", "--", "true").returncode == 0


def test_a_standby_that_does_not_answer_is_ended(ringfence: Commands) -> None:
    place = socket_left(ringfence)
    place.unlink()
    code = (
        "import fcntl, os, socket, sys, time\n"
        "lock = os.open(sys.argv[1] + '.lock', os.O_WRONLY)\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "listener.bind(sys.argv[1]); listener.listen()\n"
        "print('ready', flush=True); time.sleep(300)\n"
    )
    user = ringfence.account.pw_uid if ringfence.account.pw_uid != os.geteuid() else None
    with subprocess.Popen([sys.executable, "-c", code, str(place)], stdout=subprocess.PIPE, user=user) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            assert f"kill -9 {process.pid}" in ringfence.good("doctor", "--mend", "--yes")
            assert process.wait(60) == -signal.SIGKILL
        finally:
            process.kill()
    assert not place.exists()
    assert ringfence.good("doctor", "--mend").startswith(FINE)


def test_what_somebody_may_want_or_use_stays(ringfence: Commands) -> None:
    changed = run_left(ringfence, "20250131-235959-000001")
    file(ringfence, changed / "upper/new", b"work")
    applied = run_left(ringfence, "20250131-235959-000002", state="ended")
    file(ringfence, applied / "journal")
    unreadable = run_left(ringfence, "20250131-235959-000003")
    (unreadable / "run.json").unlink()
    young = run_left(ringfence, "20250131-235959-000004")
    os.utime(young)
    live = run_left(ringfence, "20250131-235959-000005")
    fresh_left(ringfence)
    kept = [changed, applied, unreadable, young, live]
    with open(live / "lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert ringfence.good("doctor", "--mend", "--yes").startswith(FINE)
    assert all(path.exists() for path in kept)


def test_a_link_in_place_of_a_directory_is_not_followed(ringfence: Commands) -> None:
    place = directory(ringfence, ringfence.home / "elsewhere", 0o777)
    directory(ringfence, ringfence.state)
    (ringfence.state / "audit").symlink_to(place)
    belongs(ringfence, ringfence.state / "audit")
    ringfence("doctor", "--mend", "--yes")
    assert place.stat().st_mode & 0o7777 == 0o777


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1), ("", 1)])
def test_each_is_asked_about_on_a_terminal(ringfence: Commands, answer: str, status: int) -> None:
    place = run_left(ringfence)
    ours, theirs = pty.openpty()
    user = ringfence.account.pw_uid if ringfence.account.pw_uid != os.geteuid() else None
    with subprocess.Popen(
        ringfence.words("doctor", "--mend"),
        cwd=ringfence.workspace,
        env=ringfence.environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        user=user,
    ) as process:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        said = b""
        try:
            while data := os.read(ours, 4096):
                said += data
        except OSError:
            pass  # EIO: the other end has been closed
        assert process.wait(60) == status
    os.close(ours)
    assert b"do this? [y/N]" in said
    assert place.exists() == bool(status)


def test_doctor_points_at_it(ringfence: Commands) -> None:
    place = run_left(ringfence)
    assert "one thing can be put right: `ringfence doctor --mend` shows each and asks" in ringfence.good("doctor")
    os.utime(place, (LONG_AGO, LONG_AGO))  # the run of `doctor` has noted that this one has ended
    (mend,) = ringfence.json("doctor")["mends"]
    assert mend["name"] == "dead runs"
    assert mend["steps"][0]["verb"] == "rm -r"


@pytest.mark.parametrize("words", [("--yes",), ("--mend", "--json")])
def test_options_that_do_not_go_together(ringfence: Commands, words: tuple[str, ...]) -> None:
    assert ringfence.refused(2, "doctor", *words)
