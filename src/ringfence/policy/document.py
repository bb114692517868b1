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

Ecosystem = Literal["python", "node", "rust", "go", "java", "ruby"]
Service = Literal["github", "gitlab", "anthropic", "openai", "google-ai", "mistral", "openrouter"]
Agent = Literal["claude", "codex", "aider", "gemini", "opencode", "cursor-agent"]
PresetName = Literal[Ecosystem, Service, Agent]

# Each ends in `$(?!\n)` because Python's `$` also matches before a last newline, and JSON Schema has no `\Z`.
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$(?!\n)"
VARIABLE_OR_PREFIX = r"^[A-Za-z_][A-Za-z0-9_]*\*?$(?!\n)"
SIZE = r"^[0-9]{1,15} ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$(?!\n)"
METHOD = r"^[A-Z][A-Z0-9-]*$(?!\n)"
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
_A_WAIT = 'seconds as a whole number from 1, or a string such as "30s" or "5m"'
_PATHS = "a list of paths"
_RULES = 'a list of rules such as `["Bash(git push *)"]`'
_RULE = "a rule such as `Bash(git push *)`"
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


class HostEntry(_Table, frozen=True):
    """One host of `network` in its long form. In `deny`, and in a project's `ask`, only what narrows it has a place."""

    host: Annotated[_NoNul, _key("The host, `*.host` for all below it, an address, or `host-loopback`.", "a host")]
    ports: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=2**31 - 1)] | str, ...] | UnsetType,
        _key(
            'Ports and ranges such as "8000-8010".', "a list of ports", entry='a port, or a range such as "8000-8010"'
        ),
    ] = UNSET
    inspection: Annotated[
        Literal["inspect", "sni", "raw"] | UnsetType,
        _key(
            "`inspect` every request, `sni`: TLS passes where it names the host, `raw`: any bytes.",
            "`inspect`, `sni` or `raw`",
        ),
    ] = UNSET
    methods: Annotated[
        tuple[Annotated[str, Meta(pattern=METHOD)], ...],
        _key("Only these methods.", "a list of methods", entry="a method in capital letters"),
    ] = ()
    paths: Annotated[
        tuple[_NoNul, ...], _key("Only these paths; `*` within a segment, `**` across.", "a list", entry="a path")
    ] = ()
    http2: Annotated[bool, _key("Offer HTTP/2, as gRPC needs.", "`true` or `false`")] = False
    addresses: Annotated[
        tuple[_NoNul, ...],
        _key("Networks that are not public and that the host may be in.", "a list", entry="a network"),
    ] = ()
    requests: Annotated[Count, _key("Requests (or connections) in a run.", _A_COUNT)] = 0
    bytes: Annotated[Size, _key("Bytes in a run, both ways.", _A_SIZE)] = 0
    rate: Annotated[Count, _key("Requests (or connections) per minute.", _A_COUNT)] = 0
    reason: Annotated[_Line, _key("Why the entry is there; shown by `explain`.", "one line of text")] = ""


_HOSTS = "a list of hosts"
_HOST = "a string such as `example.com` or `example.com:443`, or a table `{ host, ports, ... }`"
_HostEntries = tuple[_NoNul | HostEntry, ...] | UnsetType


class Network(_Table, frozen=True):
    """What can be connected to."""

    mode: Annotated[
        Literal["off", "allow-list"] | UnsetType,
        _key(
            "`off`: only the sandbox's own loopback. Unset: `allow-list` once a host is named.", "`off` or `allow-list`"
        ),
    ] = UNSET
    allow: Annotated[_HostEntries, _key("Hosts that may be reached.", _HOSTS, entry=_HOST)] = UNSET
    ask: Annotated[_HostEntries, _key("Hosts that you are asked about.", _HOSTS, entry=_HOST)] = UNSET
    deny: Annotated[_HostEntries, _key("Hosts that are out of reach, even where allowed.", _HOSTS, entry=_HOST)] = UNSET
    unknown: Annotated[
        Literal["deny", "ask"] | UnsetType, _key("What becomes of hosts that no entry names.", "`deny` or `ask`")
    ] = UNSET
    denied_addresses: Annotated[
        tuple[_NoNul, ...] | UnsetType,
        _key("Networks that nothing may resolve to.", "a list of networks", entry='a network such as "192.0.2.0/24"'),
    ] = UNSET
    requests: Annotated[Count | UnsetType, _key("Requests of a whole run.", _A_COUNT)] = UNSET
    bytes: Annotated[Size | UnsetType, _key("Bytes of a whole run, both ways.", _A_SIZE)] = UNSET
    ask_timeout: Annotated[Time | UnsetType, _key("How long a connection waits for your answer.", _A_WAIT)] = UNSET
    proxy_variables: Annotated[
        bool | UnsetType, _key("Set HTTP_PROXY and its relatives inside.", "`true` or `false`")
    ] = UNSET
    parent_proxy: Annotated[
        _NoNul | UnsetType, _key("The HTTP proxy by which this host reaches the internet.", "a URL `http://HOST:PORT`")
    ] = UNSET
    publish: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=2**31 - 1)] | _NoNul, ...] | UnsetType,
        _key(
            "Ports inside that this host's loopback leads to.",
            "a list of ports",
            entry='a port, or `"8080:3000"` for port 3000 inside at port 8080 of the host',
        ),
    ] = UNSET


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
        Literal["exit", "live", "ask"] | UnsetType,
        _key(
            "When the overlay's changes are applied: at `exit`, files also `live` as they are closed, or on your word.",
            "`exit`, `live` or `ask`",
        ),
    ] = UNSET


DIGEST = r"^[0-9a-f]{64}$(?!\n)"
SIGNER = r"^ssh-ed25519 [A-Za-z0-9+/]{68}( [^\x00-\x1f\x7f]*)?$(?!\n)"
_DIGESTS = "a list of digests as `ringfence trust --show` prints them"


class PermissionsTable(_Table, frozen=True):
    """Rules for calls of an agent's tools, in Claude Code's notation."""

    deny: Annotated[
        tuple[_Line, ...] | UnsetType,
        _key("Calls that are refused, whoever allows them.", _RULES, entry=_RULE),
    ] = UNSET
    ask: Annotated[tuple[_Line, ...] | UnsetType, _key("Calls that are asked about.", _RULES, entry=_RULE)] = UNSET
    allow: Annotated[
        tuple[_Line, ...] | UnsetType, _key("Calls that are done without asking.", _RULES, entry=_RULE)
    ] = UNSET
    directories: Annotated[
        tuple[_NoNul, ...] | UnsetType,
        _key("Directories that are like the workspace to file tools.", "a list of paths", entry="a path"),
    ] = UNSET
    mode: Annotated[
        Literal["default", "acceptEdits", "plan", "dontAsk", "auto", "bypassPermissions"] | UnsetType,
        _key("What is done without a question.", "a permission mode"),
    ] = UNSET


class TrustTable(_Table, frozen=True):
    """What becomes of files that take effect without being asked for, in a checkout that nobody has trusted."""

    mode: Annotated[
        Literal["off", "hide", "refuse"] | UnsetType,
        _key(
            "`hide` them from the run, `refuse` to run, or `off`: show them. Unset: `off`, for agents `hide`.",
            "`off`, `hide` or `refuse`",
        ),
    ] = UNSET
    pin: Annotated[
        tuple[Annotated[str, Meta(pattern=DIGEST)], ...] | UnsetType,
        _key("Digests that are trusted, wherever the checkout lies.", _DIGESTS, entry="64 hexadecimal digits"),
    ] = UNSET
    forbid: Annotated[
        tuple[Annotated[str, Meta(pattern=DIGEST)], ...] | UnsetType,
        _key("Digests that are never trusted, whoever says so.", _DIGESTS, entry="64 hexadecimal digits"),
    ] = UNSET
    signers: Annotated[
        tuple[Annotated[str, Meta(pattern=SIGNER)], ...] | UnsetType,
        _key(
            "Public keys whose holders may approve instruction files (`FILE.sig` beside `FILE`).",
            "a list of public keys",
            entry="a line `ssh-ed25519 KEY COMMENT`",
        ),
    ] = UNSET
    only_pinned: Annotated[
        bool | UnsetType,
        _key("Trust nothing but what this file and those above it pin or let be signed.", "`true` or `false`"),
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
        _key("Presets to include; see `ringfence policy presets`.", "a list of presets", entry="the name of a preset"),
    ] = UNSET
    isolation: Annotated[Isolation, _key("How the boundary is built.", "a table")] = Isolation()
    filesystem: Annotated[Filesystem, _key("What can be reached.", "a table")] = Filesystem()
    network: Annotated[Network, _key("What can be connected to.", "a table")] = Network()
    env: Annotated[Env, _key("The environment of the command.", "a table")] = Env()
    limits: Annotated[LimitsTable, _key("Resource limits.", "a table")] = LimitsTable()
    workspace: Annotated[WorkspaceTable, _key("How the workspace takes writes.", "a table")] = WorkspaceTable()
    permissions: Annotated[PermissionsTable, _key("What an agent's tools may do.", "a table")] = PermissionsTable()
    trust: Annotated[TrustTable, _key("What nobody has trusted yet.", "a table")] = TrustTable()
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
