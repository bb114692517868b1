"""How much a rule, or a whole session, may still send and fetch. Pure: the time is an argument."""

import msgspec

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
    """What has been used of one set of limits.

    The rate is a token bucket: it holds a minute's worth at most, so a pause is never paid back by a larger burst.
    """

    __slots__ = ("_filled_at", "_tokens", "bytes", "limits", "requests")

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.requests = 0
        self.bytes = 0
        self._tokens = float(limits.rate)
        self._filled_at = now

    def missing(self, now: float) -> str:
        """Say what one more request would exceed; empty where it fits. Nothing is taken."""
        self._fill(now)
        if self.limits.requests and self.requests >= self.limits.requests:
            return f"{self.limits.requests} requests have been made"
        if self.limits.bytes and self.bytes >= self.limits.bytes:
            return f"{self.limits.bytes} bytes have passed"
        if self.limits.rate and self._tokens < 1:
            return f"more than {self.limits.rate} requests a minute"
        return ""

    def take(self) -> None:
        """Count one request."""
        self.requests += 1
        self._tokens -= 1

    def spend(self, count: int) -> str:
        """Count bytes that are about to pass; say what they exceed, empty where they fit."""
        self.bytes += count
        if self.limits.bytes and self.bytes > self.limits.bytes:
            return f"{self.limits.bytes} bytes have passed"
        return ""

    def _fill(self, now: float) -> None:
        earned = max(0.0, now - self._filled_at) * self.limits.rate / SECONDS_PER_MINUTE
        self._tokens = min(float(self.limits.rate), self._tokens + earned)
        self._filled_at = now
