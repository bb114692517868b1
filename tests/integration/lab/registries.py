"""A Python index and a node registry with one package each, made as they are first asked for."""

import base64
import functools
import hashlib
import io
import json
import tarfile
import zipfile

from tests.integration.lab.http1 import Response

WHEEL = "labpackage-1.0-py3-none-any.whl"
BALL = "lab-package-1.0.0.tgz"
_EPOCH = (2020, 1, 1, 0, 0, 0)


@functools.cache
def wheel() -> bytes:
    """Give a wheel that holds one module."""
    metadata = "labpackage-1.0.dist-info"
    files = {
        "labpackage.py": "ANSWER = 42\n",
        f"{metadata}/METADATA": "Metadata-Version: 2.1\nName: labpackage\nVersion: 1.0\n",
        f"{metadata}/WHEEL": "Wheel-Version: 1.0\nGenerator: lab\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{metadata}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{metadata}/RECORD"])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), text)
    return out.getvalue()


@functools.cache
def ball() -> bytes:
    """Give the archive of a node package."""
    manifest = {"name": "lab-package", "version": "1.0.0", "main": "index.js"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        files = {"package.json": json.dumps(manifest), "index.js": "module.exports = 42;\n"}
        for name, text in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


async def python_index(response: Response) -> None:
    """`/simple/labpackage/` (the simple repository API, version 1)."""
    if response.request.path != "/simple/labpackage/":
        return await response.send(404, "")
    digest = hashlib.sha256(wheel()).hexdigest()
    page = f'<!DOCTYPE html><html><body><a href="/files/{WHEEL}#sha256={digest}">{WHEEL}</a></body></html>'
    return await response.send(200, page, "text/html")


async def python_file(response: Response) -> None:
    """`/files/WHEEL`."""
    if not response.request.path.endswith(WHEEL):
        return await response.send(404, "")
    return await response.send(200, wheel(), "application/octet-stream")


async def node(response: Response) -> None:
    """`/npm/lab-package` and its archive."""
    request = response.request
    if request.path == f"/npm/lab-package/-/{BALL}":
        return await response.send(200, ball(), "application/octet-stream")
    if request.path != "/npm/lab-package":
        return await response.send(404, "{}", "application/json")
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(ball()).digest()).decode()
    place = f"{request.scheme}://{request.header('host')}/npm/lab-package/-/{BALL}"
    version = {"name": "lab-package", "version": "1.0.0", "dist": {"tarball": place, "integrity": integrity}}
    found = {"name": "lab-package", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    return await response.send(200, json.dumps(found), "application/json")
