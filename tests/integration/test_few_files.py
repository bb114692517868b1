"""Where few files may be open at once: a run takes place, or says how many it needs."""

import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.session.run import LEAST_FILES
from tests.integration.resident_runs import Installation

pytestmark = pytest.mark.require("bubblewrap", "userns")
HIGH = 200


def contained(workspace: Path, home: Path, before: Callable[[], None]) -> "subprocess.CompletedProcess[bytes]":
    box = Installation(workspace, home, "cold")
    return box.run(["echo", "inside"], preexec_fn=before, close_fds=False)


def limit(files: int) -> Callable[[], None]:
    """What a shell does that starts `ulimit -n`; nothing but the standard streams is inherited."""

    def change() -> None:
        os.closerange(3, 1 << 16)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    return change


def test_as_many_as_are_asked_for_are_enough(tmp_path: Path, home: Path) -> None:
    done = contained(tmp_path, home, limit(LEAST_FILES))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"inside\n", b"")


@pytest.mark.parametrize("files", [18, 26, 34])
def test_too_few_are_said(tmp_path: Path, home: Path, files: int) -> None:
    assert contained(tmp_path, home, limit(LEAST_FILES)).returncode == 0
    done = contained(tmp_path, home, limit(files))  # as quick as a run is from its second time on
    assert (done.returncode, done.stdout) == (3, b"")
    assert f"at least {LEAST_FILES} open files (`ulimit -n`)" in done.stderr.decode()
    assert b"Traceback" not in done.stderr


WITHOUT_INOTIFY = 'echo 0 >/proc/sys/user/max_inotify_instances; exec setpriv --ambient-caps=-all --inh-caps=-all "$@"'


@pytest.mark.skipif(os.geteuid() == 0, reason="root of another user namespace has no id-mapped mounts")
def test_too_few_inotify_instances_are_said_to_be_those(tmp_path: Path, home: Path) -> None:
    """They end with the same errno as open files, and belong to all programs of a user together."""
    box = Installation(tmp_path, home, "cold")
    place = ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", WITHOUT_INOTIFY, "-"]
    done = subprocess.run([*place, *box.words(["true"])], cwd=tmp_path, env=box.environment(), capture_output=True)
    assert done.returncode not in (0, 3) and b"fs.inotify.max_user_instances" in done.stderr, done.stderr
    assert b"ulimit" not in done.stderr


def test_a_descriptor_above_the_limit_is_closed_like_any_other(tmp_path: Path, home: Path) -> None:
    """It was opened before the limit was set, which posix_spawn(3) holds to be an error."""

    def change() -> None:
        os.dup2(0, HIGH)  # inheritable
        resource.setrlimit(resource.RLIMIT_NOFILE, (LEAST_FILES, LEAST_FILES))

    box = Installation(tmp_path, home, "cold")
    done = box.run(["ls", "/proc/self/fd"], preexec_fn=change, close_fds=False)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [b"0", b"1", b"2", b"3"], b"")
