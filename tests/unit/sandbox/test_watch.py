"""Who is told what, where several sandboxes of one process share an instance of inotify."""

import errno
import os
import resource
import select
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringfence.sandbox import watch
from ringfence.sandbox.watch import Watcher
from tests.descriptors import open_descriptors
from tests.house.sources import ROOT

OVERFLOW = struct.pack("iIII", -1, watch.IN_Q_OVERFLOW, 0, 0)
Watching = Callable[..., Watcher]


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watching]:
    """Make watchers, all of one instance, that are closed at the end: `watching(path, on, code)`."""
    monkeypatch.setattr(watch, "INSTANCES", 1)
    monkeypatch.setattr(watch, "_kept", watch.Kept())
    made: list[Watcher] = []

    def make(path: Path, on: str = "open", code: str = "path-protected") -> Watcher:
        made.append(Watcher("", [(str(path), on, code, [])]))
        return made[-1]

    yield make
    for one in made:
        if one in one.instance.members:
            one.close()
    assert not watch._kept.instances


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    found = tmp_path / "first", tmp_path / "second"
    for path in found:
        path.write_text("")
    return found


def is_woken(watcher: Watcher) -> bool:
    return bool(select.select([watcher.wake], [], [], 0)[0])


def test_each_is_told_of_its_own_files(watching: Watching, files: tuple[Path, Path]) -> None:
    first, second = (watching(path) for path in files)
    assert first.instance is second.instance
    files[1].read_text()
    assert first.read() == []
    assert is_woken(second) and not is_woken(first)
    assert second.read() == [("path-protected", str(files[1]))]
    assert not is_woken(second) and second.read() == []


def test_whoever_waits_is_woken_as_long_as_something_waits_for_it(watching: Watching, files: tuple[Path, Path]) -> None:
    """Its poll loop must not sleep over an event that somebody else has read."""
    first, second = (watching(path) for path in files)
    for _ in range(3):
        files[1].read_text()
        assert select.select(second.descriptors, [], [], 0)[0]
        first.read()
        assert select.select(second.descriptors, [], [], 0)[0]
        assert second.read()
        assert not select.select(second.descriptors, [], [], 0)[0]


def test_a_file_that_two_see_is_told_to_both_under_their_own_codes(
    watching: Watching, files: tuple[Path, Path]
) -> None:
    path = files[0]
    first, second = watching(path, "open", "decoy-opened"), watching(path, "change", "home-contained")
    path.read_text()
    assert (first.read(), second.read()) == ([("decoy-opened", str(path))], [])
    with path.open("a") as file:
        file.write("x")
    assert {code for code, _ in first.read()} == {"decoy-opened"}
    assert {code for code, _ in second.read()} == {"home-contained"}


def test_what_one_gives_up_the_other_keeps(watching: Watching, files: tuple[Path, Path]) -> None:
    first, second = watching(files[0]), watching(files[0])
    first.close()
    files[0].read_text()
    assert second.read() == [("path-protected", str(files[0]))]


def test_what_nobody_watches_any_more_is_not_watched(watching: Watching, files: tuple[Path, Path]) -> None:
    first, second = (watching(path) for path in files)
    first.close()
    assert second.read() == []  # the end of the watch
    files[0].read_text()
    assert not select.select([second.instance.descriptor], [], [], 0)[0]


def test_that_events_were_lost_is_told_to_all(watching: Watching, files: tuple[Path, Path]) -> None:
    first, second = (watching(path) for path in files)
    with first.instance.lock:
        first.instance.sort(OVERFLOW)
    assert first.read() == second.read() == [("events-lost", "")]


def test_what_waits_for_one_has_a_limit_that_it_is_told_of(
    watching: Watching, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "KEPT_AT_MOST", 2)
    first, second = (watching(path) for path in files)
    for _ in range(5):
        files[1].read_text()
        first.read()
    assert [code for code, _ in second.read()] == ["path-protected", "path-protected", "events-lost"]


def test_the_first_ones_have_one_each(monkeypatch: pytest.MonkeyPatch, watching: Watching, tmp_path: Path) -> None:
    monkeypatch.setattr(watch, "INSTANCES", 3)
    made = [watching(tmp_path) for _ in range(7)]
    assert len({one.instance.descriptor for one in made[:3]}) == 3
    assert sorted(len(one.members) for one in watch._kept.instances) == [2, 2, 3]


def test_where_no_more_can_be_had_one_is_shared(
    monkeypatch: pytest.MonkeyPatch, watching: Watching, files: tuple[Path, Path]
) -> None:
    def refused(*, wait_s: float = 0) -> None:
        raise OSError(errno.EMFILE, f"after {wait_s} s, as where the user has no more of them")

    monkeypatch.setattr(watch, "INSTANCES", 8)
    instance = watch.Instance
    monkeypatch.setattr(watch, "Instance", refused)
    with pytest.raises(OSError, match=r"after 2.0 s, .* no more"):
        watching(files[0])
    monkeypatch.setattr(watch, "Instance", instance)
    first = watching(files[0])
    monkeypatch.setattr(watch, "Instance", refused)
    assert watching(files[1]).instance is first.instance  # at once


def test_nothing_is_left_behind(watching: Watching, files: tuple[Path, Path]) -> None:
    before = open_descriptors()
    made = [watching(path) for path in files]
    assert len(open_descriptors() - before) == 3
    for one in made:
        one.close()
    assert open_descriptors() <= before


FORKS = """
import os, sys
from ringfence.sandbox.watch import Watcher
watches = [(sys.argv[1], "open", "seen", [])]
parents = Watcher("", watches)
if os.fork() == 0:
    own = Watcher("", watches)
    open(sys.argv[1]).close()
    os._exit(0 if own.instance is not parents.instance and own.read() == [("seen", sys.argv[1])] else 1)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
assert parents.read() == [("seen", sys.argv[1])]
"""


def test_a_forked_process_takes_nothing_from_its_parent(files: tuple[Path, Path]) -> None:
    words = [sys.executable, "-c", FORKS, str(files[0])]
    subprocess.run(words, check=True, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})


def test_nothing_is_left_behind_a_flood_of_long_names(
    watching: Watching, tmp_path: Path, files: tuple[Path, Path]
) -> None:
    """The last look of a run is the last: what came before its end may be the kernel's whole queue."""
    flooded = tmp_path / "flooded"
    flooded.mkdir()
    watcher, other = watching(flooded, "change", "home-contained"), watching(files[0])
    for number in range(10_000):  # of 272 bytes each
        (flooded / f"{number:0250}").touch()
        if number % 5_000 == 0:
            assert watcher.read()  # the control
    files[0].read_text()
    assert ("events-lost", "") not in watcher.read()
    assert other.read() == [("path-protected", str(files[0]))]


def test_an_instance_that_is_about_to_be_given_up_is_waited_for() -> None:
    """Those of ended runs are closed by a thread of the kernel (garbage.py): many short runs must not be refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)  # the limit is on numbers
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    later = threading.Timer(0.05, resource.setrlimit, (resource.RLIMIT_NOFILE, (soft, hard)))
    try:
        with pytest.raises(OSError, match="inotify_init1"):
            watch.Instance()
        later.start()
        found = watch.Instance(wait_s=60)
        os.close(found.descriptor)
    finally:
        later.cancel()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
