"""git over HTTP by git's own CGI program (git-http-backend(1)), its bodies spooled so that packs may be large.

`/git/project.git` is open to all. `/gitauth/NAME.git` wants a token as the password of Basic authentication; its
repositories are made by `make`, and their refs are read by `refs`. Beneath each is a Large File Storage of a few lines.
"""

import asyncio
import base64
import json
import os
import subprocess
import tempfile
from pathlib import Path

from tests.integration.lab.accounts import Accounts, shown
from tests.integration.lab.http1 import CHUNK, Response

AUTHOR = ("-c", "user.name=lab", "-c", "user.email=lab@example.com")
OPEN, GUARDED = "/git/", "/gitauth/"
SETTINGS = (
    "http.receivepack",
    "uploadpack.allowFilter",
    "uploadpack.allowAnySHA1InWant",
    "receive.advertisePushOptions",
)
_CHALLENGE = 'Basic realm="lab"'


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}


def make(root: Path, name: str) -> Path:
    """Make a bare repository with one commit on `main` that any client may fetch from and push to."""
    project = root / f"{name}.git"
    root.mkdir(exist_ok=True)
    run = {"check": True, "env": _environment(root), "stdin": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory() as work:
        steps = [
            ["init", "-q", "--bare", "-b", "main", str(project)],
            *(["-C", str(project), "config", name, "true"] for name in SETTINGS),
            ["init", "-q", "-b", "main", work],
            ["-C", work, *AUTHOR, "commit", "-q", "--allow-empty", "-m", "the first commit of the lab"],
            ["-C", work, "push", "-q", str(project), "main"],
        ]
        for step in steps:
            subprocess.run(["git", *step], **run)  # type: ignore[call-overload]  # one set of options for all
    return project


def refs(project: Path) -> dict[str, str]:
    """Read what each ref of a repository is."""
    argv = ["git", "-c", "safe.directory=*", "-C", str(project), "for-each-ref", "--format=%(refname) %(objectname)"]
    out = subprocess.run(argv, check=True, capture_output=True, text=True, env=_environment(project)).stdout
    return dict(line.split(" ", 1) for line in out.splitlines())


class Git:
    """Serves both roots; `place` is the lab's directory."""

    def __init__(self, place: Path, accounts: Accounts) -> None:
        self._roots = {OPEN: place / "git", GUARDED: place / "gitauth"}
        self._objects: dict[str, bytes] = {}
        self._accounts = accounts

    async def serve(self, response: Response) -> None:
        """Answer one request, whose body has been spooled."""
        request = response.request
        where = next(prefix for prefix in self._roots if request.path.startswith(prefix))
        root = self._roots[where]
        if where == OPEN and not root.exists():
            make(root, "project")
        if where == GUARDED and self._accounts.scopes(shown(request)) is None:
            return await response.send(401, "who are you?\n", www_authenticate=_CHALLENGE)
        if "/lfs/" in request.path:
            return await self._large(response)
        return await _backend(response, root, request.path.removeprefix(where.rstrip("/")))

    async def _large(self, response: Response) -> None:
        """The batch API of git LFS, and the objects themselves."""
        request = response.request
        if not request.path.endswith("/info/lfs/objects/batch"):
            return await self._object(response, request.path.rpartition("/")[2])
        asked = json.loads(request.body)
        base = f"{request.scheme}://{request.header('host')}{request.path.partition('/info/')[0]}/lfs"
        action = asked["operation"]
        found = [
            {"oid": one["oid"], "size": one["size"], "actions": {action: {"href": f"{base}/{one['oid']}"}}}
            for one in asked["objects"]
        ]
        answer = json.dumps({"transfer": "basic", "objects": found})
        return await response.send(200, answer, "application/vnd.git-lfs+json")

    async def _object(self, response: Response, name: str) -> None:
        request = response.request
        if request.method == "PUT":
            self._objects[name] = request.spool.read() if request.spool else request.body
        if name not in self._objects:
            return await response.send(404, "")
        return await response.send(200, self._objects[name], "application/octet-stream")


async def _backend(response: Response, root: Path, path: str) -> None:
    request = response.request
    variables = {
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": path,
        "QUERY_STRING": request.target.partition("?")[2],
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.header("content-type"),
        "CONTENT_LENGTH": str(request.length),
        "HTTP_CONTENT_ENCODING": request.header("content-encoding"),
        "GIT_PROTOCOL": request.header("git-protocol"),
    }
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        "git", "http-backend", stdin=request.spool or pipe, stdout=pipe, env=_environment(root) | variables
    )
    if child.stdin:
        child.stdin.write(request.body)
        child.stdin.close()
    assert child.stdout is not None
    head = (await child.stdout.readuntil(b"\r\n\r\n")).decode()
    headers = dict(line.split(": ", 1) for line in head.split("\r\n") if ": " in line)
    response.head(int(headers.pop("Status", "200").split(" ")[0]), headers | {"Transfer-Encoding": "chunked"})
    while data := await child.stdout.read(len(CHUNK)):
        await response.chunk(data)
    await response.chunk(b"")
    await child.wait()
    if request.spool:
        request.spool.close()


def basic(password: str, user: str = "x-access-token") -> str:
    """Give the header's value that a client sends for a token."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
