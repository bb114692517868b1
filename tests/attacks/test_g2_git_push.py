"""G2: a push that policy does not allow reaches the server.

Real git against git's own HTTP server, through the proxy's own code: each push of the table is tried without it, where
it must succeed, and through it. The server's refs are compared before and after.
"""

import base64
import gzip
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from tests.attacks.git_cases import CASES, EVIL, FILE, Case
from tests.attacks.push_by_hand import (
    FLUSH,
    RECEIVE,
    REPOSITORY,
    TYPE,
    ZERO,
    command,
    connect,
    good,
    lines,
    name,
    packed,
    packet,
    remote,
    send,
    tried,
)
from tests.integration.git_bench import Bench, bench_fixture, shell, template_fixture
from tests.integration.git_proxy import HOST, Supervisor, egress, proxying

__all__ = ["bench_fixture", "template_fixture"]

pytestmark = pytest.mark.require("git")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_push(case: Case, bench: Bench, tmp_path: Path) -> None:
    push(case, bench, tmp_path)


ASKING = (
    *("an update", "an update by a merge", "a forced update", "a forced update to what the server has"),
    *("an unrelated history", "a change beside what is denied", "a change of a workflow", "as many commits as allowed"),
    *("a merge that brings the server's own", "a merge that brings a change of its own", "another author in between"),
)


@pytest.mark.parametrize("name", ASKING)
def test_a_push_to_a_server_that_knows_the_first_version_only(name: str, bench: Bench, tmp_path: Path) -> None:
    """What takes asking the server for commits, which is asked in another way there."""
    bench.server.versions = False
    (case,) = (one for one in CASES if one.name == name)
    push(case, bench, tmp_path)


def push(case: Case, bench: Bench, tmp_path: Path) -> None:
    """Push without the proxy, and through it."""
    stepped = bench.shell(case.steps)
    assert stepped.returncode == 0, stepped.stderr
    before = bench.refs()
    shutil.copytree(tmp_path / "server/o/p.git", tmp_path / "server/o/control.git", symlinks=True)
    control = bench.push(case.push, f"http://127.0.0.1:{bench.server.port}/o/control.git")
    assert control.returncode == 0, control.stderr
    reached = bench.server.pushes()
    with proxying(egress([remote(case)]), ("127.0.0.1", bench.server.port)) as (url, supervisor):
        pushed = bench.push(case.push, f"http://{HOST}/o/p.git", http_proxy=url)
    told = supervisor.of("push")
    if case.refused:
        assert pushed.returncode != 0
        assert case.refused in pushed.stderr
        assert "remote: ringfence: " in pushed.stderr and "[remote rejected]" in pushed.stderr
        assert bench.refs() == before
        assert bench.server.pushes() == reached
        assert supervisor.of("denial")[0].code == "push-denied"
        assert told[0].fields["verdict"] == "deny"
    else:
        assert pushed.returncode == 0, pushed.stderr
        assert bench.refs() == shell("git for-each-ref", tmp_path / "server/o/control.git").stdout
        assert bench.refs() != before
        assert told[0].fields["verdict"] == "allow"
        assert supervisor.of("denial") == []


def test_there_are_forty_pushes() -> None:
    assert len(CASES) >= 40
    assert len({case.name for case in CASES}) == len(CASES)


# ---- what git itself does not send


def test_the_pushes_by_hand_are_sound_as_such(bench: Bench) -> None:
    bench.shell(FILE)
    body = command("", name(bench), "refs/heads/agent/x") + FLUSH + packed(bench, "HEAD\n^origin/main\n")
    with proxying(egress([remote(Case(name=""))]), ("127.0.0.1", bench.server.port)) as (url, _):
        status, told = send(url, body, {})
    assert status == 200 and b"ok refs/heads/agent/x" in told
    assert "refs/heads/agent/x" in bench.refs()


def test_a_client_that_lies_about_the_old_tip(bench: Bench) -> None:
    bench.shell("git checkout -q -B old origin/main && " + FILE)
    new, pack = name(bench), packed(bench, "HEAD\n^origin/main\n")
    for old in (name(bench, "origin/main"), ZERO):
        body = command(old, new, "refs/heads/agent/old") + FLUSH + pack
        if old != ZERO:
            assert "it has changed on the server" in tried(bench, body)
        else:
            assert "it has changed on the server" in tried(bench, body, max_commits=5)


def test_a_pack_that_leans_on_the_server(bench: Bench) -> None:
    """A thin pack: the commit cannot be seen, so neither can what it changes."""
    bench.shell(
        "git config pack.compression 0 && for n in $(seq 200); do echo $n >> src/a; done && git add . && " + EVIL
    )
    pack = packed(bench, "HEAD\n^origin/main\n", "--thin")
    body = command("", name(bench), "refs/heads/agent/x") + FLUSH + pack
    told = tried(bench, body, deny_paths=(".github/**",))
    assert "denies" in told or "cannot be inspected" in told


BOTH = pytest.mark.parametrize("versions", [True, False], ids=["second version", "first version"])


@BOTH
def test_a_pack_that_holds_less_than_is_pushed(versions: bool, bench: Bench) -> None:
    bench.server.versions = versions
    bench.shell(f"{EVIL} && {FILE}")
    body = command("", name(bench), "refs/heads/agent/x") + FLUSH + packed(bench, "HEAD\n^HEAD~1\n")
    assert "cannot be inspected" in tried(bench, body, deny_paths=(".github/**",))


@BOTH
def test_a_commit_that_the_server_has_but_no_branch_leads_to(versions: bool, bench: Bench) -> None:
    """As forks share their objects: somebody else's commit is made a branch by naming it."""
    bench.server.versions = versions
    bench.shell(f"{EVIL} && git push -q {bench.place}/server/o/p.git HEAD:refs/hidden/x")
    body = command("", name(bench), "refs/heads/agent/x") + FLUSH + packed(bench, "")
    assert "cannot be inspected" in tried(bench, body, deny_paths=(".github/**",))


BODIES = {
    "a certificate": packet("push-cert\0 report-status\n") + packet("certificate version 0.1\n") + FLUSH,
    "options": command("", "1" * 40, "refs/heads/agent/x", "report-status push-options") + FLUSH + packet("o") + FLUSH,
    "another object format": command("", "1" * 40, "refs/heads/agent/x", "object-format=sha256") + FLUSH,
    "a ref twice": command("", "1" * 40, "refs/heads/agent/x")
    + packet(f"{ZERO} {'2' * 40} refs/heads/agent/x")
    + FLUSH,
    "capabilities twice": command("", "1" * 40, "refs/heads/agent/x")
    + packet(f"{ZERO} {'2' * 40} refs/heads/agent/y\0 atomic")
    + FLUSH,
    "a ref that climbs": command("", "1" * 40, "refs/heads/agent/../main") + FLUSH,
    "a ref with a line end": command("", "1" * 40, "refs/heads/agent/x\nrefs/heads/main") + FLUSH,
    "HEAD": command("", "1" * 40, "HEAD") + FLUSH,
    "a length that is none": b"00zz" + FLUSH,
    "a length of three": b"0003" + FLUSH,
    "a delimiter": command("", "1" * 40, "refs/heads/agent/x") + b"0001" + FLUSH,
    "no end": command("", "1" * 40, "refs/heads/agent/x"),
    "nothing": FLUSH + b"PACK",
    "zeros only": command("", "", "refs/heads/agent/x") + FLUSH,
}


@pytest.mark.parametrize("what", BODIES)
def test_commands_without_one_meaning(what: str, bench: Bench) -> None:
    tried(bench, BODIES[what], delete=True)


@pytest.mark.parametrize(
    "path",
    [
        "/o/p.git/git-receive-pack/",
        "/o/p.git/Git-Receive-Pack",
        "/o/p.GIT/git-receive-pack",
        "/o/p.git/git-receive-pack?x=y",
        "/o/p.git/git%2Dreceive-pack%2F",
        "/o/p.git/git-receive-pack;x",
        "/o%2Fp.git/git-receive-pack",
        "/o/p.git//git-receive-pack",
        "/o/./p.git/git-receive-pack",
        "/q/../o/p.git/git-receive-pack",
        "/o/p.git/x",
        "/elsewhere",
    ],
)
def test_another_spelling_of_the_service(path: str, bench: Bench) -> None:
    tried(bench, good(bench), path=path)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip"])
def test_a_push_that_is_compressed(coding: str, bench: Bench) -> None:
    tried(bench, gzip.compress(good(bench)), {"Content-Encoding": coding})


@pytest.mark.parametrize(
    "service", ["git-receive-pack&service=git-upload-pack", "git-upload-pack&x=y", "git-receive%2Dpack"]
)
def test_refs_asked_for_in_two_ways(service: str, bench: Bench) -> None:
    with proxying(egress([remote(Case(name=""))]), ("127.0.0.1", bench.server.port)) as (url, supervisor):
        asked = bench.shell(
            f"curl -s -o /dev/null -w '%{{http_code}}' '{HOST}{REPOSITORY}/info/refs?service={service}'", http_proxy=url
        )
    assert asked.stdout == "400"
    assert bench.server.seen == []
    assert supervisor.of("denial")


def test_a_push_in_small_chunks_that_waits_to_be_told_to_go_on(bench: Bench) -> None:
    body = good(bench)
    head = f"POST http://{HOST}{RECEIVE} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {TYPE}\r\n"
    with (
        proxying(egress([remote(Case(name=""))]), ("127.0.0.1", bench.server.port)) as (url, _),
        connect(url) as client,
    ):
        client.sendall(head.encode() + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        with suppress(BrokenPipeError, ConnectionResetError):  # it may be answered before it has all come
            for piece in lines(*(body[at : at + 7] for at in range(0, len(body), 7))):
                client.sendall(piece)
        told = b""
        while b"ng refs/heads/main2" not in told and (more := client.recv(10_000)):
            told += more
        assert b"ng refs/heads/main2" in told
    assert not any("POST" in seen for seen in bench.server.seen)


def test_credentials_are_asked_for_by_the_server_alone(bench: Bench) -> None:
    """The proxy's own questions carry what the client sent, and what the server says to them goes to the client."""
    bench.server.credentials = "Basic " + base64.b64encode(b"u:p").decode()
    bench.shell(FILE)
    rules = egress([remote(Case(name="", rule={"max_commits": 9}))])
    with proxying(rules, ("127.0.0.1", bench.server.port)) as (url, _):
        without = bench.push("HEAD:refs/heads/agent/x", f"http://{HOST}{REPOSITORY}", http_proxy=url)
        given = bench.push("HEAD:refs/heads/agent/x", f"http://u:p@{HOST}{REPOSITORY}", http_proxy=url)
    assert without.returncode != 0 and "could not read Username" in without.stderr
    assert given.returncode == 0, given.stderr


def told_refs(supervisor: Supervisor) -> list[object]:
    """What pushes were recorded."""
    return [record.fields["refs"] for record in supervisor.of("push")]


def test_a_push_is_recorded_with_what_it_changes(bench: Bench) -> None:
    bench.shell(FILE)
    with proxying(egress([remote(Case(name=""))]), ("127.0.0.1", bench.server.port)) as (url, supervisor):
        bench.push("HEAD:refs/heads/agent/x", f"http://{HOST}{REPOSITORY}", http_proxy=url)
    assert told_refs(supervisor) == [f"refs/heads/agent/x - {name(bench)}"]
    assert supervisor.of("push")[0].fields["repository"] == "o/p"
