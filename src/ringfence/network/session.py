"""One run's egress as the proxy knows it: the rules in force, live connections, approvals, budgets, the record.

Theory of operation: whoever serves a client asks `permit` for each request (`permit_tunnel` for bytes that nobody will
look into), then `dial`s; each gives a value, and has recorded a refusal when it gives one. `spend` is asked for each
piece of bytes. The supervisor decides on every `Dial` again, so nothing here is trusted with more than being first.

A question to the operator is about host and port where that is what policy asks about, else about method and path. It
is put once: whoever needs the answer meanwhile waits for the same one, and it holds until the rules change.
"""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from ringfence.model.decision import Decision, Verdict
from ringfence.model.egress import Egress, EgressRule, Inspection
from ringfence.policy.egress import (
    Request,
    decide_connection,
    decide_name,
    decide_request,
    inspection,
    rule_text,
)

from .budget import Budget, Limits, descends, limits_of
from .channel import Channel, close_descriptors
from .marks import Marks
from .messages import Accepted, Answer, Ask, Dial, Dialed, Named, Record
from .spool import Spools
from .stream import Stream

if TYPE_CHECKING:
    from .ca import SessionAuthority

MAX_CONNECTIONS = 256
FIRST_BYTE_TIMEOUT_S = 30.0
TUNNEL_IDLE_TIMEOUT_S = 600.0
WEBSOCKET_IDLE_TIMEOUT_S = 3600.0
DIAL_TIMEOUT_S = 20.0
MAX_QUESTIONS = 16  # waiting for the operator at the same time
MAX_ANSWERS = 4096  # remembered
MAX_PATH_ASKED = 2048
MAX_FIELD = 1024
MAX_TARGETS = 1024  # told apart in the record of denials

FAULTS = frozenset({"not-found", "unreachable", "timed-out", "busy"})
"""Codes that are nobody's decision: recorded as `egress`, all others as `denial`."""

INNOCENT = FAULTS | {"budget-exceeded", "rate-exceeded", "upstream-certificate", "git-denied", "push-denied"}
"""Codes that say nothing about what was asked for: a placeholder in such a request may well be where it belongs."""

Fields = dict[str, str | int | bool | None]
Question = tuple[str, int, str, str]


class Refusal(msgspec.Struct, frozen=True):
    """Why something does not go on: a short stable code, and the reason for the operator.

    Of a budget, whoever asked may know the `limit`, and after how many seconds there is room again.
    """

    code: str
    reason: str
    limit: str = ""
    pause_s: int = 0


class Connection(msgspec.Struct, eq=False):
    """One client's connection. `host` and `port` are what it is for at the moment, empty and 0 until that is known.

    `inspection` is what an opaque tunnel was let through with, `request` the last one that was permitted, `rule` by
    which either was; `address` is that of the upstream host once it is connected, `carried` whether the vault is
    between; `task` is whoever serves the client.
    """

    number: int
    client: tuple[str, int]
    local: tuple[str, int]
    opened: float
    task: "asyncio.Task[None] | None" = None
    host: str = ""
    port: int = 0
    scheme: str = ""
    address: str = ""
    carried: bool = False
    rule: str = ""
    inspection: Inspection | None = None
    request: Request | None = None
    counted: tuple[tuple[Egress, str, int, Request | None], tuple[Budget, ...]] | None = None

    @property
    def target(self) -> str:
        """What it is for, as records name it."""
        return target(self.host, self.port)


class Session:
    """What all connections of a run share; used from one event loop."""

    def __init__(self, egress: Egress, channel: Channel, authority: "SessionAuthority") -> None:
        self.egress = egress
        self.authority = authority
        self.marks = Marks({})
        self.connections: dict[int, Connection] = {}
        self.spools = Spools(channel)
        self.clock: Callable[[], float] = asyncio.get_running_loop().time
        self._channel = channel
        self._count = 0
        self._named: dict[str, str] = {}
        self._approved: OrderedDict[Question, Refusal | None] = OrderedDict()
        self._open: dict[Question, asyncio.Task[Refusal | None]] = {}
        self._budgets: dict[EgressRule | None, Budget] = {}
        self._denials: dict[tuple[str, str, str], int] = {}

    # ---- connections

    def accept(self, client: tuple[str, int], local: tuple[str, int], task: "asyncio.Task[None] | None") -> Connection:
        """Number a client's connection, served by `task`, and tell the supervisor of it."""
        self._count += 1
        connection = Connection(self._count, client, local, self.clock(), task)
        self.connections[connection.number] = connection
        self._channel.send(Accepted(connection=connection.number, client=client, local=local))
        return connection

    def name(self, address: str, host: str) -> None:
        """Tell the supervisor, once, what a synthetic address stands for."""
        if self._named.get(address) != host:
            self._named[address] = host
            self._channel.send(Named(address=address, host=host))

    def forget(self, connection: Connection) -> None:
        """Its end."""
        self.connections.pop(connection.number, None)

    def replace(self, egress: Egress) -> None:
        """Put other rules in force; end the connections that they would not have let through."""
        self.egress = egress
        for question in [question for question, answer in self._approved.items() if answer is not None]:
            del self._approved[question]  # what was refused may be asked again; what was approved stays
        for connection in list(self.connections.values()):
            if connection.task and not self._still_allowed(connection):
                self.refuse(connection, "egress-denied", "the rules have changed")
                connection.task.cancel()

    # ---- decisions

    def decide_name(self, host: str) -> Decision:
        """Decide whether a name may be answered at all."""
        return decide_name(self.egress, host)

    async def dial(self, connection: Connection, host: str, port: int, *, scheme: str = "") -> Stream | Refusal:
        """Connect to an upstream host: decided here, asked about where policy says so, decided again by the dialer.

        With `scheme` (`http` or `https`) HTTP/1.1 will be spoken, and it may lead through the vault: see `Dial`.
        """
        refusal = await self.permit_connection(connection, host, port)
        if refusal is not None:
            return refusal
        number = self._channel.number()
        question = Dial(request=number, connection=connection.number, host=host, port=port, scheme=scheme)
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                answer, descriptors = await self._channel.ask(question)
        except TimeoutError:
            return self.refuse(
                connection, "timed-out", f"no connection within {DIAL_TIMEOUT_S:.0f} s", host=host, port=port
            )
        if not isinstance(answer, Dialed) or answer.code or len(descriptors) != 1:
            close_descriptors(descriptors)
            code, reason = (answer.code, answer.reason) if isinstance(answer, Dialed) else ("", "")
            return self.refuse(connection, code or "unreachable", reason, host=host, port=port)
        connection.address, connection.carried = answer.address, answer.carried
        return await Stream.over(socket.socket(fileno=descriptors[0]))

    async def permit(self, connection: Connection, request: Request) -> Refusal | None:
        """Decide on one HTTP request and count it; a refusal has been recorded.

        Preconditions: of the readings of its path (authority.py), `request` has the one with the strictest verdict.
        """
        refusal = await self._settle(connection, request.host, request.port, request)
        if refusal is None:
            refusal = self._take(connection, request.host, request.port, request)
        if refusal is None:
            connection.request = request
        return refusal

    async def permit_connection(self, connection: Connection, host: str, port: int) -> Refusal | None:
        """Decide on a connection whose requests will be decided one by one; a refusal has been recorded."""
        return await self._settle(connection, host, port, None)

    async def permit_tunnel(self, connection: Connection, host: str, port: int) -> Refusal | None:
        """Decide on bytes that will not be looked into, and count them as one request; a refusal has been recorded."""
        refusal = await self._settle(connection, host, port, None)
        if refusal is None:
            connection.request, connection.inspection = None, inspection(self.egress, host, port)
            refusal = self._take(connection, host, port, None)
        return refusal

    # ---- budgets

    def spend(self, connection: Connection, count: int) -> Refusal | None:
        """Count bytes that are about to pass, in either direction; a refusal has been recorded."""
        key = (self.egress, connection.host, connection.port, connection.request)
        if connection.counted is None or connection.counted[0] != key:
            connection.counted = (key, self.budgets(*key[1:]))
        for budget in connection.counted[1]:
            exceeded = budget.spend(count)
            if exceeded:
                return self._exceeded(connection, budget, exceeded)
        return None

    def budgets(self, host: str, port: int, request: Request | None = None) -> tuple[Budget, ...]:
        """The budgets that a request, or unseen bytes, to a host count against: of the session and of rules."""
        limits = limits_of(self.egress, host, port, request)
        return tuple(self._budget(key, wanted) for key, wanted in limits.items())

    # ---- the record

    def fields(self, connection: Connection) -> Fields:
        """What every record of what passed says of its connection."""
        return {
            "host": connection.host,
            "port": connection.port,
            "scheme": connection.scheme,
            "address": connection.address,
            "rule": connection.rule,
            "duration_ms": round((self.clock() - connection.opened) * 1000),
        }

    def record(self, kind: str, code: str, connection: Connection | None, fields: Fields) -> None:
        """Hand an event to the audit; long text is cut."""
        number = connection.number if connection else 0
        self._channel.send(Record(kind=kind, code=code, connection=number, fields=_fitting(fields)))

    def refuse(
        self, connection: Connection | None, code: str, reason: str, *, host: str = "", port: int = 0, **fields: str
    ) -> Refusal:
        """Record a refusal (of the connection's own target, where no other is named) and give it.

        Of repetitions the 10th, 100th, 1,000th and so on are recorded, and at the end how many there were.
        """
        where = target(host, port) if host else connection.target if connection else ""
        told: Fields = {"target": where, "reason": reason, **{name: text for name, text in fields.items() if text}}
        if code != "secret-misuse":
            said = " ".join(str(told[name]) for name in told).encode("utf-8", "replace")
            self.suspect(connection, Refusal(code, reason), said, host=host, port=port)
        if code in FAULTS:
            self.record("egress", code, connection, told)
            return Refusal(code, reason)
        # Of pushes each reason is told: they are few, and each names its ref.
        which = " ".join((where, *([fields["repository"]] if "repository" in fields else ())))
        key = (code, which, reason if "ref" in fields else "")
        if key not in self._denials and len(self._denials) >= MAX_TARGETS:
            key = (code, "", "")  # a flood of different names is one denial, often repeated
        count = self._denials[key] = self._denials.get(key, 0) + 1
        if str(count).strip("0") == "1":
            self.record("denial", code, connection, told | ({"count": count} if count > 1 else {}))
        return Refusal(code, reason)

    def suspect(
        self, connection: Connection | None, refusal: Refusal, said: bytes, *, host: str = "", port: int = 0
    ) -> None:
        """Record, beside the refusal of something, that a placeholder was in what was `said`."""
        if refusal.code not in INNOCENT and (name := self.marks.find(said)):
            reason = f"the placeholder of `{name}` was in a request that was refused"
            self.refuse(connection, "secret-misuse", reason, host=host, port=port, secret=name)

    def summarise(self) -> None:
        """Record how often the repeated denials happened; at the end of the session."""
        for (code, where, reason), count in self._denials.items():
            if str(count).strip("0") != "1":
                told = f"{reason}, in all" if reason else "in all"
                self.record("denial", code, None, {"target": where, "reason": told, "count": count})
        self._denials.clear()

    async def drain(self) -> None:
        """Wait until the supervisor has taken what was recorded."""
        await self._channel.drain()

    # ---- within

    def _still_allowed(self, connection: Connection) -> bool:
        host, port, request = connection.host, connection.port, connection.request
        if request is None and connection.inspection is None:
            return True  # nothing has been let through yet
        if request is None and connection.inspection is not inspection(self.egress, host, port):
            return False
        decision, question = self._decide(host, port, request)
        return decision.verdict is Verdict.ALLOW or (decision.verdict is Verdict.ASK and question in self._approved)

    def _decide(self, host: str, port: int, request: Request | None) -> tuple[Decision, Question]:
        """Decide on a connection, or on a request, and say what the operator would be asked about it."""
        whole = decide_connection(self.egress, host, port)
        if request is None:
            return whole, (host, port, "", "")
        decision = decide_request(self.egress, request)
        about = ("", "") if decision == whole else (request.method, request.path)
        return decision, (request.host, request.port, *about)

    async def _settle(self, connection: Connection, host: str, port: int, request: Request | None) -> Refusal | None:
        await self._channel.drain()  # whoever goes on and on asking waits for the record to be taken
        while True:
            egress = self.egress
            decision, question = self._decide(host, port, request)
            refusal = None if decision.verdict is Verdict.ALLOW else Refusal("egress-denied", decision.reason)
            if decision.verdict is Verdict.ASK:
                refusal = await self._asked(connection, question)
            if self.egress is egress:  # else the rules have changed while the operator was asked
                break
        if refusal is None:
            connection.rule = decision.rule
            return None
        method, path = (request.method, request.path) if request else ("", "")
        more = {"rule": decision.rule, "method": method, "path": path}
        return self.refuse(connection, refusal.code, refusal.reason, host=host, port=port, **more)

    async def _asked(self, connection: Connection, question: Question) -> Refusal | None:
        if question in self._approved:
            return self._approved[question]
        if question not in self._open:
            if len(self._open) >= MAX_QUESTIONS:
                return Refusal("busy", "too many questions are waiting for the operator")
            if len(question[3]) > MAX_PATH_ASKED:
                return Refusal("egress-denied", "the path is too long to ask about")
            asking = asyncio.get_running_loop().create_task(self._ask(connection, question))
            self._open[question] = asking
        return await asyncio.shield(self._open[question])  # whoever gives up does not take the question along

    async def _ask(self, connection: Connection, question: Question) -> Refusal | None:
        host, port, method, path = question
        number = self._channel.number()
        message = Ask(request=number, connection=connection.number, host=host, port=port, method=method, path=path)
        try:
            async with asyncio.timeout(self.egress.ask_timeout_s):
                answer, _ = await self._channel.ask(message)
        except TimeoutError:
            return Refusal("egress-denied", "the operator did not answer in time")
        finally:
            del self._open[question]
        allowed = isinstance(answer, Answer) and answer.allowed
        refusal = None if allowed else Refusal("egress-denied", answer.reason or "the operator refused")
        self._approved[question] = refusal
        if len(self._approved) > MAX_ANSWERS:
            self._approved.popitem(last=False)
        return refusal

    def _take(self, connection: Connection, host: str, port: int, request: Request | None) -> Refusal | None:
        budgets, now = self.budgets(host, port, request), self.clock()
        for budget in budgets:
            exceeded = budget.missing(now)
            if exceeded:
                return self._exceeded(connection, budget, exceeded, host=host, port=port)
        for budget in budgets:
            budget.take()
        return None

    def _exceeded(
        self, connection: Connection, budget: Budget, exceeded: str, *, host: str = "", port: int = 0
    ) -> Refusal:
        """Record which limit was reached and where it was set; the contained side is not told the place."""
        pause_s = budget.pause_s(self.clock())
        rule = next((key for key, known in self._budgets.items() if known is budget), None)
        reason = f"{exceeded}; the limit was set by {rule.source if rule else '`network`'}"
        code = "rate-exceeded" if pause_s else "budget-exceeded"
        named = rule_text(rule) if rule else ""
        refusal = self.refuse(connection, code, reason, host=host, port=port, rule=named)
        return msgspec.structs.replace(refusal, limit=exceeded, pause_s=pause_s)

    def _budget(self, key: EgressRule | None, limits: Limits) -> Budget:
        budget = self._budgets.get(key) or self._inherited(key)
        if budget is None:
            budget = Budget(limits, self.clock(), "" if key else " of the whole run")
        self._budgets[key] = budget
        budget.limits = limits
        return budget

    def _inherited(self, key: EgressRule | None) -> Budget | None:
        """Find what a rule that was narrowed since (policy/taint.py) has left: narrowing must not renew it."""
        for rule, budget in self._budgets.items() if key else ():
            if key and rule and rule not in self.egress.rules and descends(key, rule):
                return budget
        return None


def target(host: str, port: int) -> str:
    """Name a host and port as records do; an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}" if port else host


def _fitting(fields: Fields) -> Fields:
    return {name: _cut(value) if isinstance(value, str) else value for name, value in fields.items()}


def _cut(text: str) -> str:
    return text[:MAX_FIELD].encode("utf-8", "backslashreplace").decode()
