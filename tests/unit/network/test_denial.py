"""What the contained side is told."""

import msgspec
import pytest

from ringfence.model.decision import Verdict
from ringfence.model.egress import Egress
from ringfence.network.authority import Target
from ringfence.network.denial import LARGE_FILES, denial, readable, stated
from ringfence.network.session import Refusal
from tests.unit.network.talk import rule, run, talk

SECRET = "rule `internal` in /etc/ringfence/policy.toml:3"


def told(code: str, target: Target | None, method: str = "GET", egress: Egress | None = None) -> tuple[int, str]:
    async def conversation() -> tuple[int, str]:
        async with talk(egress=egress or Egress()) as table:
            answer = denial(table.session, Refusal(code, SECRET), target, method)
            assert dict(answer.headers)[b"X-Ringfence"] == code.encode()
            assert dict(answer.headers)[b"Content-Length"] == b"%d" % len(answer.body)
            assert answer.phrase + b"\n" == answer.body
            return answer.status, answer.body.decode()

    return run(conversation())


TARGET = Target(scheme="https", host="api.test", port=443, path="/" + "a" * 300)


@pytest.mark.parametrize(
    "code",
    [
        *("egress-denied", "not-found", "unreachable", "timed-out", "busy", "budget-exceeded"),
        *("mismatch", "upstream-certificate", "proxy-password"),
    ],
)
@pytest.mark.parametrize("target", [TARGET, None])
def test_the_operators_reason_is_not_told(code: str, target: Target | None) -> None:
    status, body = told(code, target)
    assert status >= 400
    assert body.startswith(f"ringfence: {code}: ")
    assert body.count("\n") == 1
    assert "internal" not in body


def test_a_rate_says_when_to_come_again_and_a_budget_what_was_used() -> None:
    def answered(refusal: Refusal) -> tuple[int, bytes | None, str]:
        async def conversation() -> tuple[int, bytes | None, str]:
            async with talk(egress=Egress()) as table:
                answer = denial(table.session, refusal, TARGET, "GET")
                return answer.status, dict(answer.headers).get(b"Retry-After"), answer.body.decode()

        return run(conversation())

    rate = Refusal("rate-exceeded", SECRET, limit="more than 2 requests a minute", pause_s=30)
    told = (
        "ringfence: rate-exceeded: too many requests to api.test:443: more than 2 requests a minute; try again in 30 s"
    )
    assert answered(rate) == (429, b"30", f"{told}\n")
    used = Refusal("budget-exceeded", SECRET, limit="5 requests have been made")
    told = "ringfence: budget-exceeded: the budget for api.test:443 is used up: 5 requests have been made"
    assert answered(used) == (403, None, f"{told}\n")


def test_what_kind_of_address_it_was_is_told() -> None:
    """The dialer's words (vetting.py): which kind of special address, and neither the address nor a rule."""
    assert told("address-denied", TARGET) == (
        403,
        f"ringfence: address-denied: {SECRET}; ask the operator for a rule with `addresses` that hold it\n",
    )


def test_what_is_malformed_is_told_since_only_the_program_can_mend_it() -> None:
    assert told("bad-request", None) == (400, f"ringfence: bad-request: {SECRET}\n")


def test_a_host_that_is_denied_comes_with_the_remedy() -> None:
    remedy = "ask the operator: ringfence allow api.test\n"
    assert told("egress-denied", TARGET) == (403, f"ringfence: egress-denied: api.test:443 is not allowed; {remedy}")
    partial = Egress(rules=(rule(methods=("GET",)),))
    status, body = told("egress-denied", TARGET, "POST", partial)
    assert status == 403
    assert body == f"ringfence: egress-denied: POST /{'a' * 199} at api.test:443 is not allowed; {remedy}"


@pytest.mark.parametrize(
    ("host", "port", "entry"),
    [
        ("api.test", 80, "api.test"),
        ("api.test", 8443, "api.test:8443"),
        ("192.0.2.1", 80, "192.0.2.1:80"),
        ("2001:db8::1", 443, "[2001:db8::1]:443"),
        ("host-loopback", 80, "host-loopback:80"),
    ],
)
def test_the_remedy_would_do(host: str, port: int, entry: str) -> None:
    body = told("egress-denied", Target(scheme="http", host=host, port=port, path="/"))[1]
    assert body.endswith(f"; ask the operator: ringfence allow {entry}\n")


def test_no_allowance_is_advised_where_a_rule_denies() -> None:
    denies = Egress(rules=(rule(verdict=Verdict.DENY), rule()))
    words = "api.test:443 is denied by a rule of policy, which no allowance lifts\n"
    assert told("egress-denied", TARGET, egress=denies)[1].endswith(words)
    assert told("egress-denied", Target(scheme="", host="api.test", port=443, path=""), "CONNECT", denies)[1].endswith(
        words
    )
    some = Egress(rules=(rule(verdict=Verdict.DENY, methods=("POST",)), rule()))
    assert "no allowance lifts" in told("egress-denied", TARGET, "POST", some)[1]


def test_an_address_is_named_as_it_is_written() -> None:
    target = Target(scheme="http", host="2001:db8::1", port=80, path="/")
    assert "[2001:db8::1]:80 is not allowed" in told("egress-denied", target)[1]


@pytest.mark.parametrize("accept", [b"", b"*/*", b"application/json"])
def test_most_clients_are_told_one_line_of_text(accept: bytes) -> None:
    answer = stated("git-denied", "no")
    assert readable(answer, accept) is answer


def test_git_lfs_is_told_in_its_own_words() -> None:
    answer = readable(stated("git-denied", 'a "line"'), b"*/*," + LARGE_FILES + b"; charset=utf-8")
    headers = dict(answer.headers)
    assert msgspec.json.decode(answer.body) == {"message": 'ringfence: git-denied: a "line"'}
    assert (headers[b"Content-Type"], headers[b"X-Ringfence"], answer.status) == (LARGE_FILES, b"git-denied", 403)
    assert headers[b"Content-Length"] == b"%d" % len(answer.body) and len(headers) == len(answer.headers)
