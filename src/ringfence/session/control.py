"""A live run's ear for its operator: rules may be added, and questions answered, while it goes on.

Each run with egress listens on the socket `control` in its own directory, which no sandbox of ours has in its view.
SECURITY: a peer must be the user who started the run, or root, and be held by no sandbox that does not hold the run's
supervisor (walls.py); permissions of the directory (0700) come before that. One packet is a request, one is the answer.
What is allowed this way lasts as long as the run.
"""

import errno
import os
import select
import socket
import threading
import time

import msgspec

from ringfence.model.decision import Verdict
from ringfence.model.egress import Egress, EgressRule
from ringfence.model.errors import HostError, RingfenceError, SandboxError, UsageError
from ringfence.policy.egress import decide_connection, decide_name
from ringfence.policy.hosts import matches
from ringfence.sandbox import peers

from . import walls
from .unix_sockets import CONTROL, at_short_path, look, peer_pid

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Sequence

    from .answering import Answering
    from .questions import Question

PACKET_BYTES = 64 << 10
REFUSED = "control-denied"
ANSWER_TIMEOUT_S = 5.0
RELOAD_TIMEOUT_S = 300.0  # programs that hold secrets may be waiting for somebody
DESCRIPTORS = 2  # an environment, and what the supervisor shows
SILENT_AT_MOST = 128  # whoever connects speaks at once: the oldest of more than these has nothing to say
CLOSING_S = 1.0  # for the thread to end
REST_S = 0.1  # before the next look, where this process has no descriptor left for who comes


class Change(msgspec.Struct, frozen=True, kw_only=True, tag="change"):
    """Operator -> run: rules to add; `verb` is `allow` or `deny`, `hosts` are entries as in a policy file."""

    verb: str
    hosts: tuple[str, ...]


class Pending(msgspec.Struct, frozen=True, kw_only=True, tag="pending"):
    """Operator -> run: what is being asked."""


class Reload(msgspec.Struct, frozen=True, kw_only=True, tag="reload"):
    """Operator -> run: read every secret anew. The operator's variables come along as a descriptor (proc(5), environ).

    SECURITY: what they hold goes from the one process's memory to the vault's, and through no message.
    """


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Run -> operator: how many open questions were answered, those still open, or why nothing was done.

    `reloaded` are the names of the secrets that have a value now.
    """

    answered: int = 0
    pending: tuple[str, ...] = ()
    reloaded: tuple[str, ...] = ()
    error: str = ""
    hint: str = ""


def rules(verb: str, hosts: "Sequence[str]") -> tuple[EgressRule, ...]:
    """The rules that entries of a policy file's `allow`, `ask` or `deny` stand for; UsageError names a bad one."""
    return tuple(rule for host in hosts for rule in read(verb, host).rules)


def read(verb: str, host: str) -> Egress:
    """What one entry stands for, with the ports and addresses that it wants captured."""
    from ringfence.policy import layers, parse  # 13 ms, and few runs are given rules

    text = f"version = 1\n[network]\nmode = 'allow-list'\n{verb} = {msgspec.json.encode([host]).decode()}\n"
    try:
        layer = parse.parse(text, file="command line", scope="cli")
        egress = layers.merge([layer], home="/", workspace="/").egress
    except UsageError as error:
        place = "" if f"`{host}`" in error.message else f"`{host}`"
        raise UsageError(error.message, place=place, hint=error.hint) from error
    return egress or Egress()


class Control:
    """Serves the listening end, on a thread of its own."""

    def __init__(self, listener: "_socket.socket", answering: "Answering") -> None:
        self.answering = answering
        self.shown = walls.Shown(answering.way.shown)
        self.listener = socket.socket(fileno=os.dup(listener.fileno()))
        self.thread = threading.Thread(target=self.serve, name="control", daemon=True)
        self.thread.start()

    def serve(self) -> None:
        """Answer one operator after the other until `close`; nobody waits for one that has connected and is silent."""
        silent: dict[int, tuple[socket.socket, float]] = {}  # by descriptor: who, and since when
        while self.hear(silent):
            late = time.monotonic() - ANSWER_TIMEOUT_S
            for number in list(silent):
                if silent[number][1] < late or len(silent) > SILENT_AT_MOST:
                    silent.pop(number)[0].close()
        for peer, _ in silent.values():
            peer.close()
        self.listener.close()
        self.shown.close()

    def hear(self, silent: "dict[int, tuple[socket.socket, float]]") -> bool:
        """Answer those who have spoken, then take in who comes; False after `close`."""
        poller = select.poll()
        for number in (self.listener.fileno(), *silent):
            poller.register(number, select.POLLIN)
        ready = {number for number, _ in poller.poll(ANSWER_TIMEOUT_S * 1000 if silent else None)}
        for number in ready & silent.keys():
            with silent.pop(number)[0] as peer:
                self.attend_to(peer)
        try:
            if self.listener.fileno() in ready:
                peer, _ = self.listener.accept()
                peer.settimeout(ANSWER_TIMEOUT_S)
                silent[peer.fileno()] = (peer, time.monotonic())
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                return False
            time.sleep(REST_S)
        return True

    def attend_to(self, peer: socket.socket) -> None:
        """Attend, and report what went wrong."""
        try:
            self.attend(peer)
        except OSError:
            return  # it has gone
        except RingfenceError as error:
            self.answering.way.give_up(error)
        except BaseException as error:
            self.answering.way.report_fault("control", error)
            raise

    def attend(self, peer: socket.socket) -> None:
        """Take one packet and answer it."""
        packet, descriptors, _, _ = socket.recv_fds(peer, PACKET_BYTES, DESCRIPTORS)
        try:
            if reason := self.shown.refusal(peer, descriptors):
                answer = self.refuse(peer, reason)
            else:
                answer = self.answer(packet, [found for found in descriptors if not self.shown.is_it(found)])
            peer.send(msgspec.json.encode(answer))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def refuse(self, peer: socket.socket, reason: str) -> Answer:
        """Record who was not listened to."""
        found = peers.described(peer_pid(peer))
        fields = {"target": CONTROL, "reason": reason, "program": found.program}
        self.answering.report("denial", REFUSED, {**fields, "pid": found.pid})
        error = f"refused: whoever asks is held by walls that the run's supervisor is not: {reason}"
        return Answer(error=error, hint=walls.HINT)

    def answer(self, packet: bytes, descriptors: "Sequence[int]" = ()) -> Answer:
        """Do what one packet asks for."""
        try:
            request = msgspec.json.decode(packet, type=Change | Pending | Reload)
            if isinstance(request, Change):
                return self.change(request)
            if isinstance(request, Reload):
                return self.reload(descriptors)
        except (msgspec.DecodeError, UsageError) as error:
            return Answer(error=str(error))
        return Answer(pending=tuple(question.target for question in self.answering.questions.pending()))

    def change(self, wanted: Change) -> Answer:
        """Put the new rules before the others and answer the questions that they settle.

        What a run has lost because it is tainted stays lost, but for what is named here.
        """
        added = rules(wanted.verb, wanted.hosts)
        with self.answering.changing:
            failed = self.put_in_force(wanted, added)
        if failed:
            return Answer(error=failed)
        fits = settled(added)
        allowed = wanted.verb == "allow"
        reason = "" if allowed else "the operator refused"
        self.answering.report("decision", "egress-changed", {"verdict": wanted.verb, "rules": list(wanted.hosts)})
        return Answer(answered=self.answering.questions.answer(fits, allowed=allowed, reason=reason))

    def put_in_force(self, wanted: Change, added: tuple[EgressRule, ...]) -> str:
        """Replace the rules in force by those with the change; why that is not possible, empty where it is done."""
        others = [read(wanted.verb, host) for host in wanted.hosts]
        changed = joined(self.answering.egress, others)
        if wanted.verb == "allow":
            changed = answered(changed, added)
        allowing = wanted.hosts if wanted.verb == "allow" else ()
        still = [host for host in allowing if not allows(changed, rules("allow", [host]))]
        if still:
            return f"`{still[0]}` stays denied: a rule of policy denies it, which beats any allowance"
        try:
            self.answering.replace(changed)
        except OSError as error:
            return f"not in force, because it cannot be captured: {error.strerror}"
        return ""

    def reload(self, descriptors: "Sequence[int]") -> Answer:
        """Have a new vault read every source."""
        if not self.answering.vaults:
            return Answer(error="it has no secrets: it began without any")
        try:
            return Answer(reloaded=self.answering.vaults.reload(descriptors[0] if descriptors else -1))
        except (UsageError, HostError, SandboxError) as error:
            return Answer(error=f"the values from before stay in force: {error}", hint=error.hint)

    def close(self) -> None:
        """Stop listening; once more is nothing. The thread lets go of everything, a reload that goes on excepted."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # closed before
        if threading.current_thread() is not self.thread:
            self.thread.join(CLOSING_S)


def joined(egress: Egress, others: "Sequence[Egress]") -> Egress:
    """The rules of `others` before those of `egress`, and everything captured that any of them wants."""
    rules = dict.fromkeys([*(rule for other in others for rule in other.rules), *egress.rules])
    listen = sorted({port for one in (egress, *others) for port in one.listen})
    literals = dict.fromkeys(literal for one in (egress, *others) for literal in one.literals)
    return msgspec.structs.replace(egress, rules=tuple(rules), listen=tuple(listen), literals=tuple(literals))


def answered(egress: Egress, added: "Sequence[EgressRule]") -> Egress:
    """The rules without the questions that an allowance of the operator answers for the whole of the run."""

    def settles(rule: EgressRule) -> bool:
        return any(
            (rule.host == other.host or matches(other.host, rule.host))
            and all(any(low <= first and last <= high for low, high in other.ports) for first, last in rule.ports)
            for other in added
        )

    kept = [rule for rule in egress.rules if rule.verdict is not Verdict.ASK or not settles(rule)]
    return msgspec.structs.replace(egress, rules=tuple(kept))


def allows(egress: Egress, added: "Sequence[EgressRule]") -> bool:
    """Whether what was added has any effect, since a denial beats it."""
    return all(
        (
            decide_name(egress, rule.host) if rule.host.startswith("*") else decide_connection(egress, rule.host, port)
        ).verdict
        is not Verdict.DENY
        for rule in added
        for port, _ in rule.ports[:1]
    )


def settled(added: "Sequence[EgressRule]") -> "Callable[[Question], bool]":
    """Whether a question is answered by the new rules: about a host and port that one of them covers."""

    def fits(question: "Question") -> bool:
        return any(
            matches(rule.host, question.host) and any(low <= question.port <= high for low, high in rule.ports)
            for rule in added
        )

    return fits


def tell(directory: str, request: Change | Pending | Reload, descriptors: "Sequence[int]" = ()) -> Answer | None:
    """Speak to the run in `directory`; None where it is not alive or has no egress."""
    shown: list[int] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
        channel.settimeout(RELOAD_TIMEOUT_S if isinstance(request, Reload) else ANSWER_TIMEOUT_S)
        try:
            at_short_path(directory, CONTROL, channel.connect)
            shown = look(peer_pid(channel), os.path.basename(directory))
            socket.send_fds(channel, [msgspec.json.encode(request)], [*descriptors, *shown])
            return msgspec.json.decode(channel.recv(PACKET_BYTES), type=Answer)
        except (OSError, msgspec.DecodeError):
            return None
        finally:
            for descriptor in shown:
                os.close(descriptor)
