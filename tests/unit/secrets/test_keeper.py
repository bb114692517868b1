"""The keeper: requests with placeholders in every place, answers with values in every form, what becomes of them."""

import base64
import gzip
import json
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.model.decision import Verdict
from ringfence.model.passage import WHOLE_BYTES, Destination, Doubt, Headers, Incoming, Noted, Outgoing, Stopped
from ringfence.model.secrets import Capture, Injection, Leaks, Origin, Placing, Secret, Secrets, SecretSource
from ringfence.network.gate import Gate, Passage
from ringfence.secrets import holdings
from ringfence.secrets.keeper import Exchange, Keeper
from ringfence.secrets.placeholders import UnfitError
from tests.unit.secrets.test_scanner import ENCODINGS, cut
from tests.unit.secrets.test_sigv4 import CASES, STAND_IN, TRUE
from tests.unit.secrets.test_sigv4 import request as signed_request

TOKEN = b"ghp_Zk3vQ9xW2bL7nR5tY8uI1oP4aS6dF0gH2jK9"
REFRESH = b"rt-9f8E7d6C5b4A3z2Y1x0W"
GITHUB = Destination("https", "api.github.com", 443)
OAUTH = Destination("https", "login.example.com", 443)
ELSEWHERE = Destination("https", "paste.example.com", 443)
SOURCE = SecretSource(origin=Origin.ENVIRONMENT, locator="X")
FOREIGN = b"gh" + b"p_" + b"q7Zx3Vb9Nm1Lk5Jh2Gf8Ds4Ap6Oi0Uy7Tr3E"


def inject(host: str, placing: Placing, name: str = "", **more: object) -> Injection:
    return msgspec.convert({"host": host, "placing": placing, "name": name, **more}, Injection)


def secret(name: str, *rules: Injection, **more: object) -> Secret:
    return msgspec.structs.replace(Secret(name=name, source=SOURCE, inject=rules), **more)


POLICY = Secrets(
    secrets=(
        secret(
            "github",
            inject("api.github.com", Placing.HEADER, "authorization", methods=["GET", "POST"], paths=["/repos/**"]),
            inject("api.github.com", Placing.QUERY, "token", paths=["/query"]),
        ),
        secret(
            "refresh",
            inject("login.example.com", Placing.BODY, "refresh_token", paths=["/token"]),
            captures=(
                Capture(
                    host="login.example.com",
                    paths=("/token",),
                    fields=(("access_token", "access"), ("refresh_token", "refresh")),
                ),
            ),
        ),
        secret("access", inject("api.example.com", Placing.HEADER, "authorization")),
    ),
    leaks=Leaks(),
)
Fields = list[tuple[bytes, bytes]]


@pytest.fixture
def keeper() -> Keeper:
    return Keeper(POLICY, {"github": TOKEN, "refresh": REFRESH})


def stand_in(keeper: Keeper, name: str = "github") -> bytes:
    return keeper.placeholders[name].encode()


def get(target: bytes = b"/repos/x", *headers: tuple[bytes, bytes], method: bytes = b"GET") -> Outgoing:
    return Outgoing(method, target, [(b"host", b"h"), *headers])


def bearer(text: bytes) -> tuple[bytes, bytes]:
    return b"authorization", b"Bearer " + text


def opened(keeper: Keeper, to: Destination, request: Outgoing) -> Exchange:
    passage = keeper.open(to, request)
    assert isinstance(passage, Exchange), passage
    return passage


def sent(passage: Exchange) -> Outgoing:
    head = passage.head()
    assert isinstance(head, Outgoing), head
    return head


def refused(found: object, code: str) -> Stopped:
    assert isinstance(found, Stopped), found
    assert found.code == code
    for value in (TOKEN, REFRESH):
        assert value.decode() not in found.reason
    return found


def answered(passage: Exchange, body: bytes, *headers: tuple[bytes, bytes], places: list[int] | None = None) -> bytes:
    head = passage.answer(Incoming(200, list(headers)))
    assert isinstance(head, Incoming), head
    pieces = [passage.answer_body(piece, last=False) for piece in cut(body, places or [])]
    pieces.append(passage.answer_body(b"", last=True))
    assert all(isinstance(piece, bytes) for piece in pieces), pieces
    return b"".join(piece for piece in pieces if isinstance(piece, bytes))


def test_a_keeper_is_what_the_hop_takes_for_its_gate(keeper: Keeper) -> None:
    gate: Gate = keeper
    passage: Passage = opened(keeper, GITHUB, get())
    assert gate is keeper and not passage.whole


# ---- where a placeholder belongs


def test_the_value_is_put_in_where_the_rule_says(keeper: Keeper) -> None:
    passage = opened(keeper, GITHUB, get(b"/repos/x", bearer(stand_in(keeper)), (b"accept", b"*/*")))
    assert not passage.whole
    assert sent(passage).headers == [(b"host", b"h"), bearer(TOKEN), (b"accept", b"*/*")]
    assert passage.notes() == [Noted("injected", "github")] and passage.notes() == []


def test_within_basic_and_in_a_query(keeper: Keeper) -> None:
    text = b"Basic " + base64.b64encode(b"x:" + stand_in(keeper))
    head = sent(opened(keeper, GITHUB, get(b"/repos/x", (b"authorization", text))))
    assert head.headers[1] == (b"authorization", b"Basic " + base64.b64encode(b"x:" + TOKEN))
    assert sent(opened(keeper, GITHUB, get(b"/query?token=" + stand_in(keeper)))).target == b"/query?token=" + TOKEN


@pytest.mark.parametrize("kind", [b"application/json", b"application/x-www-form-urlencoded; charset=utf-8"])
def test_into_a_body_which_is_then_wanted_whole(keeper: Keeper, kind: bytes) -> None:
    fields = {"grant_type": "refresh_token", "refresh_token": stand_in(keeper, "refresh").decode()}
    is_json = kind.endswith(b"json")
    body = json.dumps(fields).encode() if is_json else "&".join(f"{k}={v}" for k, v in fields.items()).encode()
    framing = [(b"content-type", kind), (b"transfer-encoding", b"chunked")]
    passage = opened(keeper, OAUTH, get(b"/token", *framing, method=b"POST"))
    assert passage.whole
    assert passage.request_body(body[:20], last=False) == b""
    made = passage.request_body(body[20:], last=True)
    assert made == body.replace(stand_in(keeper, "refresh"), REFRESH)
    assert sent(passage).headers[1:] == [(b"content-type", kind), (b"content-length", b"%d" % len(made))]
    assert passage.notes() == [Noted("injected", "refresh")]


def test_a_run_s_placeholders_are_kept_when_its_values_change(keeper: Keeper) -> None:
    other = Keeper(POLICY, {"github": b"ghp_" + b"n3wT0k3n" * 6}, keeper.placeholders)
    assert other.placeholders["github"] == keeper.placeholders["github"]
    passage = opened(other, GITHUB, get(b"/repos/x", bearer(stand_in(other))))
    assert sent(passage).headers[1] == bearer(b"ghp_" + b"n3wT0k3n" * 6)
    made = answered(passage, b"ghp_" + b"n3wT0k3n" * 6)
    assert b"n3wT0k3n" not in made and len(made) == 52


# ---- everywhere else it is misuse

MISUSES = {
    "another host": (ELSEWHERE, b"GET", b"/repos/x", "authorization"),
    "another port": (Destination("https", "api.github.com", 8443), b"GET", b"/repos/x", "authorization"),
    "plain http": (Destination("http", "api.github.com", 443), b"GET", b"/repos/x", "authorization"),
    "another path": (GITHUB, b"GET", b"/gists", "authorization"),
    "another method": (GITHUB, b"DELETE", b"/repos/x", "authorization"),
    "another header": (GITHUB, b"GET", b"/repos/x", "x-token"),
    "a cookie": (GITHUB, b"GET", b"/repos/x", "cookie"),
    "a subdomain": (Destination("https", "x.api.github.com", 443), b"GET", b"/repos/x", "authorization"),
}


@pytest.mark.parametrize("case", MISUSES.values(), ids=MISUSES)
def test_a_placeholder_elsewhere_is_misuse(keeper: Keeper, case: tuple[Destination, bytes, bytes, str]) -> None:
    to, method, target, name = case
    request = get(target, (name.encode(), b"Bearer " + stand_in(keeper)), method=method)
    assert refused(keeper.open(to, request), "secret-misuse").secret == "github"


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("size", [1, 9, 4000])
def test_a_placeholder_in_a_body_is_misuse_in_every_form(keeper: Keeper, encode: object, size: int) -> None:
    assert callable(encode)
    body = b"x=" + encode(stand_in(keeper)) + b"&more"
    passage = opened(keeper, GITHUB, get(b"/repos/x", bearer(stand_in(keeper)), method=b"POST"))
    given = [passage.request_body(body[at : at + size], last=False) for at in range(0, len(body), size)]
    given.append(passage.request_body(b"", last=True))
    refused(next(piece for piece in given if not isinstance(piece, bytes)), "secret-misuse")


@pytest.mark.parametrize(
    "target",
    [b"/repos/%s", b"/repos/x?a=%s", b"/repos/x?token=%s", b"/%s/x"],
    ids=["path", "query", "parameter", "start"],
)
def test_a_placeholder_in_a_url_is_misuse(keeper: Keeper, target: bytes) -> None:
    for text in (stand_in(keeper), quote(base64.b64encode(stand_in(keeper))).encode(), stand_in(keeper).hex().encode()):
        found = refused(keeper.open(GITHUB, get(target.replace(b"%s", text))), "secret-misuse")
        assert "the URL" in found.reason


def test_a_placeholder_beside_its_place_is_misuse(keeper: Keeper) -> None:
    twice = get(b"/repos/x", bearer(stand_in(keeper)), (b"x-copy", stand_in(keeper)))
    assert "`x-copy`" in refused(keeper.open(GITHUB, twice), "secret-misuse").reason
    body = json.dumps(
        {"refresh_token": stand_in(keeper, "refresh").decode(), "x": stand_in(keeper, "refresh").decode()}
    )
    passage = opened(keeper, OAUTH, get(b"/token", (b"content-type", b"application/json"), method=b"POST"))
    refused(passage.request_body(body.encode(), last=True), "secret-misuse")


def test_a_placeholder_in_a_compressed_body_or_a_trailer_is_misuse(keeper: Keeper) -> None:
    packed = gzip.compress(b"a" * 100 + stand_in(keeper) + b"b" * 100)
    passage = opened(keeper, ELSEWHERE, get(b"/", (b"content-encoding", b"gzip"), method=b"POST"))
    given = [passage.request_body(packed[at : at + 11], last=False) for at in range(0, len(packed), 11)]
    refused(next(piece for piece in given if not isinstance(piece, bytes)), "secret-misuse")
    passage = opened(keeper, GITHUB, get(b"/repos/x", method=b"POST"))
    refused(passage.request_trailers([(b"x-sum", stand_in(keeper))]), "secret-misuse")
    assert passage.request_trailers([(b"x-sum", b"1")]) == [(b"x-sum", b"1")]


def test_the_body_of_a_secret_s_host_takes_no_header_s_placeholder_and_the_other_way_round(keeper: Keeper) -> None:
    refused(keeper.open(OAUTH, get(b"/token", bearer(stand_in(keeper, "refresh")))), "secret-misuse")
    refused(keeper.open(OAUTH, get(b"/token", bearer(stand_in(keeper)))), "secret-misuse")


# ---- leaks


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_a_known_value_does_not_leave_in_any_form(keeper: Keeper, encode: object) -> None:
    assert callable(encode)
    text = encode(TOKEN)
    passage = opened(keeper, ELSEWHERE, get(b"/", method=b"POST"))
    refused(passage.request_body(b"ab" + text, last=True), "secret-leak")
    if b"\n" not in text:
        refused(keeper.open(ELSEWHERE, get(b"/", (b"x-y", text))), "secret-leak")
        refused(keeper.open(GITHUB, get(b"/repos/x", bearer(text))), "secret-leak")


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(list(ENCODINGS.values())), st.lists(st.integers(0, 500), max_size=20), st.binary(max_size=30))
def test_no_way_of_cutting_lets_a_value_out(encode: object, places: list[int], around: bytes) -> None:
    assert callable(encode)
    keeper = KEEPER
    text = encode(TOKEN)
    went = b""
    passage = opened(keeper, ELSEWHERE, get(b"/", method=b"POST"))
    stopped = False
    for piece in [*cut(around + text + around, places), None]:
        given_out = passage.request_body(piece or b"", last=piece is None)
        if isinstance(given_out, bytes):
            went += given_out
        else:
            stopped = True
            break
    assert stopped and text not in went


KEEPER = Keeper(POLICY, {"github": TOKEN, "refresh": REFRESH})


def with_leaks(leaks: Leaks | None) -> Keeper:
    return Keeper(msgspec.structs.replace(POLICY, leaks=leaks), {"github": TOKEN})


def test_found_credentials_go_home_only(keeper: Keeper) -> None:
    refused(keeper.open(ELSEWHERE, get(b"/", bearer(FOREIGN))), "secret-leak")
    opened(keeper, Destination("https", "github.com", 443), get(b"/", bearer(FOREIGN)))


def test_a_credential_of_somebody_else_at_a_host_with_an_injection_is_a_leak(keeper: Keeper) -> None:
    refused(keeper.open(GITHUB, get(b"/repos/x", bearer(FOREIGN))), "secret-leak")


def test_exempt_hosts_and_no_search() -> None:
    opened(with_leaks(Leaks(exempt=("*.example.com",))), ELSEWHERE, get(b"/", bearer(TOKEN)))
    opened(with_leaks(None), ELSEWHERE, get(b"/", bearer(TOKEN)))
    keeper = with_leaks(None)
    refused(keeper.open(ELSEWHERE, get(b"/", bearer(stand_in(keeper)))), "secret-misuse")


def test_what_policy_allows_is_recorded() -> None:
    passage = opened(with_leaks(Leaks(known=Verdict.ALLOW)), ELSEWHERE, get(b"/", (b"x", TOKEN[:4] + b" " + TOKEN)))
    noted = passage.notes()
    assert [(note.code, note.secret) for note in noted] == [("leak-allowed", "github")]


def test_what_policy_asks_about_waits_for_the_answer() -> None:
    keeper = with_leaks(Leaks(known=Verdict.ASK))
    request = get(b"/", (b"x", TOKEN), method=b"POST")
    assert isinstance(keeper.open(ELSEWHERE, request), Doubt)
    assert isinstance(keeper.open(ELSEWHERE, request, settled=True), Exchange)
    passage = opened(keeper, ELSEWHERE, get(b"/", method=b"POST"))
    first = passage.request_body(b"before " + TOKEN[:10], last=False)
    assert isinstance(passage.request_body(TOKEN[10:] + b" after", last=False), Doubt)
    passage.settle()
    rest = [passage.request_body(b"", last=False), passage.request_body(b"", last=True)]
    assert b"".join(piece for piece in (first, *rest) if isinstance(piece, bytes)) == b"before " + TOKEN + b" after"
    refused(keeper.open(ELSEWHERE, get(b"/", bearer(stand_in(keeper))), settled=True), "secret-misuse")
    refused(passage.request_trailers([(b"x", stand_in(keeper))]), "secret-misuse")


def test_a_yes_is_about_one_thing() -> None:
    policy = msgspec.structs.replace(POLICY, leaks=Leaks(known=Verdict.ASK, found=Verdict.ASK))
    keeper = Keeper(policy, {"github": TOKEN, "refresh": REFRESH})
    both = get(b"/", (b"x", TOKEN), (b"y", REFRESH))
    asked = keeper.open(ELSEWHERE, both)
    assert isinstance(asked, Doubt) and asked.secret in ("github", "refresh")
    assert isinstance(keeper.open(ELSEWHERE, both, settled=True), Doubt)
    passage = keeper.open(ELSEWHERE, get(b"/", (b"x", TOKEN), method=b"POST"), settled=True)
    assert isinstance(passage, Exchange)
    assert passage.request_body(b"again " + TOKEN + b".", last=False) == b"again " + TOKEN + b"."
    assert isinstance(passage.request_body(REFRESH + b".", last=False), Doubt)
    passage.settle()
    assert passage.request_body(b"", last=False) == REFRESH + b"."
    assert isinstance(passage.request_body(FOREIGN + b".", last=True), Doubt)
    passage.settle()
    assert passage.request_body(b"", last=True) == FOREIGN + b"."


def test_a_doubt_about_a_compressed_body_keeps_everything() -> None:
    keeper = with_leaks(Leaks(known=Verdict.ASK))
    packed = gzip.compress(b"a" + TOKEN)
    passage = opened(keeper, ELSEWHERE, get(b"/", (b"content-encoding", b"gzip"), method=b"POST"))
    assert isinstance(passage.request_body(packed, last=True), Doubt)
    passage.settle()
    assert passage.request_body(b"", last=True) == packed


def test_a_doubt_about_a_trailer_is_a_refusal() -> None:
    passage = opened(with_leaks(Leaks(known=Verdict.ASK)), ELSEWHERE, get(b"/", method=b"POST"))
    refused(passage.request_trailers([(b"x", TOKEN)]), "secret-leak")


def test_ordinary_bodies_pass_unchanged(keeper: Keeper) -> None:
    body = json.dumps({"text": "words and words " * 500, "n": [1, 2, 3]}).encode()
    passage = opened(keeper, ELSEWHERE, get(b"/", method=b"POST"))
    pieces = [passage.request_body(body[at : at + 100], last=at + 100 >= len(body)) for at in range(0, len(body), 100)]
    assert b"".join(piece for piece in pieces if isinstance(piece, bytes)) == body


def test_a_body_that_is_wanted_whole_has_its_limit(keeper: Keeper) -> None:
    passage = opened(keeper, OAUTH, get(b"/token", (b"content-type", b"application/json"), method=b"POST"))
    refused(passage.request_body(bytes(WHOLE_BYTES + 1), last=False), "secret-body")


def test_a_body_that_is_not_what_its_coding_says_is_refused(keeper: Keeper) -> None:
    passage = opened(keeper, ELSEWHERE, get(b"/", (b"content-encoding", b"gzip"), method=b"POST"))
    refused(passage.request_body(b"not gzip at all", last=True), "secret-body")


# ---- answers


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(list(ENCODINGS.values())), st.lists(st.integers(0, 500), max_size=20), st.booleans())
def test_no_form_of_a_value_comes_back_however_it_is_cut(encode: object, places: list[int], packed: bool) -> None:
    assert callable(encode)
    keeper = KEEPER
    passage = opened(keeper, GITHUB, get(b"/repos/x", bearer(stand_in(keeper))))
    text = b"<p>" + encode(TOKEN) + b"</p>"
    whole = keeper._holdings.inbound.replaced(text)[0]
    if packed:
        made = answered(passage, gzip.compress(text), (b"content-encoding", b"gzip"), places=places)
    else:
        made = answered(passage, text, places=places)
    assert made == whole and encode(TOKEN) not in made and len(made) == len(text)
    assert Noted("scrubbed", "github") in passage.notes() and Noted("scrubbed", "github") not in passage.notes()


def test_values_in_heads_and_trailers_do_not_come_back(keeper: Keeper) -> None:
    passage = opened(keeper, GITHUB, get(b"/repos/x", bearer(stand_in(keeper))))
    wanted: Headers = [(b"location", b"/?t=" + stand_in(keeper)), (b"x-" + stand_in(keeper), b"1")]
    given_out = passage.answer(Incoming(302, [(b"location", b"/?t=" + TOKEN), (b"x-" + TOKEN, b"1")]))
    assert given_out == Incoming(302, wanted)
    assert passage.answer(Incoming(103, [(b"link", TOKEN)])) == Incoming(103, [(b"link", stand_in(keeper))])
    assert passage.answer_trailers([(b"x", TOKEN)]) == [(b"x", stand_in(keeper))]
    assert passage.upgraded(b"\x81\x28" + TOKEN) == b"\x81\x28" + stand_in(keeper)
    assert passage.notes() == [Noted("scrubbed", "github")]


def test_a_compressed_answer_goes_on_as_it_is(keeper: Keeper) -> None:
    passage = opened(keeper, GITHUB, get())
    fields = [(b"content-encoding", b"gzip"), (b"content-length", b"9"), (b"etag", b"1")]
    assert passage.answer(Incoming(200, fields)) == Incoming(200, [(b"etag", b"1")], transformed=True)
    refused(passage.answer_body(b"nothing compressed", last=True), "unreadable-answer")


@pytest.mark.parametrize("name", [b"br", b"zstd", b"gzip, br", b"compress"])
def test_an_answer_that_cannot_be_read_stops_at_a_host_that_knows_values(keeper: Keeper, name: bytes) -> None:
    answer = Incoming(200, [(b"content-encoding", name)])
    refused(opened(keeper, GITHUB, get()).answer(answer), "unreadable-answer")
    assert opened(keeper, ELSEWHERE, get()).answer(answer) == answer
    assert opened(keeper, GITHUB, get(method=b"HEAD")).answer(answer) == answer
    assert isinstance(opened(keeper, GITHUB, get()).answer(Incoming(304, answer.headers)), Incoming)


def test_a_part_of_a_body_is_refused_where_values_go_out(keeper: Keeper) -> None:
    """Also of a request without one: what another has stored there could be fetched in pieces."""
    for fields in ([bearer(stand_in(keeper))], []):
        passage = opened(keeper, GITHUB, get(b"/repos/x", *fields))
        refused(passage.answer(Incoming(206, [])), "unreadable-answer")
    assert opened(keeper, ELSEWHERE, get()).answer(Incoming(206, [])) == Incoming(206, [])


def test_a_request_with_a_value_asks_for_nothing_that_cannot_be_read(keeper: Keeper) -> None:
    fields: Fields = [
        (b"range", b"bytes=1-2"),
        (b"if-range", b"x"),
        (b"accept-encoding", b"br, gzip, zstd"),
        (b"sec-websocket-extensions", b"permessage-deflate"),
    ]
    head = sent(opened(keeper, GITHUB, get(b"/repos/x", bearer(stand_in(keeper)), *fields)))
    assert head.headers[1:] == [bearer(TOKEN), (b"accept-encoding", b"gzip, identity")]
    assert sent(opened(keeper, GITHUB, get(b"/", *fields))).headers[1:] == [(b"accept-encoding", b"gzip, identity")]
    assert sent(opened(keeper, GITHUB, get(b"/", (b"accept-encoding", b"br")))).headers[1:] == [
        (b"accept-encoding", b"identity")
    ]
    assert sent(opened(keeper, ELSEWHERE, get(b"/", *fields))).headers[1:] == fields


# ---- answers that bring values


def refreshed(keeper: Keeper) -> tuple[bytes, dict[str, str]]:
    body = b'{"access_token": "at-0123456789abcdefXYZ", "refresh_token": "rt-NEWNEW0987654321", "expires_in": 3.0}'
    passage = opened(keeper, OAUTH, get(b"/token", method=b"POST"))
    made = answered(passage, body, places=[5, 30, 60])
    assert {note.secret for note in passage.notes() if note.code == "captured"} == {"access", "refresh"}
    return made, keeper.take_minted()


def test_captured_values_never_come_in_and_are_injected_as_their_secret(keeper: Keeper) -> None:
    made, minted = refreshed(keeper)
    read = json.loads(made)
    assert read == {"access_token": minted["access"], "refresh_token": minted["refresh"], "expires_in": 3.0}
    assert b"0123456789abcdef" not in made and b"NEWNEW" not in made
    assert keeper.take_minted() == {}
    api = Destination("https", "api.example.com", 443)
    passage = opened(keeper, api, get(b"/", bearer(minted["access"].encode())))
    assert sent(passage).headers[1] == bearer(b"at-0123456789abcdefXYZ")
    refused(keeper.open(ELSEWHERE, get(b"/", bearer(minted["access"].encode()))), "secret-misuse")
    assert answered(passage, b"at-0123456789abcdefXYZ") == minted["access"].encode()


def test_a_body_that_is_judged_whole_and_expands_is_refused_before_it_fills_the_memory(keeper: Keeper) -> None:
    fields: Fields = [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")]
    passage = opened(keeper, OAUTH, get(b"/token", *fields, method=b"POST"))
    bomb = gzip.compress(bytes(4 << 20))
    assert [passage.request_body(bomb, last=False) for _ in range(2)] == [b"", b""]
    refused(passage.request_body(bomb, last=False), "secret-body")


@pytest.mark.parametrize("target", [b"/token/", b"//token", b"/TOKEN", b"/x/%2e%2e/token", b"/token;a=b", b"/./token"])
def test_values_are_captured_under_every_spelling_of_the_path(keeper: Keeper, target: bytes) -> None:
    body = b'{"access_token": "at-0123456789abcdefXYZ"}'
    made = answered(opened(keeper, OAUTH, get(target, method=b"POST")), body)
    assert b"0123456789abcdef" not in made and keeper.take_minted()["access"].encode() in made


def test_the_same_answer_brings_the_same_placeholders(keeper: Keeper) -> None:
    assert refreshed(keeper) == refreshed(keeper)


def test_a_value_that_comes_while_another_answer_flows_is_scrubbed_there(keeper: Keeper) -> None:
    passage = opened(keeper, ELSEWHERE, get())
    assert passage.answer(Incoming(200, [])) == Incoming(200, [])
    assert passage.answer_body(b"first ", last=False) == b"first "
    _, minted = refreshed(keeper)
    assert passage.answer_body(b"at-0123456789abcdefXYZ", last=True) == minted["access"].encode()


@pytest.mark.parametrize(
    "body", [b"no JSON", b'{"access_token": 7}', b'{"access_token": "short"}', b'{"access_token": "\\ud800aaaaaaaa"}']
)
def test_an_answer_whose_values_cannot_be_kept_is_stopped(keeper: Keeper, body: bytes) -> None:
    passage = opened(keeper, OAUTH, get(b"/token", method=b"POST"))
    assert isinstance(passage.answer(Incoming(200, [])), Incoming)
    refused(passage.answer_body(body, last=True), "unreadable-answer")


def test_an_error_of_the_token_s_host_passes(keeper: Keeper) -> None:
    passage = opened(keeper, OAUTH, get(b"/token", method=b"POST"))
    assert isinstance(passage.answer(Incoming(400, [])), Incoming)
    assert passage.answer_body(b"bad request", last=True) == b"bad request"


def test_of_many_values_that_answers_bring_the_oldest_is_forgotten(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that is renewed every hour goes on for days; the source's own value is never forgotten."""
    monkeypatch.setattr(holdings, "MOST_OF_A_PLACE", most := 4)  # each costs a search that is compiled anew
    api = Destination("https", "api.example.com", 443)
    texts = [b"at-%020d" % number for number in range(most + 3)]
    stand_ins = []
    for text in texts:
        passage = opened(keeper, OAUTH, get(b"/token", method=b"POST"))
        answered(passage, b'{"access_token": "%b", "refresh_token": "rt-of-%b"}' % (text, text))
        stand_ins.append(stand_in(keeper, "access"))
        assert sent(opened(keeper, api, get(b"/", bearer(stand_ins[-1])))).headers[1] == bearer(text)
    kept, forgotten = -most, -most - 1
    assert sent(opened(keeper, api, get(b"/", bearer(stand_ins[kept])))).headers[1] == bearer(texts[kept])
    assert sent(opened(keeper, api, get(b"/", bearer(stand_ins[forgotten])))).headers[1] == bearer(stand_ins[forgotten])
    assert sent(opened(keeper, api, get(b"/", bearer(stand_ins[0])))).headers[1] == bearer(stand_ins[0])
    assert answered(opened(keeper, ELSEWHERE, get()), REFRESH) != REFRESH


def test_a_value_that_is_brought_again_is_the_newest(keeper: Keeper) -> None:
    for number in (0, *range(1, 16), 0, 16, 17):
        answered(opened(keeper, OAUTH, get(b"/token", method=b"POST")), b'{"access_token": "at-%020d"}' % number)
    found = [answered(opened(keeper, ELSEWHERE, get()), b"at-%020d" % number) for number in (0, 1, 2, 3)]
    assert [text == b"at-%020d" % number for number, text in enumerate(found)] == [False, True, True, False]


# ---- scopes, signatures, unfit values


def scoped() -> Keeper:
    policy = Secrets(
        secrets=(secret("github", inject("api.github.com", Placing.HEADER, "authorization"), scopes=("repo",)),)
    )
    return Keeper(policy, {"github": TOKEN})


def test_scopes_are_learned_from_an_answer_before_anything_is_written() -> None:
    keeper = scoped()
    write = get(b"/x", bearer(stand_in(keeper)), method=b"POST")
    refused(keeper.open(GITHUB, write), "secret-scope")
    passage = opened(keeper, GITHUB, get(b"/x", bearer(stand_in(keeper))))
    assert isinstance(passage.answer(Incoming(200, [(b"x-oauth-scopes", b"repo, public_repo")])), Incoming)
    opened(keeper, GITHUB, write)


def test_a_token_with_more_scopes_than_policy_says_is_not_used_again() -> None:
    keeper = scoped()
    passage = opened(keeper, GITHUB, get(b"/x", bearer(stand_in(keeper))))
    answer = passage.answer(Incoming(200, [(b"x-oauth-scopes", b"repo, admin:org")]))
    assert "admin:org" in refused(answer, "secret-scope").reason
    refused(keeper.open(GITHUB, get(b"/x", bearer(stand_in(keeper)))), "secret-scope")
    opened(keeper, GITHUB, get(b"/x"))


def aws(host: str = "*.amazonaws.com") -> Keeper:
    rule = inject(host, Placing.SIGV4, key_id="aws-id")
    policy = Secrets(secrets=(secret("aws", rule), secret("aws-id")), leaks=Leaks())
    names = {"aws": STAND_IN.secret.decode(), "aws-id": STAND_IN.identifier.decode()}
    return Keeper(policy, {"aws": TRUE.secret, "aws-id": TRUE.identifier}, names)


def amazon(request: Outgoing) -> Destination:
    return Destination("https", dict(request.headers)[b"host"].decode(), 443)


@pytest.mark.parametrize("name", CASES)
def test_signatures_are_made_anew(name: str) -> None:
    request, body = signed_request(name), CASES[name]["body"].encode()
    passage = opened(aws(), amazon(request), request)
    assert passage.request_body(body, last=True) == body
    made, wanted = sent(passage), signed_request(name, "true")
    assert made.target == wanted.target
    assert dict(made.headers)[b"host"] == dict(wanted.headers)[b"host"]
    assert dict(made.headers).get(b"authorization") == dict(wanted.headers).get(b"authorization")
    assert Noted("injected", "aws", "signature") in passage.notes()
    assert isinstance(passage.answer(Incoming(206, [])), Incoming)


def test_a_host_that_gets_signatures_alone_may_answer_in_any_coding_but_gets_no_other_key() -> None:
    request = signed_request("s3 put hashed")
    answer = Incoming(200, [(b"content-encoding", b"br")])
    assert opened(aws(), amazon(request), request).answer(answer) == answer
    foreign = bearer(b"AK" + b"IA" + b"QZX3VB5NM2LK4JH6")
    refused(aws().open(amazon(request), get(b"/", foreign)), "secret-leak")


def test_a_signature_of_another_request_is_misuse() -> None:
    request = signed_request("sts post")
    passage = opened(aws(), amazon(request), request)
    passage.request_body(b"Action=CreateAccessKey", last=True)
    refused(passage.head(), "secret-misuse")


def test_the_identifier_s_placeholder_elsewhere_is_misuse() -> None:
    refused(aws("s3.amazonaws.com").open(GITHUB, signed_request("sts post")), "secret-misuse")


def test_signed_chunks_are_refused_with_the_reason() -> None:
    request = signed_request("s3 put hashed")
    headers = [
        (n, b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD" if n == b"x-amz-content-sha256" else v) for n, v in request.headers
    ]
    found = aws().open(amazon(request), msgspec.structs.replace(request, headers=headers))
    assert "chunks" in refused(found, "secret-unsignable").reason


def test_a_value_of_several_lines_does_not_go_into_a_head() -> None:
    policy = Secrets(secrets=(secret("key", inject("api.github.com", Placing.HEADER, "authorization")),))
    keeper = Keeper(policy, {"key": b"line-one-1234\r\nx-evil: yes"})
    request = Outgoing(b"GET", b"/", [(b"authorization", keeper.placeholders["key"].encode())])
    refused(keeper.open(GITHUB, request), "secret-unfit")


def test_a_value_that_nothing_can_stand_for_is_an_error() -> None:
    with pytest.raises(UnfitError):
        Keeper(POLICY, {"github": b"short"})


def test_closing_forgets_everything(keeper: Keeper) -> None:
    keeper.close()
    assert keeper.placeholders == {}
    assert TOKEN.decode() not in repr(keeper) + repr(vars(keeper))
