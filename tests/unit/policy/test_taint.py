"""What each response leaves of the rules; that nothing gets looser is in tests/properties/test_taint_policy.py."""

import pytest

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress, EgressRule, Inspection
from ringfence.model.secrets import TaintResponse
from ringfence.policy.egress import Request, decide_connection, decide_name, decide_request, inspection
from ringfence.policy.taint import tainted

USER = Source(scope="user", file="policy.toml", line=1)
RULES = (
    EgressRule(host="api.example.com", verdict=Verdict.ALLOW, source=USER),
    EgressRule(host="*.example.org", verdict=Verdict.ALLOW, source=USER, request_limit=5),
    EgressRule(host="asked.example.com", verdict=Verdict.ASK, source=USER),
    EgressRule(host="bad.example.org", verdict=Verdict.DENY, source=USER),
    EgressRule(host="host-loopback", verdict=Verdict.ALLOW, source=USER, ports=((1, 65535),)),
    EgressRule(
        host="db.example.com", verdict=Verdict.ALLOW, source=USER, inspection=Inspection.RAW, ports=((5432, 5432),)
    ),
)
EGRESS = Egress(rules=RULES)


def verdict(egress: Egress, host: str, port: int = 443, method: str = "GET") -> str:
    request = Request(host=host, port=port, scheme="https", method=method, path="/")
    return decide_request(egress, request).verdict.name


def after(response: TaintResponse, *contacted: tuple[str, int], named: bool = False, egress: Egress = EGRESS) -> Egress:
    return tainted(egress, response, frozenset(contacted), named=named)


def test_recording_changes_nothing() -> None:
    assert after(TaintResponse.RECORD) is EGRESS


def test_no_new_hosts_keeps_those_spoken_with() -> None:
    found = after(TaintResponse.NO_NEW_HOSTS, ("api.example.com", 443), ("a.example.org", 443), ("host-loopback", 5432))
    assert verdict(found, "api.example.com") == verdict(found, "a.example.org") == "ALLOW"
    assert verdict(found, "b.example.org") == verdict(found, "asked.example.com") == "DENY"
    assert verdict(found, "db.example.com", 5432) == "DENY"
    assert verdict(found, "host-loopback", 5432) == "ALLOW" and verdict(found, "host-loopback", 6379) == "DENY"
    assert decide_name(found, "exfiltrated.example.org").verdict is Verdict.DENY


def test_no_new_hosts_keeps_those_named_after_a_workspace_secret() -> None:
    found = after(TaintResponse.NO_NEW_HOSTS, named=True)
    assert verdict(found, "api.example.com") == "ALLOW" and verdict(found, "asked.example.com") == "ASK"
    assert decide_connection(found, "db.example.com", 5432).verdict is Verdict.ALLOW
    assert verdict(found, "a.example.org") == "DENY"


def test_a_rule_that_stays_is_the_same_and_so_is_its_budget() -> None:
    found = after(TaintResponse.NO_NEW_HOSTS, ("api.example.com", 443), ("a.example.org", 443))
    assert RULES[0] in found.rules and RULES[3] in found.rules
    (narrowed,) = (rule for rule in found.rules if rule.host == "a.example.org")
    assert narrowed.request_limit == 5 and narrowed.source == USER


@pytest.mark.parametrize("unknown", [Verdict.ALLOW, Verdict.ASK])
def test_what_was_reached_without_a_rule_stays_within_reach(unknown: Verdict) -> None:
    learning = Egress(rules=RULES, unknown=unknown)
    found = after(TaintResponse.NO_NEW_HOSTS, ("new.example.net", 443), egress=learning)
    assert verdict(found, "new.example.net") == unknown.name
    assert verdict(found, "other.example.net") == "DENY"


def test_no_writes() -> None:
    found = after(TaintResponse.NO_WRITES)
    assert [verdict(found, "api.example.com", method=method) for method in ("GET", "POST")] == ["ALLOW", "DENY"]
    assert verdict(found, "a.example.org") == "ALLOW" and verdict(found, "bad.example.org") == "DENY"
    assert verdict(found, "asked.example.com", method="POST") == "ASK"
    assert inspection(found, "db.example.com", 5432) is Inspection.INSPECT, "bytes that nobody sees do not pass"


def test_no_writes_of_a_rule_that_only_writes() -> None:
    only = Egress(rules=(EgressRule(host="a.example", verdict=Verdict.ALLOW, source=USER, methods=("POST",)),))
    assert after(TaintResponse.NO_WRITES, egress=only).rules == ()


def test_ask() -> None:
    found = after(TaintResponse.ASK, egress=Egress(rules=RULES, unknown=Verdict.ALLOW))
    assert verdict(found, "api.example.com") == verdict(found, "unheard.example") == "ASK"
    assert verdict(found, "bad.example.org") == "DENY"


def test_off() -> None:
    found = after(TaintResponse.OFF, ("api.example.com", 443), named=True)
    assert {verdict(found, rule.host.replace("*", "a")) for rule in RULES} == {"DENY"}
    assert found.rules == (RULES[3],), "denials stay, for what the operator allows anew"


def test_an_allowance_of_the_operator_gives_a_host_back() -> None:
    found = after(TaintResponse.OFF)
    own = EgressRule(host="api.example.com", verdict=Verdict.ALLOW, source=Source(scope="cli"))
    assert verdict(Egress(rules=(own, *found.rules)), "api.example.com") == "ALLOW"


def rule(host: str, verdict: Verdict = Verdict.ALLOW, **more: object) -> EgressRule:
    return EgressRule(host=host, verdict=verdict, source=USER, **more)  # type: ignore[arg-type]  # the test's choice


READING = ("GET", "HEAD", "OPTIONS")
DENIED = rule("bad.example.org", Verdict.DENY)
DENIED_WRITES = rule("a.example", Verdict.DENY, methods=("POST",))
ASKED_WRITES = rule("a.example", Verdict.ASK, methods=("POST",), inspection=Inspection.INSPECT)


@pytest.mark.parametrize(
    ("before", "left"),
    [
        (rule("a.example"), rule("a.example", methods=READING, inspection=Inspection.INSPECT)),
        (
            rule("a.example", methods=("GET", "POST")),
            rule("a.example", methods=("GET",), inspection=Inspection.INSPECT),
        ),
        (rule("a.example", methods=("HEAD",)), rule("a.example", methods=("HEAD",), inspection=Inspection.INSPECT)),
        (
            rule("a.example", methods=("OPTIONS",)),
            rule("a.example", methods=("OPTIONS",), inspection=Inspection.INSPECT),
        ),
        (DENIED, DENIED),
        (DENIED_WRITES, DENIED_WRITES),
        (ASKED_WRITES, ASKED_WRITES),
    ],
)
def test_what_no_writes_leaves_of_a_rule(before: EgressRule, left: EgressRule) -> None:
    assert after(TaintResponse.NO_WRITES, egress=Egress(rules=(before,))).rules == (left,)


WILD = rule("*.example.org")
LOOPBACK = rule("host-loopback", ports=((5000, 5999),))


@pytest.mark.parametrize(
    ("named", "contacted", "rules", "left"),
    [
        (False, [("api.example.com", 5432)], (LOOPBACK,), ()),
        (False, [("host-loopback", 6379)], (LOOPBACK,), ()),
        (False, [("host-loopback", 5432)], (LOOPBACK,), (rule("host-loopback", ports=((5432, 5432),)),)),
        (False, [("host-loopback", 5000)], (LOOPBACK,), (rule("host-loopback", ports=((5000, 5000),)),)),
        (False, [("host-loopback", 5999)], (LOOPBACK,), (rule("host-loopback", ports=((5999, 5999),)),)),
        (True, [("host-loopback", 5432)], (LOOPBACK,), (LOOPBACK,)),
        (True, [], (WILD, DENIED), (DENIED,)),
        (True, [], (WILD, rule("a.example.org")), (rule("a.example.org"), rule("a.example.org"))),
    ],
)
def test_what_no_new_hosts_leaves(
    named: bool, contacted: list[tuple[str, int]], rules: tuple[EgressRule, ...], left: tuple[EgressRule, ...]
) -> None:
    assert after(TaintResponse.NO_NEW_HOSTS, *contacted, named=named, egress=Egress(rules=rules)).rules == left


def test_a_name_in_a_rule_is_not_known_unless_that_is_asked_for() -> None:
    assert tainted(Egress(rules=(rule("a.example"),)), TaintResponse.NO_NEW_HOSTS, frozenset()).rules == ()


@pytest.mark.parametrize("response", [TaintResponse.NO_NEW_HOSTS, TaintResponse.NO_WRITES])
def test_what_is_added_for_a_host_that_no_rule_speaks_of(response: TaintResponse) -> None:
    """A rule for some methods or paths of a host leaves the others to what holds for unknown hosts."""
    speaking = rule("ruled.example", Verdict.DENY)
    partly = (
        rule("methods.example", Verdict.DENY, methods=("POST",)),
        rule("paths.example", Verdict.DENY, paths=("/secret",)),
    )
    contacted = tuple((host, 443) for host in ("methods.example", "new.example", "paths.example", "ruled.example"))
    learning = Egress(rules=(speaking, *partly), unknown=Verdict.ASK)
    found = after(response, *contacted, egress=learning).rules
    added = [(each.host, each.verdict, each.ports) for each in found[3:]]
    hosts = ["methods.example", "new.example", "paths.example"]
    assert found[:3] == learning.rules and added == [(host, Verdict.ASK, ((443, 443),)) for host in hosts]
    closed = after(response, *contacted, egress=Egress(rules=learning.rules))
    assert closed.rules == learning.rules, "where unknown hosts are denied nothing has to be added"
