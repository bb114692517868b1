"""What is asked of the boundary."""

from enum import Enum

import msgspec


class ActionKind(Enum):
    """The closed set of things policy decides on."""

    RUN = "run"
    READ = "read"
    WRITE = "write"
    CONNECT = "connect"
    ENVIRONMENT = "environment"


class Action(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing asked for. `target` is a path, `host:port`, variable name or program, according to `kind`."""

    kind: ActionKind
    target: str
    argv: tuple[str, ...] = ()
    cwd: str = ""
