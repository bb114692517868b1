"""Where the native first process comes from: wheels with a compiler and without, and which one a run takes."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house.sources import ROOT

NEEDED = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE")
DATA = "ringfence-0.1.0.data"
WHICH = "from ringfence.sandbox import facts; print(facts.native_init())"
PYTHON = ("init.py", "order.py", "privilege.py", "landlock.py", "rooms.py", "serve.py", "standby.py")
REFERENCE = ("init.c", "serve.c", "standby.c", *PYTHON)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Copy what a build takes."""
    for name in ("src", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "native-*"))
    for name in NEEDED:
        shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


def build(tree: Path, **environment: str) -> tuple[zipfile.ZipFile, str]:
    """Build the wheel; give it and what was said."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=tree,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (tree / "dist").glob("*.whl")
    return zipfile.ZipFile(wheel), done.stdout + done.stderr


def chosen(tree: Path) -> str:
    """Ask which native first process a run from `tree` would take."""
    command = [sys.executable, "-c", WHICH]
    done = subprocess.run(command, env={"PYTHONPATH": f"{tree}/src"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.require("cc")
def test_a_wheel_holds_the_program_and_not_its_source(tree: Path) -> None:
    wheel, _ = build(tree)
    with wheel:
        for name in ("inside/native-init", "sandbox/native-stage", "session/native-look.so"):
            program = wheel.getinfo(f"ringfence/{name}")
            assert program.external_attr >> 16 & 0o777 == 0o755
            assert wheel.read(program)[:4] == b"\x7fELF"
        assert not [name for name in wheel.namelist() if name.endswith(".c")]
        assert "ringfence/inside/init.py" in wheel.namelist()
        command = wheel.getinfo(f"{DATA}/scripts/ringfence")
        assert command.external_attr >> 16 & 0o777 == 0o755
        assert wheel.read(command)[:4] == b"\x7fELF"
        assert wheel.read(f"{DATA}/scripts/ringfence-python").startswith(b"#!python\n# late-site\n")
        assert Path(wheel.filename or "").stem.split("-")[2:4] == ["py3", "none"]
        assert Path(wheel.filename or "").stem.split("-")[4].startswith("linux_")


def test_without_a_compiler_the_wheel_is_pure_and_the_build_says_so(tree: Path) -> None:
    wheel, said = build(tree, CC="no-such-compiler")
    with wheel:
        assert not [name for name in wheel.namelist() if "/native-" in name]
        assert wheel.read(f"{DATA}/scripts/ringfence").startswith(b"#!python")
        assert (wheel.filename or "").endswith("-py3-none-any.whl")
    for what in ("first process", "stager", "look", "command"):
        assert f"the native {what} was not built" in said


def test_a_program_older_than_what_it_follows_is_not_taken(tree: Path) -> None:
    inside = tree / "src/ringfence/inside"
    program = inside / "native-init"
    assert chosen(tree) == ""
    for name in REFERENCE:
        os.utime(inside / name, (1000, 1000))
    program.write_bytes(b"")
    program.chmod(0o755)
    os.utime(program, (1000, 1000))
    assert chosen(tree) == str(program)
    for name in REFERENCE:
        os.utime(inside / name, (1001, 1001))
        assert chosen(tree) == "", name
        os.utime(inside / name, (1000, 1000))
    program.chmod(0o644)
    assert chosen(tree) == ""


def test_an_installed_program_needs_no_source_beside_it(tree: Path) -> None:
    inside = tree / "src/ringfence/inside"
    (inside / "init.c").unlink()
    program = inside / "native-init"
    program.write_bytes(b"")
    program.chmod(0o755)
    os.utime(program, (1000, 1000))
    assert chosen(tree) == str(program)
