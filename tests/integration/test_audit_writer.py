"""The audit on a real file system: who may use it, what it looks like, and what happens when it cannot be written."""

import contextlib
import json
import os
import resource
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import ringfence.model.errors
from ringfence.audit.files import CURRENT, HEAD
from ringfence.audit.read import read
from ringfence.audit.verify import verify
from ringfence.audit.writer import AuditWriter
from ringfence.model.errors import SandboxError
from ringfence.model.event import Event, EventKind

_TIME_NS = 1_704_164_645_000_000_000
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(ringfence.model.errors.__file__).parents[2])}


def _event(run: str = "r1", kind: EventKind = EventKind.EXIT, time_ns: int = _TIME_NS) -> Event:
    return Event(kind=kind, run=run, time_ns=time_ns, fields={"status": 0, "argv": ["true"], "path": "/\udcff"})


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("fsync", ["always", "exit", "never"])
def test_events_are_recorded_privately_whatever_the_umask(tmp_path: Path, fsync: str) -> None:
    directory = tmp_path / "state" / "ringfence" / "audit"
    before = os.umask(0)
    try:
        writer = AuditWriter(str(directory), fsync=fsync)
        writer.record(_event())
        writer.record(_event(kind=EventKind.LOST))
        writer.close()
        writer.close()
    finally:
        os.umask(before)
    assert [_mode(directory), _mode(directory.parent), _mode(directory / CURRENT), _mode(directory / HEAD)] == [
        0o700,
        0o700,
        0o600,
        0o600,
    ]
    record = json.loads((directory / CURRENT).read_bytes().splitlines()[0])
    assert (record["v"], record["seq"], record["time"]) == (1, 1, "2024-01-02T03:04:05.000000000Z")
    assert (record["run"], record["kind"], record["code"]) == ("r1", "exit", "")
    assert record["fields"] == {"status": 0, "argv": ["true"], "path": "/\udcff"}
    assert verify(str(directory)).problems == ()


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    writer = AuditWriter(str(tmp_path / "audit"), rotate_bytes=500)
    for _ in range(5):
        writer.record(_event())
    writer.close()
    verify(str(tmp_path / "audit"))
    assert len(list(read(str(tmp_path / "audit")))) > 5
    assert not [link for link in held() if link.startswith(str(tmp_path))]
    with (tmp_path / "audit" / CURRENT).open("rb"):
        assert str(tmp_path / "audit" / CURRENT) in held()  # the control


def held() -> list[str]:
    """What this process has open, but for what other threads have just closed."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return found


def test_reading_filters_by_run_kind_and_time(tmp_path: Path) -> None:
    directory = str(tmp_path / "audit")
    assert list(read(directory)) == []
    writer = AuditWriter(directory, fsync="never")
    for number in range(4):
        kind = EventKind.DENIAL if number % 2 else EventKind.EXIT
        writer.record(_event(run=f"run{number}", kind=kind, time_ns=_TIME_NS + number))
    assert [record.seq for record in read(directory)] == [1, 2, 3, 4]
    assert [record.seq for record in read(directory, run="run2")] == [3]
    assert [record.seq for record in read(directory, kind="denial")] == [2, 4]
    assert [record.seq for record in read(directory, since_ns=_TIME_NS + 2)] == [3, 4]


def test_reading_passes_over_damaged_lines(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    AuditWriter(str(directory)).record(_event())
    with (directory / CURRENT).open("ab") as file:
        file.write(b"garbage\n")
    AuditWriter(str(directory)).record(_event())
    assert [record.seq for record in read(str(directory))] == [1, 2]


def test_records_of_any_size_are_kept(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    writer = AuditWriter(str(directory), fsync="never", rotate_bytes=100_000)
    for length in (1, 8_100, 8_192, 70_000, 300_000, 1):
        writer.record_fields("launch", "r", _TIME_NS, "", fields={"argv": ["x" * length]})
    with (directory / CURRENT).open("ab") as file:
        file.write(b'{"code":"' + b"y" * 200_000)
    writer.record(_event())
    report = verify(str(directory))
    assert [problem.kind.value for problem in report.problems] == ["torn"]
    assert report.ok


def test_a_field_that_is_not_json_records_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    writer = AuditWriter(str(directory))
    with pytest.raises(TypeError):
        writer.record_fields("exit", "r", _TIME_NS, "", fields={"status": 0.5})
    writer.record(_event())
    assert verify(str(directory)).records == 1
    assert verify(str(directory)).problems == ()


def test_the_hot_path_imports_nothing_heavy() -> None:
    script = "import sys; before = set(sys.modules); import ringfence.audit.writer; print(*set(sys.modules) - before)"
    result = subprocess.run(
        [sys.executable, "-c", script], env=_ENVIRONMENT, capture_output=True, text=True, check=True
    )
    allowed = {"_sha2", "_sha256", "errno", "fcntl", "stat", "_stat", "time", "os"}
    loaded = {name for name in result.stdout.split() if not name.startswith("ringfence")}
    assert loaded <= allowed
    ours = {name for name in result.stdout.split() if name.startswith("ringfence")}
    assert ours == {
        "ringfence",
        "ringfence.audit",
        "ringfence.audit.chain",
        "ringfence.audit.files",
        "ringfence.audit.together",
        "ringfence.audit.writer",
        "ringfence.model",
        "ringfence.model.errors",
    }


def test_an_interpreter_without_its_own_sha2_writes_the_same_hash() -> None:
    script = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))
from ringfence.audit.chain import digest
print(digest(b"abc"))
"""
    for missing in ([], ["_sha2"], ["_sha2", "_sha256"]):
        command = [sys.executable, "-c", script, *missing]
        result = subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, check=True)
        assert result.stdout.startswith("ba7816bf8f01cfea414140de5dae2223b00361a396177a9c")  # FIPS 180-2, B.1


def test_anyone_can_recompute_a_hash_with_standard_tools(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    AuditWriter(str(directory)).record_fields(
        "denial", "r", _TIME_NS, "c", fields={"path": "/h\u00e9/\n\x7f", "argv": ["\u6587"]}
    )
    script = """
line=$(sed -n 1p audit.jsonl)
printf '%s%s' "$(printf '%s' "$line" | jq -r .prev)" "$(printf '%s' "$line" | jq -caS 'del(.hash)')" | sha256sum
"""
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    result = subprocess.run(["sh", "-c", script], cwd=directory, capture_output=True, text=True, check=True)
    assert result.stdout.split()[0] == verify(str(directory)).last[1]


def test_closing_after_the_directory_is_gone_is_an_error(tmp_path: Path) -> None:
    writer = AuditWriter(str(tmp_path / "audit"), fsync="exit")
    writer.record(_event())
    (tmp_path / "audit" / CURRENT).unlink()
    (tmp_path / "audit" / HEAD).unlink()
    (tmp_path / "audit").rmdir()
    with pytest.raises(SandboxError, match="cannot write the audit: No such file"):
        writer.close()


# ------------------------------------------------------------------------------------------------ who may use it


@pytest.mark.parametrize("name", [CURRENT, HEAD, "."])
def test_what_is_open_to_others_is_refused(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "audit"
    writer = AuditWriter(str(directory))
    writer.record(_event())
    (directory / name).chmod(0o740)
    with pytest.raises(SandboxError, match="is open to other users") as caught:
        writer.record(_event())
    assert "chmod" in caught.value.hint


@pytest.mark.parametrize("name", [CURRENT, HEAD])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_symbolic_link_is_not_followed(tmp_path: Path, name: str, dangling: bool) -> None:
    directory = tmp_path / "audit"
    writer = AuditWriter(str(directory))
    writer.record(_event())
    target = tmp_path / "target"
    if not dangling:
        target.touch(0o600)
    (directory / name).unlink()
    (directory / name).symlink_to(target)
    with pytest.raises(SandboxError, match="cannot write the audit") as caught:
        writer.record(_event())
    assert "symbolic link" in caught.value.hint
    assert target.exists() != dangling
    assert dangling or target.read_bytes() == b""


def test_a_symbolic_link_in_place_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "audit").symlink_to(tmp_path / "real")
    with pytest.raises(SandboxError, match="cannot write the audit") as caught:
        AuditWriter(str(tmp_path / "audit")).record(_event())
    assert "symbolic link" in caught.value.hint
    assert list((tmp_path / "real").iterdir()) == []


@pytest.mark.parametrize("name", [CURRENT, HEAD])
def test_a_fifo_or_directory_is_refused_without_waiting(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "audit"
    directory.mkdir(mode=0o700)
    os.mkfifo(directory / name, 0o600)
    with pytest.raises(SandboxError, match="is not a regular file"):
        AuditWriter(str(directory)).record(_event())
    (directory / name).unlink()
    (directory / name).mkdir(mode=0o700)
    with pytest.raises(SandboxError, match="cannot write the audit"):
        AuditWriter(str(directory)).record(_event())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", [CURRENT, HEAD, "."])
def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "audit"
    writer = AuditWriter(str(directory))
    writer.record(_event())
    os.chown(directory / name, 1234, 1234)
    with pytest.raises(SandboxError, match="belongs to uid `1234`") as caught:
        writer.record(_event())
    assert "owner" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(SandboxError, match="cannot write the audit: Permission denied"):
            AuditWriter(str(tmp_path / "state" / "audit")).record(_event())
    finally:
        tmp_path.chmod(0o700)


# ------------------------------------------------------------------------------------------------ no space left

_FILL = """
import sys
from ringfence.audit.writer import AuditWriter
from ringfence.model.errors import SandboxError
writer = AuditWriter(sys.argv[1], fsync="always")
for number in range(2000):
    try:
        writer.record_fields("exit", "r", 1, "", fields={"text": "x" * 1500})
    except SandboxError as error:
        print(number, "|", error, "|", error.hint)
        sys.exit(7)
"""


def _limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_write_that_does_not_fit_is_taken_back(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    command = [sys.executable, "-c", _FILL, str(directory)]
    result = subprocess.run(
        command, env=_ENVIRONMENT, capture_output=True, text=True, preexec_fn=_limit_file_size, timeout=60
    )
    assert result.returncode == 7, result.stderr
    written = int(result.stdout.split()[0])
    assert written > 5
    assert "free some space" in result.stdout
    report = verify(str(directory))
    assert (report.problems, report.records) == ((), written)
    AuditWriter(str(directory)).record(_event())
    assert verify(str(directory)).problems == ()


_FULL_DISK = """
mount -t tmpfs -o size=64k,mode=700 tmpfs "$1" || exit 77
"$2" -c "$3" "$1/audit"
test $? = 7 || exit 1
rm -f "$1/ballast"
"$2" -c "
import sys
from ringfence.audit.verify import verify
from ringfence.audit.writer import AuditWriter
report = verify(sys.argv[1])
print(report.ok, len(report.problems), report.records)
" "$1/audit"
"""


def test_a_full_disk_is_an_error_and_leaves_a_valid_chain(tmp_path: Path) -> None:
    command = ["unshare", "-Urm", "sh", "-c", _FULL_DISK, "sh", str(tmp_path), sys.executable, _FILL]
    try:
        result = subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if result.returncode == 77 or "unshare" in result.stderr:
        pytest.skip(f"no user and mount namespaces: {result.stderr.strip()}")
    assert result.returncode == 0, result.stdout + result.stderr
    failure, outcome = result.stdout.splitlines()
    written, message, hint = failure.split(" | ")
    assert int(written) > 5
    assert "No space left on device" in message
    assert "free some space" in hint
    assert outcome == f"True 0 {written}"
