"""What is told of a value without telling it, and which secrets are tried at a host."""

import msgspec
import pytest

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress, EgressRule
from ringfence.model.secrets import Injection, Origin, Placing, Secret, Secrets, SecretSource
from ringfence.policy.egress import Request
from ringfence.session.secret_trial import Trial, Trying, requests, shape
from ringfence.session.vault_messages import Absent, Kept


@pytest.mark.parametrize(
    ("placeholder", "said"),
    [
        ("ghp_" + "a" * 36, "32 to 63 characters, begins with `ghp_`"),
        ("sk-ant-api03-" + "b" * 80, "64 characters or more, begins with `sk-ant-api03-`"),
        ("AKIA" + "A" * 16, "16 to 31 characters, begins with `AKIA`"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2lnbmF0dXJl", "32 to 63 characters, a JWT"),
        ("hunter2hunter2", "under 16 characters"),
        ("x" * 16, "16 to 31 characters"),
    ],
)
def test_a_shape(placeholder: str, said: str) -> None:
    assert shape(placeholder) == said


def secret(name: str, *hosts: str) -> Secret:
    inject = tuple(Injection(host=host, placing=Placing.HEADER, name="authorization") for host in hosts)
    return Secret(name=name, source=SecretSource(origin=Origin.ENVIRONMENT, locator="X"), inject=inject)


def test_which_secrets_are_tried() -> None:
    secrets = Secrets(secrets=(secret("a", "api.example.com", "*.example.org"), secret("b", "example.org")))

    def tried(host: str) -> list[str]:
        return [f"{one.name} {injection.host}" for one, injection in requests(secrets, host)]

    assert tried("api.example.com") == ["a api.example.com"]
    assert tried("x.y.example.org") == ["a *.example.org"]
    assert tried("example.org") == ["b example.org"]
    assert tried("badexample.org") == tried("example.com") == []


class Offline(Trying):
    """Sends nothing: whoever has a credential gets one status, everybody else another."""

    def __init__(self, with_it: int, without: int, *missing: Absent) -> None:
        here = Source(scope="user")
        self.egress = Egress(rules=(EgressRule(host="api.example.com", verdict=Verdict.ALLOW, source=here),))
        self.kept = Kept(placeholders={"a": "placeholder"}, missing=missing)
        self.statuses = (without, with_it)
        self.asked: list[str] = []

    def sent(self, trial: Trial, asked: Request, target: str, headers: dict[str, str]) -> Trial:
        """Note the request; answer with a status alone."""
        self.asked.append(f"{asked.method} {target} {headers}")
        return msgspec.structs.replace(trial, status=self.statuses["placeholder" in f"{target} {headers}"])


def tried(trying: Offline, methods: tuple[str, ...] = (), paths: tuple[str, ...] = ()) -> Trial:
    one = Injection(host="api.example.com", placing=Placing.HEADER, name="authorization", methods=methods, paths=paths)
    return trying.request(secret("a", "api.example.com"), one, "api.example.com")


def test_what_a_host_answers_without_the_secret_is_asked_as_well() -> None:
    trying = Offline(200, 401)
    found = tried(trying)
    assert (found.status, found.status_without) == (200, 401)
    assert trying.asked == ["GET / {'authorization': 'Bearer placeholder'}", "GET / {}"]


def test_a_refusal_needs_no_second_request() -> None:
    trying = Offline(401, 401)
    assert tried(trying).status_without == 0 and len(trying.asked) == 1


@pytest.mark.parametrize(("methods", "sent"), [((), "GET"), (("POST", "HEAD"), "HEAD"), (("DELETE", "POST"), "")])
def test_only_what_changes_nothing_is_tried(methods: tuple[str, ...], sent: str) -> None:
    trying = Offline(200, 401)
    found = tried(trying, methods=methods, paths=("/v1/projects/1",))
    assert [line.split()[0] for line in trying.asked[:1]] == ([sent] if sent else [])
    assert bool(found.problem) is not bool(sent)
    assert sent or "DELETE, POST" in found.hint


def test_a_secret_without_a_value_is_not_tried() -> None:
    trying = Offline(200, 401, Absent(name="a", reason="it is empty", hint="write it"))
    found = tried(trying)
    assert (found.problem, found.hint, found.is_absent, trying.asked) == ("it is empty", "write it", True, [])
