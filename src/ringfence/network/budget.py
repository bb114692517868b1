"""How much a rule, or a whole session, may still send and fetch. Pure: the time is an argument."""

import math

import msgspec

from ringfence.model.decision import Verdict
from ringfence.model.egress import Egress, EgressRule
from ringfence.policy.egress import Request, decide_request, matching
from ringfence.policy.hosts import matches

SECONDS_PER_MINUTE = 60.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What may be used in all, and how fast; 0 where there is no limit. `rate` is in requests per minute."""

    requests: int = 0
    bytes: int = 0
    rate: int = 0

    def any(self) -> bool:
        """Tell whether there is anything to count."""
        return bool(self.requests or self.bytes or self.rate)


class Budget:
    """What has been used of one set of limits; `of` says whose they are, in what is told of them.

    The rate is a token bucket: it holds a minute's worth at most, so a pause is never paid back by a larger burst.
    """

    __slots__ = ("_filled_at", "_tokens", "bytes", "limits", "of", "requests")

    def __init__(self, limits: Limits, now: float, of: str = "") -> None:
        self.limits = limits
        self.of = of
        self.requests = 0
        self.bytes = 0
        self._tokens = float(limits.rate)
        self._filled_at = now

    def missing(self, now: float) -> str:
        """Say what one more request would exceed; empty where it fits. Nothing is taken."""
        self._fill(now)
        if self.limits.requests and self.requests >= self.limits.requests:
            made = "request{} has" if self.limits.requests == 1 else "requests{} have"
            return f"{self.limits.requests} {made.format(self.of)} been made"
        if self.limits.bytes and self.bytes >= self.limits.bytes:
            return self._bytes_gone()
        if self.limits.rate and self._tokens < 1:
            return f"more than {self.limits.rate} requests a minute"
        return ""

    def pause_s(self, now: float) -> int:
        """Tell in how many seconds one more request fits; 0 where waiting does not help, or is not needed."""
        self._fill(now)
        gone = (self.limits.requests, self.requests), (self.limits.bytes, self.bytes)
        if not self.limits.rate or self._tokens >= 1 or any(limit and used >= limit for limit, used in gone):
            return 0
        return math.ceil((1 - self._tokens) * SECONDS_PER_MINUTE / self.limits.rate)

    def take(self) -> None:
        """Count one request."""
        self.requests += 1
        self._tokens -= 1

    def spend(self, count: int) -> str:
        """Count bytes that are about to pass; say what they exceed, empty where they fit."""
        self.bytes += count
        if self.limits.bytes and self.bytes > self.limits.bytes:
            return self._bytes_gone()
        return ""

    def _bytes_gone(self) -> str:
        return f"{self.limits.bytes} bytes{self.of} have passed"

    def _fill(self, now: float) -> None:
        earned = max(0.0, now - self._filled_at) * self.limits.rate / SECONDS_PER_MINUTE
        self._tokens = min(float(self.limits.rate), self._tokens + earned)
        self._filled_at = now


def limits_of(egress: Egress, host: str, port: int, request: Request | None) -> dict[EgressRule | None, Limits]:
    """Return the limits that a request, or unseen bytes, to a host count against: of rules, and under None of all."""
    found: dict[EgressRule | None, Limits] = {None: Limits(requests=egress.request_limit, bytes=egress.byte_limit)}
    for rule in matching(egress, host, port):
        if request is None or _speaks_of(rule, request):
            found[rule] = Limits(requests=rule.request_limit, bytes=rule.byte_limit, rate=rule.rate)
    return {rule: limits for rule, limits in found.items() if limits.any()}


def descends(rule: EgressRule, earlier: EgressRule) -> bool:
    """Tell whether a rule is an earlier one, narrowed: of the same place in policy, with the same limits."""
    names = ("source", "request_limit", "byte_limit", "rate")
    same = all(getattr(rule, name) == getattr(earlier, name) for name in names)
    return same and (rule.host == earlier.host or matches(earlier.host, rule.host))


def _speaks_of(rule: EgressRule, request: Request) -> bool:
    return decide_request(Egress(rules=(rule,)), request).verdict is not Verdict.DENY
