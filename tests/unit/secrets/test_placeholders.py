"""What stands for a value has its shape and nothing of what is secret in it."""

import base64
import json
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ringfence.secrets.placeholders import TELLING, UnfitError, alike, parts, placeholder


def segment(document: dict[str, object]) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=")


SIGNATURE = b"SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
JWT = b".".join((segment({"alg": "HS256"}), segment({"sub": "me", "exp": 99, "jti": "a1B2-c3D4-e5F6"}), SIGNATURE))
PEM = b"""-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASC
BKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj
AbCd12=
-----END PRIVATE KEY-----
"""
EXAMPLES = [
    b"ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    b"sk-ant-api03-Abc123-def456_Ghi789jklMNO",
    b"AKIAIOSFODNN7ABCDEFG",
    b"550e8400-e29b-41d4-a716-446655440000",
    b"user:p4ssw0rd!x",
    "pässwörd-1234-öüä".encode(),
    JWT,
    PEM,
]


@pytest.mark.parametrize("value", EXAMPLES)
def test_the_shape_is_kept(value: bytes) -> None:
    made = placeholder(value)
    assert made != value and alike(value, made)
    if value is not JWT:
        assert shape(made) == shape(value)


def shape(text: bytes) -> bytes:
    return re.sub(rb"[a-z]", b"a", re.sub(rb"[A-Z]", b"A", re.sub(rb"[0-9]", b"0", text)))


def test_prefixes_are_kept() -> None:
    assert placeholder(EXAMPLES[0]).startswith(b"ghp_")
    assert placeholder(EXAMPLES[1]).startswith(b"sk-ant-api03-")
    assert placeholder(EXAMPLES[2]).startswith(b"AKIA")


def test_a_jwt_decodes_with_its_claims_and_another_signature() -> None:
    header, claims, signature = placeholder(JWT).split(b".")
    assert header == JWT.split(b".")[0]
    read = json.loads(base64.urlsafe_b64decode(claims + b"=="))
    assert (read["sub"], read["exp"]) == ("me", 99)
    assert read["jti"] != "a1B2-c3D4-e5F6" and len(read["jti"]) == 14
    assert signature != SIGNATURE and len(signature) == len(SIGNATURE)


def test_the_signature_of_a_jwt_and_the_lines_of_a_key_are_searched_for_by_themselves() -> None:
    assert [value for value, _ in parts(JWT, placeholder(JWT))] == [JWT, SIGNATURE]
    lines = [value for value, _ in parts(PEM, placeholder(PEM))]
    assert lines == [b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", b"BKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\nAbCd12="]


@pytest.mark.parametrize("value", [b"", b"short", b"1234567", b"ghp_abc", b"--------------", b"a-b-c-d-e-f-g"])
def test_what_cannot_be_told_from_other_text_is_refused_with_a_remedy(value: bytes) -> None:
    with pytest.raises(UnfitError) as error:
        placeholder(value)
    assert "8 letters and digits" in error.value.reason and error.value.hint
    assert not value or value.decode() not in f"{error.value} {error.value.hint}"


def test_a_text_that_is_taken_is_not_made_again() -> None:
    noise = iter(bytes(400) + b"\1" * 400 + bytes(range(250)) * 8)
    first = placeholder(b"a1b2c3d4e5f6", (), bytes)
    other = placeholder(b"a1b2c3d4e5f6", {first}, lambda count: bytes(next(noise) for _ in range(count)))
    assert other != first


def test_entropy_that_gives_nothing_else_is_an_error() -> None:
    with pytest.raises(UnfitError, match="too few texts"):
        placeholder(b"a0a0a0a0a0", (), bytes)


@settings(max_examples=200, deadline=None)
@given(st.from_regex(rb"[A-Za-z0-9_.+/=-]{12,80}", fullmatch=True))
def test_no_run_of_a_value_is_in_its_placeholder(value: bytes) -> None:
    assume(len(re.findall(rb"[A-Za-z0-9]", value)) >= 12 and not value.startswith((b"eyJ", b"sk", b"gh", b"gl", b"xo")))
    try:
        made = placeholder(value)
    except UnfitError:
        return
    assert made != value and alike(value, made)
    # What every such token begins with is kept.
    start = next(at for at, (was, became) in enumerate(zip(value, made, strict=True)) if was != became)
    for found in re.finditer(rb"(?=([A-Za-z0-9]{%d}))" % TELLING, value[start:]):
        assert found[1] not in made[start:]
