"""The types of a policy file, exactly as written: one struct per table, one field per key.

These types are the single source of the parser's checks, the published JSON Schema and the reference in
docs/policy.md. A key that is not set is `UNSET`, so that "not said" and "said to be the default" differ.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ringfence.model.decision import Source

KeyPath = tuple[str | int, ...]
"""A place in a document: table and key names, and indices of list entries."""

PresetName = Literal["python", "node", "rust", "go"]

# Each ends in `$(?!\n)` because Python's `$` also matches before a last newline, and JSON Schema has no `\Z`.
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$(?!\n)"
VARIABLE_OR_PREFIX = r"^[A-Za-z_][A-Za-z0-9_]*\*?$(?!\n)"
SIZE = r"^[0-9]{1,15} ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$(?!\n)"
TIME = r"^[0-9]{1,9} ?(s|m|h|d)$(?!\n)"

# The largest value that fits the kernel's signed 64-bit sizes.
_Whole = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_NoNul = Annotated[str, Meta(min_length=1, pattern=r"^[^\x00]*$")]

# SECURITY: a project's reasons are shown on the operator's terminal, so they may not hold control characters.
_Line = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$(?!\n)")]

Count = _Whole
Size = _Whole | Annotated[str, Meta(pattern=SIZE)]
Time = _Whole | Annotated[str, Meta(pattern=TIME)]

_A_COUNT = "a whole number, 0 for no limit"
_A_SIZE = 'bytes as a whole number, or a string such as "4GiB" or "500MB"; 0 for no limit'
_A_TIME = 'seconds as a whole number, or a string such as "30s", "5m" or "2h"; 0 for no limit'
_PATHS = "a list of paths"
_PATH = "a path or a table `{ path, literal, reason }`"


def _key(description: str, valid: str, *, entry: str = "") -> Meta:
    """Describe a key: one sentence for the reference, what a value (and each `entry` of it) may be for errors."""
    return Meta(description=description, extra={"valid": valid, "entry": entry})


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True):
    """A table of a policy file; a key that no field names is an error."""


class PathEntry(_Table, frozen=True):
    """One path of `filesystem` in its long form."""

    path: Annotated[_NoNul, _key("The path or pattern.", "a path")]
    literal: Annotated[bool, _key("Take `* ? [ \\` as they are: no wildcards.", "`true` or `false`")] = False
    reason: Annotated[_Line, _key("Why the entry is there; shown by `explain`.", "one line of text")] = ""


class MountEntry(_Table, frozen=True):
    """A host path that appears at another place in the sandbox."""

    source: Annotated[_NoNul, _key("The path on the host.", "a path")]
    target: Annotated[_NoNul, _key("Where it appears: an absolute path.", "a path")]
    writable: Annotated[bool, _key("Whether writes reach the host.", "`true` or `false`")] = False


_Entries = tuple[_NoNul | PathEntry, ...] | UnsetType


class Isolation(_Table, frozen=True):
    """How the boundary is built."""

    tier: Annotated[Literal["process"] | UnsetType, _key("What isolates the run.", "`process`")] = UNSET
    seccomp: Annotated[
        Literal["default", "debug", "nested"] | UnsetType,
        _key(
            "System calls: `debug` adds ptrace among the run's own processes, `nested` lets a sandbox start inside.",
            "`default`, `debug` or `nested`",
        ),
    ] = UNSET


class Filesystem(_Table, frozen=True):
    """What can be reached besides the workspace and the system's own directories."""

    read: Annotated[_Entries, _key("Readable paths outside the workspace.", _PATHS, entry=_PATH)] = UNSET
    write: Annotated[_Entries, _key("Writable (and readable) paths outside the workspace.", _PATHS, entry=_PATH)] = (
        UNSET
    )
    deny_read: Annotated[_Entries, _key("Paths that are hidden, even where allowed.", _PATHS, entry=_PATH)] = UNSET
    deny_write: Annotated[_Entries, _key("Paths that cannot be changed, even where allowed.", _PATHS, entry=_PATH)] = (
        UNSET
    )
    mounts: Annotated[
        tuple[MountEntry, ...] | UnsetType,
        _key(
            "Host paths that appear at another place.",
            "a list of mounts",
            entry="a table `{ source, target, writable }`",
        ),
    ] = UNSET


class Network(_Table, frozen=True):
    """What can be connected to."""

    mode: Annotated[Literal["off"] | UnsetType, _key("`off`: nothing but the sandbox's own loopback.", "`off`")] = UNSET


class Env(_Table, frozen=True):
    """The environment of the command; variables that no rule names are removed."""

    pass_: Annotated[
        tuple[Annotated[str, Meta(pattern=VARIABLE_OR_PREFIX)], ...] | UnsetType,
        _key(
            "Variables taken from the launching environment; a name may end in `*`.",
            "a list of variable names",
            entry="a variable name, which may end in `*`",
        ),
    ] = msgspec.field(default=UNSET, name="pass")
    set: Annotated[
        dict[Annotated[str, Meta(pattern=VARIABLE)], Annotated[str, Meta(pattern=r"^[^\x00]*$")]] | UnsetType,
        _key(
            "Variables with a fixed value.",
            "a table of variables",
            entry="a string under a name of letters, digits and `_`",
        ),
    ] = UNSET


class LimitsTable(_Table, frozen=True):
    """Resource limits of one run; `0` stands for no limit."""

    processes: Annotated[Count | UnsetType, _key("Processes and threads at one time.", _A_COUNT)] = UNSET
    memory: Annotated[Size | UnsetType, _key("Memory of all processes together.", _A_SIZE)] = UNSET
    cpu_time: Annotated[Time | UnsetType, _key("Processor time of each process.", _A_TIME)] = UNSET
    file_size: Annotated[Size | UnsetType, _key("Size of any one file written.", _A_SIZE)] = UNSET
    open_files: Annotated[Count | UnsetType, _key("Open descriptors of each process.", _A_COUNT)] = UNSET
    wall_time: Annotated[Time | UnsetType, _key("Time from start to end.", _A_TIME)] = UNSET
    tmp_size: Annotated[Size | UnsetType, _key("Size of the private /tmp.", _A_SIZE)] = UNSET
    home_size: Annotated[Size | UnsetType, _key("Size of the private home directory.", _A_SIZE)] = UNSET
    run_size: Annotated[Size | UnsetType, _key("Size of the private /run.", _A_SIZE)] = UNSET
    shm_size: Annotated[Size | UnsetType, _key("Size of the private /dev/shm.", _A_SIZE)] = UNSET
    workspace_size: Annotated[Size | UnsetType, _key("Size of what a run changes in the workspace.", _A_SIZE)] = UNSET


class WorkspaceTable(_Table, frozen=True):
    """How the workspace takes writes."""

    mode: Annotated[
        Literal["overlay", "direct", "readonly"] | UnsetType,
        _key(
            "`overlay` keeps changes apart until they are applied, `direct` writes through, `readonly` refuses writes.",
            "`overlay`, `direct` or `readonly`",
        ),
    ] = UNSET
    apply: Annotated[
        Literal["exit", "ask"] | UnsetType,
        _key("When the overlay's changes are applied: at `exit`, or after you are asked.", "`exit` or `ask`"),
    ] = UNSET


class AuditTable(_Table, frozen=True):
    """How the audit is kept."""

    fsync: Annotated[
        Literal["always", "exit", "never"] | UnsetType,
        _key(
            "When records are forced to disk: after each, at the end of the run, or never.",
            "`always`, `exit` or `never`",
        ),
    ] = UNSET
    rotate_size: Annotated[Size | UnsetType, _key("Size at which a new file is begun.", _A_SIZE)] = UNSET


class Document(_Table, frozen=True):
    """A ringfence policy file."""

    version: Annotated[Literal[1], _key("The format of the file.", "the number `1`")]
    extends: Annotated[
        tuple[PresetName, ...] | UnsetType,
        _key("Presets to include.", "a list of presets", entry="`python`, `node`, `rust` or `go`"),
    ] = UNSET
    isolation: Annotated[Isolation, _key("How the boundary is built.", "a table")] = Isolation()
    filesystem: Annotated[Filesystem, _key("What can be reached.", "a table")] = Filesystem()
    network: Annotated[Network, _key("What can be connected to.", "a table")] = Network()
    env: Annotated[Env, _key("The environment of the command.", "a table")] = Env()
    limits: Annotated[LimitsTable, _key("Resource limits.", "a table")] = LimitsTable()
    workspace: Annotated[WorkspaceTable, _key("How the workspace takes writes.", "a table")] = WorkspaceTable()
    audit: Annotated[AuditTable, _key("How the audit is kept.", "a table")] = AuditTable()


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One document with the scope it speaks for and the line of each of its keys and list entries."""

    scope: str
    document: Document
    file: str = ""
    lines: dict[KeyPath, int] = {}

    def source(self, *path: str | int) -> Source:
        """Tell where `path` was written; an unknown place falls back to the table around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return Source(scope=self.scope, file=self.file, line=self.lines.get(path, 0))
