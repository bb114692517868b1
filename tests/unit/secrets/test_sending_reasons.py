"""The reason of a misuse says where the placeholder would have been in its place, where there is one at that host."""

import pytest

from ringfence.model.passage import Destination, Outgoing, Stopped
from ringfence.model.secrets import Injection, Origin, Placing, Secret, Secrets, SecretSource
from ringfence.secrets.keeper import Keeper


def injection(host: str, *, methods: tuple[str, ...] = (), paths: tuple[str, ...] = ()) -> Injection:
    return Injection(host=host, placing=Placing.HEADER, name="authorization", methods=methods, paths=paths)


def reason(request: str, *rules: Injection) -> str:
    source = SecretSource(origin=Origin.ENVIRONMENT, locator="X")
    keeper = Keeper(Secrets(secrets=(Secret(name="a", source=source, inject=rules),)), {"a": b"value-of-the-secret-1"})
    method, scheme, path = request.split()
    headers = [(b"host", b"h"), (b"authorization", f"token {keeper.placeholders['a']}".encode())]
    destination = Destination(scheme, "api.example", 443 if scheme == "https" else 80)
    found = keeper.open(destination, Outgoing(method.encode(), path.encode(), headers))
    assert isinstance(found, Stopped) and found.code == "secret-misuse"
    return found.reason.partition("where no rule puts a value for ")[2]


@pytest.mark.parametrize("request_", ["DELETE https /v1/x", "GET https /v2", "GET http /v1/x"])
def test_a_rule_for_other_requests_is_named(request_: str) -> None:
    rule = injection("api.example", methods=("GET", "POST"), paths=("/v1/**",))
    assert reason(request_, rule) == "api.example; its rules there are for TLS GET POST /v1/**"


def test_each_rule_is_named_once() -> None:
    rules = [injection(host, methods=("GET",)) for host in ("*.example", "api.example")]
    rules.append(injection("api.example", methods=("PUT",)))
    assert reason("DELETE https /", *rules) == "api.example; its rules there are for TLS GET or TLS PUT"


def test_where_there_is_none_nothing_is_added() -> None:
    assert reason("GET https /", injection("other.example")) == "api.example"
