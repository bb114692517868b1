"""git through the proxy as people use it: every version of the protocol, shallow and partial clones, large pushes."""

import hashlib
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from ringfence.model.git import GitRemote, LargeFiles, Pushes
from tests.attacks.git_cases import EVIL, FILE
from tests.integration.git_bench import Bench, bench_fixture, shell, template_fixture
from tests.integration.git_proxy import HERE, HOST, Supervisor, egress, proxying

__all__ = ["bench_fixture", "template_fixture"]

URL = f"http://{HOST}/o/p.git"
AGENT = Pushes(refs=("refs/heads/agent/**",))
GUARDED = Pushes(refs=("refs/heads/agent/**",), deny_paths=(".github/**",), authors=("*@example.com",))
PUSH = f"git push {URL} HEAD:refs/heads/agent/x"

pytestmark = pytest.mark.require("git")


@contextmanager
def through(bench: Bench, *remotes: GitRemote, push: Pushes | None = AGENT) -> Iterator[tuple[str, Supervisor]]:
    """A proxy before the bench's server; without `remotes`, for `o/*`."""
    rules = remotes or (GitRemote(host=HOST, repositories=("o/*",), source=HERE, push=push),)
    with proxying(egress(rules), ("127.0.0.1", bench.server.port)) as given:
        yield given


@pytest.mark.parametrize("version", [0, 1, 2])
def test_clone_fetch_and_push_in_every_version(version: int, bench: Bench) -> None:
    with through(bench, push=GUARDED) as (url, _):
        script = f"""
            git config --global protocol.version {version}
            git clone -q {URL} {bench.place}/again && cd {bench.place}/again && {FILE} && {PUSH}
            git fetch -q origin && git rev-parse origin/agent/x HEAD"""
        done = bench.shell(script, http_proxy=url)
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.split()[-2:])) == 1


@pytest.mark.parametrize(
    "options", ["--depth 1", "--depth 1 --no-single-branch", "--filter=blob:none", "--filter=tree:0"]
)
@pytest.mark.parametrize("push", [AGENT, GUARDED], ids=["refs", "content"])
def test_shallow_and_partial_clones_are_made_used_and_pushed_from(options: str, push: Pushes, bench: Bench) -> None:
    shell("git config uploadpack.allowFilter true", bench.place / "server/o/p.git")
    with through(bench, push=push) as (url, _):
        script = f"""
            git clone -q {options} {URL} {bench.place}/again && cd {bench.place}/again && {FILE} && {PUSH}
            cat .github/workflows/ci.yml docs/a && git fetch -q && {EVIL} && ! {PUSH}2"""
        done = bench.shell(script if push is GUARDED else script.replace("! ", ""), http_proxy=url)
    assert done.returncode == 0, done.stderr
    assert "agent/x" in bench.refs()
    assert ("agent/x2" in bench.refs()) == (push is AGENT)


def test_a_shallow_clone_is_deepened(bench: Bench) -> None:
    with through(bench) as (url, _):
        script = f"""
            git clone -q --depth 1 {URL} {bench.place}/again && cd {bench.place}/again && git fetch -q --unshallow
            git rev-list --count HEAD"""
        assert bench.shell(script, http_proxy=url).stdout == "3\n"


def test_a_fetch_whose_negotiation_is_compressed(bench: Bench) -> None:
    """git compresses what it asks as soon as that is long."""
    many = "for n in $(seq 300); do git commit -q --allow-empty -m $n; git tag t$n; done"
    with through(bench) as (url, _):
        done = bench.shell(f"{many}; git fetch -q {URL} release && git rev-parse FETCH_HEAD", http_proxy=url)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) == 41


@pytest.mark.parametrize("options", ["-c http.postBuffer=1000", "-c http.postBuffer=50000000"])
def test_a_large_push(options: str, bench: Bench) -> None:
    """A body longer than the buffer is chunked, and git asks with an empty push first."""
    bench.shell("head -c 3000000 /dev/urandom > big && git add big && git commit -qm big")
    with through(bench, push=GUARDED) as (url, supervisor):
        done = bench.shell(f"git {options} push {URL} HEAD:refs/heads/agent/x", http_proxy=url)
    assert done.returncode == 0, done.stderr
    assert [record.fields["verdict"] for record in supervisor.of("push")] == ["allow"]
    assert supervisor.spools <= 2


def test_a_large_push_that_is_refused_is_heard_to_its_end(bench: Bench) -> None:
    bench.shell("head -c 3000000 /dev/urandom > big && git add big && git commit -qm big")
    with through(bench) as (url, _):
        done = bench.shell(f"git -c http.postBuffer=1000 push {URL} HEAD:main", http_proxy=url)
    assert "[remote rejected] HEAD -> main" in done.stderr


def test_pushes_one_after_the_other_use_the_same_files(bench: Bench) -> None:
    with through(bench, push=GUARDED) as (url, supervisor):
        for number in range(6):
            done = bench.shell(f"{FILE} && {PUSH}{number}", http_proxy=url)
            assert done.returncode == 0, done.stderr
    assert supervisor.spools == 2


def test_a_server_that_knows_the_first_version_only(bench: Bench) -> None:
    """It is asked for commits in that version; git itself gives over HTTP what is no tip, too."""
    bench.server.versions = False
    shell("git config uploadpack.allowFilter true", bench.place / "server/o/p.git")
    with through(bench, push=GUARDED) as (url, supervisor):
        for number, start in enumerate(("origin/main", "origin/main~1", "v1")):
            done = bench.shell(f"git checkout -q {start} && {FILE} && {PUSH}{number}", http_proxy=url)
            assert done.returncode == 0, done.stderr
            done = bench.shell(f"{EVIL} && ! {PUSH}evil", http_proxy=url)
            assert "which the rule denies" in done.stderr
    asked = [record.fields["path"] for record in supervisor.of("egress") if record.fields.get("purpose")]
    assert asked.count("/o/p.git/git-upload-pack") > 3


def packet(text: str | bytes) -> bytes:
    """Frame a line."""
    data = text.encode() if isinstance(text, str) else text
    return b"%04x%b" % (len(data) + 4, data)


EMPTY_PACK = b"PACK" + (2).to_bytes(4) + bytes(4) + hashlib.sha1(b"PACK" + (2).to_bytes(4) + bytes(4)).digest()
UNFIT = {
    "an error": packet("ERR upload-pack: not our ref 1234"),
    "an error in the pack": packet("NAK\n") + packet(b"\x03access denied"),
    "nothing": b"",
    "nothing but a beginning": packet("NAK\n"),
    "a pack that does not end": packet("NAK\n") + packet(b"\x01" + EMPTY_PACK),
    "a pack of no band": packet("NAK\n") + EMPTY_PACK,
    "a pack before it is announced": packet(b"\x01" + EMPTY_PACK) + b"0000",
    "a page": b"<html>welcome</html>",
    "another pack than is asked for": packet("NAK\n") + packet(b"\x01" + EMPTY_PACK) + b"0000",
    "lines without end": packet("shallow " + "1" * 40) * 2000 + b"0000" + packet("NAK\n"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_server_of_the_first_version_that_says_something_else(what: str, bench: Bench) -> None:
    bench.server.versions = False
    bench.server.instead = {"/git-upload-pack": UNFIT[what]}
    before = bench.refs()
    with through(bench, push=GUARDED) as (url, _):
        done = bench.shell(f"{FILE} && {PUSH}", http_proxy=url)
    assert done.returncode != 0 and "remote: ringfence: refs/heads/agent/x: cannot be inspected: " in done.stderr
    assert bench.refs() == before and bench.server.pushes() == 0


@pytest.mark.parametrize(
    "said", [b"", b"0000", b"<html>", packet("1" * 40 + " HEAD\0ofs-delta"), packet("version 2\n")]
)
def test_a_server_that_cannot_be_asked(said: bytes, bench: Bench) -> None:
    bench.server.instead = {"service=git-upload-pack": said}
    with through(bench, push=GUARDED) as (url, _):
        done = bench.shell(f"{FILE} && {PUSH}", http_proxy=url)
    assert "cannot be inspected: " in done.stderr and bench.server.pushes() == 0


def test_a_repository_of_sha_256(bench: Bench) -> None:
    script = f"""
        git init -q --bare --object-format=sha256 {bench.place}/server/o/new.git
        git -C {bench.place}/server/o/new.git config http.receivepack true
        git init -q --object-format=sha256 {bench.place}/new && cd {bench.place}/new && git commit -q --allow-empty -m m
        git push http://{HOST}/o/new.git HEAD:refs/heads/agent/x"""
    with through(bench) as (url, _):
        done = bench.shell(script, http_proxy=url)
    assert "remote error: ringfence: o/new: repositories with SHA-256 object names are not supported" in done.stderr


def test_what_the_server_says_to_a_push_is_heard(bench: Bench) -> None:
    """Here that there is no such repository, in chunks: the answer goes on as a whole, and the connection with it."""
    with through(bench) as (url, _):
        done = bench.shell(f"git push http://{HOST}/o/none.git HEAD:refs/heads/agent/x", http_proxy=url)
        place = urlsplit(url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=100)
        for _ in range(2):
            connection.request("GET", f"http://{HOST}/o/none.git/info/refs?service=git-receive-pack")
            answer = connection.getresponse()
            assert (answer.status, answer.read(), answer.getheader("transfer-encoding")) == (404, b"", None)
        connection.close()
    assert "not found" in done.stderr


def test_each_reason_why_a_push_was_refused_is_a_denial(bench: Bench) -> None:
    """One that comes back is told once, and counted."""
    with through(bench, push=AGENT) as (url, supervisor):
        for ref in ("a", "b", "a", "tags/v"):
            assert bench.shell(f"git push http://{HOST}/o/p.git HEAD:refs/heads/{ref}", http_proxy=url).returncode != 0
    denials = [(record.fields["reason"], record.fields.get("count")) for record in supervisor.of("denial")]
    no = "no rule allows pushing to this ref"
    told = [(f"refs/heads/{ref}: {no}", None) for ref in ("a", "b", "tags/v")]
    assert denials == [*told, (f"refs/heads/a: {no}, in all", 2)]


def test_a_first_push_to_an_empty_repository(bench: Bench) -> None:
    script = f"""
        git init -q --bare {bench.place}/server/o/new.git
        git -C {bench.place}/server/o/new.git config http.receivepack true
        git push http://{HOST}/o/new.git HEAD:refs/heads/agent/x"""
    with through(bench, push=Pushes(refs=("refs/heads/agent/**",), authors=("*@example.com",))) as (url, _):
        done = bench.shell(script, http_proxy=url)
    assert done.returncode == 0, done.stderr


REFUSED = {
    "another repository": (
        "git ls-remote http://{host}/q/p.git",
        "q/p: no `git.remotes` entry speaks of the repository",
    ),
    "pushing where only fetching is allowed": (
        "git push http://{host}/r/p.git HEAD:x",
        "r/p: no rule allows pushing to it",
    ),
    "fetching where only pushing is allowed": (
        "git ls-remote http://{host}/w/p.git",
        "w/p: a rule denies fetching from it",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_is_told_by_git(what: str, bench: Bench) -> None:
    script, told = REFUSED[what]
    remotes = (
        GitRemote(host=HOST, repositories=("r/**",), source=HERE),
        GitRemote(host=HOST, repositories=("w/**",), source=HERE, fetch=False, push=AGENT),
    )
    with through(bench, *remotes) as (url, supervisor):
        done = bench.shell(script.format(host=HOST), http_proxy=url)
    assert f"fatal: remote error: ringfence: {told}" in done.stderr
    assert bench.server.seen == []
    assert supervisor.of("denial")[0].code in ("git-denied", "push-denied")


def asked(url: str, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> int:
    """Send one request; the status of its answer."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=100)
    try:
        connection.request(method, f"http://{HOST}{path}", body or None, {"Content-Type": kind})
        return connection.getresponse().status
    finally:
        connection.close()


BATCH = "/o/p.git/info/lfs/objects/batch"
DOWNLOAD, UPLOAD = (json.dumps({"operation": word, "objects": []}).encode() for word in ("download", "upload"))
LARGE = (
    ("POST", BATCH, DOWNLOAD, LargeFiles.DOWNLOAD),
    ("POST", BATCH, UPLOAD, LargeFiles.UPLOAD),
    ("GET", "/o/p.git/info/lfs/objects/abc", b"", LargeFiles.DOWNLOAD),
    ("PUT", "/o/p.git/gitlab-lfs/objects/abc/1", b"x", LargeFiles.UPLOAD),
    ("POST", "/o/p.git/info/lfs/locks/verify", b"{}", LargeFiles.UPLOAD),
)


@pytest.mark.parametrize("granted", LargeFiles)
@pytest.mark.parametrize("request_", LARGE, ids=lambda one: f"{one[0]} {one[1]} {one[2][:24]!r}")
def test_large_files_by_rule(request_: tuple[str, str, bytes, LargeFiles], granted: LargeFiles, bench: Bench) -> None:
    method, path, body, needed = request_
    order = list(LargeFiles)
    remote = GitRemote(host=HOST, repositories=("o/*",), source=HERE, push=AGENT, lfs=granted)
    with through(bench, remote) as (url, _):
        status = asked(url, method, path, body)
    allowed = order.index(granted) >= order.index(needed)
    assert bool(bench.server.seen) == allowed
    assert (status == 403) == (not allowed)


@pytest.mark.parametrize(
    "body",
    [
        b'{"operation":"download","operation":"upload"}',
        b'{"operation":"upload","OPERATION":"download"}',
        b'{"oper\\u0061tion":"upload","operation":"download"}',
        b'{"operation":"delete"}',
        b"[]",
        b"{",
        b"",
    ],
)
def test_a_batch_without_one_meaning(body: bytes, bench: Bench) -> None:
    remote = GitRemote(host=HOST, repositories=("o/*",), source=HERE, push=AGENT, lfs=LargeFiles.DOWNLOAD)
    with through(bench, remote) as (url, _):
        assert asked(url, "POST", BATCH, body) == 400
    assert bench.server.seen == []


@pytest.mark.parametrize(
    ("method", "path", "reached"), [("GET", "/o/p.git/HEAD", True), ("PUT", "/o/p.git/HEAD", False)]
)
def test_the_dumb_protocol_reads_and_does_not_write(method: str, path: str, reached: bool, bench: Bench) -> None:
    with through(bench) as (url, _):
        asked(url, method, path)
    assert bool(bench.server.seen) == reached


def test_what_is_not_git_is_none_of_its_business(bench: Bench) -> None:
    with through(bench) as (url, _):
        asked(url, "POST", "/api/v4/projects", b"{}")
    assert [seen[:2] for seen in bench.server.seen] == [("POST", "/api/v4/projects")]


def test_dulwich_pushes_and_is_refused(bench: Bench) -> None:
    """Another client, which sends other capabilities and deltas."""
    porcelain = pytest.importorskip("dulwich.porcelain")
    urllib3 = pytest.importorskip("urllib3")
    bench.shell(FILE)
    with through(bench, push=GUARDED) as (url, supervisor):
        pool = urllib3.ProxyManager(url)
        for ref in ("refs/heads/agent/x", "refs/heads/main2"):
            spec = f"HEAD:{ref}".encode()
            try:
                porcelain.push(str(bench.place / "work"), URL, spec, pool_manager=pool)
            except porcelain.Error:
                assert ref == "refs/heads/main2"
    assert [record.fields["verdict"] for record in supervisor.of("push")] == ["allow", "deny"]
    assert "agent/x" in bench.refs() and "main2" not in bench.refs()
