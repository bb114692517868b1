"""TLS towards upstream hosts and clients: who is believed, and what a failure is called."""

import ssl

import pytest

from ringfence.model.egress import Egress
from ringfence.network import relay, tls
from ringfence.network.authority import Origin
from ringfence.network.ca import SessionAuthority
from ringfence.network.session import Connection, Session
from ringfence.network.stream import Stream
from tests.unit.network.talk import HOST, End, rule, run, talk

WORLD, AUTHORITY, STRANGER = SessionAuthority.create(), SessionAuthority.create(), SessionAuthority.create()
ORIGIN = Origin("https", HOST, 443)

tls.prepare()
tls.upstream_context(http2=False).load_verify_locations(cadata=WORLD.certificate_pem)


async def serve(client: Stream, session: Session, connection: Connection) -> relay.Connect | None:
    await tls.terminate(client, session, HOST, 443)
    return await relay.serve(client, session, connection, ORIGIN)


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=AUTHORITY.certificate_pem)


def test_a_request_under_tls_is_served_and_both_sides_end_cleanly() -> None:
    async def conversation() -> None:
        async with talk(ORIGIN, authority=AUTHORITY, serve=serve) as table:
            await table.client.stream.start_tls(trusting(), server_side=False, server_hostname=HOST)
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")
            upstream = await table.upstream()
            await upstream.stream.start_tls(WORLD.context_for(HOST), server_side=True)
            assert upstream.stream.tls is not None
            assert upstream.stream.tls.selected_alpn_protocol() == "http/1.1"
            assert (await upstream.hear()).endswith(f"host: {HOST}\r\n\r\n".encode())
            await upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert (await table.client.hear_answer())[1] == b"ok"
            assert await table.client.hear_rest() == b""
            assert await upstream.hear_rest() == b""

    run(conversation())


async def handshake_and_hear(upstream: End, context: ssl.SSLContext) -> None:
    await upstream.stream.start_tls(context, server_side=True)
    assert b"secret" not in await upstream.hear_rest()


@pytest.mark.parametrize(
    ("authority", "host"),
    [(STRANGER, HOST), (WORLD, "other.test"), (WORLD, "192.0.2.1")],
    ids=["signer", "name", "address"],
)
def test_a_certificate_that_proves_nothing_is_an_answer(authority: SessionAuthority, host: str) -> None:
    async def conversation() -> None:
        async with talk(ORIGIN, authority=AUTHORITY, serve=serve) as table:
            await table.client.stream.start_tls(trusting(), server_side=False, server_hostname=HOST)
            await table.client.say(f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 6\r\n\r\nsecret")
            upstream = await table.upstream()
            with pytest.raises(OSError, match=r"(?i)alert|reset|eof"):
                await handshake_and_hear(upstream, authority.context_for(host))
            head, body = await table.client.hear_answer()
            assert head.startswith(b"HTTP/1.1 502 ")
            line = b"ringfence: upstream-certificate: the certificate of api.test:443 cannot be verified"
            assert body == line + b" by the authorities of this host\n"
            (record,) = await table.recorded("denial")
            assert record.code == "upstream-certificate"

    run(conversation())


def test_a_host_without_tls_is_an_answer() -> None:
    async def conversation() -> None:
        async with talk(ORIGIN, authority=AUTHORITY, serve=serve) as table:
            await table.client.stream.start_tls(trusting(), server_side=False, server_hostname=HOST)
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.say("HTTP/1.1 400 Bad Request\r\n\r\n")
            assert (await table.client.hear_answer())[1].startswith(b"ringfence: unreachable: ")

    run(conversation())


def test_a_client_that_leaves_is_noticed_while_the_host_thinks() -> None:
    async def conversation() -> None:
        async with talk(ORIGIN, authority=AUTHORITY, serve=serve) as table:
            await table.client.stream.start_tls(trusting(), server_side=False, server_hostname=HOST)
            await table.client.say(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            upstream = await table.upstream()
            await upstream.stream.start_tls(WORLD.context_for(HOST), server_side=True)
            await upstream.hear()
            await table.client.leave()
            with pytest.raises(OSError, match=r"(?i)reset|eof"):
                await upstream.hear_rest()

    run(conversation())


def test_old_versions_are_not_spoken() -> None:
    for context in (tls.upstream_context(http2=False), AUTHORITY.context_for(HOST)):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert tls.upstream_context(http2=False).verify_mode is ssl.CERT_REQUIRED
    assert tls.upstream_context(http2=False).check_hostname


def test_http2_is_offered_by_rule() -> None:
    async def conversation() -> None:
        rules = (rule(http2=True, ports=((443, 443),)), rule("other.test"))
        async with talk(egress=Egress(rules=rules)) as table:
            assert tls.offers_http2(table.session, HOST, 443)
            assert not tls.offers_http2(table.session, HOST, 8443)
            assert not tls.offers_http2(table.session, "other.test", 443)

    run(conversation())
