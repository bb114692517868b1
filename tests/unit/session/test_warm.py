"""What a session tells its first process: which places are each command's own, and each command's share of limits."""

import dataclasses

import pytest

from ringfence.sandbox.command import FRESH, SHARED
from ringfence.session import warm
from ringfence.session.warm import CommandLimits


@dataclasses.dataclass
class Found:
    """As much of an artefact as these look at."""

    cwd: str = "/home/u"
    tmpfs: tuple[str, ...] = ("/", "/tmp", "/run", "/dev/shm", "/home/u")
    visible: tuple[str, ...] = ("/usr", "/home/u/project")
    watches: tuple[tuple[str, str, str, list[str]], ...] = (("/home/u/.profile", "change", "home-contained", []),)
    order: tuple[tuple[str, str], ...] = (("limit", "NPROC=1024"), ("limit", "CORE=1"), ("shmall", "1280"))
    processes: int = 1024


def fresh(**fields: object) -> list[str]:
    """The fresh places of an artefact."""
    return warm.fresh_places(Found(**fields))  # type: ignore[arg-type]  # a likeness


def test_all_private_places_but_the_root_and_the_home() -> None:
    assert fresh() == ["/dev/shm", "/run", "/tmp"]


def test_a_home_below_a_private_place_stays_and_the_place_is_fresh() -> None:
    tmpfs = ("/", "/tmp", "/tmp/h/u")
    watch: tuple[str, str, str, list[str]] = ("/tmp/h/u/.profile", "change", "home-contained", [])
    assert fresh(cwd="/tmp/h/u", tmpfs=tmpfs, watches=(watch,), visible=("/usr",)) == ["/tmp"]


@pytest.mark.parametrize("target", ["/run", "/run/secret"])
def test_a_place_in_which_something_is_watched_is_shared(target: str) -> None:
    assert "/run" not in fresh(watches=((target, "open", "decoy-opened", []),))


def test_what_is_watched_in_a_workspace_below_it_does_not_count() -> None:
    """The workspace's mount is carried over as it is, with the inodes that are watched."""
    watch: tuple[str, str, str, list[str]] = ("/tmp/project/.env", "open", "path-protected", [])
    assert "/tmp" in fresh(visible=("/usr", "/tmp/project"), watches=(watch,))
    assert "/tmp" not in fresh(visible=("/usr", "/tmp/other"), watches=(watch,))


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (CommandLimits(), {"NPROC": 896, "CORE": 1}),
        (CommandLimits(processes=5, cpu_time_s=3), {"NPROC": 5, "CORE": 1, "CPU": 3}),
        (CommandLimits(processes=5000), {"NPROC": 896, "CORE": 1}),
        (CommandLimits(open_files=7, file_size_bytes=8, process_memory_bytes=9), {"NOFILE": 7, "FSIZE": 8, "DATA": 9}),
    ],
)
def test_limits_only_become_narrower(limits: CommandLimits, expected: dict[str, int]) -> None:
    found = dict(warm.narrowed(Found(), limits))  # type: ignore[arg-type]  # a likeness
    assert {name: found[name] for name in expected} == expected


def shares(limits: CommandLimits, kind: str) -> dict[str, str]:
    """The shares of one command."""
    return dict(warm.shares(Found(), limits, kind))  # type: ignore[arg-type]  # a likeness


def test_a_part_of_the_processes_is_kept_back() -> None:
    assert shares(CommandLimits(), FRESH)["pid_max"] == str(300 + 896)
    assert shares(CommandLimits(processes=10), FRESH)["pid_max"] == "310"
    assert shares(CommandLimits(processes=5000), FRESH)["pid_max"] == str(300 + 896)


def test_system_v_memory_is_divided_among_rooms() -> None:
    assert shares(CommandLimits(), FRESH)["shmall"] == "10"
    assert shares(CommandLimits(), SHARED)["shmall"] == "1280"
