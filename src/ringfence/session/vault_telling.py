"""What a vault says to its supervisor: without any value, repeated refusals counted, no faster than it is heard."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable

from ringfence.network.session import MAX_FIELD, MAX_TARGETS, Fields
from ringfence.secrets.keeper import Keeper

from . import vault_messages
from .vault_messages import FromVault, Minted, Told

FAREWELL_TIMEOUT_S = 1.0
UNSENT_AT_MOST = 256
TAINTING = frozenset({"secret-misuse", "secret-leak"})

Repeated = tuple[str, str, str]


class Telling:
    """The way to the supervisor over `link`, which does not block; `brought` is called for values out of answers."""

    def __init__(self, link: socket.socket, keeper: Keeper, brought: Callable[[], None] = lambda: None) -> None:
        self._brought = brought
        self._link = link
        self._keeper = keeper
        self._unsent: deque[bytes] = deque()
        self._refused: dict[Repeated, int] = {}

    def cleansed(self, text: str) -> str:
        """A text for the record; one of that length has been cut, perhaps in the middle of a value."""
        return self._keeper.cleansed(text, cut=len(text) >= MAX_FIELD)

    def told(self, connection: int) -> "Callable[[str, str, Fields], None]":
        """What takes the events of a connection: kind, code and fields."""

        def told(kind: str, code: str, fields: Fields) -> None:
            self.tell(connection, kind, code, fields)
            if minted := self._keeper.take_minted():
                self.send(Minted(placeholders=minted))
                self._brought()

        return told

    def tell(self, connection: int, kind: str, code: str, fields: Fields) -> None:
        """Tell an event; of repeated denials the 10th, 100th and so on, and at the end how many there were."""
        fields = {name: self.cleansed(text) if isinstance(text, str) else text for name, text in fields.items()}
        if kind == "denial":
            count = self._counted((code, str(fields.get("target", "")), str(fields.get("secret", ""))))
            if str(count).strip("0") != "1":
                return
            fields |= {"count": count} if count > 1 else {}
        tainting = kind == "denial" and code in TAINTING
        self.send(Told(kind=kind, code=code, connection=connection, fields=fields, tainting=tainting))

    def _counted(self, key: Repeated) -> int:
        if key not in self._refused and len(self._refused) >= MAX_TARGETS:
            key = (key[0], "", "")  # a flood of different names is one denial, often repeated
        self._refused[key] = self._refused.get(key, 0) + 1
        return self._refused[key]

    def summarise(self) -> None:
        """Tell how often the repeated denials happened."""
        for (code, target, secret), count in self._refused.items():
            if str(count).strip("0") != "1":
                fields: Fields = {"target": target, "reason": "in all", "count": count}
                fields |= {"secret": secret} if secret else {}
                self.send(Told(kind="denial", code=code, connection=0, fields=fields))
        self._refused.clear()

    def send(self, message: FromVault) -> None:
        """Send as soon as it is taken; where too much waits, nothing else goes on until some of it has been taken."""
        self._unsent.append(vault_messages.encode(message))
        self._write()
        if len(self._unsent) > UNSENT_AT_MOST:
            self._link.setblocking(True)
            try:
                self._write(UNSENT_AT_MOST)
            finally:
                self._link.setblocking(False)

    async def farewell(self) -> None:
        """Say the rest, as far as it is heard within `FAREWELL_TIMEOUT_S`."""
        self.summarise()
        try:
            async with asyncio.timeout(FAREWELL_TIMEOUT_S):
                while self._unsent:
                    await asyncio.sleep(0.01)
                    self._write()
        except TimeoutError:
            pass

    def _write(self, left: int = 0) -> None:
        while len(self._unsent) > left:
            try:
                self._link.send(self._unsent[0])
            except BlockingIOError:
                asyncio.get_running_loop().add_writer(self._link, self._writable)
                return
            except OSError:
                self._unsent.clear()  # nobody listens any more
                return
            self._unsent.popleft()

    def _writable(self) -> None:
        asyncio.get_running_loop().remove_writer(self._link)
        self._write()
