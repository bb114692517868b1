"""What the vault makes of messages that came without all of their descriptors."""

import asyncio
import socket

import pytest

from ringfence.model.secrets import Secrets
from ringfence.secrets.keeper import Keeper
from ringfence.session import vault_carrying
from ringfence.session.vault_carrying import Carrying
from ringfence.session.vault_messages import Carry, encode
from tests.descriptors import open_descriptors


def test_descriptors_of_a_message_that_was_cut_short_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a program with too many connections would leave the vault without room for any, for good."""
    monkeypatch.setattr(vault_carrying, "DESCRIPTORS_AT_MOST", 1)
    wanted = encode(Carry(connection=1, scheme="https", host="x.example", port=443))
    complaints: asyncio.Queue[dict[str, object]] = asyncio.Queue()

    async def conversation() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.put_nowait(context))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(False)
        task = asyncio.create_task(Carrying(theirs, Keeper(Secrets(), {})).run())
        inside, outside = socket.socketpair()
        await asyncio.sleep(0)
        before = open_descriptors()
        for _ in range(5):
            socket.send_fds(ours, [wanted], [inside.fileno(), outside.fileno()])
        for _ in range(5):
            await complaints.get()  # after the descriptors have been given back
        assert open_descriptors() <= before
        ours.close()
        await asyncio.wait_for(task, 60)
        for one in (inside, outside, theirs):
            one.close()

    asyncio.run(conversation())
    assert complaints.empty()
