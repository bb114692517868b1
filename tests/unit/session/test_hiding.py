"""Whiteouts in a run's layers: made before it, taken away after it, whatever the command did meanwhile."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from ringfence.sandbox.artefact import FIELDS, Artefact
from ringfence.session import hiding


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Artefact, Path]:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    for directory in (lower / "a/b", upper):
        directory.mkdir(parents=True)
    (lower / "a").chmod(0o750)
    values: dict[str, object] = dict.fromkeys(FIELDS, "")
    values |= {"lowers": [str(lower)], "whiteouts": [(0, "top"), (0, "a/b/deep"), (0, "a/c")], "idmap": False}
    return Artefact(**values), upper


def hide(layers: tuple[Artefact, Path]) -> Path:
    hiding.hide(layers[0], [str(layers[1])])
    return layers[1]


def reveal(layers: tuple[Artefact, Path]) -> list[str]:
    hiding.reveal(layers[0], [str(layers[1])])
    return sorted(path.relative_to(layers[1]).as_posix() for path in layers[1].rglob("*") if not path.is_dir())


def test_names_are_removed_and_what_is_above_looks_like_below(layers: tuple[Artefact, Path]) -> None:
    upper = hide(layers)
    for name in ("top", "a/b/deep", "a/c"):
        found = (upper / name).lstat()
        assert stat.S_ISCHR(found.st_mode) and found.st_rdev == 0
    assert (upper / "a").stat().st_mode & 0o7777 == 0o750


def test_afterwards_nothing_is_left(layers: tuple[Artefact, Path]) -> None:
    hide(layers)
    assert reveal(layers) == []


def test_what_the_command_made_under_the_name_stays(layers: tuple[Artefact, Path]) -> None:
    upper = hide(layers)
    (upper / "top").unlink()
    (upper / "top").write_text("x")
    assert reveal(layers) == ["top"]


def test_directories_that_have_gone_or_became_something_else_are_left_alone(layers: tuple[Artefact, Path]) -> None:
    upper = hide(layers)
    shutil.rmtree(upper / "a")
    (upper / "a").write_text("x")
    assert reveal(layers) == ["a"]
    (upper / "a").unlink()
    assert reveal(layers) == []


def test_no_link_is_followed(layers: tuple[Artefact, Path], tmp_path: Path) -> None:
    upper = hide(layers)
    outside = tmp_path / "outside"
    outside.mkdir()
    os.mknod(outside / "c", stat.S_IFCHR, 0)
    shutil.rmtree(upper / "a")
    (upper / "a").symlink_to(outside)
    reveal(layers)
    assert os.path.lexists(outside / "c")
