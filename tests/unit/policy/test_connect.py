"""What somebody asks about the network, in three forms, and the answer with its rule."""

import pytest

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress
from ringfence.policy.connect import Asked, asked, decide, quoted, rule_of
from ringfence.policy.document import HostEntry
from ringfence.policy.host_rules import host_rule

USER = Source(scope="user", file="policy.toml", line=3)
EGRESS = Egress(
    rules=(
        host_rule("*.a.example", Verdict.DENY, USER),
        host_rule(
            HostEntry(host="api.example", methods=("GET",), paths=("/v1/**",), reason="the API"), Verdict.ALLOW, USER
        ),
        host_rule("10.0.0.1:5432", Verdict.ALLOW, USER),
        host_rule("db.example:5432", Verdict.ASK, USER),
    )
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Example.com", Asked(host="example.com")),
        ("example.com:8443", Asked(host="example.com", port=8443)),
        ("::1", Asked(host="::1")),
        ("[::1]:80", Asked(host="::1", port=80)),
        ("https://example.com", Asked(host="example.com", port=443, scheme="https", method="GET", path="/")),
        ("http://example.com/a?q#f", Asked(host="example.com", port=80, scheme="http", method="GET", path="/a")),
        (
            "GET http://a.example/%7e%2f",
            Asked(host="a.example", port=80, scheme="http", method="GET", path="/~%2F"),
        ),
        ("POST HTTPS://[::1]:1/x", Asked(host="::1", port=1, scheme="https", method="POST", path="/x")),
    ],
)
def test_the_three_forms(text: str, found: Asked) -> None:
    assert asked(text) == found
    assert asked(str(found)) == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("a b", "stands before a URL"),
        ("GET example.com", "stands before a URL"),
        ("get https://example.com", "capital letters"),
        ("ftp://example.com/", "a URL is"),
        ("https://user@example.com/", "user name"),
        ("https://example.com:0/", "from 1 to 65535"),
        ("https://example.com:70000/", "from 1 to 65535"),
        ("https:///x", "it is empty"),
        ("GET https://exa mple.com/", "stands before a URL"),
        ("example.com:0", "from 1 to 65535"),
        ("example.com:x", "from 1 to 65535"),
        ("0x7f.1", "not an IPv4 address"),
    ],
)
def test_what_is_none_of_them(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        asked(text)


@pytest.mark.parametrize(
    ("text", "verdict", "rule"),
    [
        ("api.example", Verdict.ALLOW, 'network.allow = "api.example:80,443" (GET, /v1/**)'),
        ("api.example:443", Verdict.ALLOW, 'network.allow = "api.example:80,443" (GET, /v1/**)'),
        ("api.example:22", Verdict.DENY, ""),
        ("https://api.example/v1/x", Verdict.ALLOW, 'network.allow = "api.example:80,443" (GET, /v1/**)'),
        ("POST https://api.example/v1/x", Verdict.DENY, ""),
        ("x.a.example", Verdict.DENY, 'network.deny = "*.a.example"'),
        ("db.example:5432", Verdict.ASK, 'network.ask = "db.example:5432"'),
        ("10.0.0.1", Verdict.ALLOW, 'network.allow = "10.0.0.1:5432"'),
        ("10.0.0.1:5432", Verdict.ALLOW, 'network.allow = "10.0.0.1:5432"'),
        ("10.0.0.2", Verdict.DENY, ""),
    ],
)
def test_the_answer_names_its_rule(text: str, verdict: Verdict, rule: str) -> None:
    decision = decide(EGRESS, asked(text))
    assert (decision.verdict, quoted(EGRESS, decision)) == (verdict, rule)
    assert (rule_of(EGRESS, decision) is None) == (rule == "")


def test_a_special_address_is_denied_whatever_is_unknown() -> None:
    unknown = Egress(unknown=Verdict.ASK, listen=(80, 443))
    assert decide(unknown, asked("10.0.0.1:443")).reason == "10.0.0.1 is special: private"
    assert decide(unknown, asked("10.0.0.1")).verdict is Verdict.DENY
    found = decide(unknown, asked("93.184.215.14:443"))
    assert (found.verdict, quoted(unknown, found)) == (Verdict.ASK, 'network.unknown = "ask"')
