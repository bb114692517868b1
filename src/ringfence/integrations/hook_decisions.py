"""Decides what an agent's hooks ask about: the permission engine, the boundary's part in it, and a person for the rest.

A boundary settles most questions: what only has effects inside, and nothing speaks against, need not be asked
("contained"). Rules that deny or ask hold as they are written, and so do paths whose content is run or obeyed later.
What is left goes to a person: to the agent's own prompt where somebody sits in front of it, else to the operator's
terminal, else it is denied with the reason.
"""

import shlex
import threading
from collections.abc import Callable, Sequence

import msgspec

from ringfence.model.approval import Lasting, Question
from ringfence.model.decision import Decision, Verdict
from ringfence.model.ports import Approver, Report
from ringfence.policy.permissions import engine, modes, scopes, suggest
from ringfence.policy.permissions.findings import Weight
from ringfence.policy.permissions.paths import PathFacts, inside
from ringfence.policy.permissions.settings import Mode, Settings
from ringfence.policy.permissions.shell_parse import parse
from ringfence.session.path_facts import DiskFacts

from .hook_events import DECIDING, Event, EventName, Reply
from .hook_rules import Rules
from .own_policy import allow_calls

Remember = Callable[[Sequence[str]], None]
"""Allows rules from now on."""

# SECURITY: whoever is inside can ask without end, and every answer is kept (docs/threats.md, L3).
DECISIONS_AT_MOST = 100_000
RECORDED_AT_MOST = 64 << 20  # characters of calls, in one session
INPUT_CHARACTERS = 8192  # of a call's input in the audit
ORDINARY = frozenset(("command", "description", "timeout", "run_in_background"))
CONTAINED = "contained: whatever it does stays in the boundary"


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the agent runs. `contained`: in a boundary of ours; `interactive`: a person sits in front of it.

    `wrapper` is put before commands that are to run in a boundary while the agent itself does not; empty for none.
    """

    client: str
    workspace: str
    home: str
    contained: bool
    interactive: bool
    wrapper: tuple[str, ...] = ()
    context: str = ""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A call, what policy makes of it, and the rules that would let it through where a rule could."""

    call: engine.ToolCall
    decision: Decision
    rules: tuple[str, ...] = ()


class Decider:
    """Answers events; safe to use from any thread. `report` takes a `decision` event for each answer."""

    def __init__(
        self, where: Surroundings, rules: Rules, *, approver: Approver, report: Report, remember: Remember = allow_calls
    ) -> None:
        self.where = where
        self.rules = rules
        self.approver = approver
        self.report = report
        self.remember = remember
        self.facts = DiskFacts()
        self.asking = threading.Lock()  # one question at a time
        self.allowed: set[str] = set()  # calls that a person has allowed for this session
        self.count = self.recorded = 0

    def reply(self, event: Event) -> Reply:
        """Decide, record, answer; raise UsageError for rules that cannot be applied."""
        self.count += 1
        if self.count > DECISIONS_AT_MOST or self.recorded > RECORDED_AT_MOST:
            return Reply(verdict=Verdict.DENY, reason="too many calls in one session")
        if event.hook_event_name not in DECIDING:
            self.record(event, None)
            return Reply(context=self.where.context if event.hook_event_name is EventName.SESSION_START else "")
        judged = self.judge(event)
        decision = judged.decision if judged.decision.verdict is not Verdict.ASK else self.settled(judged, event)
        self.record(event, decision)
        reply = Reply(verdict=decision.verdict, reason=reason_of(decision))
        return self.contained(reply, event) if self.where.wrapper else reply

    def judge(self, event: Event) -> Judged:
        """What rules, boundary and mode say; raise UsageError for rules that cannot be applied."""
        settings = self.settings(event)
        call = engine.ToolCall(tool=event.tool_name, input=event.tool_input)
        decision, is_open = judged(settings, call, self.facts, contained=self.where.contained)
        # No rule settles what a rule asks about, nor what is asked for safety's sake.
        rules = suggest.rules_for(call, settings.places) if is_open and decision.verdict is Verdict.ASK else []
        return Judged(call=call, decision=decision, rules=tuple(rules))

    def settings(self, event: Event) -> Settings:
        """The rules in force for an event. SECURITY: where an agent has moved to is no workspace for that."""
        cwd = event.cwd
        if not cwd.startswith("/") or (self.where.contained and not inside(cwd, (self.where.workspace,))):
            cwd = self.where.workspace
        mode = modes.mode_of(event.permission_mode) or Mode.DEFAULT
        if self.where.contained and self.where.client == "codex":
            mode = Mode.DEFAULT  # that it asks nobody is our setting (managed_settings.py), not the operator's choice
        mode = self.rules.held or mode
        request = scopes.Request(
            cwd=cwd, workspace=self.where.workspace, home=self.where.home, mode=mode, trusted=self.rules.trusted
        )
        found = scopes.merge(self.rules.scopes, request, self.facts)
        return msgspec.structs.replace(found, contained=self.where.contained or bool(self.where.wrapper))

    def settled(self, judged: Judged, event: Event) -> Decision:
        """The decision with a person's answer, where the agent cannot ask by itself."""
        decision, call = judged.decision, judged.call
        if self.where.interactive and self.where.client == "claude-code":
            return decision
        key = msgspec.json.encode((call.tool, call.input), order="sorted").decode()
        with self.asking:
            if key in self.allowed:
                return msgspec.structs.replace(decision, verdict=Verdict.ALLOW, reason="allowed for this session")
            answer = self.approver.ask(self.question(judged, event))
            if answer.allowed and answer.lasting is not Lasting.ONCE:
                self.allowed.add(key)
            if answer.allowed and answer.lasting is Lasting.RULE:
                self.remember(judged.rules)
        if answer.allowed:
            return msgspec.structs.replace(decision, verdict=Verdict.ALLOW, reason=answer.reason)
        way = f"; the operator could allow it by the rule `{judged.rules[0]}`" if judged.rules else ""
        reason = f"{decision.reason}, and {answer.reason}{way}"
        return msgspec.structs.replace(decision, verdict=Verdict.DENY, reason=reason)

    def question(self, judged: Judged, event: Event) -> Question:
        """What a person is shown."""
        where = f" in {event.cwd}" if event.cwd else ""
        crosses = "" if self.where.contained or self.where.wrapper else "everything: nothing contains this agent"
        return Question(
            tool=f"{judged.call.tool}{where}",
            action=described(judged.call),
            crosses=crosses,
            reason=judged.decision.reason,
            rules=judged.rules,
        )

    def contained(self, reply: Reply, event: Event) -> Reply:
        """Have a command run in a boundary of its own, if it may run at all."""
        command = event.tool_input.get("command")
        if event.tool_name != "Bash" or reply.verdict is Verdict.DENY or not isinstance(command, str):
            return reply
        if event.hook_event_name is not EventName.PRE_TOOL_USE:
            return reply
        line = shlex.join((*self.where.wrapper, "/bin/bash", "-c", command))
        return msgspec.structs.replace(reply, updated_input=event.tool_input | {"command": line})

    def record(self, event: Event, decision: Decision | None) -> None:
        """One `decision` event; what people type and what tools answer is not in it."""
        fields: dict[str, str | int | bool | list[str] | None] = {
            "client": self.where.client,
            "event": event.hook_event_name.value,
            "session": event.session_id[:64],
        }
        if event.tool_name:
            fields["tool"] = event.tool_name[:128]
        if decision is not None:
            fields |= {
                "input": recorded(event)[:INPUT_CHARACTERS],
                "cwd": event.cwd[:4096],
                "mode": event.permission_mode[:64],
                "verdict": decision.verdict.name.lower(),
                "reason": decision.reason,
                "rule": decision.rule,
                "place": str(decision.source),
            }
        self.recorded += sum(len(value) for value in fields.values() if isinstance(value, str))
        self.report("decision", "tool-call", fields)


def judged(settings: Settings, call: engine.ToolCall, facts: PathFacts, *, contained: bool) -> tuple[Decision, bool]:
    """What rules, mode and boundary say of a call, and whether a rule could say otherwise."""
    finding = engine.examine(settings, call, facts)
    decision = modes.settle(finding, settings.mode)
    is_open = finding.rule is None and finding.weight is Weight.OPEN
    if decision.verdict is Verdict.ASK and contained and is_open:
        decision = Decision(verdict=Verdict.ALLOW, reason=CONTAINED)
    return decision, is_open


def recorded(event: Event) -> str:
    """A call's input for the audit: a command as it is, so that it can be replayed; anything else as JSON."""
    command = event.tool_input.get("command")
    if event.tool_name == "Bash" and isinstance(command, str) and ORDINARY.issuperset(event.tool_input):
        return command
    return msgspec.json.encode(event.tool_input).decode()


def reason_of(decision: Decision) -> str:
    """What the agent is told: the reason, and the rule where one decided."""
    return f"ringfence: {decision.reason}" + (f" (`{decision.rule}`)" if decision.rule else "")


def described(call: engine.ToolCall) -> tuple[str, ...]:
    """The action as it is understood: each command of a line, a path, a host."""
    if call.tool == "Bash":
        text = call.text("command")
        script = parse(text)
        return tuple(command.raw for command in script.commands) if not script.doubts else (text,)
    return (
        call.text("file_path", "notebook_path", "path", "url", "pattern") or msgspec.json.encode(call.input).decode(),
    )
