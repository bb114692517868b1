"""What `ringfence learn` says of a run."""

from ringfence.audit.read import Record
from ringfence.cli import learn
from ringfence.model.egress import Egress
from ringfence.report.learned import Seen, propose


def said(*seen: Seen) -> str:
    return "\n".join(learn.rendered(propose(seen, Egress()), "R", bool(seen)))


def denial(code: str, fields: dict[str, str | int | bool | list[str] | None]) -> Record:
    return Record(v=1, seq=1, time="", run="R", kind="denial", code=code, fields=fields, prev="", hash="")


def test_one_is_not_many() -> None:
    one = Seen(host="a.example", port=443, scheme="https", method="GET", path="/", program="curl")
    assert "reached 1 host that" in said(one)
    assert "# 1 time by curl: reads only" in said(one)
    other = Seen(host="b.example", port=443, scheme="https", method="GET", path="/")
    assert "reached 2 hosts that" in said(one, one, other)
    assert "# 2 times by curl" in said(one, one, other)


def test_nothing_reached_is_not_called_allowed() -> None:
    assert said() == "ringfence: nothing was reached"
    assert list(learn.rendered([], "R")) == ["ringfence: policy allows everything that was reached"]


def test_a_call_that_no_rule_was_found_for_comes_with_a_remedy() -> None:
    fields: dict[str, str | int | bool | list[str] | None] = {"target": "198.18.1.0:9000", "call": "connect"}
    assert "--allow HOST:PORT" in learn.reason_of(denial("egress-denied", fields))


def test_a_service_of_the_host_comes_with_its_own() -> None:
    fields: dict[str, str | int | bool | list[str] | None] = {"target": "host-loopback:9000", "reason": "resolved"}
    assert learn.reason_of(denial("address-denied", fields)).endswith("`--allow host-loopback:9000`")
    assert learn.reason_of(denial("address-denied", fields | {"target": "host-loopback.example:9000"})) == "resolved"
