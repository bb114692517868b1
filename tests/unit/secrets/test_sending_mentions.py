"""Models are told what programs print: a placeholder in a body there stays, and everything else is as everywhere."""

import gzip
import json

import msgspec
import pytest

from ringfence.model.passage import Destination, Outgoing, Stopped
from ringfence.model.secrets import Injection, Leaks, Origin, Placing, Secret, Secrets, SecretSource
from ringfence.secrets.keeper import Exchange, Keeper

TOKEN = b"ghp_Zk3vQ9xW2bL7nR5tY8uI1oP4aS6dF0gH2jK9"
MODEL = Destination("https", "model.example", 443)
POLICY = Secrets(
    secrets=(
        Secret(
            name="github",
            source=SecretSource(origin=Origin.ENVIRONMENT, locator="X"),
            inject=(Injection(host="model.example", placing=Placing.HEADER, name="x-key"),),
        ),
    ),
    leaks=Leaks(),
    mentions=("*.models.example", "model.example"),
)


def verdict(body: bytes, *headers: tuple[bytes, bytes], to: Destination = MODEL, policy: Secrets = POLICY) -> object:
    """What becomes of a body in which `%s` is the placeholder: the first that is no bytes, or all of them."""
    keeper = Keeper(policy, {"github": TOKEN})
    text = body.replace(b"%s", keeper.placeholders["github"].encode())
    text = gzip.compress(text) if headers else text
    passage = keeper.open(to, Outgoing(b"POST", b"/v1/messages", [(b"host", b"h"), *headers]))
    if not isinstance(passage, Exchange):
        return passage
    given = [passage.request_body(text, last=False), passage.request_body(b"", last=True)]
    stopped = next((piece for piece in given if not isinstance(piece, bytes)), None)
    return stopped or b"".join(piece for piece in given if isinstance(piece, bytes)) == text


def is_stopped(found: object, code: str) -> bool:
    return isinstance(found, Stopped) and found.code == code


PRINTED = json.dumps({"messages": [{"content": "GITHUB_TOKEN=%s\nPATH=/bin"}]}).encode()


@pytest.mark.parametrize("headers", [(), ((b"content-encoding", b"gzip"),)])
def test_a_model_may_be_told_of_a_placeholder(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    assert verdict(PRINTED, *headers) is True


def test_below_a_wildcard_as_well() -> None:
    assert verdict(PRINTED, to=Destination("https", "a.models.example", 443)) is True


@pytest.mark.parametrize(
    "to", [Destination("https", "other.example", 443), Destination("http", "model.example", 80)], ids=str
)
def test_nobody_else(to: Destination) -> None:
    assert is_stopped(verdict(PRINTED, to=to), "secret-misuse")
    assert is_stopped(verdict(PRINTED, policy=msgspec.structs.replace(POLICY, mentions=())), "secret-misuse")


def test_a_value_is_a_leak_there_too() -> None:
    assert is_stopped(verdict(b"%s and " + TOKEN), "secret-leak")


@pytest.mark.parametrize("target", [b"/v1/%s", b"/v1?x=%s"])
def test_only_bodies(target: bytes) -> None:
    keeper = Keeper(POLICY, {"github": TOKEN})
    stand_in = keeper.placeholders["github"].encode()
    assert is_stopped(keeper.open(MODEL, Outgoing(b"POST", target.replace(b"%s", stand_in), [])), "secret-misuse")
    assert is_stopped(keeper.open(MODEL, Outgoing(b"POST", b"/", [(b"x-other", stand_in)])), "secret-misuse")
