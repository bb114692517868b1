"""What happened, as it is handed to the audit, the monitors and the reports."""

from enum import Enum

import msgspec


class EventKind(Enum):
    """Every type of audit record."""

    DECISION = "decision"  # policy answered an action
    LAUNCH = "launch"  # a boundary was built and the command was started in it
    DENIAL = "denial"  # the boundary refused something, as seen by the kernel or by a decoy
    CONTAINED = "contained"  # a write was absorbed by the boundary and will not reach the host
    HELD = "held"  # a workspace change was held back from the host at apply
    APPLY = "apply"  # workspace changes were applied to the host
    EGRESS = "egress"  # a connection or request left the boundary, or the host it was for could not be reached
    LIMIT = "limit"  # a resource limit was reached
    COMMAND = "command"  # a session began a command, or one of its commands ended
    EXIT = "exit"  # the command ended
    TRUST = "trust"  # the user trusted what a checkout sets, or took that back
    SECRET = "secret"  # noqa: S105 - a value was put into a request, or taken out of an answer: names and hosts only
    PUSH = "push"  # git wanted to change refs of a repository outside
    SIGNATURE = "signature"  # a commit or tag was signed outside, for the contained side
    TAINT = "taint"  # something in the run reached for a secret, and what the run lost for it
    LOST = "lost"  # a run ended without its exit being recorded


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One fact about one run.

    `time_ns` is Unix time in nanoseconds; `run` the run's identifier; `code` the short stable code that the
    contained side may also see (`path-protected`, `egress-denied`, ...), empty where there is none;
    `fields` are JSON values, never secrets.
    """

    kind: EventKind
    run: str
    time_ns: int
    code: str = ""
    fields: dict[str, str | int | bool | list[str] | None] = {}
