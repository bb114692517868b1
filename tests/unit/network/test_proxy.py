"""The proxy as a whole: from the first message on its channel to the last connection, over sockets of this machine.

Longer than 400 lines: the life of one session from its first message to its end; parts of it have files of their own.
"""

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import msgspec
import pytest

from ringfence.model.egress import HOST_LOOPBACK, Egress, Inspection
from ringfence.network import proxy
from ringfence.network.ca import SessionAuthority
from ringfence.network.channel import Channel
from ringfence.network.messages import Accepted, Answer, Marked, Record, Replace, Serve
from ringfence.network.proxy import FAREWELL_TIMEOUT_S, Front, plain
from ringfence.network.session import FIRST_BYTE_TIMEOUT_S, MAX_CONNECTIONS, Session
from ringfence.network.stream import Stream
from tests.unit.network import hellos
from tests.unit.network.conversation import Supervisor, authority, echo, egress, rule, run
from tests.unit.network.test_dns_server import outcome, query
from tests.unit.network.test_transparent import ending

RAW = Inspection.RAW
LOCAL = "127.0.0.1"


class Running:
    """A proxy that serves, and how to get at it."""

    def __init__(self, supervisor: Supervisor, ports: dict[str, int], task: "asyncio.Task[None]") -> None:
        self.supervisor = supervisor
        self.ports = ports
        self.task = task
        self.clients: list[Stream] = []

    async def connect(self, kind: str = "tcp") -> Stream:
        client = await Stream.over(socket.create_connection((LOCAL, self.ports[kind])))
        self.clients.append(client)
        return client


def listening(kind: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "dns-udp" else socket.SOCK_STREAM)
    made.bind((LOCAL, 0))
    if kind != "dns-udp":
        made.listen(1024)
    return made


@asynccontextmanager
async def serving(rules: Callable[[int], Egress], *kinds: str, password: str = "") -> AsyncIterator[Running]:
    """Run a proxy with listening sockets of `kinds`; `rules` are given for the port of the captured one."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supervisor = Supervisor(far)
    sockets = {kind: listening(kind) for kind in kinds or ("tcp",)}
    ports = {kind: made.getsockname()[1] for kind, made in sockets.items()}
    loop = asyncio.get_running_loop()
    task = loop.create_task(proxy.serve(near, authority()))
    opening = Serve(egress=rules(ports.get("tcp", 0)), sockets=tuple(sockets), password=password)
    supervisor.say(opening, *(made.fileno() for made in sockets.values()))
    for made in sockets.values():
        made.close()
    hearing = loop.create_task(supervisor.listen())
    running = Running(supervisor, ports, task)
    try:
        yield running
        if not task.done():
            far.shutdown(socket.SHUT_WR)
            await task
        await hearing
    finally:
        for client in running.clients:
            client.abort()
        for helper in (hearing, task, *supervisor.tasks):
            helper.cancel()
        results = await asyncio.gather(hearing, task, *supervisor.tasks, return_exceptions=True)
        far.close()
        near.close()
        for result in results:
            if isinstance(result, Exception):
                raise result


def host_loopback(port: int) -> Egress:
    """What is captured on 127.0.0.1 goes to the host's own loopback."""
    return egress(rule(HOST_LOOPBACK, inspection=RAW, ports=((port, port),)))


def test_a_captured_connection_is_served_and_told_of() -> None:
    async def talk() -> None:
        async with serving(host_loopback) as it:
            it.supervisor.upstream[HOST_LOOPBACK, it.ports["tcp"]] = echo
            client = await it.connect()
            await client.write(b"hello")
            assert await client.read() == b"hello"
            (accepted,) = it.supervisor.all(Accepted)
            assert accepted.client == client.socket.getsockname()
            assert accepted.local == (LOCAL, it.ports["tcp"])
            await client.close()
            await it.supervisor.until(lambda: bool(it.supervisor.all(Record)))
            (record,) = it.supervisor.all(Record)
            assert (record.connection, record.fields["sent_bytes"]) == (accepted.connection, 5)

    run(talk())


def test_a_raw_client_whose_host_cannot_be_reached_is_reset() -> None:
    async def talk() -> None:
        async with serving(host_loopback) as it:
            client = await it.connect()
            with pytest.raises(ConnectionResetError):
                await client.read()

    run(talk())


def test_an_ended_connection_is_forgotten() -> None:
    async def talk() -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with far, listening("tcp") as made:
            channel = Channel(near)
            session = Session(egress(rule(HOST_LOOPBACK)), channel, authority())
            front = Front(session, Serve(egress=egress(), sockets=("tcp",)), (os.dup(made.fileno()),))
            client = await Stream.over(socket.create_connection(made.getsockname()))
            await client.write(b"\0")
            assert (await client.read()).startswith(b"ringfence: ")
            assert len(session.connections) == 1
            await client.close()
            assert await ending(await Stream.over(socket.create_connection(made.getsockname()))) == b""
            assert session.connections == {}
            await front.close()
            channel.close()

    run(talk())


def test_all_kinds_of_sockets_are_served() -> None:
    async def talk() -> None:
        rules = egress(rule("example.com", inspection=RAW))
        async with serving(lambda port: rules, "tcp", "proxy", "dns-udp", "dns-tcp", password="a:b") as it:
            it.supervisor.upstream["example.com", 443] = echo
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.setblocking(False)
                asking.connect((LOCAL, it.ports["dns-udp"]))
                asking.send(query("example.com"))
                message = await asyncio.get_running_loop().sock_recv(asking, 600)
            assert outcome(message)[0] == 0
            names = await it.connect("dns-tcp")
            await names.write(len(query("no.example")).to_bytes(2, "big") + query("no.example"))
            assert outcome((await names.read())[2:])[0] == 3
            explicit = await it.connect("proxy")
            await explicit.write(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
            assert (await explicit.read()).startswith(b"HTTP/1.1 407 ")

    run(talk())


def test_what_is_not_allowed_on_loopback_is_closed() -> None:
    async def talk() -> None:
        async with serving(lambda port: egress()) as it:
            assert await ending(await it.connect()) == b""
            await it.supervisor.until(lambda: bool(it.supervisor.all(Record)))
            assert it.supervisor.records("denial") == [("egress-denied", f"{HOST_LOOPBACK}:{it.ports['tcp']}")]

    run(talk())


def test_no_more_connections_are_served_than_there_is_room_for_and_the_rest_waits() -> None:
    before = len(os.listdir("/proc/self/fd"))

    async def talk() -> None:
        async with serving(lambda port: egress(rule(HOST_LOOPBACK))) as it:
            clients = [await it.connect() for _ in range(MAX_CONNECTIONS + 40)]
            await it.supervisor.until(lambda: len(it.supervisor.all(Accepted)) == MAX_CONNECTIONS)
            for _ in range(100):
                await asyncio.sleep(0)
            assert len(it.supervisor.all(Accepted)) == MAX_CONNECTIONS
            assert len(os.listdir("/proc/self/fd")) < before + 2 * len(clients) + 30
            for client in clients[:10]:
                client.abort()
            await it.supervisor.until(lambda: len(it.supervisor.all(Accepted)) == MAX_CONNECTIONS + 10)

    run(talk())


def test_silent_connections_make_room_for_others_after_a_while() -> None:
    async def talk() -> None:
        async with serving(lambda port: egress(rule(HOST_LOOPBACK))) as it:
            began = asyncio.get_running_loop().time()
            for _ in range(MAX_CONNECTIONS + 40):
                await it.connect()
            await it.supervisor.until(lambda: len(it.supervisor.all(Accepted)) == MAX_CONNECTIONS)
            assert await ending(it.clients[0]) == b""
            await it.supervisor.until(lambda: len(it.supervisor.all(Accepted)) == MAX_CONNECTIONS + 40)
            assert asyncio.get_running_loop().time() - began < FIRST_BYTE_TIMEOUT_S + 5

    run(talk())


@pytest.mark.parametrize("how", ["shutdown", "close"])
def test_the_end_of_the_channel_ends_everything(how: str) -> None:
    async def talk() -> None:
        async with serving(host_loopback) as it:
            it.supervisor.upstream[HOST_LOOPBACK, it.ports["tcp"]] = echo
            client = await it.connect()
            await client.write(b"hello")
            assert await client.read() == b"hello"
            if how == "shutdown":
                it.supervisor.end.shutdown(socket.SHUT_WR)
            else:
                it.supervisor.end.shutdown(socket.SHUT_RDWR)
            await it.task
            with pytest.raises(ConnectionResetError):
                await client.read()
            with pytest.raises(ConnectionRefusedError):
                await it.connect()
            if how == "shutdown":  # what there was to say has been said
                await it.supervisor.until(lambda: it.supervisor.records("egress") == [("lost", HOST_LOOPBACK)])

    run(talk())


def test_other_rules_may_bring_further_sockets() -> None:
    async def talk() -> None:
        async with serving(host_loopback) as it:
            with listening("tcp") as made:
                port = it.ports["more"] = made.getsockname()[1]
                it.supervisor.upstream[HOST_LOOPBACK, port] = echo
                it.supervisor.say(Replace(egress=host_loopback(port), sockets=("tcp",)), made.fileno())
            client = await it.connect("more")
            await client.write(b"hello")
            assert await client.read() == b"hello"
            assert await ending(await it.connect()) == b""

    run(talk())


def test_denials_are_summed_up_at_the_end() -> None:
    async def talk() -> None:
        async with serving(lambda port: egress()) as it:
            for _ in range(12):
                await ending(await it.connect())
            it.supervisor.end.shutdown(socket.SHUT_WR)
            await it.task
            await it.supervisor.until(lambda: len(it.supervisor.all(Record)) == 3)
            assert [record.fields.get("count") for record in it.supervisor.all(Record)] == [None, 10, 12]

    run(talk())


def test_placeholders_that_are_told_are_recognised() -> None:
    async def talk() -> None:
        async with serving(lambda port: egress(), "proxy") as it:
            it.supervisor.say(Marked(placeholders={"github": "ghp_x7Qm2LrT9vZk"}))
            client = await it.connect("proxy")
            await client.write(b"GET http://public.test/ghp_x7Qm2LrT9vZk HTTP/1.1\r\nHost: public.test\r\n\r\n")
            assert (await client.read()).startswith(b"HTTP/1.1 403 ")
            await it.supervisor.until(lambda: len(it.supervisor.all(Record)) == 2)
            assert {record.code for record in it.supervisor.all(Record)} == {"egress-denied", "secret-misuse"}

    run(talk())


def test_other_rules_hold_at_once() -> None:
    async def talk() -> None:
        async with serving(host_loopback) as it:
            it.supervisor.upstream[HOST_LOOPBACK, it.ports["tcp"]] = echo
            client = await it.connect()
            await client.write(b"hello")
            assert await client.read() == b"hello"
            it.supervisor.say(Replace(egress=egress()))
            with pytest.raises(ConnectionResetError):
                await client.read()
            assert await ending(await it.connect()) == b""
            it.supervisor.say(Replace(egress=host_loopback(it.ports["tcp"])))
            client = await it.connect()
            await client.write(b"again")
            assert await client.read() == b"again"

    run(talk())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 5000,
        b"\x16\x03\x01\xff\xff" + b"\0" * 5000,
        b"\x05" * 5000,
        b"GET " + b"/" * 200_000,
        b"A" * 100_000,
        b"CONNECT \0:443 HTTP/1.1\r\n\r\n",
        bytes(range(256)) * 20,
    ],
)
@pytest.mark.parametrize("kind", ["tcp", "proxy", "dns-tcp"])
def test_garbage_costs_no_more_than_its_connection(data: bytes, kind: str) -> None:
    async def talk() -> None:
        async with serving(lambda port: egress(rule(HOST_LOOPBACK)), kind, "dns-udp") as it:
            client = await it.connect(kind)
            try:
                await client.write(data)
                await client.write_eof()
            except ConnectionError:
                pass
            assert not (await ending(client)).startswith(b"HTTP/1.1 2")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.setblocking(False)
                asking.connect((LOCAL, it.ports["dns-udp"]))
                asking.send(query(HOST_LOOPBACK))
                assert await asyncio.get_running_loop().sock_recv(asking, 600)
            assert not it.task.done()

    run(talk())


@pytest.mark.parametrize(
    ("opening", "error"),
    [
        (Answer(request=1, allowed=True), ConnectionAbortedError),
        (Serve(egress=egress(), sockets=("tcp",)), ConnectionAbortedError),
        (Serve(egress=egress(), sockets=()), ConnectionAbortedError),  # told twice, below
    ],
)
def test_a_conversation_that_goes_another_way_is_not_entered(opening: Answer | Serve, error: type[Exception]) -> None:
    async def talk() -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with near, far:
            supervisor = Supervisor(far)
            supervisor.say(opening)
            supervisor.say(opening)
            with pytest.raises(error):
                await proxy.serve(near, authority())

    run(talk())


def test_without_a_descriptor_left_it_waits_for_one() -> None:
    async def talk() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        async with serving(host_loopback) as it:
            it.supervisor.upstream[HOST_LOOPBACK, it.ports["tcp"]] = echo
            first = await it.connect()
            await first.write(b"first")
            assert await first.read() == b"first"  # nothing is under way any more
            client = await it.connect()
            spare = os.dup(first.socket.fileno())
            os.close(spare)
            resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
            try:
                client.timeout_s = 0.5
                await client.write(b"hello")
                with pytest.raises(TimeoutError):
                    await client.read()
                assert len(it.supervisor.all(Accepted)) == 1
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert await client.read() == b"hello"

    run(talk())


def test_a_fault_of_ours_costs_one_connection_and_is_told() -> None:
    async def talk() -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        told: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        made = listening("tcp")
        rules = egress(rule(HOST_LOOPBACK))
        Supervisor(far).say(Serve(egress=rules, sockets=("tcp",)), made.fileno())
        broken = cast("SessionAuthority", None)
        serving = asyncio.create_task(proxy.serve(near, broken))
        for _ in range(2):
            client = await Stream.over(socket.create_connection(made.getsockname()))
            await client.write(hellos.real(HOST_LOOPBACK))
            assert await ending(client) == b""
        assert [type(context["exception"]) for context in told] == [AttributeError] * 2
        made.close()
        far.close()
        await serving
        near.close()

    run(talk())


def test_a_supervisor_that_does_not_listen_is_not_waited_for_at_the_end() -> None:
    async def talk() -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with far:
            channel = Channel(near)
            session = Session(egress(), channel, authority())
            front = Front(session, Serve(egress=egress(), sockets=()), ())
            for _ in range(5000):
                session.record("egress", "", None, {})
            began = session.clock()
            await front.close()
            assert session.clock() - began == pytest.approx(FAREWELL_TIMEOUT_S)
            channel.close()

    run(talk())


def test_a_supervisor_that_is_gone_from_the_start_ends_it() -> None:
    async def talk() -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with near:
            far.close()
            await proxy.serve(near, authority())

    run(talk())


def test_a_message_that_is_none_ends_it() -> None:
    async def talk() -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with near, far:
            Supervisor(far).say(Serve(egress=egress(), sockets=()))
            far.send(b"garbage")
            with pytest.raises(msgspec.DecodeError):
                await proxy.serve(near, authority())

    run(talk())


def test_a_prepared_proxy_serves_until_its_channel_ends() -> None:
    prepared = proxy.prepare()
    assert "BEGIN CERTIFICATE" in prepared.authority.certificate_pem
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with far:
        Supervisor(far).say(Serve(egress=egress(), sockets=()))
        far.shutdown(socket.SHUT_WR)
        prepared.run(near.detach())
        assert far.recv(1) == b""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (("127.0.0.1", 80), ("127.0.0.1", 80)),
        (("::ffff:198.18.1.0", 443, 0, 0), ("198.18.1.0", 443)),
        (("2001:db8::1", 443, 0, 0), ("2001:db8::1", 443)),
        (("::1", 443, 0, 0), ("::1", 443)),
    ],
)
def test_the_name_of_a_socket_is_told_in_one_form(name: tuple[str, int], expected: tuple[str, int]) -> None:
    assert plain(name) == expected


def test_of_faults_that_can_be_caused_again_and_again_not_each_is_told(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()
    proxy.Proxy(authority(), loop)
    for _ in range(3 * proxy.MAX_COMPLAINTS):
        loop.call_exception_handler({"message": "a connection was given up"})
    loop.close()
    assert len(caplog.records) == proxy.MAX_COMPLAINTS
