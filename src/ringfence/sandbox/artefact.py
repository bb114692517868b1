"""The flat form of a compiled launch: what the hot path loads instead of policy, planner and backend.

Plain built-in values only, so that `marshal` can store it and nothing heavy is imported to use it. It holds
no secret and no value of the environment, only names; command, working directory and terminal are added at
launch.
"""

import marshal

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 7
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


class Artefact:
    """One compiled launch; see model/plan.py `Launch` and `Plan` for the fields they share."""

    program: str  # host path of bubblewrap
    stager: str  # host path of the native program that stages; empty: a fork does, or nothing is to be staged
    arguments: "list[str]"
    files: "list[str]"
    sources: "list[tuple[str, bool]]"  # host path, whether it is the user's own
    lowers: "list[str]"
    covers: "list[tuple[int, str, bool]]"
    whiteouts: "list[tuple[int, str]]"  # number of the layer, path in it
    trust: "dict[str, str]"  # standing and digest of the checkout's own settings, for the audit; empty: nobody asked
    order: "list[tuple[str, str]]"
    environment: "list[tuple[str, str | None]]"
    filter: bytes  # seccomp program of the command
    init_filter: bytes  # seccomp program of the first process
    profile: str  # seccomp profile, to answer notifications
    idmap: bool
    owner: "tuple[int, int]"  # uid and gid on disk of the workspace
    cwd: str  # where to start when the caller's directory is not in the view
    visible: "list[str]"  # places below which a working directory exists inside
    watches: "list[tuple[str, str, str, list[str]]]"
    memory_bytes: int
    processes: int
    tmpfs: "list[str]"  # the private tmpfs mounts inside
    wall_time_s: int
    workspace_bytes: int
    workspace: "tuple[str, str, str]"  # path, mode, apply
    deny_write: "list[tuple[str, bool]]"  # pattern, literal
    interpreters: "list[tuple[str, bool]]"  # where a virtual environment's may lie (session/interpreters.py)
    scoped: bool  # Landlock scopes are in force
    audit: "tuple[str, int]"  # fsync, rotate_bytes
    plan_digest: str
    egress: bytes  # the rules as JSON (model/egress.py); empty where the network is off
    serve: bytes  # the first message to the proxy (network/messages.py)
    ports: "list[int]"  # captured
    literals: "list[str]"  # addresses captured beside the synthetic ones
    publish: "list[tuple[int, int]]"  # a port on the host's loopback, and the port inside that it leads to
    gateways: "list[str]"  # names of unix sockets inside that lead to one host each
    run_files: "list[str]"  # names, in the run's directory, of what is filled before the command starts
    secrets: bytes  # what the vault keeps as JSON (model/secrets.py); empty where there is nothing to keep or search
    vault_if: "list[str]"  # with these, a vault is needed only where one of the variables is set; without, always
    withheld: "list[str]"  # variables whose value never enters, whatever a pattern of `environment` says
    secret_files: "list[int]"  # numbers of the `files` in which `{NAME}` stands for a placeholder (model/filling.py)
    on_taint: str  # what a run loses that has reached for a secret (model/secrets.py, `TaintResponse`)
    signing: bytes  # what may be signed as JSON (model/git.py); empty: nothing

    def __init__(self, **values: object) -> None:
        for name in FIELDS:
            setattr(self, name, values[name])

    def dumps(self) -> bytes:
        """Bytes for the cache."""
        return marshal.dumps((VERSION, [getattr(self, name) for name in FIELDS]))


FIELDS = tuple(Artefact.__annotations__)


def loads(data: bytes) -> "Artefact | None":
    """The artefact in `data`; None where it was written by another version or is damaged."""
    try:
        # SECURITY: the bytes come from a private file that `session/cache.py` has checked to be ours.
        version, values = marshal.loads(data)  # noqa: S302 - see above
    except (EOFError, ValueError, TypeError):
        return None
    if version != VERSION or len(values) != len(FIELDS):
        return None
    return Artefact(**dict(zip(FIELDS, values, strict=True)))


def environment(wanted: "list[tuple[str, str | None]]", present: "Mapping[str, str]") -> "list[tuple[str, str]]":
    """Resolve names to values: set ones as they are, passed ones from `present`, `NAME*` by prefix.

    A PATH that is to pass and is not there is the usual one, as with a shell that was started without any.
    """
    found: dict[str, str] = {}
    for name, value in wanted:
        if value is not None:
            found[name] = value
        elif name.endswith("*"):
            found.update({key: text for key, text in present.items() if key.startswith(name[:-1]) and key not in found})
        elif name in present or name == "PATH":
            found[name] = present.get(name, DEFAULT_PATH)
    if "PATH" in found:
        found["PATH"] = ":".join(place for place in found["PATH"].split(":") if place.startswith("/"))
    return sorted(found.items())
