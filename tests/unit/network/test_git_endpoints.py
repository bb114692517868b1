"""Which requests are git's, of which repository, and which only come near."""

import pytest

from ringfence.network.git_endpoints import Endpoint, Service, endpoint
from ringfence.network.malformed import Malformed

FOUND = {
    ("GET", "/o/p.git/info/refs", "service=git-upload-pack"): (Service.FETCH_REFS, "o/p", "/o/p.git"),
    ("GET", "/o/p/info/refs", "service=git-receive-pack"): (Service.PUSH_REFS, "o/p", "/o/p"),
    ("GET", "/o/p.git/info/refs", ""): (Service.DUMB, "o/p", "/o/p.git"),
    ("POST", "/o/p.git/git-upload-pack", ""): (Service.FETCH, "o/p", "/o/p.git"),
    ("POST", "/a/b/c/p/git-receive-pack", ""): (Service.PUSH, "a/b/c/p", "/a/b/c/p"),
    ("POST", "/p.git/git-receive-pack", ""): (Service.PUSH, "p", "/p.git"),
    ("POST", "/o/p.git/info/lfs/objects/batch", ""): (Service.LFS_BATCH, "o/p", "/o/p.git"),
    ("GET", "/o/p.git/info/lfs/locks", "path=x"): (Service.LFS_DOWNLOAD, "o/p", "/o/p.git"),
    ("POST", "/o/p/info/lfs/locks/verify", ""): (Service.LFS_UPLOAD, "o/p", "/o/p"),
    ("PUT", "/o/p.git/gitlab-lfs/objects/abc/12", ""): (Service.LFS_UPLOAD, "o/p", "/o/p.git"),
    ("GET", "/o/p.git/HEAD", ""): (Service.DUMB, "o/p", "/o/p.git"),
    ("GET", "/o/p.git/objects/info/packs", ""): (Service.DUMB, "o/p", "/o/p.git"),
    ("POST", "/org/project/_git/repo/git-receive-pack", ""): (
        Service.PUSH,
        "org/project/_git/repo",
        "/org/project/_git/repo",
    ),
}


@pytest.mark.parametrize("request_", FOUND, ids=" ".join)
def test_requests_of_git(request_: tuple[str, str, str]) -> None:
    assert endpoint(*request_) == Endpoint(*FOUND[request_])


@pytest.mark.parametrize(
    "path", ["/", "/o/p", "/o/p.git", "/api/v4/x", "/o/p/infos/refs", "/o/git-receive-packs", "/o/p.gitx/y"]
)
def test_requests_of_others(path: str) -> None:
    assert endpoint("POST", path, "service=git-receive-pack", b"application/json") is None


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", "/o/p.git/info/refs", "service=git-upload-pack&service=git-receive-pack"),
        ("GET", "/o/p.git/info/refs", "service=git%2Dreceive-pack"),
        ("GET", "/o/p.git/info/refs", "Service=git-receive-pack"),
        ("POST", "/o/p.git/info/refs", "service=git-receive-pack"),
        ("GET", "/o/p.git/info/refs/", ""),
        ("GET", "/info/refs", "service=git-upload-pack"),
        ("GET", "/o/p.git/Info/Refs", "service=git-receive-pack"),
        ("POST", "/o/p.git/git-receive-pack", "a=b"),
        ("PUT", "/o/p.git/git-receive-pack", ""),
        ("GET", "/o/p.git/git-receive-pack", ""),
        ("POST", "/o/p.git/git-receive-pack/", ""),
        ("POST", "/o/p.git/git-receive-pack/x", ""),
        ("POST", "/o/p/GIT-RECEIVE-PACK", ""),
        ("POST", "/o%2Fp/git-receive-pack", ""),
        ("POST", "/o/p/git-receive-pack;a=b", ""),
        ("POST", "/o/%C3%A9/git-receive-pack", ""),
        ("POST", "/o/p.GIT/git-receive-pack", ""),
        ("POST", "/o/p.git.git/git-receive-pack", ""),
        ("POST", "/o/.git/git-receive-pack", ""),
        ("POST", "/git-receive-pack", ""),
        ("MKCOL", "/o/p.git/objects/aa", ""),
        ("LOCK", "/o/p.git/refs/heads/main", ""),
        ("POST", "/o/p.git/anything", ""),
    ],
)
def test_what_only_comes_near(method: str, path: str, query: str) -> None:
    with pytest.raises(Malformed):
        endpoint(method, path, query)


@pytest.mark.parametrize(
    "kind", [b"application/x-git-receive-pack-request", b" Application/X-Git-Upload-Pack-Request; a=b"]
)
def test_a_body_of_git_elsewhere(kind: bytes) -> None:
    with pytest.raises(Malformed):
        endpoint("POST", "/elsewhere", "", kind)
