"""Decisions on names, connections, requests and addresses."""

from typing import Any

import msgspec
import pytest

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import HOST_LOOPBACK, Egress, EgressRule, Inspection
from ringfence.policy.egress import (
    EVERY_PORT,
    Request,
    decide_connection,
    decide_name,
    decide_request,
    inspection,
    learning,
    matching,
    needs_inspection,
    resolves_to,
    rule_text,
)

ALLOW, ASK, DENY = Verdict.ALLOW, Verdict.ASK, Verdict.DENY
USER = Source(scope="user", file="policy.toml", line=3)
PROJECT = Source(scope="project", file="ringfence.toml", line=7)


def rule(host: str, verdict: Verdict = ALLOW, **more: Any) -> EgressRule:
    more.setdefault("source", USER)
    if verdict is DENY:
        more.setdefault("ports", EVERY_PORT)
    return EgressRule(host=host, verdict=verdict, **more)


def egress(*rules: EgressRule, **more: Any) -> Egress:
    return Egress(rules=rules, **more)


def request(method: str = "GET", path: str = "/", host: str = "a.example", port: int = 443) -> Request:
    return Request(host=host, port=port, scheme="https", method=method, path=path)


# ---- connections


def test_without_rules_nothing_is_reached() -> None:
    decision = decide_connection(Egress(), "a.example", 443)
    assert (decision.verdict, decision.reason, decision.rule) == (DENY, "no rule allows it", "")


def test_an_allowance_is_for_its_host_and_ports() -> None:
    found = egress(rule("a.example", reason="needed"))
    decision = decide_connection(found, "a.example", 443)
    assert (decision.verdict, decision.reason, decision.rule, decision.source) == (
        ALLOW,
        "needed",
        "a.example:80,443",
        USER,
    )
    for host, port in (("a.example", 22), ("a.example", 8443), ("b.example", 443), ("x.a.example", 443)):
        assert decide_connection(found, host, port).verdict is DENY


def test_deny_beats_ask_beats_allow_beats_unknown() -> None:
    rules = [rule("*.a.example"), rule("x.a.example", ASK), rule("y.x.a.example", DENY), rule("x.a.example")]
    found = egress(*rules, unknown=ASK)
    verdicts = [decide_connection(found, f"{host}.example", 443).verdict for host in ("b.a", "x.a", "y.x.a", "other")]
    assert verdicts == [ALLOW, ASK, DENY, ASK]


@pytest.mark.parametrize("unknown", [ALLOW, ASK, DENY])
def test_what_no_rule_speaks_of(unknown: Verdict) -> None:
    assert decide_connection(Egress(unknown=unknown), "a.example", 443).verdict is unknown
    assert decide_request(Egress(unknown=unknown), request()).verdict is unknown


def test_a_rule_about_requests_lets_the_connection_through() -> None:
    found = egress(rule("a.example", methods=("GET",)), rule("a.example", DENY, paths=("/admin/**",)))
    assert decide_connection(found, "a.example", 443).reason == "decided by request"
    assert decide_connection(found, "a.example", 443).verdict is ALLOW
    assert decide_connection(egress(rule("a.example", DENY, paths=("/x",))), "a.example", 443).verdict is DENY
    assert decide_connection(egress(rule("a.example", ASK, paths=("/x",))), "a.example", 443).verdict is ALLOW


def test_a_whole_denial_or_question_counts_for_the_connection() -> None:
    partial = rule("a.example", methods=("GET",))
    assert decide_connection(egress(partial, rule("a.example", DENY)), "a.example", 443).verdict is DENY
    assert decide_connection(egress(partial, rule("a.example", ASK)), "a.example", 443).verdict is ASK


# ---- requests


@pytest.mark.parametrize(
    ("method", "path", "verdict"),
    [
        ("GET", "/simple/x/", ALLOW),
        ("HEAD", "/simple/x/", ALLOW),
        ("POST", "/simple/x/", DENY),
        ("get", "/simple/x/", DENY),
        ("GET", "/other", DENY),
        ("GET", "/simple/private/x", DENY),
        ("GET", "/simple/PRIVATE/x", DENY),
        ("GET", "/simple/x/../private/y", DENY),
        ("GET", "/simple/x%2f..%2fprivate/y", DENY),
        ("PUT", "/upload", ASK),
        ("DELETE", "/upload", DENY),
        ("delete", "/upload", DENY),
    ],
)
def test_requests(method: str, path: str, verdict: Verdict) -> None:
    found = egress(
        rule("a.example", methods=("GET", "HEAD"), paths=("/simple/**",)),
        rule("a.example", DENY, paths=("/simple/private/**",)),
        rule("a.example", ASK, paths=("/upload",)),
        rule("a.example", DENY, methods=("DELETE",)),
    )
    assert decide_request(found, request(method, path)).verdict is verdict


def test_a_request_is_never_looser_than_its_connection() -> None:
    found = egress(rule("a.example", methods=("GET",)), rule("a.example", DENY))
    assert decide_request(found, request()).verdict is DENY
    asked = egress(rule("a.example", methods=("GET",)), rule("a.example", ASK))
    assert decide_request(asked, request()) == decide_connection(asked, "a.example", 443)


# ---- names


@pytest.mark.parametrize(
    ("rules", "verdict"),
    [
        ([], DENY),
        ([rule("a.example")], ALLOW),
        ([rule("a.example", ports=((5432, 5432),))], ALLOW),
        ([rule("a.example", ASK)], ASK),
        ([rule("a.example", ASK, ports=((1, 1),)), rule("a.example", ports=((2, 2),))], ALLOW),
        ([rule("a.example", methods=("GET",))], ALLOW),
        ([rule("a.example"), rule("a.example", DENY)], DENY),
        ([rule("a.example"), rule("*.example", DENY)], DENY),
        ([rule("a.example"), rule("a.example", DENY, ports=((443, 443),))], ALLOW),
        ([rule("a.example"), rule("a.example", DENY, ports=((80, 80), (443, 443)))], DENY),
        ([rule("a.example", ports=((8000, 8010),)), rule("a.example", DENY, ports=((8000, 8009),))], ALLOW),
        ([rule("a.example", ports=((8000, 8010),)), rule("a.example", DENY, ports=((8000, 8010),))], DENY),
        ([rule("a.example"), rule("a.example", DENY, paths=("/x",))], ALLOW),
        ([rule("a.example", DENY, paths=("/x",))], DENY),
        ([rule("b.example")], DENY),
    ],
)
def test_a_name_is_answered_where_some_port_may_be_reached(rules: list[EgressRule], verdict: Verdict) -> None:
    assert decide_name(egress(*rules), "a.example").verdict is verdict


def test_unknown_names_may_be_asked_about() -> None:
    found = egress(rule("no.example", DENY), unknown=ASK, listen=(80, 443))
    assert [decide_name(found, host).verdict for host in ("a.example", "no.example")] == [ASK, DENY]


# ---- inspection


@pytest.mark.parametrize(
    ("rules", "depth"),
    [
        ([], Inspection.INSPECT),
        ([rule("a.example")], Inspection.INSPECT),
        ([rule("a.example", inspection=Inspection.SNI)], Inspection.SNI),
        ([rule("a.example", inspection=Inspection.RAW)], Inspection.RAW),
        ([rule("a.example", inspection=Inspection.RAW), rule("a.example", inspection=Inspection.SNI)], Inspection.SNI),
        ([rule("a.example", inspection=Inspection.RAW), rule("*.example")], Inspection.INSPECT),
        ([rule("a.example", inspection=Inspection.RAW), rule("*.example", DENY, methods=("PUT",))], Inspection.INSPECT),
        ([rule("a.example", inspection=Inspection.RAW), rule("*.example", DENY, ports=((1, 1),))], Inspection.RAW),
        ([rule("a.example", inspection=Inspection.RAW), rule("*.example", DENY)], Inspection.RAW),
        ([rule("a.example", inspection=Inspection.RAW, paths=("/x",))], Inspection.INSPECT),
    ],
)
def test_the_deepest_look_counts(rules: list[EgressRule], depth: Inspection) -> None:
    assert inspection(egress(*rules), "a.example", 443) is depth


@pytest.mark.parametrize(
    ("found", "needed"),
    [
        (Egress(), False),
        (egress(rule("a.example")), True),
        (egress(rule("a.example", DENY)), False),
        (egress(rule("a.example", inspection=Inspection.SNI)), False),
        (egress(rule("a.example", inspection=Inspection.SNI, methods=("GET",))), True),
        (egress(rule("a.example", inspection=Inspection.SNI), rule("a.example", DENY, methods=("PUT",))), True),
        (egress(rule("a.example", inspection=Inspection.RAW), unknown=ASK), True),
    ],
)
def test_whether_an_authority_is_needed(found: Egress, needed: bool) -> None:
    assert needs_inspection(found) is needed


# ---- addresses


@pytest.mark.parametrize(
    ("host", "port", "address", "verdict"),
    [
        ("a.example", 443, "93.184.215.14", ALLOW),
        ("a.example", 443, "2606:4700::1111", ALLOW),
        ("a.example", 443, "127.0.0.1", DENY),
        ("a.example", 443, "10.0.0.1", DENY),
        ("a.example", 443, "169.254.169.254", DENY),
        ("a.example", 443, "::ffff:10.0.0.1", DENY),
        ("a.example", 443, "64:ff9b::a00:1", DENY),
        ("a.example", 443, "203.0.113.9", DENY),
        ("a.example", 443, "9.9.9.9", DENY),
        ("a.example", 443, "::ffff:9.9.9.9", DENY),
        ("a.example", 443, "8.8.8.8", DENY),
        ("a.example", 443, "8.8.4.4", ALLOW),
        ("a.example", 443, "2606:4700::2222", DENY),
        ("a.example", 443, "2606:4700::2222%eth0", DENY),
        ("lan.example", 443, "10.1.2.3", ALLOW),
        ("lan.example", 443, "11.1.2.3", ALLOW),
        ("lan.example", 443, "192.168.0.1", DENY),
        ("lan.example", 22, "10.1.2.3", DENY),
        ("lan.example", 443, "100.100.100.200", DENY),
        ("meta.example", 80, "169.254.169.254", ALLOW),
        ("meta.example", 80, "169.254.170.2", DENY),
        ("10.5.5.5", 5432, "10.5.5.5", ALLOW),
        ("10.5.5.5", 5432, "10.5.5.6", DENY),
        ("10.5.5.5", 80, "10.5.5.5", DENY),
        (HOST_LOOPBACK, 5432, "127.0.0.1", ALLOW),
        (HOST_LOOPBACK, 5432, "::1", ALLOW),
        (HOST_LOOPBACK, 5433, "127.0.0.1", DENY),
        (HOST_LOOPBACK, 5432, "10.0.0.1", DENY),
        (HOST_LOOPBACK, 5432, "93.184.215.14", DENY),
        ("barred.example", 443, "10.9.0.1", DENY),
    ],
)
def test_what_a_host_may_resolve_to(host: str, port: int, address: str, verdict: Verdict) -> None:
    found = egress(
        rule("a.example"),
        rule("lan.example", addresses=("10.0.0.0/8", "100.64.0.0/10")),
        rule("meta.example", addresses=("169.254.0.0/16", "169.254.169.254/32")),
        rule("10.5.5.5", ports=((5432, 5432),)),
        rule(HOST_LOOPBACK, ports=((5432, 5432),)),
        rule("barred.example", addresses=("10.9.0.0/16",)),
        rule("8.8.8.8", DENY),
        rule("8.8.4.4", DENY, paths=("/x",)),
        rule("2606:4700::2222", DENY),
        denied_addresses=("9.9.9.0/24", "10.9.0.1/32"),
    )
    assert resolves_to(found, host, port, address).verdict is verdict


def test_a_denial_says_what_the_address_is() -> None:
    assert resolves_to(egress(rule("a.example")), "a.example", 443, "10.0.0.1").reason == "10.0.0.1 is special: private"
    loopback = egress(rule(HOST_LOOPBACK))
    assert (
        resolves_to(loopback, HOST_LOOPBACK, 443, "93.184.215.14").reason == "93.184.215.14 is not this host's loopback"
    )
    allowed = resolves_to(egress(rule("10.0.0.1")), "10.0.0.1", 443, "10.0.0.1")
    assert (allowed.rule, allowed.source) == ("10.0.0.1:80,443", USER)


# ---- a project's questions


def test_a_project_s_question_only_tightens() -> None:
    asked = rule("a.example", ASK, source=PROJECT)
    assert decide_connection(egress(asked), "a.example", 443).verdict is DENY
    assert decide_name(egress(asked), "a.example").verdict is DENY
    assert decide_connection(egress(rule("a.example"), asked), "a.example", 443).verdict is ASK
    both = egress(asked, rule("a.example"))
    assert decide_connection(both, "a.example", 443).verdict is ASK
    assert decide_request(both, request()) == decide_connection(both, "a.example", 443)
    assert decide_connection(egress(asked, rule("a.example", DENY)), "a.example", 443).verdict is DENY
    assert decide_connection(egress(asked, unknown=ASK), "a.example", 443).reason.startswith("no rule speaks of it")


def test_a_project_s_denial_is_one_like_any_other() -> None:
    denied = rule("a.example", DENY, source=PROJECT)
    assert decide_connection(egress(rule("a.example", ASK), denied), "a.example", 443).verdict is DENY


def test_a_rule_without_a_reason_is_the_reason() -> None:
    reasons = [decide_connection(egress(rule("a.example", verdict)), "a.example", 443).reason for verdict in Verdict]
    assert sorted(reasons) == ["a rule asks first", "allowed by a rule", "denied by a rule"]


def test_a_project_s_question_about_requests_lets_no_connection_through() -> None:
    asked = rule("a.example", ASK, source=PROJECT, methods=("POST",))
    assert decide_connection(egress(asked), "a.example", 443).verdict is DENY
    found = egress(asked, rule("a.example"))
    assert decide_connection(found, "a.example", 443).verdict is ALLOW
    assert [decide_request(found, request(method)).verdict for method in ("GET", "POST")] == [ALLOW, ASK]


def test_a_project_s_question_opens_no_address() -> None:
    asked = rule("10.0.0.1", ASK, source=PROJECT)
    assert resolves_to(egress(asked, unknown=ALLOW), "10.0.0.1", 443, "10.0.0.1").verdict is DENY


# ---- learning


def test_learning_allows_what_is_public_and_not_denied() -> None:
    found = learning(egress(rule("no.example", DENY), rule("db.example", ports=((5432, 5432),)), listen=(5432,)))
    assert (found.unknown, found.listen, found.learning) == (ALLOW, (80, 443, 5432), True)
    assert decide_name(found, "a.example").verdict is ALLOW
    assert decide_connection(found, "a.example", 443).verdict is ALLOW
    assert decide_connection(found, "no.example", 443).verdict is DENY
    assert resolves_to(found, "a.example", 443, "192.168.1.1").verdict is DENY
    assert decide_request(learning(egress(rule("a.example", methods=("GET",)))), request("PUT")).verdict is ALLOW


# ---- texts


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (rule("a.example"), "a.example:80,443"),
        (rule("*.a.example", ports=((443, 443), (8000, 8010))), "*.a.example:443,8000-8010"),
        (rule("fd00::1", ports=((8080, 8080),)), "[fd00::1]:8080"),
        (rule("a.example", DENY), "a.example"),
        (rule("::1", DENY), "[::1]"),
    ],
)
def test_a_rule_as_text(found: EgressRule, text: str) -> None:
    assert rule_text(found) == text


def test_matching_keeps_the_order_of_the_policy() -> None:
    first, second, third = rule("a.example", DENY), rule("b.example"), rule("*.example", ASK)
    assert matching(egress(first, second, third), "a.example", 443) == (first, third)


def test_many_hosts_are_decided_alike() -> None:
    found = egress(rule("*.a.example"), rule("x7.a.example", DENY))
    for _ in range(2):
        denied = [n for n in range(5000) if decide_connection(found, f"x{n}.a.example", 443).verdict is not ALLOW]
        assert denied == [7]
    assert decide_connection(egress(), "x1.a.example", 443).verdict is DENY


def test_values_travel() -> None:
    found = egress(rule("a.example", paths=("/x",)), unknown=ASK)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Egress) == found
