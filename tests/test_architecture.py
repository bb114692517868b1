"""The house, held to its plan: layers, rooms, sizes, the trusted base's budgets, purity, who may start processes.

The rules themselves, and the samples that each of them must object to, are in tests/house/.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.house import conduct, layout, sizes
from tests.house.documents import repository_files
from tests.house.sources import ROOT, nothing, python_files

SRC = python_files(ROOT, "src")
ALL = python_files(ROOT, "src", "tests", "bench", "examples", "fuzz")
PROCESS_TIMEOUT_S = 100
# Tests that have no meaning on some path of a run. The number does not grow: what fails on a path is mended.
LEFT_OUT_ON_A_PATH = 2

# Modules beside sandbox/launch.py that start a process, and why they must.
MAY_START_PROCESSES: dict[str, str] = {
    "src/ringfence/inside/standby.py": "it makes the processes that become the commands of a shared room",
    "src/ringfence/inside/init.py": "it is process 1 inside the boundary; starting the command is what it is for",
    "src/ringfence/sandbox/programs.py": "the user's own programs that keep secrets and keys; launch.py is full",
    "src/ringfence/sandbox/staging.py": "a child that executes nothing owns the user namespace of an id-mapped mount",
}


def test_every_room_and_file_has_its_place() -> None:
    files = repository_files(ROOT)
    nothing(layout.outside(files))
    nothing(layout.empty_names(files))
    nothing(layout.empty_rooms(ROOT, files))
    nothing(layout.strays(ROOT, files))


def test_modules_and_functions_are_small() -> None:
    nothing(sizes.long_modules(SRC))
    nothing(sizes.long_parameter_lists(SRC))
    nothing(sizes.long_functions(SRC))


def test_every_package_introduces_itself() -> None:
    packages = {path.parent for path in (ROOT / "src/ringfence").rglob("*.py")}
    nothing([str(path) for path in packages if not (path / "__init__.py").is_file()])
    nothing(sizes.long_introductions(SRC))


def test_the_trusted_base_stays_within_its_budgets() -> None:
    nothing(sizes.over_budget(SRC, sizes.BUDGETS))


def test_pure_packages_do_not_reach_out() -> None:
    nothing(conduct.impurities(SRC))


def test_only_the_launcher_starts_processes() -> None:
    nothing(conduct.process_starters(SRC, MAY_START_PROCESSES))


def test_no_error_is_swallowed_below_the_session() -> None:
    nothing(conduct.swallowed_errors(SRC))


def test_no_check_is_an_assert() -> None:
    nothing(conduct.asserts(SRC))


def test_every_suppression_has_its_reason() -> None:
    nothing(conduct.bare_suppressions(ALL))


def test_no_more_tests_are_left_out_on_a_path() -> None:
    found = conduct.left_out_on_a_path(source for source in ALL if source.name.startswith("tests/"))
    assert len(found) <= LEFT_OUT_ON_A_PATH, found


def test_inside_stands_alone() -> None:
    nothing(conduct.strangers_inside(SRC))


# ---- layers: import-linter on the real tree, and on small trees that break the contract in each way


def lint_layers(root: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter with the contract of `root`/pyproject.toml on the package in `root`/src."""
    run = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run(
        [sys.executable, "-c", run],
        cwd=root,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root / "src"), "HOME": str(root)},
        capture_output=True,
        text=True,
        timeout=PROCESS_TIMEOUT_S,
    )


def test_imports_point_one_way() -> None:
    done = lint_layers(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def plant(root: Path, modules: dict[str, str]) -> None:
    """Make a package `ringfence` in `root`/src out of module texts, under this repository's contract."""
    shutil.copy(ROOT / "pyproject.toml", root)
    for name, text in {"model/nouns": "", **modules}.items():
        file = root / "src/ringfence" / f"{name}.py"
        for folder in (file.parent, file.parent.parent):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "__init__.py").touch()
        file.write_text(text)


def test_a_tree_that_keeps_the_contract_passes(tmp_path: Path) -> None:
    plant(tmp_path, {"policy/rules": "import ringfence.model.nouns", "cli/entry": "import ringfence.policy.rules"})
    done = lint_layers(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("modules", "complaint"),
    [
        ({"model/plan": "import ringfence.policy.rules", "policy/rules": ""}, "ringfence.model -> ringfence.policy"),
        ({"audit/writer": "import ringfence.sandbox.launch", "sandbox/launch": ""}, "audit -> ringfence.sandbox"),
        ({"planner/mounts": "import ringfence.monitor.taint", "monitor/taint": ""}, "planner -> ringfence.monitor"),
        ({"session/run": "import ringfence.cli.entry", "cli/entry": ""}, "session -> ringfence.cli"),
        ({"inside/init": "import ringfence.model.nouns"}, "inside -> ringfence.model"),
        ({"kitchen/sink": ""}, "kitchen"),
    ],
)
def test_a_tree_that_breaks_the_contract_fails(tmp_path: Path, modules: dict[str, str], complaint: str) -> None:
    plant(tmp_path, modules)
    done = lint_layers(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert complaint in done.stdout.replace(" is not allowed to import ", " -> ").replace("ringfence.audit", "audit")


# ---- purity at run time: the guard of tests/purity.py, which also watches every other test of this suite


def guarded(text: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Run `text` in a fresh interpreter with the guard installed and `root`/src on its path."""
    opening = (
        "import pkgutil, importlib, sys, typing, msgspec\nfrom tests.purity import PURE, Guard\nGuard().install()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", opening + dedent(text)],
        cwd=root,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{root / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=PROCESS_TIMEOUT_S,
    )


def test_importing_the_pure_packages_touches_nothing() -> None:
    done = guarded(
        """
        for name in PURE:
            if importlib.util.find_spec(name) is None:
                continue
            package = importlib.import_module(name)
            for module in pkgutil.walk_packages(getattr(package, "__path__", []), f"{name}."):
                print(importlib.import_module(module.name).__name__)
        """,
        ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "ringfence.model.plan" in done.stdout.split()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("def act():\n    open('/etc/hostname')", "causes open"),
        ("import linecache\ndef act():\n    linecache.getlines('/etc/hostname')", "causes open"),
        ("def act():\n    import subprocess", "imports subprocess"),
        ("def act():\n    __import__('sqlite3')", "imports sqlite3"),
        ("import posix\ndef act():\n    posix.listdir('/')", "causes os.listdir"),
        ("import _socket\ndef act():\n    _socket.socket()", "causes socket.__new__"),
        ("import threading\ndef act(): ...", "imports threading"),
    ],
)
def test_the_guard_stops_what_a_pure_package_must_not_do(tmp_path: Path, text: str, complaint: str) -> None:
    package = tmp_path / "src/ringfence/policy"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "sample.py").write_text(text)
    done = guarded("import ringfence.policy.sample\nringfence.policy.sample.act()", tmp_path)
    assert done.returncode == 1
    assert "PurityError: ringfence.policy.sample " + complaint in done.stderr


def test_the_guard_lets_the_edges_work(tmp_path: Path) -> None:
    package = tmp_path / "src/ringfence/sandbox"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text(
        "import subprocess, socket\nopen('/dev/null').close()\nsocket.socket().close()"
    )
    done = guarded("import ringfence.sandbox", tmp_path)
    assert done.returncode == 0, done.stderr
