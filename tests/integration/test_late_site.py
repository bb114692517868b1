"""`ringfence run` begins without `site`, and everything that `site` finds is found nevertheless."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.house.sources import ROOT

VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
# In the place of the real package: it tells how it was started, and imports what it is told to.
ENTRY = """
import json, os, sys
def main():
    began = "site" in sys.modules
    found = [__import__(name).__name__ for name in os.environ.get("WANTED", "").split()]
    with open("/proc/self/comm") as file:
        title = file.read().strip()
    told = {"argv": sys.argv, "found": found, "path": sys.path, "site": [began, "site" in sys.modules], "title": title}
    print(json.dumps({**told, "executable": sys.executable, "finders": len(sys.meta_path)}))
"""


@pytest.fixture
def prefix(tmp_path: Path, native_client: Path) -> Path:
    """An installation with the real command and script."""
    (tmp_path / "bin").mkdir()
    package = tmp_path / "lib" / VERSION / "site-packages/ringfence/cli"
    package.mkdir(parents=True)
    for directory in (package.parent, package):
        (directory / "__init__.py").write_text("")
    (package / "entry.py").write_text(ENTRY)
    shutil.copy2(native_client, tmp_path / "bin")
    script(tmp_path, f"#!{sys.executable}\n")
    return tmp_path


def script(prefix: Path, first: str, change: str = "# late-site") -> None:
    """Install the script as pip does, which writes its first line."""
    rest = (ROOT / "scripts/ringfence").read_text().removeprefix("#!python\n")
    place = prefix / "bin/ringfence-python"
    place.write_text(first + rest.replace("# late-site", change))
    place.chmod(0o755)


def started(prefix: Path, *words: str, wanted: str = "", path: bool = False) -> dict[str, Any]:
    """What the package saw; `path` where the interpreter has to be told where it is."""
    environment = {"PATH": os.environ["PATH"], "RINGFENCE_SUPERVISOR": "0", "WANTED": wanted, "HOME": str(prefix)}
    if path:
        environment["PYTHONPATH"] = str(prefix / "lib" / VERSION / "site-packages")
    done = subprocess.run(
        [prefix / "bin/ringfence", *words], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_run_begins_without_it(prefix: Path) -> None:
    found = started(prefix, "run", "--", "a b", "")
    command = str(prefix / "bin/ringfence-python")
    assert found["argv"] == [command, "run", "--", "a b", ""]
    assert found["site"] == [False, False]
    assert found["path"][-1] == str(prefix / "lib" / VERSION / "site-packages")
    assert found["path"][0] == str(prefix / "bin")
    assert found["executable"] == sys.executable
    assert found["title"] == "ringfence-pytho"


def test_what_only_site_finds_is_found(prefix: Path) -> None:
    found = started(prefix, "run", wanted="msgspec pytest")
    assert found["found"] == ["msgspec", "pytest"]
    assert found["site"] == [False, True]
    assert found["finders"] == started(prefix, "doctor", wanted="msgspec", path=True)["finders"]


def test_an_installation_by_a_path_file_is_found(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As `pip install -e` and packages of a distribution are: nothing lies beside the command."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    os.rename(prefix / "lib" / VERSION / "site-packages/ringfence", elsewhere / "ringfence")
    user = prefix / ".local/lib" / VERSION / "site-packages"
    user.mkdir(parents=True)
    (user / "editable.pth").write_text(f"{elsewhere}\n")
    interpreter = os.path.realpath(sys.executable)  # a virtual environment has no packages of the user
    script(prefix, f"#!{interpreter}\n")
    found = started(prefix, "run")
    assert found["site"] == [True, True]
    assert str(elsewhere) in found["path"]


@pytest.mark.parametrize(
    ("first", "change"),
    [
        (f"#!{sys.executable}\n", "# nothing"),
        (f"#!{sys.executable} -B\n", "# late-site"),
        (f"#!/usr/bin/env {sys.executable}\n", "# late-site"),
        (f"#!/bin/sh\n'''exec' {sys.executable} \"$0\" \"$@\"\n' '''\n", "# late-site"),
    ],
    ids=["an-older-script", "options", "env", "a-long-path"],
)
def test_what_is_not_understood_is_left_to_the_kernel(prefix: Path, first: str, change: str) -> None:
    script(prefix, first, change)
    assert started(prefix, "run", path=True)["site"] == [True, True]


def test_other_commands_begin_as_ever(prefix: Path) -> None:
    assert started(prefix, "doctor", path=True)["site"] == [True, True]


def test_two_threads_that_need_it_at_once_both_get_it(prefix: Path) -> None:
    entry = prefix / "lib" / VERSION / "site-packages/ringfence/cli/entry.py"
    entry.write_text(
        "import _thread, json\n"
        "def main():\n"
        "    done, found, begin = [_thread.allocate_lock() for _ in range(2)], [], _thread.allocate_lock()\n"
        "    def look(name, lock):\n"
        "        begin.acquire(); begin.release()\n"
        "        try: found.append(__import__(name).__name__)\n"
        "        finally: lock.release()\n"
        "    begin.acquire()\n"
        "    for name, lock in zip(('msgspec', 'pytest'), done):\n"
        "        lock.acquire(); _thread.start_new_thread(look, (name, lock))\n"
        "    begin.release()\n"
        "    for lock in done: lock.acquire()\n"
        "    print(json.dumps({'found': sorted(found)}))\n"
    )
    assert started(prefix, "run")["found"] == ["msgspec", "pytest"]


@pytest.mark.parametrize("words", [("run", "--no-supervisor", "--", "ls"), ("doctor",)])
def test_a_directory_as_standard_input_is_said_to_be_none(prefix: Path, words: tuple[str, ...]) -> None:
    """The interpreter itself would abort."""
    directory = os.open(prefix, os.O_RDONLY)
    try:
        done = subprocess.run([prefix / "bin/ringfence", *words], stdin=directory, capture_output=True, timeout=60)
    finally:
        os.close(directory)
    assert done.returncode == 2
    assert done.stderr.startswith(b"ringfence: descriptor 0 is a directory")
