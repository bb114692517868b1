"""Whether paths look as they did: in C and in Python, of the same things the same."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.session import cache, look
from ringfence.session.look import ABSENT, FILE, LISTING, MARK, PLACE, STAMP
from tests import native

SEE: dict[int, Callable[[str], tuple[int, ...] | None]] = {
    STAMP: cache.stamp,
    LISTING: cache.listing_stamp,
    PLACE: look.place,
    MARK: look.mark,
    FILE: cache.file_stamp,
    ABSENT: cache.stamp,
}
NAMES = ("file", "directory", "link", "link-to-directory", "dangling", "nothing", "fifo")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes, bytes, int], int]:
    """Give the compiled look."""
    found = look.load(str(native.built(tmp_path_factory.mktemp("look") / "look.so", "--look")))
    assert found
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("text")
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory/inner").write_text("inner")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "link-to-directory").symlink_to("directory")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")
    os.utime(tmp_path / "file", ns=(-5, -5))  # before 1970
    return tmp_path


def seen(how: int, path: str) -> tuple[int, ...] | None:
    """What is seen of a path; `()` where there is nothing and that was expected."""
    try:
        found = SEE[how](path)
    except OSError:
        return None
    if how == ABSENT:
        return () if found is None else None
    return found


def enlarge(root: Path) -> None:
    with (root / "file").open("a") as file:
        file.write("more")


def set_back(root: Path) -> None:
    """Its content is another one, its size and time the same as before."""
    before = (root / "file").stat()
    (root / "file").write_text("next")
    os.utime(root / "file", ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(root: Path) -> None:
    before = (root / "file").stat()
    (root / "new").write_text("text")
    os.utime(root / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (root / "new").rename(root / "file")


def other_directory(root: Path) -> None:
    (root / "directory").rename(root / "old")
    (root / "directory").mkdir()


def turn(root: Path) -> None:
    (root / "link").unlink()
    (root / "link").symlink_to("directory")


CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda root: None,
    "a file is enlarged": enlarge,
    "a file is written and set back": set_back,
    "a file is replaced": replace,
    "a file is made private": lambda root: (root / "file").chmod(0o600),
    "a file has gone": lambda root: (root / "file").unlink(),
    "a directory is made private": lambda root: (root / "directory").chmod(0o700),
    "a directory has another entry": lambda root: (root / "directory/more").touch(),
    "a directory is another": other_directory,
    "a link leads elsewhere": turn,
    "what was not there is there": lambda root: (root / "nothing").touch(),
    "what was not there is a link to nothing": lambda root: (root / "nothing").symlink_to("nowhere"),
    "what a link leads to appears": lambda root: (root / "nowhere").touch(),
    "what a link leads to is a directory now": lambda root: (root / "nowhere").mkdir(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_both_see_the_same_changes(compiled: Callable[[bytes, bytes, int], int], root: Path, change: str) -> None:
    places = [(how, f"{root}/{name}") for how in SEE for name in NAMES]
    before = [(how, path, was) for how, path in places if (was := seen(how, path)) is not None]
    assert len(before) > len(NAMES) * 4
    CHANGES[change](root)
    changed = set()
    for how, path, was in before:
        expected = seen(how, path) == was
        one = look.Look([(how, path, was)])
        assert bool(compiled(one.paths, one.records, one.count)) == expected, (how, path)
        if not expected:
            changed.add((how, path))
    everything = look.Look(before)
    assert bool(compiled(everything.paths, everything.records, everything.count)) == (not changed)
    assert (change == "nothing") == (not changed)


def test_one_that_differs_is_enough_wherever_it_stands(
    compiled: Callable[[bytes, bytes, int], int], root: Path
) -> None:
    known = [look.known(f"{root}/{name}") for name in NAMES]
    for at in range(len(known)):
        how, path, was = known[at]
        other = (ABSENT, path, ()) if how == STAMP else (STAMP, path, (1, 2, 3))
        found = look.Look([*known[:at], other, *known[at + 1 :]])
        assert not compiled(found.paths, found.records, found.count)
        assert was == known[at][2]
    nobody_knows = look.Look([(99, f"{root}/file", known[0][2])])
    assert not compiled(nobody_knows.paths, nobody_knows.records, nobody_knows.count)


def test_without_a_compiled_look_nothing_is_certain(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "no-library.so").write_bytes(b"\x7fELF")
    assert look.load("") is None
    assert look.load(f"{root}/no-library.so") is None
    found = look.Look([look.known(f"{root}/file")])
    monkeypatch.setattr(look, "together", None)
    assert not found.is_the_same()
