"""After `prepare`, the HTTP core opens no file, loads no module and asks for no address, whatever it serves first."""

import os
import subprocess
import sys

import pytest

from tests.house.sources import ROOT

SCRIPT = """
import ssl, sys
from h2.config import H2Configuration
from h2.connection import H2Connection
from ringfence.model.egress import Egress
from ringfence.network import proxy, relay, tls
from ringfence.network.authority import Origin
from ringfence.network.ca import SessionAuthority
from tests.unit.network.talk import HOST, rule, run, talk

WORLD = SessionAuthority.create()
made = proxy.prepare()
tls.upstream_context(http2=False).load_verify_locations(cadata=WORLD.certificate_pem)
tls.upstream_context(http2=True).load_verify_locations(cadata=WORLD.certificate_pem)
host = WORLD.context_for(HOST, http2="h2" in PROTOCOLS)
client_context = ssl.create_default_context(cadata=made.authority.certificate_pem)
client_context.set_alpn_protocols(PROTOCOLS)
WATCHED = {"open", "import", "socket.getaddrinfo", "socket.gethostbyname", "os.listdir", "subprocess.Popen"}
seen = []

def hook(event, arguments):
    # The test's own sockets are made as they are needed; the core is passed its.
    if event in WATCHED and not str(arguments[0]).startswith(("/proc/self/fd/", "127.0.0.1")):
        seen.append((event, str(arguments[0])))

async def serve(client, session, connection):
    await tls.terminate(client, session, HOST, 443)
    return await relay.serve(client, session, connection, Origin("https", HOST, 443))

async def conversation():
    egress = Egress(rules=(rule(http2="h2" in PROTOCOLS),))
    async with talk(Origin("https", HOST, 443), egress, authority=made.authority, serve=serve) as table:
        sys.addaudithook(hook)
        await table.client.stream.start_tls(client_context, server_side=False, server_hostname=HOST)
        await TALK(table)

async def http1(table):
    await table.client.say(f"PUT /a?b HTTP/1.1\\r\\nHost: {HOST}\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
    await table.client.say("2\\r\\nhi\\r\\n0\\r\\n\\r\\n")
    upstream = await table.upstream()
    await upstream.stream.start_tls(host, server_side=True)
    await upstream.hear(b"0\\r\\n\\r\\n")
    await upstream.say("HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n2\\r\\nhi\\r\\n0\\r\\n\\r\\n")
    await table.client.hear(b"0\\r\\n\\r\\n")
    await table.client.say("GET / HTTP/1.1\\r\\nHost: other.test\\r\\n\\r\\n")
    assert (await table.client.hear()).startswith(b"HTTP/1.1 421 ")

async def until(kind, peer, end):
    while not any(type(event).__name__ == kind for event in peer.receive_data(await end.stream.read())):
        await end.say(peer.data_to_send())

async def http2(table):
    client, server = H2Connection(), H2Connection(H2Configuration(client_side=False))
    client.initiate_connection()
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/")]
    client.send_headers(1, fields, end_stream=True)
    await table.client.say(client.data_to_send())
    upstream = await table.upstream()
    await upstream.stream.start_tls(host, server_side=True)
    server.initiate_connection()
    await until("RequestReceived", server, upstream)
    server.send_headers(1, [(":status", "204")], end_stream=True)
    await upstream.say(server.data_to_send())
    await until("ResponseReceived", client, table.client)

TALK = http2 if "h2" in PROTOCOLS else http1
run(conversation())
assert not seen, seen
"""


@pytest.mark.parametrize("protocols", [["http/1.1"], ["h2"]])
def test_nothing_is_loaded_late(protocols: list[str]) -> None:
    script = SCRIPT.replace("PROTOCOLS", repr(protocols))
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 0, done.stderr
