"""The supervisor's conversation with a run's vault: who is carried, what it records, what it asks, and its successor.

Connections through the vault are made by the dialer like any other; then the vault gets the connected socket and one
end of a pair, whose other end goes to the proxy. If the vault ends, everything it carried ends with it, and nothing
is carried any more: requests are refused, which is recorded.
"""

import _socket
import contextlib
import errno
import os
import threading
import time

import msgspec

from ringfence.model.errors import RingfenceError
from ringfence.network import messages

from . import vault_messages
from .cleansing import Cleansing
from .questions import Question
from .readiness import is_readable
from .vault import END_TIMEOUT_S, Vault, declared, first_missing
from .vault_messages import Answered, Asking, Carry, Cleansed, HandOver, Judged, Minted, Retire, Told

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from .answering import Answering

RECORDED = ("secret", "denial", "egress")
SETTLE_S, SETTLE_LOOK_S = 1.0, 0.001
TAKES_NO_MORE = (errno.EAGAIN, errno.ETOOMANYREFS)  # the latter: all of a user's descriptors on the way, unix(7)
GONE = "the vault has ended, without which nothing may be sent"


class Vaults:
    """The vault of a run, and those before it that still carry something."""

    def __init__(self, vault: Vault, answering: "Answering") -> None:
        self.answering = answering
        self.current = vault
        self.placeholders = dict(vault.placeholders)
        self.alive = True
        self.closing = False
        self.cleansing = Cleansing(self)
        self.taking = threading.Lock()  # held while a message of a vault is acted on
        self.threads: list[tuple[Vault, threading.Thread]] = []
        self.begin(vault)

    def begin(self, vault: Vault) -> None:
        """Listen to a vault, on a thread of its own."""
        thread = threading.Thread(target=self.serve, args=(vault,), name="vault", daemon=True)
        self.threads.append((vault, thread))
        thread.start()

    # ---- connections

    def carry(self, dial: messages.Dial, answer: messages.Dialed, upstream: _socket.socket) -> None:
        """Have the vault be between the proxy and `upstream`, which is closed here; on the dialer's thread."""
        inside, outside = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        wanted = Carry(connection=dial.connection, scheme=dial.scheme, host=dial.host, port=dial.port)
        try:
            if not self.alive:
                raise ConnectionAbortedError
            self.current.send(vault_messages.encode(wanted), [outside.fileno(), upstream.fileno()])
        except OSError as error:
            inside.close()
            busy = error.errno in TAKES_NO_MORE
            code, reason = ("busy", "the vault is busy") if busy else ("unreachable", GONE)
            self.answering.hand_over(messages.Dialed(request=dial.request, code=code, reason=reason), None)
        else:
            self.answering.hand_over(msgspec.structs.replace(answer, carried=True), inside)
        finally:
            outside.close()
            upstream.close()

    # ---- what a vault says

    def serve(self, vault: Vault) -> None:
        """Take what a vault says until it ends."""
        try:
            while is_readable(vault.channel.fileno()):
                with self.taking:
                    if (message := self.receive(vault)) is None:
                        break
                    self.take(vault, message)
            if vault is not self.current:
                vault.close()  # retired, and reaped at once
            elif not self.closing:
                self.alive = False
                vault.close()  # also one that says what it should not
                self.answering.report("lost", "vault", {"reason": vault.said()})
        except RingfenceError as error:  # nothing can be recorded any more, so nothing more may happen
            self.answering.way.give_up(error)
        except BaseException as error:
            self.alive = False
            self.answering.way.report_fault("vault", error)
            raise
        finally:
            self.cleansing.end(vault)

    def settle(self) -> None:
        """Wait until everything that the vault has said has been acted on; bounded, for it may go on and on.

        SECURITY: what it refuses it tells before it answers. A program that has its refusal, and makes a connection,
        meets the rules of a tainted run.
        """
        vault, deadline = self.current, time.monotonic() + SETTLE_S
        while self.alive and time.monotonic() < deadline:
            if not (self.taking.locked() or is_readable(vault.channel.fileno(), 0)):
                return
            time.sleep(SETTLE_LOOK_S)

    def receive(self, vault: Vault) -> vault_messages.FromVault | None:
        """The next message; None when the vault has ended, or says what it should not, which ends it."""
        try:
            data = vault.channel.recv(vault_messages.PACKET_BYTES)
            return vault_messages.from_vault.decode(data) if data else None
        except (OSError, msgspec.DecodeError):
            return None

    def take(self, vault: Vault, message: vault_messages.FromVault) -> None:
        """Do what one message asks for."""
        self.cleansing.heard(vault)
        match message:
            case Told():
                self.record(message)
            case Asking():
                self.ask(vault, message)
            case Cleansed() | Judged():
                self.cleansing.take(message)
            case Minted():
                self.placeholders |= message.placeholders
                self.answering.tell(messages.Marked(placeholders=self.placeholders), [])
            case vault_messages.Kept():
                pass  # told before

    def record(self, told: Told) -> None:
        """Record what the vault saw, with the process that caused it; what reaches for a secret taints the run."""
        if told.kind not in RECORDED:
            return
        caller = self.answering.caller(told.connection)
        self.answering.report(told.kind, told.code, {**told.fields, "pid": caller.pid, "program": caller.program})
        if told.tainting and self.answering.way.tainting:
            self.answering.way.tainting.taint(told.code, told.fields)

    def ask(self, vault: Vault, asked: Asking) -> None:
        """Put a question to the operator; the answer may come from any thread."""
        question = Question(asked.host, asked.port, ("", ""), self.answering.caller(asked.connection))
        question.reason = asked.reason

        def answer(*, allowed: bool, reason: str) -> None:
            fields = {"target": question.target, "verdict": "allow" if allowed else "deny", "about": asked.reason}
            self.answering.report("decision", "secret-asked", {**fields, "reason": reason})
            try:
                vault.send(vault_messages.encode(Answered(request=asked.request, allowed=allowed)), [])
            except OSError:
                pass  # it has ended, and what it asked about with it

        self.answering.questions.put(question, answer)

    # ---- rotation

    def reload(self, environment: int) -> tuple[str, ...]:
        """Read every source anew, with the variables in `environment` (a descriptor) before our own.

        New connections go to a new vault with the same placeholders, to which the old one leaves what answers have
        brought. Gives the names of the secrets that have a value; raises UsageError where one is missing, and
        RingfenceError where there is no new vault: then the old one stays.
        """
        fresh = self.successor(environment)
        kept = fresh.take()
        if missing := first_missing(declared(fresh.secrets), kept):
            fresh.release()
            raise missing
        old, self.current = self.current, fresh
        self.alive = True
        self.begin(fresh)
        self.placeholders |= fresh.placeholders
        self.answering.tell(messages.Marked(placeholders=self.placeholders), [])
        try:
            old.send(vault_messages.encode(Retire()), [])
        except OSError:
            pass  # it has ended
        self.answering.report("secret", "reloaded", {"count": len(kept.placeholders)})
        return tuple(sorted(kept.placeholders))

    def successor(self, environment: int) -> Vault:
        """Start a vault to which the one in force leaves what it holds."""
        leaving, taking = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        try:
            with contextlib.suppress(OSError):  # it has ended, and what it held with it
                self.current.send(vault_messages.encode(HandOver()), [leaving.fileno()])
            return Vault(
                self.current.secrets,
                identifier=self.current.identifier,
                placeholders=msgspec.json.encode(self.placeholders),
                environment=environment,
                inheritance=taking.fileno(),
            )
        finally:
            leaving.close()
            taking.close()

    def close(self) -> None:
        """End every vault; what they still have to tell is recorded first."""
        self.closing = True
        for vault, thread in self.threads:
            vault.close()
            thread.join(END_TIMEOUT_S)
            vault.release()


def operator_environment() -> int:
    """A descriptor on the variables of this process, which never go through a message."""
    return os.open("/proc/self/environ", os.O_RDONLY | os.O_CLOEXEC)
