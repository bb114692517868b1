"""Records of the proxy without values: what goes to the vault, what comes back, what is left without a vault."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress, EgressRule
from ringfence.session import cleansing
from ringfence.session.cleansing import UNJUDGED, WITHHELD, Cleansing
from ringfence.session.vault_messages import Cleanse, Cleansed, Judge, Judged, to_vault

PATIENCE_S = 60.0
VALUE, STAND_IN = "ghp_Zk3vQ9xW2bL7nR5tY8uI1oP4aS6dF0gH2jK9", "ghp_" + "x" * 36
RULES = Egress(
    rules=tuple(
        EgressRule(host=host, ports=((443, 443),), verdict=Verdict.ALLOW, source=Source(scope="user"))
        for host in ("api.example.com", "*.wild.example.com", "2001:db8::1")
    )
)
DENIAL: dict[str, str | int | bool | None] = {
    "target": f"{VALUE}.wild.example.com:443",
    "reason": f"the value stands in the header `{VALUE}`",
    "path": f"/{VALUE}",
    "method": "GET",
    "rule": "user policy.toml:7",
    "count": 10,
}


class FakeVault:
    """A vault that answers at once, from another thread, unless it is told otherwise."""

    def __init__(self) -> None:
        self.asked: list[Cleanse] = []
        self.judged: list[tuple[str, int]] = []
        self.cleansing: Cleansing | None = None
        self.answers = True
        self.then: Callable[[Cleanse], object] | None = None  # done on another thread when it has been asked
        self.error: OSError | None = None

    def send(self, message: bytes, descriptors: list[int]) -> None:
        if self.error:
            raise self.error
        asked = to_vault.decode(message)
        assert not descriptors
        if isinstance(asked, Judge):
            self.judge(asked)
            return
        assert isinstance(asked, Cleanse)
        self.asked.append(asked)
        if act := self.answer if self.answers else self.then:
            threading.Thread(target=act, args=(asked,)).start()

    def judge(self, asked: Judge) -> None:
        assert self.cleansing
        self.judged.append((asked.host, asked.port))
        why = ("secret-leak", "a value") if VALUE.lower() in asked.host else ("", "")
        if self.answers:
            self.cleansing.take(Judged(request=asked.request, code=why[0], reason=why[1]))

    def answer(self, asked: Cleanse, **more: str) -> None:
        assert self.cleansing
        texts = {name: text.replace(VALUE, STAND_IN) for name, text in asked.texts.items()}
        self.cleansing.heard(self)  # type: ignore[arg-type] # all that is asked of it
        self.cleansing.take(Cleansed(request=asked.request, texts=texts | more))


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> FakeVault:
    """One that is waited for, however slow the machine is."""
    monkeypatch.setattr(cleansing, "ANSWER_TIMEOUT_S", PATIENCE_S)
    found = FakeVault()
    way = SimpleNamespace(closing=False)
    vaults = SimpleNamespace(current=found, answering=SimpleNamespace(egress=RULES, way=way))
    found.cleansing = Cleansing(vaults)  # type: ignore[arg-type] # all that is asked of it
    return found


@pytest.fixture
def impatient(vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> float:
    """How long is waited, which is not long."""
    monkeypatch.setattr(cleansing, "ANSWER_TIMEOUT_S", 0.1)
    return 0.1


def cleansed(vault: FakeVault, **fields: str | int | bool | None) -> dict[str, str | int | bool | None]:
    assert vault.cleansing
    return vault.cleansing.cleansed(fields or DENIAL)


def test_texts_come_back_without_values(vault: FakeVault) -> None:
    made = cleansed(vault)
    assert made == {
        name: text.replace(VALUE, STAND_IN) if isinstance(text, str) else text for name, text in DENIAL.items()
    }
    assert list(vault.asked[0].texts) == ["target", "reason", "path"]  # no value is in the others


@pytest.mark.parametrize("target", ["api.example.com:443", "[2001:db8::1]:443", "api.example.com"])
def test_a_host_that_policy_names_is_no_matter_of_the_vault(vault: FakeVault, target: str) -> None:
    fields: dict[str, str | int | bool | None] = {"target": target, "host": "api.example.com", "port": 443}
    assert cleansed(vault, **fields) == fields and vault.asked == []
    cleansed(vault, target="other.wild.example.com:443")
    assert len(vault.asked) == 1


def left() -> dict[str, str | int | bool | None]:
    return {**DENIAL, "target": WITHHELD, "reason": WITHHELD, "path": WITHHELD}


@pytest.mark.parametrize("error", [BrokenPipeError(), BlockingIOError()])
def test_a_vault_that_takes_nothing_costs_the_texts(vault: FakeVault, error: OSError, impatient: float) -> None:
    vault.error = error
    assert cleansed(vault) == left()


def test_a_vault_that_has_ended_costs_the_texts_at_once(vault: FakeVault) -> None:
    assert vault.cleansing
    end = vault.cleansing.end
    vault.answers, vault.then = False, lambda _: end(vault)  # type: ignore[arg-type] # all that is asked of it
    started = time.monotonic()
    assert cleansed(vault) == left() == cleansed(vault)
    assert time.monotonic() - started < PATIENCE_S / 2 and len(vault.asked) == 1


def test_one_that_is_late_is_not_waited_for_until_it_answers(
    vault: FakeVault, impatient: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.answers = False
    started = time.monotonic()
    assert [cleansed(vault) for _ in range(500)] == [left()] * 500
    assert time.monotonic() - started < 250 * impatient and len(vault.asked) == 1
    monkeypatch.setattr(cleansing, "ANSWER_TIMEOUT_S", PATIENCE_S)
    vault.answer(vault.asked[0])
    vault.answers = True
    assert cleansed(vault)["path"] == f"/{STAND_IN}"


def test_one_that_is_late_at_the_end_is_not_waited_for_again(vault: FakeVault, impatient: float) -> None:
    assert vault.cleansing
    vault.answers = False
    vault.cleansing.vaults.answering.way.closing = True
    cleansed(vault)
    vault.answer(vault.asked[0])
    assert cleansed(vault) == left() and len(vault.asked) == 1


def test_an_answer_to_something_else_is_none(vault: FakeVault, impatient: float) -> None:
    vault.answers = False
    cleansed(vault)
    late = vault.asked[0]
    vault.answer(late)
    vault.then = lambda _: vault.answer(late)
    assert cleansed(vault, path=f"/other/{VALUE}") == {"path": WITHHELD}


def test_it_adds_no_field(vault: FakeVault) -> None:
    vault.answers, vault.then = False, lambda asked: vault.answer(asked, verdict="allow")
    assert cleansed(vault) == left()


def test_a_successor_is_asked_instead(vault: FakeVault, impatient: float, monkeypatch: pytest.MonkeyPatch) -> None:
    assert vault.cleansing
    vault.answers = False
    cleansed(vault)
    monkeypatch.setattr(cleansing, "ANSWER_TIMEOUT_S", PATIENCE_S)
    fresh = FakeVault()
    fresh.cleansing = vault.cleansing
    vault.cleansing.vaults.current = fresh  # type: ignore[assignment] # all that is asked of it
    assert cleansed(vault)["path"] == f"/{STAND_IN}" and len(vault.asked) == 1


def test_a_name_is_judged_before_it_is_looked_up(vault: FakeVault) -> None:
    assert vault.cleansing
    assert vault.cleansing.refusal(f"{VALUE.lower()}.wild.example.com", 443) == ("secret-leak", "a value")
    assert vault.cleansing.refusal("honest.wild.example.com", 80) == ("", "")
    assert vault.judged == [(f"{VALUE.lower()}.wild.example.com", 443), ("honest.wild.example.com", 80)]


@pytest.mark.parametrize("host", ["api.example.com", "2001:db8::1", "a.bc"])
def test_a_name_that_policy_names_or_that_holds_nothing_is_not(vault: FakeVault, host: str) -> None:
    assert vault.cleansing and vault.cleansing.refusal(host, 443) == ("", "") and not vault.judged


def test_a_name_that_nobody_judges_is_not_looked_up(vault: FakeVault, impatient: float) -> None:
    assert vault.cleansing
    vault.answers = False
    assert vault.cleansing.refusal("honest.wild.example.com", 443) == ("unreachable", UNJUDGED)
