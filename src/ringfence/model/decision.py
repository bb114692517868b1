"""What policy says about an action, and on whose word."""

from enum import IntEnum

import msgspec


class Verdict(IntEnum):
    """Ordered from loosest to tightest, so that combining verdicts is `max` and can only tighten."""

    ALLOW = 0
    ASK = 1
    DENY = 2


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a rule or setting was written: scope, file, line.

    Scopes are `default`, `preset`, `project`, `user`, `cli` and `managed`.
    """

    scope: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        if not self.file:
            return self.scope
        return f"{self.file}:{self.line}" if self.line else self.file


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A verdict with its reason, the rule that determined it, and any rules that could not be evaluated."""

    verdict: Verdict
    reason: str
    rule: str = ""
    source: Source = Source(scope="default")
    errors: tuple[str, ...] = ()
