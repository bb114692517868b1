"""The vault's second half: confined, between the proxy and the hosts, until the supervisor is gone.

Everything the hop needs is loaded and made by `carry_on` before the process is confined; from then on there are
descriptors that come with messages, and nothing else.
"""

import asyncio
import functools
import itertools
import os
import socket

from ringfence.model.passage import Destination, Doubt
from ringfence.network import confinement, hop, tls
from ringfence.network.channel import close_descriptors
from ringfence.network.session import Fields
from ringfence.network.stream import Stream
from ringfence.sandbox import proxy_syscalls, seccomp
from ringfence.secrets.keeper import Keeper

from . import vault_messages, vault_succession
from .vault_messages import Answered, Asking, Carry, Cleanse, Cleansed, HandOver, Judge, Judged, Retire
from .vault_succession import Legacy
from .vault_telling import Telling
from .vault_worker import LOG_BYTES, placed, say

DESCRIPTORS_AT_MOST = 2


def carry_on(link: socket.socket, keeper: Keeper, older: socket.socket | None, *, identifier: int) -> None:
    """Give up everything but what is open, and serve the supervisor at the other end of `link` until it is gone.

    `older` is where the vault says more whose place this one has taken, if there was one.
    """
    tls.prepare(http2=False)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(_complain)
    program = seccomp.build_list(proxy_syscalls.VAULT, machine=os.uname().machine)
    confinement.confine(program, identifier=identifier, file_bytes=LOG_BYTES)
    link.setblocking(False)
    loop.run_until_complete(Carrying(link, keeper).run(older))


def _complain(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Tell of an error by its kind and place alone: its message may quote a value."""
    error = context.get("exception")
    if isinstance(error, BaseException):
        say(type(error), error.__traceback__)


class Carrying:
    """The conversation with the supervisor, and everything that is being carried."""

    def __init__(self, link: socket.socket, keeper: Keeper) -> None:
        self.keeper = keeper
        self._link = link
        self._legacy = Legacy(keeper)
        self._telling = Telling(link, keeper, self._legacy.go_on)
        self._room = hop.Room()
        self._ended = asyncio.Event()
        self._retired = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[bool]] = {}

    async def run(self, older: socket.socket | None = None) -> None:
        """Serve until the supervisor ends the conversation, or until what was carried has ended after `Retire`."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._link, self._receive)
        if older:
            older.setblocking(False)
            ended = functools.partial(loop.remove_reader, older)
            loop.add_reader(older, vault_succession.later, older, self.keeper, self._legacy.go_on, ended)
        await self._ended.wait()
        loop.remove_reader(self._link)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._telling.farewell()

    # ---- from the supervisor

    def _receive(self) -> None:
        while not self._ended.is_set():
            try:
                data, descriptors, flags, _ = socket.recv_fds(
                    self._link, vault_messages.PACKET_BYTES, DESCRIPTORS_AT_MOST
                )
            except BlockingIOError:
                return
            except ConnectionError:
                data, descriptors, flags = b"", [], 0
            if not data:
                self._ended.set()
                return
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):  # there is no room for more descriptors
                close_descriptors(tuple(descriptors))
                raise ConnectionAbortedError("a message of the supervisor was cut short")
            self._take(data, descriptors)

    def _take(self, data: bytes, descriptors: list[int]) -> None:
        match vault_messages.to_vault.decode(data):
            case Carry() as wanted:
                inside, upstream = (socket.socket(fileno=descriptor) for descriptor in descriptors)
                task = asyncio.get_running_loop().create_task(self._carry(wanted, inside, upstream))
                self._tasks.add(task)
                task.add_done_callback(lambda task: self._carried(task, wanted))
            case Answered() as answer:
                waiting = self._open.pop(answer.request, None)
                if waiting and not waiting.done():
                    waiting.set_result(answer.allowed)
            case Cleanse() as asked:
                texts = {name: self._telling.cleansed(text) for name, text in asked.texts.items()}
                self._telling.send(Cleansed(request=asked.request, texts=texts))
            case Judge(request=number, host=host, port=port):
                found = self.keeper.refusal(host, port)
                told = Judged(request=number, code=found.code, reason=found.reason) if found else Judged(request=number)
                self._telling.send(told)
            case HandOver():
                self._legacy.begin(socket.socket(fileno=descriptors[0]))
            case Retire():
                self._retired = True
                self._end_if_idle()
            case _:
                raise ConnectionAbortedError("the supervisor began a second time")

    async def _carry(self, wanted: Carry, inside: socket.socket, upstream: socket.socket) -> None:
        async def ask(doubt: Doubt) -> bool:
            return await self._asked(wanted, doubt)

        told = self._telling.told(wanted.connection)
        destination = Destination(wanted.scheme, wanted.host, wanted.port)
        with inside, upstream:
            near, gate = await Stream.over(inside), self.keeper
            await hop.serve(near, upstream, destination, gate, told=told, ask=ask, room=self._room)

    async def _asked(self, wanted: Carry, doubt: Doubt) -> bool:
        """Put a doubt to the operator, unless whoever wants to know is gone before the answer."""
        number = next(self._numbers)
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._open[number] = waiting
        host, reason = self._telling.cleansed(wanted.host), self._telling.cleansed(doubt.reason)
        asking = Asking(request=number, connection=wanted.connection, host=host, port=wanted.port, reason=reason)
        try:
            self._telling.send(asking)
            return await waiting
        finally:
            self._open.pop(number, None)

    def _carried(self, task: "asyncio.Task[None]", wanted: Carry) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):  # a fault of ours: it has cost this connection
            fields: Fields = {"host": wanted.host, "port": wanted.port}
            fields["reason"] = placed(type(error), error.__traceback__)
            self._telling.tell(wanted.connection, "egress", "vault-fault", fields)
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._retired and not self._tasks:
            self._ended.set()
