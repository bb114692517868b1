"""Hosts whose answers are files: what lies at `{LAB}/sites/HOST/PATH` is what that host answers to `PATH`.

Registries of packages are static trees, so a test makes one by writing files.
"""

import urllib.parse
from pathlib import Path

from tests.integration.lab.http1 import Request, Response

KINDS = {".html": "text/html", ".json": "application/json", ".xml": "text/xml", ".pom": "text/xml"}
KINDS[".simple+json"] = "application/vnd.pypi.simple.v1+json"
INDEX = "index.html"
SIMPLE = "index.simple+json"
"""The page of a package in a Python index, in the form that all its clients take."""


class Sites:
    """The files of all hosts."""

    def __init__(self, place: Path) -> None:
        self._root = place / "sites"

    def find(self, request: Request, host: str) -> Path | None:
        """The file that a request names; None where there is none."""
        site = self._root / host
        path = urllib.parse.unquote(request.target.partition("?")[0])
        if not host or ".." in path.split("/") or request.method not in ("GET", "HEAD"):
            return None
        # `NAME.json` stands for a name that is a directory as well: a package and its archives.
        candidates = (f"{path}/{INDEX}", f"{path}/{SIMPLE}", path, f"{path}.json")
        files = (site / candidate.strip("/") for candidate in candidates)
        return next((file for file in files if file.is_file()), None)

    def has(self, host: str) -> bool:
        """Whether the host is one of files: then what is not there is not found."""
        return bool(host) and (self._root / host).is_dir()


async def serve(response: Response, data: bytes, suffix: str) -> None:
    """Send what a file holds."""
    await response.send(200, data, KINDS.get(suffix, "application/octet-stream"))


async def missing(response: Response) -> None:
    """There is no such file."""
    await response.send(404, "no such file\n")
