"""What a boundary stands on is looked at in fewer system calls than there are paths, and nothing slips through."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.sandbox.artefact import FIELDS, Artefact
from ringfence.session import cache, look, outlook
from ringfence.session.outlook import Missing, Mounts, Outlook
from tests.house.sources import ROOT

KEY = "key"
SETTLED_S = outlook.SETTLED_NS / 1e9 + 0.1
NAMES = ("one", "two", "deep/er/three", "link/four", "dangling/five", "file/six")


class Host:
    """A directory in which much is missing, and what was remembered of it."""

    def __init__(self, root: Path) -> None:
        self.root = root / "home"
        self.outside = root / "outside"
        self.root.mkdir()
        self.outside.mkdir()
        (self.root / "file").write_text("text")
        (self.root / "link").symlink_to(self.outside)
        (self.root / "dangling").symlink_to(root / "nowhere")
        (self.root / "lower").mkdir()
        (self.root / "source").write_text("text")

    def looked_at(self) -> Outlook:
        paths = [str(self.root / name) for name in (*NAMES, "file", "link")]
        lists: dict[str, object] = {name: [] for name in ("covers", "whiteouts")}
        values = {**dict.fromkeys(FIELDS, ""), **lists}
        artefact = Artefact(
            **{**values, "sources": [(str(self.root / "source"), True)], "lowers": [str(self.root / "lower")]}
        )
        cache.store(KEY, paths, [], artefact, since_ns=1 << 62)
        entry = cache.entry(KEY)
        assert entry
        return Outlook(entry, artefact)


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Host]:
    """Give hosts whose directories are old enough to be relied on; all are waited for together."""
    made = [Host(tmp_path_factory.mktemp("host")) for _ in range(len(CHANGES) + 3)]
    time.sleep(SETTLED_S)
    return made.pop


def marked(found: Outlook) -> list[str]:
    """The directories that are relied on."""
    return [os.path.basename(missing.directory) for missing in found.missing if missing.mark]


def replace(host: Host) -> None:
    """Another directory takes the place of the whole, with the name that was missing."""
    host.root.rename(host.root.with_name("old"))
    host.root.mkdir()
    for path in host.root.with_name("old").iterdir():
        path.rename(host.root / path.name)
    (host.root / "one").touch()


def come_and_set_back(host: Host) -> None:
    """Times can be set, but for the one that counts."""
    before = host.root.stat()
    (host.root / "two").touch()
    os.utime(host.root, ns=(before.st_atime_ns, before.st_mtime_ns))


def make_way(host: Host) -> None:
    (host.root / "file").unlink()
    (host.root / "file/six").mkdir(parents=True)


def mount_another(host: Host) -> None:
    (host.root / "source").unlink()
    (host.root / "source").write_text("text 2")


def work_on_another(host: Host) -> None:
    (host.root / "lower").rename(host.root / "old")
    (host.root / "lower").mkdir()


CHANGES: dict[str, Callable[[Host], object]] = {
    "a name appears": lambda h: (h.root / "one").touch(),
    "a name appears, and the time is set back": come_and_set_back,
    "a name is moved there": lambda h: (h.root / "source").rename(h.root / "two"),
    "a name is linked there": lambda h: os.link(h.root / "source", h.root / "one"),
    "a parent appears with the name": lambda h: (h.root / "deep/er/three").mkdir(parents=True),
    "a link that leads nowhere appears": lambda h: (h.root / "one").symlink_to("nowhere"),
    "a name appears behind a link": lambda h: (h.outside / "four").touch(),
    "what a link leads to appears": lambda h: (h.root.parent / "nowhere/five").mkdir(parents=True),
    "a file makes way for a directory": make_way,
    "the directory is another one": replace,
    "what was there is edited": lambda h: (h.root / "file").write_text("other text"),
    "what is mounted is another file": mount_another,
    "the workspace is another directory": work_on_another,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(settled: Callable[[], Host], monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    monkeypatch.setattr(Mounts, "are_the_same", lambda self: True)  # whatever else is mounted on this machine meanwhile
    host = settled()
    found = host.looked_at()
    assert found.holds() and found.holds()
    assert found.is_plainly_the_same() == (look.together is not None)
    CHANGES[change](host)
    assert not found.holds() and not found.is_plainly_the_same()
    found.close()


def test_what_is_missing_is_looked_up_once_for_a_directory_where_that_can_be_relied_on(
    settled: Callable[[], Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = settled()
    found = host.looked_at()
    if found.mounts.kinds().get(host.root.stat().st_dev) not in outlook.RELIABLE:
        pytest.skip("the file system of the temporary directory is none that is relied on")
    assert marked(found) == ["home"]
    asked: list[str] = []
    monkeypatch.setattr(cache, "stamp", asked.append)
    home = next(missing for missing in found.missing if missing.mark)
    assert home.are_missing() and not asked
    found.close()


def test_where_no_rule_holds_each_path_is_looked_up(
    settled: Callable[[], Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = settled()
    kinds = Mounts().kinds()
    names, paths = {"one", "two"}, [str(host.root / "one"), str(host.root / "two")]
    device = host.root.stat().st_dev
    assert Missing(str(host.root), names, paths, {**kinds, device: b"ext4"}).mark
    assert not Missing(str(host.root), names, paths, {**kinds, device: b"fuse.sshfs"}).mark
    assert not Missing(str(host.root), names, paths, {}).mark
    assert not Missing(str(host.root), {"one", "file"}, paths, {**kinds, device: b"ext4"}).mark  # one is there
    assert not Missing("", names, paths, kinds).mark
    monkeypatch.setattr(outlook, "SETTLED_NS", 3600 * 10**9)  # then every directory of this test is young
    young = Missing(str(tmp_path), {"a", "b"}, [f"{tmp_path}/a", f"{tmp_path}/b"], {tmp_path.stat().st_dev: b"ext4"})
    assert not young.mark and young.are_missing()
    (tmp_path / "a").touch()
    assert not young.are_missing()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("one", ("home", "one")),
        ("deep/er/three", ("home", "deep")),
        ("link/four", ("link", "four")),
        ("dangling/five", ("", "")),
        ("file/six", ("", "")),
    ],
)
def test_where_something_would_appear(tmp_path: Path, name: str, expected: tuple[str, str]) -> None:
    host = Host(tmp_path)
    directory, first = outlook.where(str(host.root / name))
    assert (os.path.basename(directory), first) == expected


def test_the_root_is_where_what_has_no_parent_would_appear() -> None:
    assert outlook.where("/ringfence-is-not-there") == ("/", "ringfence-is-not-there")
    assert outlook.where("/") == ("", "")


@pytest.mark.require("root")
def test_a_change_of_the_mounts_is_told_and_stays_told(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    script = f"""
import ctypes, os
from ringfence.session.outlook import Mounts
libc = ctypes.CDLL(None)
os.unshare(0x20000) if hasattr(os, "unshare") else libc.unshare(0x20000)
libc.mount(None, b"/", None, (1 << 18) | 16384, None)  # private, and all below
mounts = Mounts()
place = {str(tmp_path / "place")!r}.encode()
print(mounts.are_the_same(), mounts.are_the_same())
libc.mount(b"tmpfs", place, b"tmpfs", 0, None)
libc.umount2(place, 0)
print(mounts.are_the_same())  # something has happened, and nothing is left of it
libc.mount(b"tmpfs", place, b"tmpfs", 0, None)
print(mounts.are_the_same(), mounts.are_the_same())
libc.umount2(place, 0)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["True", "True", "True", "False", "False"], done.stderr
