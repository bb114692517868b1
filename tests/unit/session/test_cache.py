"""A remembered launch is used only while everything it was made from is unchanged, and only if it is surely ours."""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ringfence.sandbox.artefact import FIELDS, Artefact
from ringfence.session import cache
from tests.paths import wait_until

KEY = "key"
LONG_AGO_NS = 10**18
LATER_NS = 1 << 62  # everything was looked at long after it was made


def artefact(**values: object) -> Artefact:
    return Artefact(**{**dict.fromkeys(FIELDS, ""), **values})


class Remembered:
    """One artefact in the cache, made from a file, a directory, an absent path, a listing and a link to a link."""

    def __init__(self, root: Path) -> None:
        self.file, self.directory, self.absent, self.listing, self.linked = (
            root / name for name in ("file", "directory", "absent", "listing", "linked")
        )
        self.linked.write_text("content")
        self.second_link = root / "second-link"
        self.second_link.symlink_to("linked")
        self.link = root / "link"
        self.link.symlink_to("second-link")
        self.file.write_text("content")
        self.directory.mkdir()
        self.listing.mkdir()
        for path in (self.linked, self.file, self.directory, self.listing):
            os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))  # a change within one tick of the clock is one all the same
        self.store()

    def store(self, key: str = KEY, program: str = "/bin/program") -> None:
        paths = [str(self.file), str(self.directory), str(self.absent), str(self.link)]
        cache.store(key, paths, [str(self.listing)], artefact(program=program), since_ns=LATER_NS)

    @property
    def place(self) -> Path:
        return Path(cache.file_of(KEY))

    def load(self) -> str | None:
        found = cache.load(KEY)
        return found.program if found else None


@pytest.fixture
def remembered(tmp_path: Path) -> Remembered:
    """Give a filled cache."""
    found = Remembered(tmp_path)
    assert found.load() == "/bin/program"
    return found


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_text(path.read_text())
    os.utime(other, ns=(path.stat().st_mtime_ns,) * 2)
    other.rename(path)


def lead(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


CHANGES: dict[str, Callable[[Remembered], object]] = {
    "a file is edited": lambda r: r.file.write_text("other text"),
    "a file is edited to the same length": lambda r: r.file.write_text("CONTENT"),
    "a file is touched": lambda r: os.utime(r.file, ns=(0, 0)),
    "a file is replaced by its like": lambda r: replace(r.file),
    "a file becomes private": lambda r: r.file.chmod(0o600),
    "a file vanishes": lambda r: r.file.unlink(),
    "a file becomes a link": lambda r: link(r.file),
    "a directory vanishes": lambda r: r.directory.rmdir(),
    "a directory becomes private": lambda r: r.directory.chmod(0o700),
    "a path appears as a file": lambda r: r.absent.touch(),
    "a path appears as a directory": lambda r: r.absent.mkdir(),
    "a path appears as a broken link": lambda r: r.absent.symlink_to("nowhere"),
    "an entry appears where a pattern looked": lambda r: (r.listing / "new").touch(),
    "what a link leads to is edited": lambda r: r.linked.write_text("other text"),
    "what a link leads to is replaced by its like": lambda r: replace(r.linked),
    "what a link leads to vanishes": lambda r: r.linked.unlink(),
    "a link on the way leads elsewhere": lambda r: lead(r.second_link, r.file),
    "a link leads elsewhere": lambda r: lead(r.link, r.linked),
    "the directory of a pattern vanishes": lambda r: r.listing.rmdir(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_makes_it_stale(remembered: Remembered, change: str) -> None:
    CHANGES[change](remembered)
    assert remembered.load() is None


def test_what_happens_within_a_directory_does_not(remembered: Remembered) -> None:
    """Only where a pattern was expanded do entries matter: a workspace's own files come and go."""
    (remembered.directory / "new").touch()
    (remembered.file.parent / "unrelated").touch()
    assert remembered.load() == "/bin/program"


def test_keys_do_not_meet(remembered: Remembered) -> None:
    assert cache.load("other key") is None
    remembered.store("other key", "/bin/other")
    other = cache.load("other key")
    assert other is not None and other.program == "/bin/other"
    assert remembered.load() == "/bin/program"


def test_a_record_under_the_name_of_another_key_is_ignored(remembered: Remembered) -> None:
    remembered.place.rename(cache.file_of("other key"))
    assert cache.load("other key") is None


# ---- whose it is


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o620])
def test_a_file_that_others_may_touch_is_ignored(remembered: Remembered, mode: int) -> None:
    remembered.place.chmod(mode)
    assert remembered.load() is None


@pytest.mark.require("root")
def test_a_file_of_somebody_else_is_ignored(remembered: Remembered) -> None:
    os.chown(remembered.place, 4242, 4242)
    assert remembered.load() is None


def test_a_link_is_not_followed(remembered: Remembered) -> None:
    moved = remembered.place.with_name("moved")
    remembered.place.rename(moved)
    remembered.place.symlink_to(moved)
    assert remembered.load() is None


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777])
def test_nothing_is_put_into_a_directory_of_others(remembered: Remembered, mode: int) -> None:
    remembered.place.parent.chmod(mode)
    remembered.place.unlink()
    remembered.store()
    assert not remembered.place.exists()


def test_what_is_written_is_ours_alone(remembered: Remembered) -> None:
    assert remembered.place.stat().st_mode & 0o777 == 0o600
    assert remembered.place.parent.stat().st_mode & 0o777 == 0o700


# ---- damage


def test_a_shortened_file_is_ignored(remembered: Remembered) -> None:
    whole = remembered.place.read_bytes()
    for size in range(len(whole)):
        remembered.place.write_bytes(whole[:size])
        assert remembered.load() is None


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Let a reader that believes a wrong length fail at once instead of filling the machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (256 << 20), hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.usefixtures("little_memory")
def test_a_flipped_bit_is_noticed(remembered: Remembered) -> None:
    whole = remembered.place.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        remembered.place.write_bytes(damaged)
        assert remembered.load() is None


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("text", [b"", b"text", b"\xff" * 100, b"[\x00\x00\x00\x7f"])
def test_other_content_is_ignored(remembered: Remembered, text: bytes) -> None:
    remembered.place.write_bytes(text)
    assert remembered.load() is None


def test_an_artefact_of_another_version_is_ignored(remembered: Remembered, monkeypatch: pytest.MonkeyPatch) -> None:
    from ringfence.sandbox import artefact as module

    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    assert remembered.load() is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    (tmp_path / "elsewhere").mkdir()
    Remembered(tmp_path / "elsewhere")
    assert cache.load(KEY) is None


@pytest.mark.parametrize("fails", [True, False])
def test_a_full_disk_leaves_nothing_half_written(
    remembered: Remembered, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    whole = os.write

    def write(descriptor: int, data: bytes) -> int:
        if fails:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(descriptor, data[:10])

    before = os.listdir(os.path.dirname(cache.file_of(KEY)))
    monkeypatch.setattr(os, "write", write)
    remembered.store("another")
    assert os.listdir(os.path.dirname(cache.file_of(KEY))) == before


def test_it_stays_small(remembered: Remembered) -> None:
    for number in range(cache.KEEP + 10):
        cache.store(f"key {number}", [], [], artefact(), since_ns=LATER_NS)
    assert len(os.listdir(remembered.place.parent)) <= cache.KEEP
    assert cache.load(f"key {cache.KEEP + 9}") is not None


def test_a_directory_that_changed_while_it_was_searched_is_not_remembered(remembered: Remembered) -> None:
    changed_ns = remembered.listing.stat().st_ctime_ns
    for since_ns, kept in (
        (changed_ns - 1, None),
        (changed_ns + 1, None),
        (changed_ns + cache.CLOCK_NS + 1, "program"),
    ):
        remembered.place.unlink(missing_ok=True)
        paths = [str(remembered.file)]
        cache.store(KEY, paths, [str(remembered.listing)], artefact(program="program"), since_ns=since_ns)
        assert remembered.load() == kept


def test_a_directory_s_time_that_was_set_back_is_noticed(remembered: Remembered) -> None:
    before = remembered.listing.stat()
    clock = remembered.listing.with_name("clock")

    def has_ticked() -> bool:
        clock.touch()
        return clock.stat().st_ctime_ns > before.st_ctime_ns

    assert wait_until(has_ticked)
    (remembered.listing / "new").write_text("")
    os.utime(remembered.listing, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert remembered.load() is None
