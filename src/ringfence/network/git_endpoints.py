"""Which requests are git's (gitprotocol-http(5)), and of which repository; what only comes near is refused.

    GET  REPOSITORY/info/refs?service=git-upload-pack | git-receive-pack     what a fetch or a push begins with
    POST REPOSITORY/git-upload-pack                                          a fetch
    POST REPOSITORY/git-receive-pack                                         a push
    GET  REPOSITORY/info/refs, NAME.git/HEAD, NAME.git/objects/...           a fetch by the dumb protocol
    POST REPOSITORY/info/lfs/objects/batch                                   git LFS: which way, its body says
    any  REPOSITORY/info/lfs/..., NAME.git/lfs/..., NAME.git/gitlab-lfs/...  git LFS: locks and objects

A repository is the path before, without its first slash and one `.git` at its end.

SECURITY: a server may find the same service under another spelling (`Git-Receive-Pack`, a slash more, `%2F`, a
parameter). What comes near one is git and, if it is not the very spelling above, has no single meaning: refused. So is
a body of git's types sent anywhere else. Preconditions: paths are canonical (authority.py).
"""

import re
from enum import Enum

import msgspec

from ringfence.policy.urls import resolved

from .malformed import Malformed

UPLOAD_PACK, RECEIVE_PACK = "git-upload-pack", "git-receive-pack"
BATCH = "info/lfs/objects/batch"


class Service(Enum):
    """What a request of git is for."""

    FETCH_REFS = "fetch-refs"
    PUSH_REFS = "push-refs"
    FETCH = "fetch"
    PUSH = "push"
    DUMB = "dumb"
    LFS_BATCH = "lfs-batch"
    LFS_DOWNLOAD = "lfs-download"
    LFS_UPLOAD = "lfs-upload"


class Endpoint(msgspec.Struct, frozen=True):
    """One request of git; `repository` is `owner/name`, `root` the path before the service."""

    service: Service
    repository: str
    root: str


_QUERIES = {
    "": Service.DUMB,
    f"service={UPLOAD_PACK}": Service.FETCH_REFS,
    f"service={RECEIVE_PACK}": Service.PUSH_REFS,
}
_NEAR = re.compile(r"/(?:info/refs/?$|git-(?:upload|receive)-pack(?:/|$)|info/lfs(?:/|$))")
_BELOW = re.compile(r"(.*?[^/]\.git)/(.+)", re.IGNORECASE)
_TYPE = re.compile(rb"\s*application/x-git-(?:upload|receive)-pack", re.IGNORECASE)
_LARGE = re.compile(r"(?:info/lfs|lfs|gitlab-lfs)/.+")
_ROOT = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,=:@%-]+)+")
_READING = ("GET", "HEAD")


def endpoint(method: str, path: str, query: str, content_type: bytes = b"") -> Endpoint | None:
    """Tell which request of git this is; None where it is none. Raises `Malformed` for what only comes near."""
    near = _NEAR.search(resolved(path).lower()) or _BELOW.fullmatch(resolved(path))
    if near is None and not _TYPE.match(content_type):
        return None
    if path != resolved(path) or "%" in path:
        raise Malformed("a path of git that is spelled in another way")
    root, rest = _split(path)
    return Endpoint(_service(method, rest, query), _repository(root), root)


def _split(path: str) -> tuple[str, str]:
    """Cut a path into the repository's and what is asked of it."""
    for suffix in ("info/refs", UPLOAD_PACK, RECEIVE_PACK, BATCH):
        if path.endswith(f"/{suffix}"):
            return path.removesuffix(f"/{suffix}"), suffix
    before, separator, after = path.partition("/info/lfs/")
    if separator:
        return before, f"info/lfs/{after}"
    below = _BELOW.fullmatch(path)
    if below is None:
        raise Malformed("a request of git with a path that git does not use")
    return below[1], below[2]


def _service(method: str, rest: str, query: str) -> Service:
    if rest == "info/refs":
        if query not in _QUERIES or method not in _READING:
            raise Malformed("info/refs with more than one meaning")
        return _QUERIES[query]
    posts = {UPLOAD_PACK: Service.FETCH, RECEIVE_PACK: Service.PUSH, BATCH: Service.LFS_BATCH}
    if rest in posts:
        if query or method != "POST":
            raise Malformed("a service of git is asked by POST, without a query")
        return posts[rest]
    if _NEAR.search(f"/{rest}".lower()) and not rest.startswith("info/lfs/"):
        raise Malformed("a path of git that is spelled in another way")
    if _LARGE.fullmatch(rest):
        return Service.LFS_DOWNLOAD if method in _READING else Service.LFS_UPLOAD
    if method not in _READING:
        raise Malformed("git over WebDAV, or a service of git that is not known")
    return Service.DUMB


def _repository(root: str) -> str:
    name = root.removesuffix(".git")
    if not _ROOT.fullmatch(root) or name.endswith("/") or name.lower().endswith(".git"):
        raise Malformed("not the path of a repository")
    return name[1:]
