"""A session: what is dialled, permitted, asked, counted, recorded, and what other rules do to open connections.

Longer than 400 lines: everything that shares the rules, the questions and the budgets of one session.
"""

import asyncio

import pytest

from ringfence.model.decision import Verdict
from ringfence.model.egress import Egress, Inspection
from ringfence.model.secrets import TaintResponse
from ringfence.network.messages import Accepted, Answer, Ask, Dial, Dialed, Record
from ringfence.network.session import (
    DIAL_TIMEOUT_S,
    MAX_FIELD,
    MAX_QUESTIONS,
    MAX_TARGETS,
    Refusal,
    Session,
    target,
)
from ringfence.network.stream import Stream
from ringfence.policy.egress import Request
from ringfence.policy.taint import tainted
from tests.unit.network.conversation import ADDRESS, CLIENT, echo, egress, read_all, rule, run, talking

HOST = "example.com"
ASKING = egress(unknown=Verdict.ASK)


def request(path: str = "/", method: str = "GET", host: str = HOST) -> Request:
    return Request(host=host, port=443, scheme="https", method=method, path=path)


def test_every_connection_is_told_of_with_a_number_of_its_own() -> None:
    async def talk() -> None:
        async with talking(egress()) as it:
            numbers = [it.session.accept((CLIENT[0], port), ("198.18.1.0", 443), None).number for port in (1, 2)]
            await it.settle()
            assert numbers == [1, 2]
            assert it.supervisor.all(Accepted) == [
                Accepted(connection=number, client=(CLIENT[0], number), local=("198.18.1.0", 443)) for number in (1, 2)
            ]

    run(talk())


# ---- dialling


def test_what_policy_allows_is_dialled() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            it.supervisor.upstream[HOST, 443] = echo
            connection = it.connection()
            upstream = await it.session.dial(connection, HOST, 443)
            assert isinstance(upstream, Stream)
            await upstream.write(b"hello")
            await upstream.write_eof()
            assert await read_all(upstream) == b"hello"
            upstream.abort()
            assert connection.address == ADDRESS
            assert [dial.connection for dial in it.supervisor.all(Dial)] == [connection.number]

    run(talk())


@pytest.mark.parametrize(
    "rules",
    [egress(), egress(rule(HOST, ports=((80, 80),))), egress(rule("*.example.com")), egress(rule(HOST, Verdict.DENY))],
)
def test_what_policy_denies_is_not_even_asked_for(rules: Egress) -> None:
    async def talk() -> None:
        async with talking(rules) as it:
            refusal = await it.session.dial(it.connection(), HOST, 443)
            assert isinstance(refusal, Refusal) and refusal.code == "egress-denied"
            await it.settle()
            assert it.supervisor.all(Dial) == []
            assert it.supervisor.records("denial") == [("egress-denied", f"{HOST}:443")]

    run(talk())


@pytest.mark.parametrize(
    ("code", "kind"),
    [("address-denied", "denial"), ("egress-denied", "denial"), ("not-found", "egress"), ("unreachable", "egress")],
)
def test_what_the_supervisor_refuses_is_refused_and_recorded(code: str, kind: str) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            it.supervisor.upstream[HOST, 443] = Dialed(request=0, code=code, reason="why")
            assert await it.session.dial(it.connection(), HOST, 443) == Refusal(code, "why")
            await it.settle()
            assert it.supervisor.records(kind) == [(code, f"{HOST}:443")]

    run(talk())


def test_a_connection_that_takes_too_long_is_given_up() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            it.supervisor.upstream[HOST, 443] = Dialed(request=0)  # says it is connected, and sends nothing
            refusal = await it.session.dial(it.connection(), HOST, 443)
            assert isinstance(refusal, Refusal) and refusal.code == "unreachable"
            for task in (helper for helper in asyncio.all_tasks() if "listen" in repr(helper)):
                task.cancel()  # the supervisor hears nothing any more
            began = it.session.clock()
            refusal = await it.session.dial(it.connection(), HOST, 443)
            assert isinstance(refusal, Refusal) and refusal.code == "timed-out"
            assert it.session.clock() - began == pytest.approx(DIAL_TIMEOUT_S)

    run(talk())


# ---- asking


def test_the_operator_is_asked_once_and_the_answer_holds() -> None:
    async def talk() -> None:
        async with talking(ASKING) as it:
            it.supervisor.upstream[HOST, 443] = echo
            connection = it.connection()
            outcomes = await asyncio.gather(*(it.session.permit(connection, request(f"/{at}")) for at in range(5)))
            assert outcomes == [None] * 5
            upstream = await it.session.dial(connection, HOST, 443)
            assert isinstance(upstream, Stream)
            upstream.abort()
            (asked,) = it.supervisor.all(Ask)
            assert (asked.host, asked.port, asked.method, asked.path) == (HOST, 443, "", "")

    run(talk())


def test_a_rule_about_some_requests_asks_about_each() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST), rule(HOST, Verdict.ASK, methods=("POST",)))) as it:
            connection = it.connection()
            for asked in (request("/a", "POST"), request("/a", "POST"), request("/b", "POST"), request("/a", "GET")):
                assert await it.session.permit(connection, asked) is None
            assert [(ask.method, ask.path) for ask in it.supervisor.all(Ask)] == [("POST", "/a"), ("POST", "/b")]

    run(talk())


def test_a_refusal_of_the_operator_holds_too() -> None:
    async def talk() -> None:
        async with talking(ASKING) as it:
            it.supervisor.answer = lambda ask: Answer(request=ask.request, allowed=False, reason="not today")
            for _ in range(2):
                assert await it.session.permit(it.connection(), request()) == Refusal("egress-denied", "not today")
            await it.settle()
            assert len(it.supervisor.all(Ask)) == 1
            assert it.supervisor.records("denial") == [("egress-denied", f"{HOST}:443")]

    run(talk())


def test_who_is_not_answered_is_refused_and_may_ask_again() -> None:
    async def talk() -> None:
        async with talking(egress(unknown=Verdict.ASK, ask_timeout_s=45)) as it:
            it.supervisor.answer = lambda ask: None
            began = it.session.clock()
            refusal = await it.session.permit_connection(it.connection(), HOST, 443)
            assert refusal is not None and refusal.code == "egress-denied"
            assert it.session.clock() - began == pytest.approx(45)
            it.supervisor.answer = lambda ask: Answer(request=ask.request, allowed=True)
            assert await it.session.permit_connection(it.connection(), HOST, 443) is None

    run(talk())


def test_a_client_that_gives_up_does_not_take_the_question_along() -> None:
    async def talk() -> None:
        async with talking(ASKING) as it:
            asked: list[Ask] = []
            it.supervisor.answer = asked.append
            waiting = [asyncio.create_task(it.session.permit_connection(it.connection(), HOST, 443)) for _ in range(2)]
            await it.supervisor.until(lambda: asked)
            waiting[0].cancel()
            it.supervisor.say(Answer(request=asked[0].request, allowed=True))
            assert await waiting[1] is None

    run(talk())


def test_no_more_questions_wait_than_an_operator_can_read() -> None:
    async def talk() -> None:
        async with talking(ASKING) as it:
            it.supervisor.answer = lambda ask: None
            connection = it.connection()
            names = [f"host{number}.example" for number in range(MAX_QUESTIONS + 3)]
            outcomes = await asyncio.gather(*(it.session.permit_connection(connection, name, 443) for name in names))
            codes = [outcome.code for outcome in outcomes if outcome]
            assert codes.count("busy") == 3 and codes.count("egress-denied") == MAX_QUESTIONS
            assert len(it.supervisor.all(Ask)) == MAX_QUESTIONS

    run(talk())


def test_a_path_that_cannot_be_shown_whole_is_not_asked_about() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST), rule(HOST, Verdict.ASK, methods=("POST",)))) as it:
            refusal = await it.session.permit(it.connection(), request("/" + "a" * 5000, "POST"))
            assert refusal is not None and "too long" in refusal.reason
            assert it.supervisor.all(Ask) == []

    run(talk())


# ---- budgets


def test_a_rule_has_its_own_number_of_requests_and_the_session_another() -> None:
    async def talk() -> None:
        rules = egress(rule(HOST, request_limit=2), rule("other.example"), request_limit=4)
        async with talking(rules) as it:
            connection = it.connection()

            async def tried(host: str) -> str:
                refusal = await it.session.permit(connection, request(host=host))
                return refusal.code if refusal else ""

            assert [await tried(HOST) for _ in range(3)] == ["", "", "budget-exceeded"]
            assert [await tried("other.example") for _ in range(3)] == ["", "", "budget-exceeded"]

    run(talk())


def test_each_limit_is_told_apart_with_its_place() -> None:
    async def talk() -> None:
        rules = egress(rule(HOST, request_limit=1), rule("slow.example", rate=2), rule("other.example"), byte_limit=10)
        async with talking(rules) as it:
            connection = it.connection()
            connection.host, connection.port = "other.example", 443
            asked = [request(host=host) for host in (HOST, HOST, *["slow.example"] * 3)]
            found = [await it.session.permit(connection, one) for one in asked]
            found.append(it.session.spend(connection, 11))
            refusals = [refusal for refusal in found if refusal]
            assert [(one.code, one.limit, one.pause_s) for one in refusals] == [
                ("budget-exceeded", "1 request has been made", 0),
                ("rate-exceeded", "more than 2 requests a minute", 30),
                ("budget-exceeded", "10 bytes of the whole run have passed", 0),
            ]
            places = [one.reason.rpartition("; ")[2] for one in refusals]
            place = rule(HOST).source
            assert places == [f"the limit was set by {place}"] * 2 + ["the limit was set by `network`"]

    run(talk())


def test_narrowing_a_rule_renews_no_budget() -> None:
    async def talk() -> None:
        wild = rule("*.example.com", request_limit=3)
        async with talking(egress(wild)) as it:
            connection = it.connection()

            async def tried(host: str) -> str:
                refusal = await it.session.permit(connection, request(host=host))
                return refusal.code if refusal else ""

            assert [await tried(f"{name}.example.com") for name in "ab"] == ["", ""]
            it.session.replace(tainted(egress(wild), TaintResponse.NO_NEW_HOSTS, contacted("a", "b")))
            assert [await tried(f"{name}.example.com") for name in "ab"] == ["", "budget-exceeded"]

    def contacted(*names: str) -> frozenset[tuple[str, int]]:
        return frozenset((f"{name}.example.com", 443) for name in names)

    run(talk())


def test_a_request_counts_only_for_rules_that_speak_of_it() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST), rule(HOST, methods=("POST",), request_limit=1))) as it:
            connection = it.connection()
            refusals = [
                await it.session.permit(connection, request(method=method)) for method in ("GET", "GET", "POST", "POST")
            ]
            assert [refusal is None for refusal in refusals] == [True, True, True, False]

    run(talk())


def test_a_rate_recovers_with_time() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, rate=1))) as it:
            now = 0.0
            it.session.clock = lambda: now
            connection = it.connection()
            assert await it.session.permit_tunnel(connection, HOST, 443) is None
            assert await it.session.permit_tunnel(connection, HOST, 443) is not None
            now = 60.0
            assert await it.session.permit_tunnel(connection, HOST, 443) is None

    run(talk())


def test_bytes_are_counted_over_all_connections_of_a_rule() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, byte_limit=100), rule("other.example"))) as it:
            first, second, other = it.connection(HOST), it.connection(HOST), it.connection("other.example")
            assert it.session.spend(first, 60) is None
            assert it.session.spend(second, 40) is None
            assert it.session.spend(other, 1000) is None
            refusal = it.session.spend(first, 1)
            assert refusal is not None and refusal.code == "budget-exceeded"
            it.session.replace(egress(rule(HOST)))
            assert it.session.spend(first, 1 << 30) is None
            it.session.replace(egress(rule(HOST), byte_limit=100))
            assert it.session.spend(first, 60) is None
            it.session.replace(egress(rule(HOST), byte_limit=1000))
            assert it.session.spend(first, 60) is None

    run(talk())


# ---- other rules


async def served(session: Session, host: str) -> "asyncio.Task[None]":
    """Begin a connection to `host` that lasts until it is ended."""
    begun = asyncio.Event()

    async def last() -> None:
        connection = session.accept(CLIENT, ("198.18.1.0", 443), asyncio.current_task())
        connection.host, connection.port = host, 443
        try:
            assert await session.permit_tunnel(connection, host, 443) is None
            begun.set()
            await asyncio.Event().wait()
        finally:
            session.forget(connection)

    task = asyncio.create_task(last())
    await begun.wait()
    return task


async def ended(task: "asyncio.Task[None]") -> bool:
    done, _ = await asyncio.wait([task], timeout=0)
    if not done:
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return bool(done)


@pytest.mark.parametrize(
    ("rules", "ends"),
    [
        (egress(rule(HOST)), False),
        (egress(rule(HOST), rule("other.example")), False),
        (egress(), True),
        (egress(rule(HOST), rule("*.example.com", Verdict.DENY), rule(HOST, Verdict.DENY)), True),
        (egress(rule(HOST, methods=("GET",), inspection=rule(HOST).inspection)), False),
        (ASKING, True),
    ],
)
def test_other_rules_end_what_they_would_not_have_let_through(rules: Egress, ends: bool) -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            task = await served(it.session, HOST)
            it.session.replace(rules)
            assert await ended(task) is ends
            assert it.session.connections == {}

    run(talk())


def test_what_is_to_be_looked_into_now_does_not_go_on_unseen() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST, inspection=Inspection.RAW))) as it:
            task = await served(it.session, HOST)
            it.session.replace(egress(rule(HOST)))
            assert await ended(task)

    run(talk())


def test_what_was_approved_stays_and_what_was_refused_may_be_asked_again() -> None:
    async def talk() -> None:
        async with talking(ASKING) as it:
            task = await served(it.session, HOST)
            it.supervisor.answer = lambda ask: Answer(request=ask.request, allowed=False)
            assert await it.session.permit_connection(it.connection(), "other.example", 443) is not None
            it.session.replace(ASKING)
            assert not await ended(task)
            assert await it.session.permit_connection(it.connection(), "other.example", 443) is not None
            assert [ask.host for ask in it.supervisor.all(Ask)] == [HOST, "other.example", "other.example"]

    run(talk())


def test_rules_that_change_while_the_operator_is_asked_hold() -> None:
    async def talk() -> None:
        async with talking(ASKING) as it:
            asked: list[Ask] = []
            it.supervisor.answer = asked.append
            connection = it.connection()
            waiting = asyncio.create_task(it.session.permit(connection, request("/admin")))
            await it.supervisor.until(lambda: asked)
            it.session.replace(egress(rule(HOST, Verdict.DENY, paths=("/admin",)), unknown=Verdict.ASK))
            it.supervisor.say(Answer(request=asked[0].request, allowed=True))
            refusal = await waiting
            assert refusal is not None and refusal.code == "egress-denied"
            assert await it.session.permit(connection, request("/other")) is None

    run(talk())


def test_a_tunnel_after_a_request_is_counted_as_a_tunnel() -> None:
    async def talk() -> None:
        rules = egress(rule(HOST), rule("other.example", inspection=Inspection.RAW, byte_limit=10))
        async with talking(rules) as it:
            connection = it.connection(HOST)
            assert await it.session.permit(connection, request()) is None
            assert it.session.spend(connection, 1000) is None
            connection.host = "other.example"
            assert await it.session.permit_tunnel(connection, "other.example", 443) is None
            assert it.session.spend(connection, 11) is not None

    run(talk())


def test_a_request_under_way_is_judged_as_a_request() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            task = asyncio.create_task(asyncio.Event().wait())
            connection = it.session.accept(CLIENT, ("198.18.1.0", 443), task)  # type: ignore[arg-type] # it only waits
            connection.host, connection.port = HOST, 443
            assert await it.session.permit(connection, request("/secret/a")) is None
            it.session.replace(egress(rule(HOST), rule(HOST, Verdict.DENY, paths=("/public/**",))))
            await asyncio.sleep(0)
            assert not task.cancelled()
            it.session.replace(egress(rule(HOST), rule(HOST, Verdict.DENY, paths=("/secret/**",))))
            await asyncio.sleep(0)
            assert task.cancelled()

    run(talk())


# ---- the record


def test_nothing_goes_on_while_the_record_is_not_taken() -> None:
    async def talk() -> None:
        async with talking(egress(rule(HOST))) as it:
            for _ in range(2000):
                it.session.record("egress", "", None, {})
            connection = it.connection()
            permitting = asyncio.create_task(it.session.permit(connection, request()))
            await it.supervisor.until(lambda: len(it.supervisor.heard) > 100)
            assert not permitting.done()
            assert await permitting is None
            assert len(it.supervisor.all(Record)) > 1500

    run(talk())


def counts(it_records: list[Record]) -> list[object]:
    return [record.fields.get("count") for record in it_records]


def test_repetitions_are_summarised() -> None:
    async def talk() -> None:
        async with talking(egress()) as it:
            connection = it.connection(HOST)
            for _ in range(1234):
                it.session.refuse(connection, "egress-denied", "no")
            it.session.refuse(connection, "mismatch", "no")
            it.session.summarise()
            it.session.summarise()
            await it.settle()
            assert counts(it.supervisor.all(Record)) == [None, 10, 100, 1000, None, 1234]

    run(talk())


def test_a_flood_of_different_targets_does_not_flood_the_record() -> None:
    async def talk() -> None:
        async with talking(egress()) as it:
            for number in range(MAX_TARGETS + 5000):
                it.session.refuse(None, "egress-denied", "no", host=f"host{number}.example")
                await it.session.drain()
            it.session.summarise()
            await it.settle()
            assert counts(it.supervisor.all(Record))[MAX_TARGETS:] == [None, 10, 100, 1000, 5000]

    run(talk())


def test_long_text_and_text_that_is_none_is_made_to_fit() -> None:
    async def talk() -> None:
        async with talking(egress()) as it:
            it.session.record("egress", "", None, {"path": "/" + "a" * 100_000, "host": "\udc80", "port": 443})
            await it.settle()
            (record,) = it.supervisor.all(Record)
            assert record.fields == {"path": ("/" + "a" * 100_000)[:MAX_FIELD], "host": "\\udc80", "port": 443}

    run(talk())


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [(HOST, 443, "example.com:443"), ("2001:db8::1", 80, "[2001:db8::1]:80"), (HOST, 0, HOST), ("", 0, "")],
)
def test_targets_are_named_as_rules_write_them(host: str, port: int, expected: str) -> None:
    assert target(host, port) == expected
