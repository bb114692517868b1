"""What a vault leaves to the one that takes its place, over a pair of sockets."""

import socket
from collections.abc import Iterator

import pytest

from ringfence.model.passage import Incoming
from ringfence.secrets.holdings import Bequest
from ringfence.secrets.keeper import Keeper
from ringfence.session import vault_succession
from ringfence.session.vault_messages import Keep
from ringfence.session.vault_service import opened
from ringfence.session.vault_succession import Legacy, everything, later
from tests.unit.secrets.test_keeper import ELSEWHERE, GITHUB, OAUTH, POLICY, TOKEN, answered, bearer, get, sent
from tests.unit.secrets.test_keeper import opened as passage_of

Pair = tuple[socket.socket, socket.socket]
ACCESS = b"at-0123456789abcdefXYZ"
FRESH = b"gh" + b"p_Aq3vQ9xW2bL7nR5tY8uI1oP4aS6dF0gH2jK0"
API = OAUTH.__class__("https", "api.example.com", 443)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield made
    for one in made:
        one.close()


def logged_in(keeper: Keeper, token: bytes = ACCESS) -> bytes:
    """Have an answer bring a token; give what stands for it."""
    answered(passage_of(keeper, OAUTH, get(b"/token", method=b"POST")), b'{"access_token": "%b"}' % token)
    return keeper.placeholders["access"].encode()


def successor(pair: Pair, keeper: Keeper, values: dict[str, bytes]) -> Keeper:
    Legacy(keeper).begin(pair[0])
    left = everything(pair[1])
    stood = {one.name: one.stand_in.decode() for one in left if one.place == "source"}
    made = Keeper(POLICY, values, stood)
    for one in left:
        made.inherit(one)
    return made


def test_what_answers_have_brought_is_put_in_by_the_next_vault(pair: Pair) -> None:
    older = Keeper(POLICY, {"github": TOKEN})
    stand_in, access = older.placeholders["github"].encode(), logged_in(older)
    younger = successor(pair, older, {"github": FRESH})
    assert sent(passage_of(younger, API, get(b"/", bearer(access)))).headers[1] == bearer(ACCESS)
    assert sent(passage_of(younger, GITHUB, get(b"/repos/x", bearer(stand_in)))).headers[1] == bearer(FRESH)
    assert younger.placeholders == {"github": stand_in.decode(), "access": access.decode()}


def test_a_former_value_is_searched_for_and_never_put_in(pair: Pair) -> None:
    older = Keeper(POLICY, {"github": TOKEN})
    stand_in = older.placeholders["github"]
    younger = successor(pair, older, {"github": FRESH})
    for value in (TOKEN, FRESH):
        assert answered(passage_of(younger, ELSEWHERE, get()), value) == stand_in.encode()
        assert younger.cleansed(f"/x/{value.decode()}", cut=False) == f"/x/{stand_in}"
    gone = successor(pair, Keeper(POLICY, {"github": TOKEN}), {})
    assert gone.placeholders == {} and TOKEN.decode() not in gone.cleansed(f"/x/{TOKEN.decode()}", cut=False)


def test_a_source_that_has_what_an_answer_brought_keeps_both_placeholders(pair: Pair) -> None:
    older = Keeper(POLICY, {"access": FRESH})
    before, access = older.placeholders["access"].encode(), logged_in(older)
    younger = successor(pair, older, {"access": ACCESS})
    for stand_in in (before, access):
        assert sent(passage_of(younger, API, get(b"/", bearer(stand_in)))).headers[1] == bearer(ACCESS)


def test_what_an_answer_brings_to_the_older_one_meanwhile_comes_later(pair: Pair) -> None:
    older, ended = Keeper(POLICY, {"github": TOKEN}), []
    legacy = Legacy(older)
    legacy.go_on()  # there is nobody yet
    legacy.begin(pair[0])
    younger = Keeper(POLICY, {"github": TOKEN})
    assert [one.name for one in everything(pair[1])] == ["github"]
    access, taken = logged_in(older), []
    legacy.go_on()
    pair[1].setblocking(False)
    later(pair[1], younger, lambda: taken.append(1), lambda: ended.append(1))
    assert sent(passage_of(younger, API, get(b"/", bearer(access)))).headers[1] == bearer(ACCESS)
    legacy.go_on()  # says nothing twice
    later(pair[1], younger, lambda: taken.append(1), lambda: ended.append(1))
    assert taken == [1] and ended == []
    pair[0].close()
    later(pair[1], younger, lambda: taken.append(1), lambda: ended.append(1))
    assert ended == [1]


def test_the_next_one_but_one_gets_it_too(pair: Pair) -> None:
    older = Keeper(POLICY, {"github": TOKEN})
    access = logged_in(older)
    second = successor(pair, older, {"github": FRESH})
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        third = successor((near, far), second, {"github": TOKEN[::-1]})
    assert sent(passage_of(third, API, get(b"/", bearer(access)))).headers[1] == bearer(ACCESS)
    for value in (TOKEN, FRESH):
        assert answered(passage_of(third, ELSEWHERE, get()), value) != value


def test_a_vault_that_falls_silent_is_not_waited_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_succession, "TIMEOUT_S", 0.05)
    assert everything(pair[1]) == []


@pytest.mark.parametrize("said", [b"no message", b"", b"\xff" * 1000])
def test_what_is_no_message_ends_it(pair: Pair, said: bytes) -> None:
    Legacy(Keeper(POLICY, {"github": TOKEN})).begin(pair[0])
    pair[0].send(said)
    pair[0].close()
    assert [one.name for one in everything(pair[1])] == ["github"]
    assert everything(pair[1]) == []


def test_a_successor_that_has_given_up_costs_nothing(pair: Pair) -> None:
    older = Keeper(POLICY, {"github": TOKEN})
    legacy = Legacy(older)
    pair[1].close()
    legacy.begin(pair[0])
    logged_in(older)
    legacy.go_on()


def test_values_of_unknown_secrets_are_not_taken() -> None:
    keeper = Keeper(POLICY, {})
    keeper.inherit(Bequest("unknown", TOKEN, b"x" * 40, "answer"))
    assert keeper.placeholders == {}


def test_the_placeholder_of_a_source_is_the_one_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the latest of its secret, which stands for what an answer has brought."""
    older = Keeper(POLICY, {"access": TOKEN})
    first, access = older.placeholders["access"], logged_in(older)
    policy = POLICY.__class__(secrets=tuple(one for one in POLICY.secrets if one.name == "access"))
    keep = Keep(secrets=policy, placeholders={"access": access.decode()})
    keeper, kept = opened(keep, {"X": FRESH.decode()}, older.bequests(again=True))
    assert kept.placeholders == {"access": access.decode()}
    assert sent(passage_of(keeper, API, get(b"/", bearer(first.encode())))).headers[1] == bearer(FRESH)
    assert isinstance(passage_of(keeper, API, get()).answer(Incoming(200, [])), Incoming)
