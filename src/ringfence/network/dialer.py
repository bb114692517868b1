"""Connections to the outside, made on behalf of a proxy that may not make any itself.

Theory of operation. One thread makes all connections, from one poll loop; names are looked up by threads of the
resolver, which report to that loop. What other threads ask for is posted to it, so that all state is the loop's own.
Each connection is a generator (`_steps`), resumed when what it waits for has come. The thread starts with the first
connection: until then the process may fork safely.

SECURITY: the proxy is believed nothing. Host and port are decided upon again; a name is resolved once, each of its
addresses is put to policy, and the connection goes to one of those very addresses. Under a parent proxy the names, but
not what they resolve to, are judged.
"""

import _socket
import _thread
import math
import os
import select
import time
from collections import deque
from collections.abc import Callable, Generator

import msgspec

from ringfence.model.egress import HOST_LOOPBACK, Egress
from ringfence.policy.addresses import special
from ringfence.policy.hosts import is_address

from . import attempts, parent_proxy, vetting
from .attempts import Outcome, Steps, Wait
from .messages import Dial, Dialed
from .resolver import Answer, Resolve, Resolver, system_addresses
from .routes import leads_here

TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 5.0
MAX_PENDING = 2048
MAX_CONNECTING = 64  # at a time, each on at most `attempts.MAX_ADDRESSES` descriptors; the others wait
LOOPBACK = ("127.0.0.1", "::1")
TURN = Wait()  # for a place among those that connect
ENDED = Outcome(code="unreachable", reason="the session has ended")
BUSY = Outcome(code="busy", reason="too many connections are being made")
TIMED_OUT = Outcome(code="timed-out", reason=f"no connection within {TIMEOUT_S:.0f} seconds")

Done = Callable[[Dialed, _socket.socket | None], None]
Failed = Callable[[BaseException], None]


class _Task(msgspec.Struct, eq=False):
    """One connection, from `submit` until `done` has been called."""

    dial: Dial
    done: Done
    deadline: float
    steps: Steps | None = None
    wait: Wait = TURN

    def finish(self, end: Outcome) -> None:
        told = Dialed(request=self.dial.request, code=end.code, reason=end.reason, address=end.address)
        self.done(told, end.connected)


class Dialer:
    """All connections of one session; methods may be called from any thread.

    `done(answer, socket)` is called once for each, where it must not wait: on the dialer's thread, or by `submit`. The
    socket is non-blocking and belongs to the one called. `failed` is told of an error that ends the thread, which no
    connection should be able to cause. Raises ValueError for a parent proxy that is no such URL.
    """

    def __init__(
        self,
        egress: Egress,
        *,
        resolve: Resolve = system_addresses,
        clock: Callable[[], float] = time.monotonic,
        failed: Failed = lambda error: None,
    ) -> None:
        self._set(egress)
        self._failed = failed
        self._granted: set[tuple[str, int]] = set()
        self._clock = clock
        self._names = Resolver(resolve, clock=clock, post=self._post, answered=self._answered)
        self._pending: dict[_Task, None] = {}  # in the order of their deadlines
        self._connecting: dict[_Task, None] = {}
        self._queue: deque[_Task] = deque()
        self._inbox: deque[Callable[[], None]] = deque()
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = _thread.allocate_lock()
        self._ended = _thread.allocate_lock()
        self._thread = 0
        self._closed = False

    def submit(self, dial: Dial, done: Done) -> None:
        """Make a connection; answered at once where there are too many, or none any more."""
        task = _Task(dial, done, self._clock() + TIMEOUT_S)
        if len(self._pending) + len(self._inbox) >= MAX_PENDING:
            task.finish(BUSY)
        elif not self._post(lambda: self._begin(task)):
            task.finish(ENDED)

    def grant(self, host: str, port: int) -> None:
        """Take note that the operator said yes where policy says ask; for as long as policy says so."""
        self._granted.add((host, port))

    def replace(self, egress: Egress) -> None:
        """Put other rules in force; connections that are being made are judged anew."""
        if egress.parent_proxy:
            parent_proxy.endpoint(egress.parent_proxy)
        self._post(lambda: self._restart(egress))

    def close(self) -> None:
        """Answer every connection that is being made; give back every descriptor and the thread.

        A name that the C library is looking up keeps its thread until the library gives up.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            os.eventfd_write(self._wakeup, 1)
        if not self._thread:
            os.close(self._wakeup)
        elif self._thread != _thread.get_ident() and self._ended.acquire(timeout=CLOSE_TIMEOUT_S):
            self._ended.release()

    def _post(self, action: Callable[[], None]) -> bool:
        """Have the loop carry out `action`; False once it has ended."""
        with self._lock:
            if self._closed:
                return False
            if not self._thread:
                self._ended.acquire()
                self._thread = _thread.start_new_thread(self._serve, ())
            self._inbox.append(action)
            os.eventfd_write(self._wakeup, 1)
            return True

    # ---- the loop: everything below belongs to its thread

    def _serve(self) -> None:
        try:
            while not self._closed:
                self._turn()
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            with self._lock:
                self._closed = True
            while self._inbox:
                self._inbox.popleft()()
            for task in list(self._pending):
                self._finish(task, ENDED)
            os.close(self._wakeup)
            self._ended.release()

    def _turn(self) -> None:
        for task, ready in self._poll():
            self._resume(task, ready)
        for _ in range(len(self._inbox)):
            self._inbox.popleft()()
        now = self._clock()
        while self._pending and (first := next(iter(self._pending))).deadline <= now:
            self._finish(first, TIMED_OUT)
        for task in [task for task in self._connecting if task.wait.until <= now]:
            self._resume(task)
        while self._queue and len(self._connecting) < MAX_CONNECTING:
            task = self._queue.popleft()
            if task in self._pending and task.wait is TURN:
                self._resume(task)

    def _poll(self) -> list[tuple[_Task, tuple[_socket.socket, ...]]]:
        """Wait until something is due; give the connections whose sockets are ready."""
        poller = select.poll()
        poller.register(self._wakeup, select.POLLIN)
        due = [next(iter(self._pending)).deadline] if self._pending else []
        for task in self._connecting:
            due.append(task.wait.until)
            for made in task.wait.sockets:
                poller.register(made, task.wait.event)
        pause_s = min(due, default=math.inf) - self._clock()
        ready = dict(poller.poll(max(0, math.ceil(pause_s * 1000)) if pause_s < math.inf else None))
        if ready.pop(self._wakeup, 0):
            os.eventfd_read(self._wakeup)
        found = [
            (task, tuple(made for made in task.wait.sockets if made.fileno() in ready)) for task in self._connecting
        ]
        return [(task, sockets) for task, sockets in found if sockets]

    def _begin(self, task: _Task) -> None:
        self._pending[task] = None
        task.steps = self._steps(task.dial)
        self._resume(task)

    def _resume(self, task: _Task, ready: tuple[_socket.socket, ...] | None = None) -> None:
        if task.steps is None:
            return
        try:
            task.wait = task.steps.send(ready)
        except StopIteration as end:
            self._finish(task, end.value)
            return
        if task.wait.sockets:
            self._connecting[task] = None
        elif task.wait is TURN:
            self._queue.append(task)

    def _finish(self, task: _Task, outcome: Outcome) -> None:
        self._pending.pop(task, None)
        self._connecting.pop(task, None)
        if task.steps:
            task.steps.close()
        task.finish(outcome)

    def _answered(self, host: str) -> None:
        for task in [task for task in self._pending if task.wait.name == host]:
            self._resume(task)

    # ---- one connection

    def _set(self, egress: Egress) -> None:
        self._parent = parent_proxy.endpoint(egress.parent_proxy) if egress.parent_proxy else None
        self._egress = egress

    def _restart(self, egress: Egress) -> None:
        self._set(egress)
        for task in list(self._pending):
            self._connecting.pop(task, None)
            if task.steps:
                task.steps.close()
            self._begin(task)

    def _steps(self, dial: Dial) -> Steps:
        if refused := vetting.refusal(self._egress, dial, self._granted):
            return Outcome(code="egress-denied", reason=refused)
        literal = is_address(dial.host)
        local = dial.host == HOST_LOOPBACK or (literal and special(dial.host) != "")
        parent = None if local else self._parent
        answer = Answer()
        if literal or not parent:
            answer = yield from self._lookup(dial.host)
            if answer.addresses:
                answer = vetting.vet(self._egress, dial, answer.addresses, leads_here)
        if parent and (answer.addresses or not literal):
            answer = yield from self._lookup(parent[0])  # where the operator has put it: not judged
        if not answer.addresses:
            return Outcome(code=answer.code, reason=answer.reason, address=answer.address)
        while len(self._connecting) >= MAX_CONNECTING:
            yield TURN
        outcome = yield from attempts.connect(answer.addresses, parent[1] if parent else dial.port, self._clock)
        if parent and outcome.connected:
            outcome = yield from parent_proxy.converse(outcome.connected, dial.host, dial.port)
        return outcome

    def _lookup(self, host: str) -> Generator[Wait, object, Answer]:
        if host == HOST_LOOPBACK or is_address(host):
            return Answer(LOOPBACK if host == HOST_LOOPBACK else (host,))
        while (answer := self._names.find(host)) is None:
            yield Wait(name=host)
        return answer
