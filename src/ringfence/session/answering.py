"""Answer a run's proxy: connections are dialled, questions go to the operator, records to the audit.

The proxy may do none of this itself. It is believed nothing: a connection is decided upon anew (network/dialer.py), and
which process it comes from is found out from the kernel. If the proxy ends, its sockets end with it: programs inside
are refused, which is recorded, and the run goes on without network.
"""

import _socket
import _thread
import contextlib
import functools
import os
from collections import deque

import msgspec

from ringfence.model.egress import Egress
from ringfence.model.guest_network import PROXY, SYNTHETIC_PREFIXES
from ringfence.network import capture, messages
from ringfence.network.dialer import Dialer
from ringfence.sandbox import launch, peers

from .control import Control
from .questions import Question, Questions
from .readiness import is_readable
from .vaults import Vaults

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from .egress import Way

    Fields = dict[str, str | int | bool | None]

CALLERS_KEPT = 4096
EXPECTED_KEPT = 64
CONTACTED_KEPT = 1024
CAPTURED = (*SYNTHETIC_PREFIXES, f"{PROXY[0]}:{PROXY[1]}")
TAINTING = ("secret-misuse", "secret-leak")
RECORDED = ("egress", "denial", "limit", "push")


class Answering:
    """The other end of the proxy's conversation. `diagnosis` answers for the sandbox's sockets (sandbox/peers.py)."""

    def __init__(self, way: "Way", diagnosis: int) -> None:
        self.way = way
        self.report = way.report
        self.egress = msgspec.json.decode(way.artefact.egress, type=Egress)
        self.questions = Questions(self.egress.ask_timeout_s, self.waiting)
        self.callers: dict[int, peers.Peer] = {}
        self.spools = 0
        self.expected: deque[tuple[str, peers.Peer]] = deque(maxlen=EXPECTED_KEPT)  # where to, and who
        self.names: dict[str, str] = {}  # what synthetic addresses stand for
        self.peers = peers.Peers(way.init, diagnosis)
        self.dialer = Dialer(self.egress, failed=lambda error: way.report_fault("dialer", error))
        self.contacted: set[tuple[str, int]] = set()  # hosts and ports that a connection was made to
        self.changing = _thread.allocate_lock()  # held by whoever makes new rules out of those in force
        if way.tainting:
            way.tainting.join(self)
        self.vaults = Vaults(way.vault, self) if way.vault else None
        self.control = Control(way.listener, self) if way.listener else None

    def serve(self) -> None:
        """Answer until the proxy ends; raise RingfenceError where the run must end."""
        while (message := self.receive()) is not None:
            self.take(message)

    def take(self, message: messages.FromProxy) -> None:
        """Do what one message asks for."""
        match message:
            case messages.Dial():
                self.dial(message)
            case messages.Spool():
                self.spool(message)
            case messages.Ask():
                self.ask(message)
            case messages.Accepted():
                self.callers[message.connection] = self.find(message)
                while len(self.callers) > CALLERS_KEPT:
                    del self.callers[next(iter(self.callers))]
            case messages.Record():
                self.record(message)
            case messages.Named():
                self.names[message.address] = str(self.cleansed({"host": message.host})["host"])
            case messages.Authority():
                pass  # told before

    def dial(self, wanted: messages.Dial) -> None:
        """Have a connection made, or say why none is."""
        self.way.look()  # SECURITY: by rules that hold after everything that was opened before it was asked for
        if self.vaults:
            self.vaults.settle()
        code, reason = self.vaults.cleansing.refusal(wanted.host, wanted.port) if self.vaults else ("", "")
        if code:
            self.tell(messages.Dialed(request=wanted.request, code=code, reason=reason), [])
        else:
            self.dialer.submit(wanted, functools.partial(self.dialed, wanted))

    def spool(self, asked: messages.Spool) -> None:
        """Give the proxy a file that has no name, on the disk where runs are kept: it can open none itself."""
        import tempfile  # 5 ms, and most runs push nothing

        self.spools += 1
        if self.spools > messages.MAX_SPOOLS:
            self.tell(messages.Dialed(request=asked.request, code="busy", reason="too many spools"), [])
            return
        try:
            with tempfile.TemporaryFile(dir=self.way.directory) as file:
                self.tell(messages.Dialed(request=asked.request), [file.fileno()])
        except OSError as error:
            reason = error.strerror or "no room"
            self.tell(messages.Dialed(request=asked.request, code="busy", reason=reason), [])

    def note(self, pid: int, target: str) -> None:
        """A process is about to connect to `target`; on the supervisor's thread."""
        self.peers.note(pid)
        if target.startswith(CAPTURED):
            self.expected.append((target, peers.described(pid)))

    def find(self, accepted: messages.Accepted) -> peers.Peer:
        """The process behind a connection; one that has gone already is known from when it connected."""
        if not accepted.client[0]:
            inside = accepted.client[1] in peers.inhabitants(self.way.init)
            return peers.described(accepted.client[1]) if inside else peers.UNKNOWN
        found = self.peers.find(accepted.client, accepted.local)
        where = f"{accepted.local[0]}:{accepted.local[1]}"
        announced = [(target, peer) for target, peer in list(self.expected) if target == where]
        if found is peers.UNKNOWN and announced:
            found = announced[0][1]
        for one in announced:
            if one[1].pid == found.pid and one in self.expected:
                with contextlib.suppress(ValueError):  # pushed out by a newer one meanwhile
                    self.expected.remove(one)
                break
        return found

    def receive(self) -> messages.FromProxy | None:
        """The next message; None when the proxy has ended, or says what it should not, which ends it."""
        if self.way.loading.locked() and not is_readable(self.way.channel.fileno(), 0):
            self.way.heard()
        try:
            data = self.way.channel.recv(messages.PACKET_BYTES)
            return messages.from_proxy.decode(data) if data else None
        except (ConnectionError, msgspec.DecodeError):
            return None
        except OSError:
            if self.way.closing:
                return None  # closed, since we took too long to hear its last word
            raise

    def tell(self, message: messages.ToProxy, descriptors: list[int]) -> None:
        """Send one message with the descriptors that belong to it; a proxy that has ended hears nothing."""
        try:
            launch.send_descriptors(self.way.channel, messages.encode(message), descriptors)
        except (BrokenPipeError, ConnectionError):
            pass  # `serve` sees its end and reports it

    def dialed(self, dial: messages.Dial, answer: messages.Dialed, connected: "_socket.socket | None") -> None:
        """Hand over a connection that was made, or have the vault carry it; on the dialer's thread."""
        if connected and len(self.contacted) < CONTACTED_KEPT:
            self.contacted.add((dial.host, dial.port))
        if connected and dial.scheme and self.vaults:
            self.vaults.carry(dial, answer, connected)
        else:
            self.hand_over(answer, connected)

    def hand_over(self, answer: messages.Dialed, connected: "_socket.socket | None") -> None:
        """Give the proxy an answer with its connection, of which no copy stays here.

        SECURITY: a sandbox of the same user can use up what the kernel lets that user pass (unix(7), ETOOMANYREFS).
        Then one connection fails, and not the thread that makes all of them.
        """
        try:
            self.tell(answer, [connected.fileno()] if connected else [])
        except OSError as error:
            self.tell(messages.Dialed(request=answer.request, code="busy", reason=os.strerror(error.errno or 0)), [])
        finally:
            if connected:
                connected.close()

    def ask(self, asked: messages.Ask) -> None:
        """Put a question to the operator; the answer may come from any thread, or never."""
        shown = self.cleansed({"host": asked.host, "method": asked.method, "path": asked.path})
        request = (str(shown["method"]), str(shown["path"]))
        question = Question(str(shown["host"]), asked.port, request, self.caller(asked.connection))

        def answer(*, allowed: bool, reason: str) -> None:
            if allowed:
                self.dialer.grant(asked.host, asked.port)
            fields = {"target": question.target, "verdict": "allow" if allowed else "deny"}
            self.report("decision", "egress-asked", {**fields, "reason": reason})
            self.tell(messages.Answer(request=asked.request, allowed=allowed, reason=reason), [])

        self.questions.put(question, answer)

    def caller(self, connection: int) -> peers.Peer:
        """The process that made a connection, as far as it is known."""
        return self.callers.get(connection, peers.UNKNOWN)

    def record(self, told: messages.Record) -> None:
        """Record what the proxy saw, with the process that caused it.

        SECURITY: whoever takes over the proxy can invent records about its own session; it cannot speak as another kind
        of event, or for another run.
        """
        if told.kind not in RECORDED:
            return
        caller = self.caller(told.connection)
        fields = self.cleansed(told.fields)
        tainting = self.way.tainting
        if told.code == "egress-denied" and tainting and (reason := tainting.lost(told.fields)):
            fields = {**fields, "reason": reason}  # no rule is missing
        self.report(told.kind, told.code, {**fields, "pid": caller.pid, "program": caller.program})
        if told.code in TAINTING and self.way.tainting:
            self.way.tainting.taint(told.code, fields)

    def cleansed(self, fields: "Fields") -> "Fields":
        """What the proxy says, without values of secrets; it knows none, and so cannot tell."""
        return self.vaults.cleansing.cleansed(fields) if self.vaults else fields

    def replace(self, egress: Egress) -> None:
        """Put other rules in force at once, for new connections and for those that are open.

        Raises OSError where a port or address that they name for the first time cannot be captured any more.
        """
        artefact = self.way.artefact
        ports = [port for port in egress.listen if port not in artefact.ports]
        literals = [literal for literal in egress.literals if literal not in artefact.literals]
        captured: list[tuple[str, int]] = []
        if ports or literals:
            captured = launch.borrow(lambda: capture.open_more(self.way.init, ports, literals))
            artefact.ports += ports
            artefact.literals += literals
        self.egress = egress
        self.dialer.replace(egress)
        message = messages.Replace(egress=egress, sockets=tuple(kind for kind, _ in captured))
        self.tell(message, [descriptor for _, descriptor in captured])
        for _, descriptor in captured:
            os.close(descriptor)

    def waiting(self, question: Question) -> None:
        """Record that the operator is asked."""
        fields = {"target": question.target, "verdict": "ask", "program": question.caller.program}
        self.report("decision", "egress-asked", fields)
        target = question.target
        how = f"`ringfence allow --run {self.way.run} {target}`, or `deny`"
        about = f" ({question.reason})" if question.reason else ""
        self.way.notice(
            f"ringfence: {question.caller.program or 'a program'} waits for {target}{about}; elsewhere: {how}"
        )

    def refuse_questions(self) -> None:
        """The run has ended: take no more from the operator, and answer whatever is still asked."""
        if self.control:
            self.control.close()
        self.questions.close()

    def close(self) -> None:
        """Give back every connection that is being made, and end the vault, which tells what is left to tell."""
        self.dialer.close()
        if self.vaults:
            self.vaults.close()
