"""What the keeper leaves of a text that is to be recorded."""

import base64
from collections.abc import Callable

import msgspec
import pytest

from ringfence.model.decision import Verdict
from ringfence.model.secrets import Leaks, Secrets
from ringfence.secrets.keeper import WITHHELD, Keeper
from tests.unit.secrets.test_keeper import FOREIGN, POLICY, TOKEN, keeper, stand_in
from tests.unit.secrets.test_scanner import ENCODINGS

__all__ = ["keeper"]
PATH = "/repos/%s/issues"
AT_MOST = 1024


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_a_value_is_replaced_in_every_form(keeper: Keeper, encode: object) -> None:
    assert callable(encode)
    written = encode(TOKEN).decode("latin-1")
    made = keeper.cleansed(PATH % written, cut=False)
    assert written not in made and made.startswith("/repos/") and made.endswith("/issues")
    assert len(made) == len(PATH % written)


def test_what_stands_for_a_value_stays(keeper: Keeper) -> None:
    """A rule would take it for a credential: it looks like one."""
    text = PATH % stand_in(keeper).decode()
    assert keeper.cleansed(text, cut=False) == text
    assert keeper.cleansed(PATH % TOKEN.decode(), cut=False) == text


@pytest.mark.parametrize("text", ["", "/repos/x?a=b%20c", "the header `x-a` is \N{SNOWMAN} \\ud800"])
def test_other_texts_stay(keeper: Keeper, text: str) -> None:
    assert keeper.cleansed(text, cut=False) == text


def test_names_have_no_capitals(keeper: Keeper) -> None:
    text = f"the header `x-{TOKEN.decode().lower()}`, on its way to {TOKEN.decode().lower()}.example.com"
    made = keeper.cleansed(text, cut=False)
    assert TOKEN.decode().lower() not in made and made.count(stand_in(keeper).decode().lower()) == 2
    assert keeper.cleansed(made, cut=False) == made


def test_a_credential_that_a_rule_knows_costs_the_text(keeper: Keeper) -> None:
    assert keeper.cleansed(PATH % FOREIGN.decode(), cut=False) == WITHHELD
    unsearched = Keeper(msgspec.structs.replace(POLICY, leaks=None), {"github": TOKEN})
    assert unsearched.cleansed(PATH % FOREIGN.decode(), cut=False) == PATH % FOREIGN.decode()
    assert TOKEN.decode() not in unsearched.cleansed(PATH % TOKEN.decode(), cut=False)


@pytest.mark.parametrize("secret", [TOKEN, FOREIGN], ids=["value", "credential"])
@pytest.mark.parametrize("missing", [1, 5, len(TOKEN) // 2])
def test_what_was_cut_in_its_middle_is_not_left_in_part(keeper: Keeper, secret: bytes, missing: int) -> None:
    begun = secret[:-missing].decode()
    text = "/" + "x" * (AT_MOST - 1 - len(begun)) + begun
    made = keeper.cleansed(text, cut=True)
    assert len(made) == AT_MOST and begun not in made and made.startswith("/xxx")


def test_without_secrets_only_rules_count() -> None:
    assert Keeper(Secrets(), {}).cleansed(PATH % TOKEN.decode(), cut=True) == PATH % TOKEN.decode()


def name_of(text: bytes) -> str:
    """Somebody's host with `text` in its name, as names are written."""
    cut = text.lower().decode().rstrip("=")
    return f"{cut[:40]}.{cut[40:]}.example.net" if cut[40:] else f"{cut}.example.net"


@pytest.mark.parametrize(
    "written",
    [lambda text: text, lambda text: text.hex().encode(), base64.b32encode, lambda text: text[:9] + b"." + text[9:]],
)
def test_a_name_that_holds_something_is_not_looked_up(keeper: Keeper, written: Callable[[bytes], bytes]) -> None:
    for code, text in (("secret-misuse", stand_in(keeper)), ("secret-leak", TOKEN)):
        found = keeper.refusal(name_of(written(text)), 443)
        assert found is not None and found.code == code
        assert TOKEN.decode().lower() not in keeper.cleansed(found.reason, cut=False)


@pytest.mark.parametrize(
    "host", ["www.example.net", "ghp-.example.net", "a.b.c.d.e.example.net", "xn--bcher-kva.example"]
)
def test_other_names_are(keeper: Keeper, host: str) -> None:
    assert keeper.refusal(host, 443) is None


def test_a_name_is_judged_by_policy() -> None:
    """Nobody is asked about one: there is no request yet."""
    for leaks, code in ((None, ""), (Leaks(known=Verdict.ALLOW), ""), (Leaks(known=Verdict.ASK), "secret-leak")):
        keeper = Keeper(msgspec.structs.replace(POLICY, leaks=leaks), {"github": TOKEN})
        found = keeper.refusal(name_of(TOKEN), 443)
        assert (found.code if found else "") == code
        misused = keeper.refusal(name_of(stand_in(keeper)), 443)
        assert misused is not None and misused.code == "secret-misuse"
