"""The limits that the kernel holds, read from /proc of a live sandbox and from its control groups."""

import os
from pathlib import Path

import pytest

from tests import paths
from tests.posture.live import Live

RESOURCE_ROWS = {
    "processes": "Max processes",
    "cpu_time_s": "Max cpu time",
    "file_size_bytes": "Max file size",
    "open_files": "Max open files",
}


def of_one_command(box: Live, name: str) -> int:
    """A limit of the Plan's; a session keeps one part in eight of its processes out of reach of any one command."""
    amount = int(getattr(box.plan.limits, name))
    return amount - amount // 8 if (paths.TAKEN, name) == ("warm", "processes") else amount


@pytest.mark.parametrize("name", RESOURCE_ROWS)
def test_each_resource_limit_is_the_promised_one(box: Live, name: str) -> None:
    rows = Path(f"/proc/{box.command}/limits").read_text().splitlines()
    (row,) = (row[len(RESOURCE_ROWS[name]) :].split() for row in rows if row.startswith(RESOURCE_ROWS[name] + " "))
    assert row[:2] == [str(of_one_command(box, name))] * 2


RESERVED_PIDS = 300  # numbers that a namespace gives once only (kernel/pid.c)


def test_no_core_dump_is_written(box: Live) -> None:
    """The limit 1, not 0: with 0 the kernel would still start a `core_pattern` pipe handler on the host (core(5))."""
    (row,) = (line for line in Path(f"/proc/{box.command}/limits").read_text().splitlines() if "core file" in line)
    assert set(row.split()[4:6]) == {"1"}


def test_the_pid_namespace_has_the_promised_size(box: Live) -> None:
    read = "result = int(open('/proc/sys/kernel/pid_max').read())"
    host = int(Path("/proc/sys/kernel/pid_max").read_text())
    if tuple(int(part) for part in os.uname().release.split(".")[:2]) < (6, 14):
        assert box.inside(read) == host  # one value for the whole system; RLIMIT_NPROC holds alone
    else:
        assert box.inside(read) == RESERVED_PIDS + of_one_command(box, "processes") < host


def groups(pid: int) -> dict[str, str]:
    rows = (line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    return {names: path for _, names, path in rows}


@pytest.mark.parametrize(
    ("controller", "field", "files"),
    [
        ("memory", "memory_bytes", ("memory.limit_in_bytes", "memory.max")),
        ("pids", "processes", ("pids.max", "pids.max")),
    ],
)
def test_the_control_group_holds_the_promised_limit(
    box: Live, controller: str, field: str, files: tuple[str, str]
) -> None:
    found = groups(box.command)
    v1, v2 = files
    path = found.get(controller, "")
    name, place = (v1, f"/sys/fs/cgroup/{controller}{path}") if path else (v2, f"/sys/fs/cgroup{found.get('', '')}")
    if "ringfence-" not in place:
        pytest.skip("no control group can be had here; the watchdog and RLIMIT_NPROC stand in")
    assert int(Path(place, name).read_text()) == getattr(box.plan.limits, field)
