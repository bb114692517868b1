"""The Protocols through which sibling packages meet; `session/wiring.py` is the only place that joins them."""

from typing import Protocol

from .event import Event
from .plan import Capabilities, HostFacts, Launch, Plan


class AuditSink(Protocol):
    """Somewhere durable that events go."""

    def record(self, event: Event) -> None:
        """Append `event`; raise `SandboxError` if it cannot be made durable (the caller then stops the run)."""


class Backend(Protocol):
    """One way to enforce a Plan. `compile` is pure: no process is started and no file is written."""

    name: str
    capabilities: Capabilities

    def compile(self, plan: Plan, facts: HostFacts) -> Launch:
        """Turn `plan` into argv, descriptors and files; raise `HostError` for a promise it cannot honour."""
