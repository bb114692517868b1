"""Rules by which requests would pass unseen where they must be seen."""

import pytest

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import EgressRule, Inspection
from ringfence.model.errors import UsageError
from ringfence.policy.inspected import check_inspected, meet

HERE = Source(scope="user", file="p.toml", line=2)


def rule(host: str, ports: tuple[tuple[int, int], ...] = ((443, 443),), file: str = "p.toml") -> EgressRule:
    source = Source(scope="cli", file=file, line=1)
    return EgressRule(host=host, verdict=Verdict.ALLOW, source=source, ports=ports, inspection=Inspection.RAW)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a.example", "a.example", True),
        ("a.example", "b.example", False),
        ("*.example", "a.example", True),
        ("a.example", "*.example", True),
        ("*.example", "*.example", True),
        ("*.b.example", "*.example", True),
        ("*.example", "*.b.example", True),
        ("*.example", "example", False),
        ("*.a.example", "*.b.example", False),
    ],
)
def test_hosts_that_two_patterns_have_in_common(one: str, other: str, expected: bool) -> None:
    assert meet(rule(one), other, ((443, 443),)) is expected


@pytest.mark.parametrize(
    ("ports", "expected"),
    [((1, 442), False), ((444, 500), False), ((443, 443), True), ((1, 443), True), ((443, 500), True)],
)
def test_ports_in_common(ports: tuple[int, int], expected: bool) -> None:
    assert meet(rule("a.example", (ports,)), "a.example", ((443, 443),)) is expected


@pytest.mark.parametrize(("file", "hint"), [("p.toml", "remove `inspection = "), ("", "")])
def test_a_rule_without_a_file_cannot_be_mended_in_it(file: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_inspected("a.example", ((443, 443),), [rule("a.example", file=file)], what="of it", place=HERE)
    assert caught.value.hint.startswith(hint) and bool(caught.value.hint) is bool(hint)
    check_inspected("b.example", ((443, 443),), [rule("a.example")], what="of it", place=HERE)


def test_http2_is_not_inspected_either() -> None:
    spoken = EgressRule(host="a.example", verdict=Verdict.ALLOW, source=HERE, http2=True)
    with pytest.raises(UsageError, match="`http2 = true`"):
        check_inspected("a.example", ((443, 443),), [spoken], what="of it", place=HERE)
