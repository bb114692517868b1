"""The flat form of a compiled launch: what the hot path loads instead of policy, planner and backend.

Plain built-in values only, so that `marshal` can store it and nothing heavy is imported to use it. It holds
no secret and no value of the environment, only names; command, working directory and terminal are added at
launch.
"""

import marshal

VERSION = 1

FIELDS = (
    "program",  # str: host path of bubblewrap
    "arguments",  # list[str]: see model/plan.py `Launch`
    "files",  # list[str]
    "sources",  # list[(str, bool)]: host path, whether it is the user's own
    "lowers",  # list[str]
    "covers",  # list[(int, str, bool)]
    "order",  # list[(str, str)]
    "environment",  # list[(str, str | None)]
    "filter",  # bytes: seccomp program of the command
    "init_filter",  # bytes: seccomp program of the first process
    "profile",  # str: seccomp profile, to answer notifications
    "idmap",  # bool
    "owner",  # (int, int): uid and gid on disk of the workspace
    "cwd",  # str: where to start when the caller's directory is not in the view
    "visible",  # list[str]: places below which a working directory exists inside
    "watches",  # list[(str, str, str, list[str])]
    "memory_bytes",  # int
    "processes",  # int
    "tmpfs",  # list[str]: the private tmpfs mounts inside
    "wall_time_s",  # int
    "workspace_bytes",  # int
    "workspace",  # (str path, str mode, str apply)
    "deny_write",  # list[str]
    "scoped",  # bool: Landlock scopes are in force
    "audit",  # (str fsync, int rotate_bytes)
    "plan_digest",  # str
)


class Artefact:
    """One compiled launch; attributes as listed in `FIELDS`."""

    __slots__ = FIELDS

    def __init__(self, **values: object) -> None:
        for name in FIELDS:
            setattr(self, name, values[name])

    def dumps(self) -> bytes:
        """Bytes for the cache."""
        return marshal.dumps((VERSION, [getattr(self, name) for name in FIELDS]))


def loads(data: bytes) -> "Artefact | None":
    """The artefact in `data`; None where it was written by another version or is damaged."""
    try:
        version, values = marshal.loads(data)
    except (EOFError, ValueError, TypeError):
        return None
    if version != VERSION or len(values) != len(FIELDS):
        return None
    return Artefact(**dict(zip(FIELDS, values, strict=True)))
