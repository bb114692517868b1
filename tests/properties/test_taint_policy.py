"""Taint only ever tightens: no name, connection, request or address is decided more loosely than before."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress, EgressRule, Inspection
from ringfence.model.secrets import TaintResponse
from ringfence.policy.egress import (
    EVERY_PORT,
    Request,
    decide_connection,
    decide_name,
    decide_request,
    inspection,
    resolves_to,
)
from ringfence.policy.taint import tainted
from tests.properties.test_egress_policy import ADDRESSES, EGRESS, HOSTS, REQUESTS

PORTS = [80, 443, 5432, 8000]
CONTACTED = st.frozensets(st.tuples(st.sampled_from(HOSTS), st.sampled_from(PORTS)), max_size=4)
DEPTHS = (Inspection.INSPECT, Inspection.SNI, Inspection.RAW)
USER = Source(scope="user", line=1)


@given(EGRESS, st.sampled_from(TaintResponse), CONTACTED, st.booleans(), REQUESTS, st.sampled_from(ADDRESSES))
@example(  # a question about a whole host must not become an allowance of its connection
    Egress(rules=(EgressRule(host="a.example", verdict=Verdict.ASK, source=USER),)),
    TaintResponse.NO_WRITES,
    frozenset(),
    False,
    Request(host="a.example", port=443, scheme="https", method="GET", path="/"),
    "93.184.215.14",
)
@example(  # a question beats an allowance: it must not be lost where the allowance stays
    Egress(
        rules=(
            EgressRule(host="*.example", verdict=Verdict.ASK, source=USER, ports=EVERY_PORT),
            EgressRule(host="a.example", verdict=Verdict.ALLOW, source=USER),
        )
    ),
    TaintResponse.NO_NEW_HOSTS,
    frozenset(),
    True,
    Request(host="a.example", port=443, scheme="https", method="GET", path="/"),
    "93.184.215.14",
)
def test_nothing_is_decided_more_loosely(
    egress: Egress,
    response: TaintResponse,
    contacted: frozenset[tuple[str, int]],
    named: bool,
    request: Request,
    address: str,
) -> None:
    after = tainted(egress, response, contacted, named=named)
    host, port = request.host, request.port
    assert decide_name(after, host).verdict >= decide_name(egress, host).verdict
    assert decide_request(after, request).verdict >= decide_request(egress, request).verdict
    connection = decide_connection(egress, host, port).verdict
    assert decide_connection(after, host, port).verdict >= connection
    if decide_connection(after, host, port).verdict is not Verdict.DENY:  # else nobody resolves or looks
        assert resolves_to(after, host, port, address).verdict >= resolves_to(egress, host, port, address).verdict
        assert DEPTHS.index(inspection(after, host, port)) <= DEPTHS.index(inspection(egress, host, port))


@given(EGRESS, st.sampled_from(TaintResponse), CONTACTED, st.booleans(), REQUESTS)
def test_twice_is_as_once_or_tighter(
    egress: Egress,
    response: TaintResponse,
    contacted: frozenset[tuple[str, int]],
    named: bool,
    request: Request,
) -> None:
    once = tainted(egress, response, contacted, named=named)
    twice = tainted(once, response, contacted, named=named)
    assert decide_request(twice, request).verdict >= decide_request(once, request).verdict


@given(EGRESS, CONTACTED, st.booleans(), REQUESTS)
def test_no_new_hosts_keeps_what_was_reached(
    egress: Egress, contacted: frozenset[tuple[str, int]], named: bool, request: Request
) -> None:
    """What the run is in the middle of goes on, but for a host that only some paths or methods spoke of."""
    after = tainted(egress, TaintResponse.NO_NEW_HOSTS, contacted | {(request.host, request.port)}, named=named)
    if egress.unknown is Verdict.DENY:
        assert decide_request(after, request).verdict is decide_request(egress, request).verdict


@pytest.mark.parametrize("unknown", Verdict)
def test_off_leaves_nothing(unknown: Verdict) -> None:
    rules = (EgressRule(host="a.example", verdict=Verdict.ALLOW, source=USER),)
    after = tainted(Egress(rules=rules, unknown=unknown), TaintResponse.OFF, frozenset({("a.example", 443)}))
    assert after.rules == () and after.unknown is Verdict.DENY
