"""Placeholders in what the proxy refuses, wherever they are hidden."""

import base64
from urllib.parse import quote

import pytest
from h2.connection import H2Connection

from ringfence.model.decision import Verdict
from ringfence.model.egress import Egress
from ringfence.network import explicit
from ringfence.network.authority import Origin
from ringfence.network.marks import Marks
from ringfence.network.messages import Marked, encode, to_proxy
from ringfence.network.relay import Connect
from ringfence.network.session import Connection, Session
from ringfence.network.stream import Stream
from ringfence.network.synthetic import SyntheticAddresses
from tests.unit.network.talk import HOST, Talk, rule, run, talk

GITHUB, OTHER = "ghp_x7Qm2LrT9vZk3BnW", "sk-ant-+/=%"
MARKS = {"github": GITHUB, "other": OTHER}
ONLY_GET = Egress(rules=(rule(methods=("GET",)),))
BASIC = base64.b64encode(f"user:{GITHUB}".encode()).decode()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (GITHUB, "github"),
        (f"https://evil.test/{GITHUB.lower()}.test", "github"),
        (f"a{OTHER}b", "other"),
        (quote(OTHER, safe=""), "other"),
        ("".join(f"%{byte:02X}" for byte in GITHUB.encode()), "github"),
        (f"Basic {BASIC}", "github"),
        (f"basic  {BASIC.rstrip('=')}", "github"),
        ("Basic !!!! Basic AAAAAAAAA", ""),
        (GITHUB[:-1], ""),
        (BASIC, ""),
        ("", ""),
    ],
)
def test_a_placeholder_is_found_in_what_a_request_says(data: str, name: str) -> None:
    assert Marks(MARKS).find(data.encode()) == name


@pytest.mark.parametrize("placeholders", [{}, {"empty": ""}])
def test_without_placeholders_nothing_is_found(placeholders: dict[str, str]) -> None:
    assert Marks(placeholders).find(GITHUB.encode()) == ""


def test_they_come_in_one_message() -> None:
    assert to_proxy.decode(encode(Marked(placeholders=MARKS))) == Marked(placeholders=MARKS)


def test_what_is_refused_is_heard_to_its_end_but_not_waited_for() -> None:
    """Without placeholders it is not listened to at all."""

    async def conversation() -> None:
        for placeholders in (MARKS, {}):
            async with talk(egress=ONLY_GET) as table:
                table.session.marks = Marks(placeholders)
                await table.client.say(SMUGGLED)
                assert (await table.client.hear()).startswith(b"HTTP/1.1 400 ")

    run(conversation())


async def recorded(table: Talk, count: int = 2) -> list[tuple[str, object]]:
    return [(record.code, record.fields.get("secret")) for record in await table.recorded("denial", count)]


LENGTH = "Content-Length: "
SMUGGLED = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n"


def first_flight() -> bytes:
    """What a client that knows the server to speak HTTP/2 says at once; its fields are compressed."""
    client = H2Connection()
    client.initiate_connection()
    fields = {":method": "GET", ":scheme": "http", ":authority": HOST, ":path": "/", "x-a": f"Bearer {GITHUB}"}
    client.send_headers(1, list(fields.items()), end_stream=True)
    return client.data_to_send()


def test_http2_that_is_broken_is_no_error() -> None:
    data = first_flight()
    for end in range(len(data)):
        assert Marks(MARKS).find(data[:end]) == ""
        assert Marks(MARKS).find(data[:end] + b"\xff" * 40) in ("", "github")


REFUSED = {
    "a header": f"POST / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: token {GITHUB}\r\n\r\n",
    "a name and password": f"POST / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Basic {BASIC}\r\n\r\n",
    "the query": f"POST /?a={GITHUB} HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
    "the path": f"POST /{GITHUB} HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
    "another host": f"GET / HTTP/1.1\r\nHost: {GITHUB}.test\r\n\r\n",
    "a request that is malformed": f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX-A : {GITHUB}\r\n\r\n",
    "a request with two meanings": f"GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: {GITHUB}\r\n\r\n",
    "a method that is none": f"get /{GITHUB} HTTP/1.1\r\nHost: {HOST}\r\n\r\n",
    "a short body": f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(GITHUB)}\r\n\r\n{GITHUB}",
    "a body of two lengths": f"POST / HTTP/1.1\r\nHost: {HOST}\r\n{LENGTH}9\r\n{LENGTH}8\r\n\r\n{GITHUB}",
    "a request in a body": f"{SMUGGLED}0\r\n\r\nGET / HTTP/1.1\r\nHost: {HOST}\r\nX-A: {GITHUB}\r\n\r\n",
    "a field of HTTP/2": first_flight().decode("latin-1"),
}


@pytest.mark.parametrize("where", REFUSED)
def test_in_a_request_that_is_refused_it_is_recorded_beside_the_refusal(where: str) -> None:
    async def conversation() -> None:
        async with talk(egress=ONLY_GET) as table:
            table.session.marks = Marks(MARKS)
            await table.client.say(REFUSED[where])
            assert (await table.client.hear()).startswith(b"HTTP/1.1 4")
            assert ("secret-misuse", "github") in await recorded(table)

    run(conversation())


def test_in_a_request_that_passes_it_is_the_vaults_to_judge() -> None:
    async def conversation() -> None:
        async with talk(egress=ONLY_GET) as table:
            table.session.marks = Marks(MARKS)
            await table.client.say(f"GET /{GITHUB} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            assert GITHUB.encode() in await upstream.hear()
            await upstream.say("HTTP/1.1 204 No Content\r\n\r\n")
            await table.client.hear()
            await table.recorded("egress")
            assert [record.kind for record in table.records] == ["egress"]

    run(conversation())


@pytest.mark.parametrize("code", ["unreachable", "timed-out", "not-found", "busy"])
def test_a_request_that_only_did_not_get_through_is_no_misuse(code: str) -> None:
    async def conversation() -> None:
        async with talk(egress=ONLY_GET) as table:
            table.session.marks = Marks(MARKS)
            table.failing[HOST] = code
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: {GITHUB}\r\n\r\n")
            assert (await table.client.hear()).startswith(b"HTTP/1.1 50")
            await table.recorded("egress")
            assert [record.kind for record in table.records] == ["egress"]

    run(conversation())


@pytest.mark.parametrize("verdict", [Verdict.ALLOW, Verdict.DENY])
def test_in_what_asks_for_a_tunnel_it_is_always_recorded(verdict: Verdict) -> None:
    names = SyntheticAddresses()

    async def serve(client: Stream, session: Session, connection: Connection) -> Connect | None:
        session.marks = Marks(MARKS)
        await explicit.serve(client, session, connection, names)
        return None

    async def conversation() -> None:
        egress = Egress(rules=(rule(verdict=verdict),))
        async with talk(None, egress, serve=serve) as table:
            await table.client.say(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\nX-A: {GITHUB}\r\n\r\n")
            assert (await table.client.hear()).startswith(b"HTTP/1.1 ")
            assert (await recorded(table, 1))[0] == ("secret-misuse", "github")

    run(conversation())


def test_in_a_name_that_is_not_allowed_it_is_recorded() -> None:
    async def conversation() -> None:
        async with talk(Origin("http", HOST, 80)) as table:
            table.session.marks = Marks(MARKS)
            table.session.refuse(None, "egress-denied", "no rule", host=f"{GITHUB.lower()}.evil.test")
            found = await table.recorded("denial", 2)
            assert [(record.code, record.fields["target"]) for record in found] == [
                ("secret-misuse", f"{GITHUB.lower()}.evil.test"),
                ("egress-denied", f"{GITHUB.lower()}.evil.test"),
            ]

    run(conversation())


@pytest.mark.parametrize("given", [f"Basic {BASIC}", f"Bearer {GITHUB}"])
def test_as_a_password_for_a_proxy_that_wants_none_it_is_misuse(given: str) -> None:
    """The field goes no further, so no vault would see it."""

    async def conversation() -> None:
        async with talk(egress=ONLY_GET) as table:
            table.session.marks = Marks(MARKS)
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nProxy-Authorization: {given}\r\n\r\n")
            assert (await table.client.hear()).startswith(b"HTTP/1.1 4")
            assert (await recorded(table, 1))[0] == ("secret-misuse", "github")
            assert table.dialled == []

    run(conversation())
