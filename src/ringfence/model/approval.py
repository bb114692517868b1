"""What a person is asked about an agent's action, and what they say."""

from enum import Enum

import msgspec


class Lasting(Enum):
    """How long an answer holds."""

    ONCE = "once"
    SESSION = "session"
    RULE = "rule"


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One action that policy leaves to a person.

    `action` is what will be done, one line for each command or file; `crosses` the boundary that it would cross,
    `reason` why policy does not settle it. They may quote the agent: whoever shows them takes control characters out.
    `rules` are the narrowest that would let the action through from now on; there may be none.
    """

    tool: str
    action: tuple[str, ...]
    crosses: str
    reason: str
    rules: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the person said; `reason` is for the agent."""

    allowed: bool
    lasting: Lasting = Lasting.ONCE
    reason: str = ""
