"""What a vault tells: no values, repetitions counted, and never more than is taken."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable

import pytest

from ringfence.model.passage import Doubt
from ringfence.model.secrets import Secrets
from ringfence.network.session import MAX_TARGETS, Fields
from ringfence.secrets.keeper import Keeper
from ringfence.session import vault_telling
from ringfence.session.vault_carrying import Carrying
from ringfence.session.vault_messages import Asking, Carry, Cleanse, Cleansed, FromVault, Told, encode, from_vault
from ringfence.session.vault_telling import UNSENT_AT_MOST, Telling
from tests.unit.secrets.test_keeper import POLICY, TOKEN

MISUSE: Fields = {"target": "evil.test:443", "reason": "the placeholder stands in the URL", "secret": "github"}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the last words heard, however slow the machine is."""
    monkeypatch.setattr(vault_telling, "FAREWELL_TIMEOUT_S", 60.0)


def conversation(act: Callable[[Telling], Awaitable[None]], keeper: Keeper) -> list[FromVault]:
    """What is heard of what `act` has told."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    heard: list[FromVault] = []

    def listen() -> None:
        while data := far.recv(1 << 20):
            heard.append(from_vault.decode(data))

    async def speak() -> None:
        near.setblocking(False)
        telling = Telling(near, keeper)
        await act(telling)
        await telling.farewell()
        near.close()

    with far:
        thread = threading.Thread(target=listen)
        thread.start()
        asyncio.run(speak())
        thread.join(60)
    return heard


def test_no_text_of_an_event_holds_a_value() -> None:
    keeper = Keeper(POLICY, {"github": TOKEN})

    async def act(telling: Telling) -> None:
        told: Fields = {"target": "evil.test:443", "path": f"/{TOKEN.decode()}", "count": 3}
        telling.told(7)("denial", "secret-leak", told)

    (told,) = conversation(act, keeper)
    fields: Fields = {"target": "evil.test:443", "path": f"/{keeper.placeholders['github']}", "count": 3}
    assert told == Told(kind="denial", code="secret-leak", connection=7, fields=fields, tainting=True)


def test_of_repeated_denials_some_are_told_and_at_the_end_how_many() -> None:
    async def act(telling: Telling) -> None:
        for _ in range(123):
            telling.tell(1, "denial", "secret-misuse", MISUSE)
        telling.tell(1, "denial", "secret-misuse", MISUSE | {"secret": "other"})
        for _ in range(3):
            telling.tell(1, "secret", "injected", {"host": "api.github.com"})

    heard = [one for one in conversation(act, Keeper(Secrets(), {})) if isinstance(one, Told)]
    misuses = [(one.fields["secret"], one.fields.get("count", 1)) for one in heard if one.kind == "denial"]
    assert misuses == [("github", 1), ("github", 10), ("github", 100), ("other", 1), ("github", 123)]
    assert [one.code for one in heard].count("injected") == 3


def test_a_flood_of_different_names_is_one_denial() -> None:
    async def act(telling: Telling) -> None:
        for number in range(MAX_TARGETS + 200):
            telling.tell(1, "denial", "secret-misuse", MISUSE | {"target": f"{number}.test:443"})

    heard = [one for one in conversation(act, Keeper(Secrets(), {})) if isinstance(one, Told)]
    assert len(heard) == MAX_TARGETS + 4 and heard[-1].fields["count"] == 200


def test_whoever_tells_too_much_waits_until_it_is_taken() -> None:
    waiting: list[int] = []

    async def act(telling: Telling) -> None:
        for number in range(4000):
            telling.tell(number, "secret", "injected", {"host": "api.github.com", "path": "/" + "x" * 500})
            waiting.append(len(telling._unsent))

    heard = conversation(act, Keeper(Secrets(), {}))
    assert [one.connection for one in heard if isinstance(one, Told)] == list(range(4000))
    assert max(waiting) <= UNSENT_AT_MOST


def test_nothing_is_kept_for_nobody() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    far.close()

    async def speak() -> None:
        near.setblocking(False)
        telling = Telling(near, Keeper(Secrets(), {}))
        for _ in range(2 * UNSENT_AT_MOST):
            telling.tell(1, "secret", "injected", {})
        assert not telling._unsent

    with near:
        asyncio.run(speak())


# ---- as a part of the vault


def test_the_supervisor_has_its_own_records_cleansed() -> None:
    keeper = Keeper(POLICY, {"github": TOKEN})
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    far.send(encode(Cleanse(request=3, texts={"path": f"/{TOKEN.decode()}", "target": "evil.test:443"})))
    far.shutdown(socket.SHUT_WR)
    near.setblocking(False)
    with near, far:
        asyncio.run(Carrying(near, keeper).run())
        found = from_vault.decode(far.recv(4096))
    texts = {"path": f"/{keeper.placeholders['github']}", "target": "evil.test:443"}
    assert found == Cleansed(request=3, texts=texts)


def test_a_question_of_somebody_who_is_gone_is_forgotten() -> None:
    keeper = Keeper(POLICY, {"github": TOKEN})
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    async def ask() -> None:
        carrying = Carrying(near, keeper)
        wanted = Carry(connection=1, scheme="https", host=f"{TOKEN.decode().lower()}.test", port=443)
        doubt = Doubt("secret-leak", f"a value stands in the header `{TOKEN.decode()}`")
        asking = asyncio.create_task(carrying._asked(wanted, doubt))
        await asyncio.sleep(0)
        assert len(carrying._open) == 1
        asking.cancel()
        await asyncio.wait([asking])
        assert carrying._open == {}

    near.setblocking(False)
    with near, far:
        asyncio.run(ask())
        asked = from_vault.decode(far.recv(4096))
    stand_in = keeper.placeholders["github"]
    assert isinstance(asked, Asking)
    assert stand_in in asked.reason and asked.host == f"{stand_in.lower()}.test"
