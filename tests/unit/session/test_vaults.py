"""The supervisor's side of a vault: who is carried, what is believed of what it says, what its end means."""

import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import msgspec
import pytest

from ringfence.model.errors import SandboxError
from ringfence.network.messages import Dial, Dialed, Marked
from ringfence.sandbox.peers import UNKNOWN
from ringfence.session import cleansing, vaults
from ringfence.session.questions import Questions
from ringfence.session.vault import Vault
from ringfence.session.vault_messages import (
    Answered,
    Asking,
    Carry,
    Cleanse,
    Cleansed,
    Kept,
    Minted,
    Told,
    encode,
    to_vault,
)
from ringfence.session.vaults import Vaults

PATIENCE_S = 60.0
DIAL = Dial(request=3, connection=9, host="api.example.com", port=443, scheme="https")
DIALED = Dialed(request=3, address="192.0.2.1")


class Answering:
    """Stands in for `answering.Answering`."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, dict[str, object]]] = []
        self.handed: list[tuple[Dialed, bool]] = []
        self.told: list[object] = []
        self.tainted: list[str] = []
        self.given_up: list[object] = []
        self.questions = Questions(60, lambda _: None)
        self.full = False
        self.way = SimpleNamespace(tainting=self, give_up=self.given_up.append, report_fault=self.fault)

    def report(self, kind: str, code: str, fields: dict[str, object]) -> None:
        if self.full:
            raise SandboxError("the disk is full")
        self.records.append((kind, code, fields))

    def fault(self, where: str, error: BaseException) -> None:
        self.records.append(("lost", where, {}))

    def taint(self, code: str, fields: object) -> None:
        self.tainted.append(code)

    def tell(self, message: object, descriptors: list[int]) -> None:
        self.told.append(message)

    def hand_over(self, answer: Dialed, connected: socket.socket | None) -> None:
        self.handed.append((answer, connected is not None))
        if connected:
            connected.close()

    def caller(self, connection: int) -> object:
        return UNKNOWN


class Pair:
    """`vaults` of a run whose vault's other end is `far`."""

    def __init__(self) -> None:
        near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        vault = Vault.__new__(Vault)
        vault.channel, vault.process, vault.log = near, -1, os.memfd_create("log")
        vault.placeholders, vault.missing, vault.is_used = {"a": "ghp_x"}, [("b", "it is not set")], False
        self.answering = Answering()
        self.vaults = Vaults(vault, self.answering)  # type: ignore[arg-type] # all that is asked of it

    def say(self, *messages: Kept | Asking | Told | Minted) -> None:
        """Say something as the vault, then end, and wait until it has been taken."""
        for message in messages:
            self.far.send(encode(message))
        self.end()

    def end(self) -> None:
        self.far.close()
        for _, thread in self.vaults.threads:
            thread.join(PATIENCE_S)

    def carry(self) -> None:
        upstream, other = socket.socketpair()
        self.vaults.carry(DIAL, DIALED, upstream)
        assert upstream.fileno() == -1  # given away
        other.close()


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """One whose vault is waited for, however slow the machine is."""
    monkeypatch.setattr(cleansing, "ANSWER_TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(vaults, "SETTLE_S", PATIENCE_S)
    made = Pair()
    yield made
    made.end()
    made.vaults.close()


def test_a_connection_is_carried(pair: Pair) -> None:
    pair.carry()
    data, descriptors, _, _ = socket.recv_fds(pair.far, 4096, 4)
    assert to_vault.decode(data) == Carry(connection=9, scheme="https", host="api.example.com", port=443)
    assert len(descriptors) == 2
    for descriptor in descriptors:
        os.close(descriptor)
    assert pair.answering.handed == [(msgspec.structs.replace(DIALED, carried=True), True)]


def test_without_a_vault_nothing_is(pair: Pair) -> None:
    pair.end()
    pair.carry()
    ((answer, connected),) = pair.answering.handed
    assert (answer.code, answer.request, connected) == ("unreachable", 3, False)
    assert ("lost", "vault", {"reason": "it said nothing"}) in pair.answering.records


def test_a_vault_that_takes_no_more_is_busy(pair: Pair) -> None:
    for _ in range(4096):
        pair.carry()
        if pair.answering.handed[-1][0].code:
            break
    assert pair.answering.handed[-1][0].code == "busy" and not pair.answering.handed[-1][1]


def test_where_no_descriptor_can_be_passed_it_is_busy(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program of the user can use up what the kernel lets a user pass: that is no end of the vault."""

    def full(message: bytes, descriptors: list[int]) -> None:
        raise OSError(errno.ETOOMANYREFS, os.strerror(errno.ETOOMANYREFS))

    monkeypatch.setattr(pair.vaults.current, "send", full)
    pair.carry()
    assert pair.answering.handed == [(Dialed(request=3, code="busy", reason="the vault is busy"), False)]


def test_what_it_tells_is_recorded_with_the_process(pair: Pair) -> None:
    fields: dict[str, str | int | bool | None] = {"secret": "a"}
    pair.say(
        Told(kind="secret", code="injected", connection=1, fields=fields),
        Told(kind="denial", code="secret-misuse", connection=1, fields=fields, tainting=True),
        Told(kind="exit", code="", connection=1, fields=fields),
    )
    told = [(kind, code) for kind, code, found in pair.answering.records if "pid" in found]
    assert told == [("secret", "injected"), ("denial", "secret-misuse")]
    assert pair.answering.tainted == ["secret-misuse"]


def test_further_placeholders_are_made_known_to_the_proxy(pair: Pair) -> None:
    pair.say(Minted(placeholders={"a": "ghp_y", "c": "gho_z"}), Kept(placeholders={"z": "no"}))
    assert pair.answering.told == [Marked(placeholders={"a": "ghp_y", "c": "gho_z"})]


@pytest.mark.parametrize("allowed", [True, False])
def test_a_question_is_the_operators(pair: Pair, allowed: bool) -> None:
    asking = Asking(request=7, connection=1, host="api.example.com", port=443, reason="it looks like a key")
    pair.vaults.take(pair.vaults.current, asking)
    (question,) = pair.answering.questions.pending()
    assert (question.target, question.reason) == ("api.example.com:443", "it looks like a key")
    pair.answering.questions.answer(lambda _: True, allowed=allowed, reason="")
    assert to_vault.decode(pair.far.recv(4096)) == Answered(request=7, allowed=allowed)
    assert pair.answering.records[-1][:2] == ("decision", "secret-asked")


def test_where_nothing_can_be_recorded_the_run_ends(pair: Pair) -> None:
    pair.answering.full = True
    pair.say(Told(kind="secret", code="injected", connection=1, fields={}))
    assert [type(error) for error in pair.answering.given_up] == [SandboxError]


def test_what_is_no_message_ends_it(pair: Pair) -> None:
    pair.far.send(b'{"type": "keep"}')
    pair.vaults.threads[0][1].join(PATIENCE_S)
    assert not pair.vaults.alive


def test_records_of_the_proxy_come_back_without_values(pair: Pair) -> None:
    def answer() -> None:
        asked = to_vault.decode(pair.far.recv(4096))
        assert isinstance(asked, Cleanse)
        texts = {name: text.replace("value", "placeholder") for name, text in asked.texts.items()}
        pair.far.send(encode(Cleansed(request=asked.request, texts=texts)))

    vault = threading.Thread(target=answer)
    vault.start()
    assert pair.vaults.cleansing.cleansed({"path": "/the/value", "count": 3}) == {
        "path": "/the/placeholder",
        "count": 3,
    }
    vault.join(PATIENCE_S)
    pair.end()
    assert pair.vaults.cleansing.cleansed({"path": "/the/value", "count": 3}) == {"path": "withheld", "count": 3}


def test_whoever_settles_finds_everything_acted_on_that_was_said(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what has been received, and is being recorded."""
    begun, recorded = threading.Event(), []

    def report(kind: str, code: str, fields: dict[str, object]) -> None:
        begun.set()
        time.sleep(0.05)
        recorded.append(code)

    monkeypatch.setattr(pair.answering, "report", report)
    pair.vaults.settle()
    misuse = encode(Told(kind="denial", code="secret-misuse", connection=1, fields={}, tainting=True))
    pair.far.send(misuse)
    pair.far.send(misuse)
    pair.vaults.settle()
    assert recorded == ["secret-misuse"] * 2 and pair.answering.tainted == ["secret-misuse"] * 2
    begun.clear()
    pair.far.send(misuse)
    assert begun.wait(PATIENCE_S)
    pair.vaults.settle()
    assert len(recorded) == 3


def test_nobody_waits_for_a_vault_that_has_ended_or_goes_on_and_on(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vaults, "SETTLE_S", 0.05)
    with pair.vaults.taking:
        started = time.monotonic()
        pair.vaults.settle()
        assert 0.05 <= time.monotonic() - started < PATIENCE_S / 2
    monkeypatch.setattr(vaults, "SETTLE_S", PATIENCE_S)
    pair.end()
    started = time.monotonic()
    pair.vaults.settle()
    assert time.monotonic() - started < PATIENCE_S / 2
