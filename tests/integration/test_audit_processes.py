"""Many processes write one audit, and some of them are killed."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

import ringfence.model.errors
from ringfence.audit import files
from ringfence.audit.files import CURRENT, HEAD, rotated_range
from ringfence.audit.read import read
from ringfence.audit.verify import verify
from ringfence.audit.writer import AuditWriter
from ringfence.model.errors import SandboxError

_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(ringfence.model.errors.__file__).parents[2])}
_WRITERS = 8
_EACH = 50
_KILLS = 20
_PATIENCE_S = 90

_WRITE = """
import sys
from ringfence.audit.writer import AuditWriter
directory, run, count, length, rotate_bytes = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
writer = AuditWriter(directory, fsync="never", rotate_bytes=rotate_bytes)
for number in range(count):
    writer.record_fields("exit", run, number, "", fields={"number": number, "text": "x" * length})
    if number == 0:
        print(flush=True)
        sys.stdin.readline()
"""


def _start(directory: Path, run: str, *, count: int, length: int, rotate_bytes: int) -> subprocess.Popen[bytes]:
    arguments = [str(directory), run, str(count), str(length), str(rotate_bytes)]
    command = [sys.executable, "-c", _WRITE, *arguments]
    return subprocess.Popen(command, env=_ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _release(writer: subprocess.Popen[bytes]) -> None:
    """Wait until `writer` has written its first record, and let it write the others."""
    assert writer.stdin is not None
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"\n"
    writer.stdin.write(b"\n")
    writer.stdin.flush()


def _finish(writer: subprocess.Popen[bytes]) -> int:
    writer.communicate(timeout=_PATIENCE_S)
    return writer.returncode


@pytest.mark.parametrize("rotate_bytes", [0, 4000])
def test_concurrent_writers_keep_one_chain(tmp_path: Path, rotate_bytes: int) -> None:
    directory = tmp_path / "audit"
    names = [f"run{number}" for number in range(_WRITERS)]
    writers = [_start(directory, name, count=_EACH, length=100, rotate_bytes=rotate_bytes) for name in names]
    for writer in writers:
        _release(writer)
    assert [_finish(writer) for writer in writers] == [0] * _WRITERS

    report = verify(str(directory))
    assert report.problems == ()
    rotations = len(list(read(str(directory), kind="rotation")))
    assert report.records == _WRITERS * _EACH + rotations
    assert (rotations > 10) == bool(rotate_bytes)
    assert report.files == rotations + 1
    for name in names:
        assert [record.fields["number"] for record in read(str(directory), run=name)] == list(range(_EACH))


def test_rotated_files_are_named_after_what_they_hold(tmp_path: Path) -> None:
    writer = AuditWriter(str(tmp_path / "audit"), fsync="exit", rotate_bytes=1000)
    for number in range(20):
        writer.record_fields("exit", "r", number, "", fields={})
    writer.close()
    files = sorted((tmp_path / "audit").glob("audit-*.jsonl"))
    assert len(files) > 2
    for path, after in zip(files, [*files[1:], tmp_path / "audit" / CURRENT], strict=True):
        lines = path.read_bytes().splitlines()
        found = rotated_range(path.name)
        assert found is not None
        assert len(lines) == found[1] - found[0] + 1
        first = after.read_bytes().splitlines()[0]
        assert b'"kind":"rotation"' in first
        assert path.name.encode() in first


def test_a_rotation_cut_short_is_continued(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    writer = AuditWriter(str(directory), fsync="never")
    for number in range(3):
        writer.record_fields("exit", "r", number, "", fields={})
    (directory / CURRENT).rename(directory / "audit-000000000001-000000000003.jsonl")
    assert verify(str(directory)).problems == ()
    writer.record_fields("exit", "r", 3, "", fields={})
    report = verify(str(directory))
    assert (report.problems, report.records) == ((), 5)


def test_a_name_that_is_taken_is_not_overwritten(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    AuditWriter(str(directory)).record_fields("exit", "r", 1, "", fields={})
    taken = directory / "audit-000000000001-000000000001.jsonl"
    taken.write_bytes(b"precious")
    with pytest.raises(SandboxError, match="of that name exists"):
        AuditWriter(str(directory), rotate_bytes=10).record_fields("exit", "r", 1, "", fields={})
    assert taken.read_bytes() == b"precious"


def test_killed_writers_lose_at_most_the_record_being_written(tmp_path: Path) -> None:
    """A fatal signal is looked at between the pages of a write; long records make it likely to strike within one."""
    directory = tmp_path / "audit"
    killed, end = 0, time.monotonic() + _PATIENCE_S
    # Where both share a processor few of the kills strike: as many are needed as it takes for one to do so.
    while killed < _KILLS or not (verify(str(directory)).problems or time.monotonic() > end):
        writer = _start(directory, f"run{killed:03d}", count=3, length=2_000_000, rotate_bytes=0)
        assert writer.stdout is not None
        writer.stdout.readline()
        size = (directory / CURRENT).stat().st_size
        assert writer.stdin is not None
        writer.stdin.write(b"\n")
        writer.stdin.flush()
        while (directory / CURRENT).stat().st_size == size and writer.poll() is None:
            pass  # until its second record begins to appear
        writer.kill()
        assert _finish(writer) in (-signal.SIGKILL, 0)  # it may have been quicker than we
        killed += 1
    AuditWriter(str(directory)).record_fields("exit", "last", 1, "", fields={})

    report = verify(str(directory))
    assert report.ok, report.problems
    assert report.problems, "no write was cut short: this test has shown nothing"
    runs: dict[str, list[object]] = {}
    for record in read(str(directory)):
        runs.setdefault(record.run, []).append(record.fields.get("number"))
    for number in range(killed):
        assert runs[f"run{number:03d}"] in ([0], [0, 1], [0, 1, 2])


def test_one_killed_among_several_does_not_disturb_the_others(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    victim = _start(directory, "victim", count=100_000, length=200_000, rotate_bytes=0)
    _release(victim)
    others = [_start(directory, f"run{number}", count=20, length=1000, rotate_bytes=0) for number in range(3)]
    for other in others:
        _release(other)
    os.kill(victim.pid, signal.SIGKILL)
    _finish(victim)
    assert [_finish(writer) for writer in others] == [0] * 3
    assert verify(str(directory)).ok
    assert sum(1 for _ in read(str(directory), run="run")) == 60


def test_the_lock_is_not_awaited_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_LOCK_TIMEOUT_S", 0.02)
    directory = tmp_path / "audit"
    writer = AuditWriter(str(directory))
    writer.record_fields("exit", "r", 1, "", fields={})
    with (directory / HEAD).open("rb") as head:
        fcntl.flock(head, fcntl.LOCK_EX)
        with pytest.raises(SandboxError, match="has held the audit's lock"):
            writer.record_fields("exit", "r", 1, "", fields={})
        with pytest.raises(SandboxError, match="has held the audit's lock"):
            verify(str(directory))
    writer.record_fields("exit", "r", 1, "", fields={})
    assert verify(str(directory)).records == 2


class Clock:
    """Of a machine on which somebody writes to `head` in every second that is waited for, `busy_s` long."""

    def __init__(self, head: IO[bytes], busy_s: int) -> None:
        self.head, self.busy_s, self.now_s = head, busy_s, 0

    def monotonic(self) -> float:
        """The time, as time.monotonic(3)."""
        return self.now_s

    def sleep(self, _: float) -> None:
        """Let a second pass."""
        self.now_s += 1
        os.utime(self.head.fileno(), (self.now_s, self.now_s))
        if self.now_s == self.busy_s:
            fcntl.flock(self.head, fcntl.LOCK_UN)


def test_the_lock_is_awaited_as_long_as_others_get_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand that write at once: each of them waits for longer than a stopped process would be waited for."""
    directory = tmp_path / "audit"
    writer = AuditWriter(str(directory))
    writer.record_fields("exit", "r", 1, "", fields={})
    with (directory / HEAD).open("rb") as head:
        fcntl.flock(head, fcntl.LOCK_EX)
        clock = Clock(head, busy_s=100)
        monkeypatch.setattr(files, "time", clock)
        writer.record_fields("exit", "late", 1, "", fields={})
    assert clock.now_s == 100 > 5 * files._LOCK_TIMEOUT_S
    assert verify(str(directory)).records == 2
