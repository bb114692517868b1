"""Upper layers as this kernel writes them, and as nobody should, read as changes."""

import os
import socket
import stat
from pathlib import Path

import pytest

from ringfence.workspace import overlay
from ringfence.workspace.change import Change, ChangeKind, FileType
from tests.trees import Place, opaque, whiteout, write


def changes(place: Place) -> dict[str, Change]:
    found = overlay.changes(place.run.upper, place.run.workspace)
    assert [change.path.split("/") for change in found] == sorted(change.path.split("/") for change in found)
    return {change.path: change for change in found}


def kinds(place: Place) -> dict[str, tuple[str, str]]:
    return {path: (change.kind.value, change.type.value) for path, change in changes(place).items()}


FILES: dict[str, str | bytes | None] = {"a": "a", "b": "b", "dir/x": "x", "dir/y": "y", "dir/sub/z": "z", "l": "-> a"}


@pytest.mark.require("overlay", "bubblewrap")
def test_the_kernel_s_layer(tmp_path: Path) -> None:
    place = Place(tmp_path, FILES)
    place.contain(
        "sh",
        "-c",
        "echo more >> a; chmod 600 a; rm b; mv dir moved; mkdir new; echo n > new/f; ln -sf b l; ln new/f new/hard; "
        "mkfifo p",
    )
    found = changes(place)
    assert {path: change.kind.value for path, change in found.items()} == {
        "a": "modify",
        "b": "delete",
        "dir": "delete",
        "dir/sub": "delete",
        "dir/sub/z": "delete",
        "dir/x": "delete",
        "dir/y": "delete",
        "l": "modify",
        "moved": "create",
        "moved/sub": "create",
        "moved/sub/z": "create",
        "moved/x": "create",
        "moved/y": "create",
        "new": "create",
        "new/f": "create",
        "new/hard": "create",
        "p": "create",
    }
    assert (found["a"].mode, found["a"].old_mode, found["a"].size) == (0o600, 0o644, 6)
    assert found["l"].link == "b"
    assert found["p"].type is FileType.FIFO
    assert found["new/f"].nlink == 2
    assert found["dir/x"].old_type is FileType.FILE


@pytest.mark.require("overlay", "bubblewrap")
def test_what_was_only_copied_up_or_touched_is_no_change(tmp_path: Path) -> None:
    place = Place(tmp_path, FILES)
    place.contain(
        "sh", "-c", "touch a dir/x; chmod 600 b; chmod 644 b; echo y > dir/y2; rm dir/y2; printf z > dir/sub/z"
    )
    assert kinds(place) == {}


@pytest.mark.require("overlay", "bubblewrap")
def test_a_directory_made_anew_hides_what_was_there(tmp_path: Path) -> None:
    place = Place(tmp_path, FILES)
    place.contain("sh", "-c", "rm -r dir; mkdir dir dir/sub; printf y > dir/y; echo w > dir/sub/w")
    assert kinds(place) == {
        "dir/sub/w": ("create", "file"),
        "dir/sub/z": ("delete", "file"),
        "dir/x": ("delete", "file"),
    }


@pytest.mark.require("overlay", "bubblewrap")
def test_types_that_change(tmp_path: Path) -> None:
    place = Place(tmp_path, FILES)
    place.contain("sh", "-c", "rm -r dir a l; echo f > dir; mkdir a l; echo i > a/inner")
    assert kinds(place) == {
        "a": ("replace", "directory"),
        "a/inner": ("create", "file"),
        "dir": ("replace", "file"),
        "dir/sub": ("delete", "directory"),
        "dir/sub/z": ("delete", "file"),
        "dir/x": ("delete", "file"),
        "dir/y": ("delete", "file"),
        "l": ("replace", "directory"),
    }


@pytest.mark.require("overlay", "bubblewrap")
def test_odd_names(tmp_path: Path) -> None:
    place = Place(tmp_path, {"odd name\n": "old", "\u00e9": "old"})
    place.contain_python(
        "open(b'\\xff\\xfe','w').write('x'); open('odd name\\n','w').write('new'); open('\\u00e9','a').write('+')"
    )
    assert set(kinds(place)) == {"\udcff\udcfe", "odd name\n", "\u00e9"}


def test_layers_written_by_hand(tmp_path: Path) -> None:
    place = Place(tmp_path, FILES)
    whiteout(place.upper, "a")
    whiteout(place.upper, "never-was")
    opaque(place.upper, "dir")
    whiteout(place.upper, "dir/x")
    (place.upper / "b").write_bytes(b"")
    os.setxattr(place.upper / "b", "user.overlay.whiteout", b"")
    assert kinds(place) == {
        "a": ("delete", "file"),
        "b": ("delete", "file"),
        "dir/sub": ("delete", "directory"),
        "dir/sub/z": ("delete", "file"),
        "dir/x": ("delete", "file"),
        "dir/y": ("delete", "file"),
    }


@pytest.mark.parametrize("attribute", ["redirect", "metacopy"])
def test_features_that_are_not_enabled_are_refused(tmp_path: Path, attribute: str) -> None:
    place = Place(tmp_path, FILES)
    write(place.upper, {"other/x": "x"})
    os.setxattr(place.upper / "other", f"user.overlay.{attribute}", b"/dir")
    assert kinds(place) == {"other": ("unreadable", "directory")}


def test_attributes_and_types_are_reported(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    write(place.upper, {"x": "x"})
    os.setxattr(place.upper / "x", "user.comment", b"c")
    os.setxattr(place.upper / "x", "user.overlay.origin", b"")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"/proc/self/fd/{os.open(place.upper, os.O_PATH)}/socket")
    found = changes(place)
    assert found["x"].xattrs == ("user.comment",)
    assert found["socket"].type is FileType.SOCKET


@pytest.mark.require("root")
def test_devices_are_reported(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    os.mknod(place.upper / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(place.upper / "disk", stat.S_IFBLK | 0o600, os.makedev(8, 0))
    assert kinds(place) == {"null": ("create", "device"), "disk": ("create", "device")}


def test_a_layer_deeper_than_any_path(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    directory = os.open(place.upper, os.O_PATH)
    name = "n" * 200
    for _ in range(25):  # 5,000 bytes of path, more than PATH_MAX
        os.mkdir(name, dir_fd=directory)
        deeper = os.open(name, os.O_PATH, dir_fd=directory)
        os.close(directory)
        directory = deeper
    os.close(directory)
    found = changes(place)
    assert [change.kind for change in found.values()].count(ChangeKind.UNREADABLE) == 1
    assert found[max(found, key=len)].detail == "File name too long"


def test_an_unreadable_directory_does_not_hide_the_rest(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    write(place.upper, {"closed/x": "x", "open/y": "y"})
    os.chmod(place.upper / "closed", 0)
    found = kinds(place)
    assert found["open/y"] == ("create", "file")
    if os.geteuid() != 0:
        assert found["closed"] == ("unreadable", "directory")
        assert "closed/x" not in found


def test_a_missing_layer_is_an_error(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    os.rmdir(place.upper)
    with pytest.raises(FileNotFoundError):
        changes(place)


def test_sparse_files_are_compared_by_what_they_hold(tmp_path: Path) -> None:
    place = Place(tmp_path, {})
    for root in (place.workspace, place.upper):
        with open(root / "sparse", "wb") as file:
            file.truncate(1 << 40)
            file.seek(1 << 39)
            file.write(b"in the middle")
    assert kinds(place) == {}
    with open(place.upper / "sparse", "r+b") as file:
        file.seek((1 << 40) - 1)
        file.write(b"!")
    found = changes(place)["sparse"]
    assert found.kind is ChangeKind.MODIFY
    assert found.size == 1 << 40
    assert found.allocated < 1 << 20
