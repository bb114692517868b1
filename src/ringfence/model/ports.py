"""The Protocols through which sibling packages meet; `session/wiring.py` is the only place that joins them."""

from collections.abc import Mapping
from typing import Protocol

from .approval import Answer, Question
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


class Approver(Protocol):
    """Somebody who can be asked, out of the agent's reach."""

    def ask(self, question: Question) -> Answer:
        """Wait for an answer; where nobody answers, in time or at all, it is a denial that says so."""


class Report(Protocol):
    """Takes the events of one run, from any thread."""

    def __call__(self, kind: str, code: str, fields: Mapping[str, str | int | bool | list[str] | None], /) -> None:
        """Record one; raise `SandboxError` if it cannot be recorded."""


class Companion(Protocol):
    """What serves the command of one run from outside, as long as the run lasts."""

    def attach(self, init: int, report: Report) -> None:
        """Begin, before the command starts; `init` is the boundary's first process. Raise `HostError` or `OSError`."""

    def close(self) -> None:
        """End; called once, however the run ended, even if `attach` never was."""
