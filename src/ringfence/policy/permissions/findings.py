"""What the engine found out about a call, before the mode is asked what to do about it."""

from enum import IntEnum

import msgspec

from ringfence.model.decision import Decision, Source, Verdict

from .rules import Rule


class Weight(IntEnum):
    """How far a question reaches."""

    OPEN = 0  # nothing speaks for the call; a mode or a person may
    SAFETY = 1  # no rule can settle it; only a person, or a mode in which nobody is asked
    FIRM = 2  # asked in every mode


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict with its reason; `edits` marks a question about writing inside the workspace, `outside` a file outside.

    `tool_edit` is set for a file tool that writes.
    """

    verdict: Verdict
    reason: str
    rule: Rule | None = None
    weight: Weight = Weight.OPEN
    edits: bool = False
    outside: bool = False
    tool_edit: bool = False
    notes: tuple[str, ...] = ()

    def decision(self, verdict: Verdict | None = None, reason: str = "") -> Decision:
        """Turn it into a decision, with another verdict if a mode gave one."""
        return Decision(
            verdict=self.verdict if verdict is None else verdict,
            reason=reason or self.reason,
            rule=self.rule.text if self.rule is not None else "",
            source=self.rule.source if self.rule is not None else NOWHERE,
            errors=self.notes,
        )


NOWHERE = Source(scope="default")


def by_rule(rule: Rule, what: str = "") -> Finding:
    """Say what a rule says."""
    verb = {Verdict.ALLOW: "allowed", Verdict.ASK: "asked about", Verdict.DENY: "denied"}[rule.verdict]
    weight = Weight.FIRM if rule.verdict is Verdict.ASK else Weight.OPEN
    return Finding(verdict=rule.verdict, reason=f"{what or 'the call'} is {verb} by a rule", rule=rule, weight=weight)


def allowed(reason: str, rule: Rule | None = None) -> Finding:
    """Allow for `reason`."""
    return Finding(verdict=Verdict.ALLOW, reason=reason, rule=rule)


def asked(reason: str, weight: Weight = Weight.OPEN, *, notes: tuple[str, ...] = ()) -> Finding:
    """Ask for `reason`."""
    return Finding(verdict=Verdict.ASK, reason=reason, weight=weight, notes=notes)
