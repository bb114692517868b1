"""Where values are put in, and where they are not."""

import base64
import json

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ringfence.model.passage import Destination, Outgoing
from ringfence.model.secrets import Injection, Placing
from ringfence.secrets.injecting import applies, in_form, in_header, in_json, in_query

STAND_IN = b"tok_abcDEF123456"
VALUE = b'tok_zyxWVU987&"4'
TABLE = {STAND_IN: VALUE}
RULE = Injection(
    host="*.example.com", placing=Placing.HEADER, name="authorization", methods=("GET", "POST"), paths=("/api/**",)
)


def request(method: bytes = b"GET", target: bytes = b"/api/x") -> Outgoing:
    return Outgoing(method, target, [])


@pytest.mark.parametrize(
    ("scheme", "host", "port", "asked"),
    [
        ("http", "a.example.com", 443, request()),
        ("https", "example.com", 443, request()),
        ("https", "a.example.com.evil", 443, request()),
        ("https", "a.example.com", 8443, request()),
        ("https", "a.example.com", 443, request(b"PUT")),
        ("https", "a.example.com", 443, request(target=b"/other")),
        ("https", "a.example.com", 443, request(target=b"/api/../other")),
        ("https", "a.example.com", 443, request(target=b"/api/%2e%2e/other")),
        ("https", "a.example.com", 443, request(target=b"/other?/api/x")),
    ],
)
def test_each_condition_must_hold(scheme: str, host: str, port: int, asked: Outgoing) -> None:
    assert applies(RULE, Destination("https", "a.example.com", 443), request())
    assert not applies(RULE, Destination(scheme, host, port), asked)


def basic(text: bytes) -> bytes:
    return b"Basic " + base64.b64encode(text)


def test_headers() -> None:
    assert in_header(b"Bearer " + STAND_IN, TABLE) == b"Bearer " + VALUE
    assert in_header(basic(b"user:" + STAND_IN), TABLE) == basic(b"user:" + VALUE)
    assert in_header(basic(b"user:" + STAND_IN).rstrip(b"="), TABLE) == basic(b"user:" + VALUE)
    assert in_header(b"Basic " + STAND_IN, TABLE) == b"Basic " + VALUE
    assert in_header(basic(b"user:other"), TABLE) == basic(b"user:other")
    assert in_header(b"Bearer " + base64.b64encode(STAND_IN), TABLE) == b"Bearer " + base64.b64encode(STAND_IN)


def test_queries() -> None:
    made = b"tok_zyxWVU987%26%224"
    assert in_query(b"/p?a=1&key=" + STAND_IN, "key", TABLE) == b"/p?a=1&key=" + made
    assert in_query(b"/p?k%65y=tok%5FabcDEF123456&b", "key", TABLE) == b"/p?k%65y=" + made + b"&b"
    for target in (
        b"/p?a=" + STAND_IN,
        b"/p?" + STAND_IN,
        b"/key=" + STAND_IN,
        b"/p?KEY=" + STAND_IN,
        b"/p?x=key=" + STAND_IN,
    ):
        assert in_query(target, "key", TABLE) == target


def test_forms() -> None:
    assert in_form(b"a=b+c&token=" + STAND_IN, "token", TABLE) == b"a=b+c&token=tok_zyxWVU987%26%224"
    assert in_form(b"a=" + STAND_IN, "token", TABLE) == b"a=" + STAND_IN


def test_json() -> None:
    text = json.dumps({"n": 1.50, "big": 10**30, "a": {"token": STAND_IN.decode()}}).encode()
    made = in_json(text, "a.token", TABLE)
    assert json.loads(made)["a"]["token"] == VALUE.decode()
    assert made.replace(b"\\", b"").replace(VALUE, STAND_IN) == text


@pytest.mark.parametrize(
    "text",
    [
        b'{"other": "tok_abcDEF123456"}',
        b'{"token": "\\u0074ok_abcDEF123456", "other": "tok_abcDEF123456"}',
        b'{"token": "tok_abcDEF123456", "other": "tok_abcDEF123456"}',
        b'{"token": ["tok_abcDEF123456"]}',
        b'{"x": {"token": "tok_abcDEF123456"}}',
        b'["token", "tok_abcDEF123456"]',
        b"token=tok_abcDEF123456",
        b'{"token": "tok_abcDEF123456"',
        b"\xff",
    ],
)
def test_what_is_not_that_field_of_json_is_left_alone(text: bytes) -> None:
    assert in_json(text, "token", TABLE) == text


def test_a_value_that_is_no_text_does_not_go_into_json() -> None:
    text = b'{"token": "tok_abcDEF123456"}'
    assert in_json(text, "token", {STAND_IN: b"\xff\xfe"}) == text


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.text(st.sampled_from('aZ9"\\/&\u00e9\U0001f511\n\x7f \u2028'), min_size=8, max_size=16)


def written(text: str, *, escapes: bool) -> bytes:
    """As some client writes a string: with as few escapes as may be, or each character as one."""
    if escapes:
        units = memoryview(text.encode("utf-16-le")).cast("H")
        return b'"%b"' % "".join(f"\\u{unit:04X}" for unit in units).encode()
    return msgspec.json.encode(text)


@settings(max_examples=300)
@given(before=TEXTS, stand_in=VALUES, value=VALUES, other=TEXTS, escapes=st.booleans())
@example(before="", stand_in='Zz1"y\\x&w', value='Aa1"b\\c&d', other="", escapes=False)
@example(before="a", stand_in="aaaaaaaa", value="99999999", other="", escapes=True)
def test_whatever_the_value_and_however_the_client_writes_it(
    before: str, stand_in: str, value: str, other: str, escapes: bool
) -> None:
    """It is put in where the placeholder stands once, and everything else stays as it was written."""
    text = before + stand_in
    if stand_in in other or text.count(stand_in) != 1:
        return
    token, beside = written(text, escapes=escapes), written(other, escapes=escapes)
    document = b'{"other": ' + beside + b', "n": 1.50, "a": {"token": ' + token + b"}}"
    made = in_json(document, "a.token", {stand_in.encode(): value.encode()})
    assert json.loads(made) == {"other": other, "n": 1.5, "a": {"token": text.replace(stand_in, value)}}
    assert made.startswith(b'{"other": ' + beside + b', "n": 1.50, "a": {"token": ') and made.endswith(b"}}")
    twice = document[:-1] + b', "more": ' + token + b"}"
    assert in_json(twice, "a.token", {stand_in.encode(): value.encode()}) == twice
