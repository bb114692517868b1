"""Bodies that were taken in before their request goes on."""

import asyncio
import os

import pytest

from ringfence.network import held
from ringfence.network.spool import SpoolFile


def read(body: held.Held) -> list[bytes]:
    """Every piece to the end."""

    async def pieces() -> list[bytes]:
        found = []
        while data := await body.read():
            found.append(data)
        return found

    return asyncio.run(pieces())


def test_a_body_in_memory() -> None:
    body = held.Held(b"0000")
    assert body.at_hand
    assert read(body) == [b"0000"]
    assert body.ended
    assert body.trailers == []


def test_a_body_that_goes_on_in_a_spool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "PIECE", 4)
    spool = SpoolFile(os.memfd_create("spool"))
    spool.write(b"PACKdata!")
    assert read(held.Held(b"commands", spool)) == [b"commands", b"PACK", b"data", b"!"]


def test_a_spool_with_nothing_in_it() -> None:
    assert read(held.Held(b"commands", SpoolFile(os.memfd_create("spool")))) == [b"commands"]
