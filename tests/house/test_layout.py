"""Positive controls: the plan of the house must notice what does not belong."""

from pathlib import Path

import pytest

from tests.house import layout


@pytest.mark.parametrize(
    "file",
    [
        "src/ringfence/utils.py",
        "src/ringfence/policy/path_helpers.py",
        "src/ringfence/common/names.py",
        "tests/unit/test_manager.py",
        "src/ringfence/sandbox/base.py",
    ],
)
def test_names_that_say_nothing_are_listed(file: str) -> None:
    assert len(layout.empty_names([file])) == 1


def test_names_that_say_something_are_not() -> None:
    assert layout.empty_names(["src/ringfence/policy/baseline.py", "src/ringfence/cli/commonality.py"]) == []


@pytest.mark.parametrize(
    "file",
    ["notes.txt", "src/other/a.py", "src/ringfence/kitchen/a.py", "src/ringfence/loose.py", "tests/test_loose.py"],
)
def test_files_without_a_room_are_listed(file: str) -> None:
    assert len(layout.outside([file])) == 1


def test_files_in_their_room_are_not() -> None:
    files = [
        "Makefile",
        "src/ringfence/__init__.py",
        "src/ringfence/policy/parse.py",
        "tests/unit/policy/test_parse.py",
    ]
    assert layout.outside(files) == []


def test_empty_rooms_are_listed(tmp_path: Path) -> None:
    for folder in ("src/ringfence/policy", "src/ringfence/fleet", "docs/empty", "src/ringfence/policy/__pycache__"):
        (tmp_path / folder).mkdir(parents=True)
    files = ["src/ringfence/policy/__init__.py", "src/ringfence/policy/a.py", "src/ringfence/fleet/__init__.py"]
    assert layout.empty_rooms(tmp_path, files) == [
        "src/ringfence/fleet: a package without content",
        "docs/empty: an empty folder",
    ]


def test_unit_tests_mirror_modules(tmp_path: Path) -> None:
    (tmp_path / "src/ringfence/policy").mkdir(parents=True)
    (tmp_path / "src/ringfence/policy/parse.py").touch()
    files = [f"tests/unit/policy/test_{name}.py" for name in ("parse", "parse_errors", "cooking")]
    assert layout.strays(tmp_path, files) == [f"{files[2]}: mirrors no module of src/ringfence"]
