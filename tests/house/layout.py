"""Which rooms the house has, what may stand in them, and what nothing may be called."""

import re
from collections.abc import Iterable
from pathlib import Path

ROOMS = frozenset(
    "model policy planner monitor trust secrets workspace network sandbox approvals audit session probes report "
    "integrations server fleet cli inside".split()
)
# What may stand beside the rooms: the SDK, the command, the type marker.
HALL = frozenset({"__init__.py", "__main__.py", "py.typed"})
SUITES = frozenset("unit properties contract posture attacks integration e2e utility ecosystem data house".split())
# Beside the suites: what several of them use, and the two tests of the repository itself.
SUITE_FILES = re.compile(r"((?!test_)[a-z_]+|test_architecture|test_repository)\.py")
GROUND = frozenset(
    ".ci .devcontainer .dockerignore .editorconfig .github .gitignore CHANGELOG.md CHARTER.md CONTRIBUTING.md LICENSE "
    "Makefile README.md SECURITY.md SPECIFICATION.md bench changes.d deploy docs examples fuzz hatch_build.py "
    "pyproject.toml requirements scripts src tests".split()
)

# A name that says nothing of what is inside collects whatever has no place.
EMPTY_NAMES = frozenset(
    "util utils utility utilities helper helpers common misc miscellaneous manager managers base stuff core lib "
    "shared tools".split()
)


def empty_names(files: Iterable[str]) -> list[str]:
    """List Python files and folders whose name, or a word of it, says nothing."""
    found = []
    for file in files:
        # The suite of that name measures a sandbox's utility, what still works in it; it is no drawer.
        name = file.removeprefix("tests/utility/").removesuffix(".py")
        words = {word for part in name.split("/") for word in part.lower().split("_")}
        said = words & EMPTY_NAMES
        if said and file.endswith(".py"):
            found.append(f"{file}: `{min(said)}` is no name")
    return found


def outside(files: Iterable[str]) -> list[str]:
    """List files that stand where the plan of the house has no room."""
    found = []
    for file in files:
        parts = file.split("/")
        if parts[0] not in GROUND:
            found.append(f"{file}: no place for it at the top of the repository")
        elif parts[0] == "src" and (parts[1] != "ringfence" or not _in_room(parts[2:])):
            found.append(f"{file}: no such room in src/ringfence")
        elif parts[0] == "tests" and not _in_suite(parts[1:]):
            found.append(f"{file}: no such suite in tests")
    return found


def _in_room(parts: list[str]) -> bool:
    return parts[0] in (HALL if len(parts) == 1 else ROOMS)


def _in_suite(parts: list[str]) -> bool:
    return SUITE_FILES.fullmatch(parts[0]) is not None if len(parts) == 1 else parts[0] in SUITES


def empty_rooms(root: Path, files: Iterable[str]) -> list[str]:
    """List folders of src, tests and docs without a file, and packages with nothing but an `__init__.py`."""
    listed = list(files)
    found = []
    for top in ("src", "tests", "docs", "bench", "examples", "changes.d"):
        folders = [path for path in (root / top).rglob("*") if path.is_dir() and "__pycache__" not in path.parts]
        for folder in folders:
            name = folder.relative_to(root).as_posix()
            if _cached(folder):
                continue
            inhabitants = [file for file in listed if file.startswith(f"{name}/")]
            if not inhabitants:
                found.append(f"{name}: an empty folder")
            elif inhabitants == [f"{name}/__init__.py"]:
                found.append(f"{name}: a package without content")
    return found


def _cached(folder: Path) -> bool:
    """Tell whether a tool made the folder: it says so itself, by name or by a tag file."""
    return any(part.startswith(".") or part.endswith(".egg-info") or part == "results" for part in folder.parts[-2:])


def strays(root: Path, files: Iterable[str]) -> list[str]:
    """List unit tests that mirror no module: tests/unit/PACKAGE/test_MODULE[_SUBJECT].py is tested against src."""
    found = []
    for file in files:
        match = re.fullmatch(r"tests/unit/(.*/)?test_(\w+)\.py", file)
        if match:
            folder = root / "src/ringfence" / (match[1] or "")
            modules = [path.stem for path in folder.glob("*") if path.suffix == ".py" or path.is_dir()]
            if not any(match[2] == module or match[2].startswith(f"{module.strip('_')}_") for module in modules):
                found.append(f"{file}: mirrors no module of src/ringfence")
    return found
