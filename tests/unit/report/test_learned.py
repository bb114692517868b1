"""Rules proposed from what was seen: no wider than it, and only for what policy does not allow already."""

import msgspec
import pytest

from ringfence.model.egress import Egress, EgressRule
from ringfence.policy import layers, parse
from ringfence.report.learned import Proposal, Seen, as_entry, propose
from ringfence.session.control import rules


def get(host: str, path: str = "/", **more: object) -> Seen:
    return Seen(**{"host": host, "port": 443, "scheme": "https", "method": "GET", "path": path, **more})  # type: ignore[arg-type] # fields by name


def test_one_rule_a_host_with_the_methods_seen() -> None:
    found = propose([get("a.example"), get("b.example"), get("a.example", "/x", method="POST", port=8443)], Egress())
    assert [(one.host, one.ports, one.methods, one.seen) for one in found] == [
        ("a.example", (443, 8443), ("GET", "POST"), 2),
        ("b.example", (443,), ("GET",), 1),
    ]
    assert [one.writes for one in found] == [True, False]


def test_what_is_allowed_needs_no_rule() -> None:
    egress = Egress(rules=rules("allow", ["a.example", "*.c.example"]))
    found = propose([get("a.example"), get("x.c.example"), get("b.example")], egress)
    assert [one.host for one in found] == ["b.example"]


def test_what_is_learnt_covers_what_was_seen_and_nothing_else() -> None:
    seen = [get("a.example", "/one"), get("a.example", method="PUT"), Seen(host="t.example", port=5000, scheme="raw")]
    found = propose(seen, Egress())
    allowed = Egress(rules=tuple(rule for one in found for rule in written(one)))
    assert propose(seen, allowed) == []
    assert len(propose([get("a.example", method="DELETE"), get("a.example", port=80)], allowed)) == 1


def written(proposal: Proposal) -> tuple[EgressRule, ...]:
    entry = msgspec.json.encode(as_entry(proposal, "seen")).decode().replace('":', '" = ').replace('"host"', "host")
    for name in ("ports", "methods", "inspection", "reason"):
        entry = entry.replace(f'"{name}" =', f"{name} =")
    layer = parse.parse(f"version = 1\n[network]\nallow = [{entry}]\n", file="proposal", scope="user")
    egress = layers.merge([layer], home="/", workspace="/").egress
    assert egress
    return egress.rules


@pytest.mark.parametrize(("scheme", "inspection"), [("tls", "sni"), ("tcp", "raw")])
def test_a_tunnel_says_how_deeply_it_was_looked_into(scheme: str, inspection: str) -> None:
    (found,) = propose([Seen(host="a.example", port=443, scheme=scheme)], Egress())
    assert (found.inspection, found.methods, found.writes) == (inspection, (), True)
    assert as_entry(found, "why") == {
        "host": "a.example",
        "ports": [443],
        "inspection": inspection,
        "reason": "why",
    }
