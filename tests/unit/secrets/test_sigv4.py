"""Signatures made anew. The cases in sigv4.json were signed by botocore 1.44, each with both pairs of keys."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ringfence.model.passage import Outgoing
from ringfence.secrets.sigv4 import Keys, claim, needs_body, payload_problem, signed_anew

DATA: dict[str, Any] = json.loads((Path(__file__).parents[2] / "data/secrets/sigv4.json").read_text())
STAND_IN, TRUE = (Keys(*(text.encode() for text in DATA["keys"][who])) for who in ("stand-in", "true"))
CASES = {case["name"]: case for case in DATA["cases"]}
BOTH = pytest.mark.parametrize("name", CASES)


def request(name: str, who: str = "stand-in") -> Outgoing:
    case = CASES[name]
    headers = [(field.encode(), value.encode()) for field, value in case[who]["headers"]]
    return Outgoing(case["method"].encode(), case[who]["target"].encode(), headers)


def signed(name: str, given: Outgoing, body: bytes | None = None) -> Outgoing | None:
    told = claim(given)
    if told is None:
        return None
    whole = CASES[name]["body"].encode() if body is None else body
    return signed_anew(given, given, told, (STAND_IN, TRUE), body=whole if needs_body(given, told) else b"")


def changed(given: Outgoing, name: bytes, value: bytes) -> Outgoing:
    return msgspec.structs.replace(given, headers=[(n, value if n == name else v) for n, v in given.headers])


@BOTH
def test_what_the_client_signed_is_signed_as_the_owner_of_the_key_would(name: str) -> None:
    assert signed(name, request(name)) == request(name, "true")


@BOTH
def test_another_path_method_or_host_has_no_signature(name: str) -> None:
    given = request(name)
    path, mark, query = given.target.partition(b"?")
    assert signed(name, msgspec.structs.replace(given, method=b"DELETE")) is None
    assert signed(name, msgspec.structs.replace(given, target=path + b"x" + mark + query)) is None
    assert signed(name, msgspec.structs.replace(given, target=given.target + (b"&" if mark else b"?") + b"z=1")) is None
    assert signed(name, changed(given, b"host", b"other.amazonaws.com")) is None


def test_another_body_has_no_signature() -> None:
    assert signed("sts post", request("sts post"), b"Action=CreateUser") is None


def test_only_the_placeholder_s_signature_is_made_anew() -> None:
    given = request("sts post", "true")
    assert signed("sts post", given) is None


def test_a_field_that_is_not_sent_on_is_not_signed() -> None:
    given = request("lambda path")
    told = claim(given)
    assert told is not None
    less = msgspec.structs.replace(given, headers=[field for field in given.headers if field[0] != b"x-two"])
    made = signed_anew(given, less, told, (STAND_IN, TRUE), body=b"")
    assert made is not None
    line = dict(made.headers)[b"authorization"]
    assert b"x-two" not in line and TRUE.identifier in line
    assert claim(made) is not None


def test_chunks_with_signatures_cannot_be_signed_anew() -> None:
    given = request("s3 put hashed")
    name = b"x-amz-content-sha256"
    assert "chunks" in payload_problem(changed(given, name, b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"))
    assert "chunks" in payload_problem(changed(given, name, b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"))
    assert payload_problem(changed(given, name, b"STREAMING-UNSIGNED-PAYLOAD-TRAILER")) == ""
    assert payload_problem(given) == ""


@pytest.mark.parametrize(
    "line",
    [
        b"Bearer token",
        b"AWS4-ECDSA-P256-SHA256 Credential=A/20260102/eu/s3/aws4_request, SignedHeaders=host, Signature=" + b"0" * 64,
        b"AWS4-HMAC-SHA256 Credential=A/20250102/eu/s3/aws4_request, SignedHeaders=host, Signature=" + b"0" * 64,
        b"AWS4-HMAC-SHA256 Credential=A/20260102/eu/s3, SignedHeaders=host, Signature=" + b"0" * 64,
    ],
)
def test_what_is_no_signature_of_this_kind_is_no_claim(line: bytes) -> None:
    assert claim(changed(request("sts post"), b"authorization", line)) is None


def test_keys_are_not_shown() -> None:
    assert repr(TRUE) == "Keys(...)"
