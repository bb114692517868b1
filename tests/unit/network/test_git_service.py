"""Requests of git at a governed host, as the relay hands them over: what is answered without asking anybody."""

import asyncio

import pytest

from ringfence.model.decision import Source
from ringfence.model.egress import Egress
from ringfence.model.git import GitRemote, Pushes
from ringfence.network import tls
from tests.unit.network.talk import HOST, Talk, rule, run, talk

HERE = Source(scope="user")
READING = GitRemote(host=HOST, repositories=("o/*",), source=HERE)
PUSHING = GitRemote(host=HOST, repositories=("o/*",), source=HERE, push=Pushes(refs=("refs/heads/agent/*",)))
OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def governed(*remotes: GitRemote) -> Egress:
    return Egress(rules=(rule(),), git_remotes=remotes)


def post(path: str, body: str, more: str = "") -> str:
    return f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}"


async def passes(table: Talk, request: str) -> None:
    """Send a request that must reach the host."""
    await table.client.say(request)
    upstream = await table.upstream()
    assert (await upstream.hear()).startswith(request[:10].encode())
    await upstream.say(OK)
    assert (await table.client.hear_answer())[1] == b"ok"


@pytest.mark.parametrize(
    "request_",
    [
        f"GET /o/p.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
        post("/o/p.git/git-upload-pack", "0000"),
        post("/o/p.git/git-upload-pack", "gzipped", "Content-Encoding: gzip\r\n"),
        post("/elsewhere", "x"),
    ],
)
def test_fetches_and_what_is_not_git_pass(request_: str) -> None:
    async def conversation() -> None:
        async with talk(egress=governed(READING)) as table:
            await passes(table, request_)

    run(conversation())


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (f"GET /q/p.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: {HOST}\r\n\r\n", 200, "git-denied"),
        (f"GET /o/p.git/info/refs?service=git-receive-pack HTTP/1.1\r\nHost: {HOST}\r\n\r\n", 200, "push-denied"),
        (post("/o/p.git/git-receive-pack", "0000"), 403, "push-denied"),
        (post("/q/p.git/git-upload-pack", "0000"), 403, "git-denied"),
        (post("/o/p.git/info/lfs/objects/batch", '{"operation":"upload"}'), 403, "git-denied"),
        (post("/o/p.git/Git-Receive-Pack", "0000"), 400, "bad-request"),
    ],
)
def test_what_no_rule_allows_reaches_nobody_and_the_connection_goes_on(request_: str, status: int, code: str) -> None:
    async def conversation() -> None:
        async with talk(egress=governed(READING)) as table:
            await table.client.say(request_)
            head, _ = await table.client.hear_answer()
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert b"x-ringfence: " + code.encode() in head.lower()
            assert table.dialled == []
            assert (await table.recorded("denial"))[0].code == code
            await passes(table, f"GET /o/p.git/HEAD HTTP/1.1\r\nHost: {HOST}\r\n\r\n")

    run(conversation())


def test_credentials_are_tried_by_a_push_of_nothing() -> None:
    async def conversation() -> None:
        async with talk(egress=governed(PUSHING)) as table:
            await passes(table, post("/o/p.git/git-receive-pack", "0000"))

    run(conversation())


def test_a_client_that_leaves_in_the_middle_of_its_commands() -> None:
    async def conversation() -> None:
        async with talk(egress=governed(PUSHING)) as table:
            await table.client.say(post("/o/p.git/git-receive-pack", "00ff" + "x" * 300)[:-100])
            table.client.cut()
            await asyncio.wait([table.served])
            assert table.dialled == []

    run(conversation())


def test_a_governed_host_is_not_offered_http2() -> None:
    async def conversation() -> None:
        tls.prepare(http2=True)
        for remotes, offered in (((), True), ((PUSHING,), False)):
            egress = Egress(rules=(rule(http2=True),), git_remotes=remotes)
            async with talk(egress=egress) as table:
                assert tls.offers_http2(table.session, HOST, 443) is offered

    run(conversation())
