"""What is told of a value without telling it, and which secrets are tried at a host."""

import pytest

from ringfence.model.secrets import Injection, Origin, Placing, Secret, Secrets, SecretSource
from ringfence.session.secret_trial import requests, shape


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
