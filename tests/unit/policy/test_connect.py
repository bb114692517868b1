"""What somebody asks about the network, in three forms, and the answer with its rule."""

import msgspec
import pytest

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress
from ringfence.policy.connect import Asked, asked, decide, quoted, rule_of
from ringfence.policy.document import HostEntry
from ringfence.policy.host_rules import host_rule

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
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
        ("[::1]", Asked(host="::1")),
        ("example.com:1", Asked(host="example.com", port=1)),
        ("example.com:65535", Asked(host="example.com", port=65535)),
        ("https://example.com:65535/", Asked(host="example.com", port=65535, scheme="https", method="GET", path="/")),
        ("https://example.com/@x", Asked(host="example.com", port=443, scheme="https", method="GET", path="/@x")),
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
        ("https://example.com:65536/", "from 1 to 65535"),
        ("example.com:65536", "from 1 to 65535"),
        ("GET example.com:/x", "stands before a URL"),
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


@pytest.mark.parametrize(
    "text",
    ["::1", "[::1]:80", "GET http://[::1]/x", "GET https://a.example/", "GET https://a.example:80/", "a.example"],
)
def test_it_is_written_as_it_was_asked(text: str) -> None:
    assert str(asked(text)) == text


def test_a_port_that_is_named_is_the_one_that_counts() -> None:
    learning = msgspec.structs.replace(EGRESS, unknown=Verdict.ALLOW, listen=(80,))
    assert decide(learning, asked("10.0.0.1:80")).verdict is Verdict.DENY
    assert decide(learning, asked("10.0.0.1:5432")).verdict is Verdict.ALLOW


def test_of_rules_that_read_alike_the_one_that_decided_is_found() -> None:
    other = Source(scope="user", file="policy.toml", line=4)
    rules = (
        host_rule(HostEntry(host="a.example", methods=("GET",), reason="reads"), Verdict.ALLOW, USER),
        host_rule(HostEntry(host="a.example", methods=("POST",), reason="writes"), Verdict.ALLOW, USER),
        host_rule(HostEntry(host="a.example:80,443", methods=("PUT",), reason="writes"), Verdict.DENY, USER),
        host_rule(HostEntry(host="a.example", methods=("PATCH",), reason="writes"), Verdict.ALLOW, other),
    )
    egress = Egress(rules=rules)
    found = [rule_of(egress, decide(egress, asked(f"{method} https://a.example/"))) for method in METHODS]
    assert found == [*rules, None]
    assert rule_of(egress, decide(egress, asked("a.example"))) == rules[0], "decided by request: the first of them"


def test_a_special_address_is_denied_whatever_is_unknown() -> None:
    unknown = Egress(unknown=Verdict.ASK, listen=(80, 443))
    assert decide(unknown, asked("10.0.0.1:443")).reason == "10.0.0.1 is special: private"
    assert decide(unknown, asked("10.0.0.1")).verdict is Verdict.DENY
    found = decide(unknown, asked("93.184.215.14:443"))
    assert (found.verdict, quoted(unknown, found)) == (Verdict.ASK, 'network.unknown = "ask"')
