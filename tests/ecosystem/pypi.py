"""A Python index: packages made here, and the real build backends that the tools of `.ci/run` brought along."""

import hashlib
import importlib.metadata
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

from tests.ecosystem.archives import tarball, zipped
from tests.integration.lab.sites import SIMPLE
from tests.integration.lab.world import PYTHON_FILES as FILES
from tests.integration.lab.world import PYTHON_INDEX as INDEX

TOOLS = Path("/usr/local/lib/ringfence-tools")
BACKENDS = (
    *("setuptools", "hatchling", "editables", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers"),
    "poetry-core",
)
"""What an isolated build fetches, with what it needs in its turn."""

_WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_C_MODULE = """
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *none) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "demo_native", "", -1, methods};
PyMODINIT_FUNC PyInit_demo_native(void) { return PyModule_Create(&module); }
"""
_C_SETUP = "from setuptools import Extension, setup\nsetup(ext_modules=[Extension('demo_native', ['demo_native.c'])])\n"


def metadata(name: str, requires: Iterable[str] = ()) -> str:
    """Write METADATA (PKG-INFO is the same)."""
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {need}" for need in requires)]
    return "\n".join(lines) + "\n"


def wheel(name: str, text: str, requires: Iterable[str] = ()) -> tuple[str, bytes]:
    """Make a wheel of one module; gives its file name and content."""
    module = name.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    files: dict[str, str | bytes] = {f"{module}.py": text, f"{info}/METADATA": metadata(name, requires)}
    files[f"{info}/WHEEL"] = _WHEEL
    files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{name} = {module}:main\n"
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    return f"{module}-1.0-py3-none-any.whl", zipped(files)


def sdist(name: str, files: dict[str, str], requires: str, backend: str) -> tuple[str, bytes]:
    """Make a source distribution with a build backend."""
    top = f"{name.replace('-', '_')}-1.0"
    project = f'[build-system]\nrequires = ["{requires}"]\nbuild-backend = "{backend}"\n'
    project += f'[project]\nname = "{name}"\nversion = "1.0"\n'
    whole = {"pyproject.toml": project, "PKG-INFO": metadata(name), **files}
    return f"{top}.tar.gz", tarball({f"{top}/{path}": text for path, text in whole.items()})


def installed(name: str) -> tuple[str, bytes]:
    """Make a wheel again out of a pure package that is installed among the tools."""
    place = next(TOOLS.glob("lib/python3*/site-packages"))
    found = next(iter(importlib.metadata.distributions(name=name, path=[str(place)])))
    files: dict[str, str | bytes] = {}
    for path in found.files or ():
        text = str(path)
        if not (text.startswith("..") or text.endswith((".pyc", "RECORD", "INSTALLER", "REQUESTED"))):
            files[text] = Path(str(path.locate())).read_bytes()
    info = next(path for path in files if path.endswith(".dist-info/METADATA")).removesuffix("/METADATA")
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    return f"{info.removesuffix('.dist-info')}-py3-none-any.whl", zipped(files)


def build(sites: Path) -> None:
    """Lay the index and its files down."""
    greet = "def main():\n    print('greetings')\n"
    packages = {
        "demo-leaf": wheel("demo-leaf", "answer = 42\ndef main():\n    print(answer)\n"),
        "demo-middle": wheel("demo-middle", "from demo_leaf import answer\n" + greet, ["demo-leaf>=1"]),
        "demo-top": wheel("demo-top", "from demo_middle import answer\n" + greet, ["demo-middle", "demo-leaf"]),
        "demo-source": sdist("demo-source", {"demo_source.py": "answer = 42\n"}, "hatchling", "hatchling.build"),
        "demo-native": sdist(
            *("demo-native", {"demo_native.c": _C_MODULE, "setup.py": _C_SETUP}), "setuptools", "setuptools.build_meta"
        ),
        **{name: installed(name) for name in BACKENDS},
    }
    for name, (file, data) in packages.items():
        put(sites / FILES / "packages" / file, data)
        link = {"filename": file, "url": f"https://{FILES}/packages/{file}", "yanked": False, "size": len(data)}
        digests = {"sha256": hashlib.sha256(data).hexdigest()}
        version = file.removesuffix(".tar.gz").split("-")[1]
        page = {
            "meta": {"api-version": "1.1"},
            "name": name,
            "versions": [version],
            "files": [link | {"hashes": digests}],
        }
        put(sites / INDEX / "simple" / name / SIMPLE, json.dumps(page).encode())
        # What Poetry asks besides.
        kind = "bdist_wheel" if file.endswith(".whl") else "sdist"
        info: dict[str, object] = {
            "name": name,
            "version": version,
            "summary": "",
            "requires_python": None,
            "yanked": False,
        }
        info["requires_dist"] = requirements_of(file, data)
        about = {"info": info, "urls": [link | {"digests": digests, "packagetype": kind}]}
        put(sites / INDEX / "pypi" / name / version / "json", json.dumps(about).encode())


def requirements_of(file: str, data: bytes) -> list[str]:
    """Read what a wheel says it needs."""
    if not file.endswith(".whl"):
        return []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    return [line.partition(": ")[2] for line in lines if line.startswith("Requires-Dist: ")]


def put(path: Path, data: bytes) -> None:
    """Write a file and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
