"""The types of a policy file, exactly as written: one struct per table, one field per key.

These types are the single source of the parser's checks, the published JSON Schema and the reference in
docs/policy.md. A key that is not set is `UNSET`, so that "not said" and "said to be the default" differ.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ringfence.model.decision import Source

from .fields import (
    A_COUNT,
    A_SIZE,
    A_TIME,
    METHOD,
    VARIABLE,
    VARIABLE_OR_PREFIX,
    Count,
    Line,
    NoNul,
    Ports,
    Size,
    Table,
    Time,
    key,
)
from .git_tables import GitTable
from .secrets.tables import LeaksTable, SecretFileTable, SecretName, SecretTable

KeyPath = tuple[str | int, ...]
"""A place in a document: table and key names, and indices of list entries."""

Ecosystem = Literal["python", "node", "rust", "go", "java", "ruby"]
Service = Literal["github", "gitlab", "anthropic", "openai", "google-ai", "mistral", "openrouter"]
Agent = Literal["claude", "codex", "aider", "gemini", "opencode", "cursor-agent"]
Pattern = Literal["daily", "refactor", "triage", "pipeline"]
PresetName = Literal[Ecosystem, Service, Agent, Pattern]

_A_WAIT = 'seconds as a whole number from 1, or a string such as "30s" or "5m"'
_PATHS = "a list of paths"
_RULES = 'a list of rules such as `["Bash(git push *)"]`'
_RULE = "a rule such as `Bash(git push *)`"
_PATH = "a path or a table `{ path, literal, reason }`"


class PathEntry(Table, frozen=True):
    """One path of `filesystem` in its long form."""

    path: Annotated[NoNul, key("The path or pattern.", "a path")]
    literal: Annotated[bool, key("Take `* ? [ \\` as they are: no wildcards.", "`true` or `false`")] = False
    reason: Annotated[Line, key("Why the entry is there; shown by `explain`.", "one line of text")] = ""


class MountEntry(Table, frozen=True):
    """A host path that appears at another place in the sandbox."""

    source: Annotated[NoNul, key("The path on the host.", "a path")]
    target: Annotated[NoNul, key("Where it appears: an absolute path.", "a path")]
    writable: Annotated[bool, key("Whether writes reach the host.", "`true` or `false`")] = False


_Entries = tuple[NoNul | PathEntry, ...] | UnsetType


class Isolation(Table, frozen=True):
    """How the boundary is built."""

    tier: Annotated[Literal["process"] | UnsetType, key("What isolates the run.", "`process`")] = UNSET
    seccomp: Annotated[
        Literal["default", "debug", "nested"] | UnsetType,
        key(
            "System calls: `debug` adds ptrace among the run's own processes, `nested` lets a sandbox start inside.",
            "`default`, `debug` or `nested`",
        ),
    ] = UNSET


class Filesystem(Table, frozen=True):
    """What can be reached besides the workspace and the system's own directories."""

    read: Annotated[_Entries, key("Readable paths outside the workspace.", _PATHS, entry=_PATH)] = UNSET
    write: Annotated[_Entries, key("Writable (and readable) paths outside the workspace.", _PATHS, entry=_PATH)] = UNSET
    deny_read: Annotated[_Entries, key("Paths that are hidden, even where allowed.", _PATHS, entry=_PATH)] = UNSET
    deny_write: Annotated[_Entries, key("Paths that cannot be changed, even where allowed.", _PATHS, entry=_PATH)] = (
        UNSET
    )
    mounts: Annotated[
        tuple[MountEntry, ...] | UnsetType,
        key(
            "Host paths that appear at another place.",
            "a list of mounts",
            entry="a table `{ source, target, writable }`",
        ),
    ] = UNSET


class HostEntry(Table, frozen=True):
    """One host of `network` in its long form. In `deny`, and in a project's `ask`, only what narrows it has a place."""

    host: Annotated[NoNul, key("The host, `*.host` for all below it, an address, or `host-loopback`.", "a host")]
    ports: Annotated[
        Ports | UnsetType,
        key('Ports and ranges such as "8000-8010".', "a list of ports", entry='a port, or a range such as "8000-8010"'),
    ] = UNSET
    inspection: Annotated[
        Literal["inspect", "sni", "raw"] | UnsetType,
        key(
            "`inspect` every request, `sni`: TLS passes where it names the host, `raw`: any bytes.",
            "`inspect`, `sni` or `raw`",
        ),
    ] = UNSET
    methods: Annotated[
        Annotated[tuple[Annotated[str, Meta(pattern=METHOD)], ...], Meta(min_length=1)],
        key("Only these methods.", "a list of methods", entry="a method in capital letters"),
    ] = ()
    paths: Annotated[
        Annotated[tuple[NoNul, ...], Meta(min_length=1)],
        key("Only these paths; `*` within a segment, `**` across.", "a list", entry="a path"),
    ] = ()
    http2: Annotated[bool, key("Offer HTTP/2, as gRPC needs.", "`true` or `false`")] = False
    addresses: Annotated[
        tuple[NoNul, ...],
        key("Networks that are not public and that the host may be in.", "a list", entry="a network"),
    ] = ()
    requests: Annotated[Count, key("Requests (or connections) in a run.", A_COUNT)] = 0
    bytes: Annotated[Size, key("Bytes in a run, both ways.", A_SIZE)] = 0
    rate: Annotated[Count, key("Requests (or connections) per minute.", A_COUNT)] = 0
    reason: Annotated[Line, key("Why the entry is there; shown by `explain`.", "one line of text")] = ""


_HOSTS = "a list of hosts"
_HOST = "a string such as `example.com` or `example.com:443`, or a table `{ host, ports, ... }`"
_HostEntries = tuple[NoNul | HostEntry, ...] | UnsetType


class GatewayTable(Table, frozen=True):
    """A unix socket inside that speaks plain HTTP to one host, by the rules for that host."""

    host: Annotated[NoNul, key("The host, which a rule must allow; port 443 unless it names one.", "a host")]
    tls: Annotated[bool, key("Speak TLS with the host; without, port 80 is meant.", "`true` or `false`")] = True
    variables: Annotated[
        dict[Annotated[str, Meta(pattern=VARIABLE)], NoNul],
        key(
            "Variables inside that say where it is: `{path}` stands for that.",
            "a table of variables",
            entry="a string under a name of letters, digits and `_`",
        ),
    ] = msgspec.field(default_factory=dict)
    reason: Annotated[Line, key("Why it is there.", "one line of text")] = ""


class Network(Table, frozen=True):
    """What can be connected to."""

    mode: Annotated[
        Literal["off", "allow-list"] | UnsetType,
        key(
            "`off`: only the sandbox's own loopback. Unset: `allow-list` once a host is named.", "`off` or `allow-list`"
        ),
    ] = UNSET
    allow: Annotated[_HostEntries, key("Hosts that may be reached.", _HOSTS, entry=_HOST)] = UNSET
    ask: Annotated[_HostEntries, key("Hosts that you are asked about.", _HOSTS, entry=_HOST)] = UNSET
    deny: Annotated[_HostEntries, key("Hosts that are out of reach, even where allowed.", _HOSTS, entry=_HOST)] = UNSET
    unknown: Annotated[
        Literal["deny", "ask"] | UnsetType, key("What becomes of hosts that no entry names.", "`deny` or `ask`")
    ] = UNSET
    denied_addresses: Annotated[
        tuple[NoNul, ...] | UnsetType,
        key("Networks that nothing may resolve to.", "a list of networks", entry='a network such as "192.0.2.0/24"'),
    ] = UNSET
    requests: Annotated[Count | UnsetType, key("Requests of a whole run.", A_COUNT)] = UNSET
    bytes: Annotated[Size | UnsetType, key("Bytes of a whole run, both ways.", A_SIZE)] = UNSET
    ask_timeout: Annotated[Time | UnsetType, key("How long a connection waits for your answer.", _A_WAIT)] = UNSET
    proxy_variables: Annotated[
        bool | UnsetType, key("Set HTTP_PROXY and its relatives inside.", "`true` or `false`")
    ] = UNSET
    parent_proxy: Annotated[
        NoNul | UnsetType, key("The HTTP proxy by which this host reaches the internet.", "a URL `http://HOST:PORT`")
    ] = UNSET
    publish: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=2**31 - 1)] | NoNul, ...] | UnsetType,
        key(
            "Ports inside that this host's loopback leads to.",
            "a list of ports",
            entry='a port, or `"8080:3000"` for port 3000 inside at port 8080 of the host',
        ),
    ] = UNSET
    gateways: Annotated[
        dict[SecretName, GatewayTable] | UnsetType,
        key(
            "Unix sockets inside that lead to one host each.",
            "tables `[network.gateways.NAME]`",
            entry="`[network.gateways.NAME]` with NAME of `a-z`, `0-9`, `-`",
        ),
    ] = UNSET


class Env(Table, frozen=True):
    """The environment of the command; variables that no rule names are removed."""

    pass_: Annotated[
        tuple[Annotated[str, Meta(pattern=VARIABLE_OR_PREFIX)], ...] | UnsetType,
        key(
            "Variables taken from the launching environment; a name may end in `*`.",
            "a list of variable names",
            entry="a variable name, which may end in `*`",
        ),
    ] = msgspec.field(default=UNSET, name="pass")
    set: Annotated[
        dict[Annotated[str, Meta(pattern=VARIABLE)], Annotated[str, Meta(pattern=r"^[^\x00]*$")]] | UnsetType,
        key(
            "Variables with a fixed value.",
            "a table of variables",
            entry="a string under a name of letters, digits and `_`",
        ),
    ] = UNSET


class LimitsTable(Table, frozen=True):
    """Resource limits of one run; `0` stands for no limit."""

    processes: Annotated[Count | UnsetType, key("Processes and threads at one time.", A_COUNT)] = UNSET
    memory: Annotated[Size | UnsetType, key("Memory of all processes together.", A_SIZE)] = UNSET
    cpu_time: Annotated[Time | UnsetType, key("Processor time of each process.", A_TIME)] = UNSET
    file_size: Annotated[Size | UnsetType, key("Size of any one file written.", A_SIZE)] = UNSET
    open_files: Annotated[Count | UnsetType, key("Open descriptors of each process.", A_COUNT)] = UNSET
    wall_time: Annotated[Time | UnsetType, key("Time from start to end.", A_TIME)] = UNSET
    tmp_size: Annotated[Size | UnsetType, key("Size of the private /tmp.", A_SIZE)] = UNSET
    home_size: Annotated[Size | UnsetType, key("Size of the private home directory.", A_SIZE)] = UNSET
    run_size: Annotated[Size | UnsetType, key("Size of the private /run.", A_SIZE)] = UNSET
    shm_size: Annotated[Size | UnsetType, key("Size of the private /dev/shm.", A_SIZE)] = UNSET
    workspace_size: Annotated[Size | UnsetType, key("Size of what a run changes in the workspace.", A_SIZE)] = UNSET


class WorkspaceTable(Table, frozen=True):
    """How the workspace takes writes."""

    mode: Annotated[
        Literal["overlay", "direct", "readonly"] | UnsetType,
        key(
            "`overlay` keeps changes apart until they are applied, `direct` writes through, `readonly` refuses writes.",
            "`overlay`, `direct` or `readonly`",
        ),
    ] = UNSET
    apply: Annotated[
        Literal["exit", "live", "ask"] | UnsetType,
        key(
            "When the overlay's changes are applied: at `exit`, files also `live` as they are closed, or on your word.",
            "`exit`, `live` or `ask`",
        ),
    ] = UNSET


DIGEST = r"^[0-9a-f]{64}$(?!\n)"
SIGNER = r"^ssh-ed25519 [A-Za-z0-9+/]{68}( [^\x00-\x1f\x7f]*)?$(?!\n)"
_DIGESTS = "a list of digests as `ringfence trust --show` prints them"


class PermissionsTable(Table, frozen=True):
    """Rules for calls of an agent's tools, in Claude Code's notation."""

    deny: Annotated[
        tuple[Line, ...] | UnsetType,
        key("Calls that are refused, whoever allows them.", _RULES, entry=_RULE),
    ] = UNSET
    ask: Annotated[tuple[Line, ...] | UnsetType, key("Calls that are asked about.", _RULES, entry=_RULE)] = UNSET
    allow: Annotated[tuple[Line, ...] | UnsetType, key("Calls that are done without asking.", _RULES, entry=_RULE)] = (
        UNSET
    )
    directories: Annotated[
        tuple[NoNul, ...] | UnsetType,
        key("Directories that are like the workspace to file tools.", "a list of paths", entry="a path"),
    ] = UNSET
    mode: Annotated[
        Literal["default", "acceptEdits", "plan", "dontAsk", "auto", "bypassPermissions"] | UnsetType,
        key("What is done without a question.", "a permission mode"),
    ] = UNSET


class TrustTable(Table, frozen=True):
    """What becomes of files that take effect without being asked for, in a checkout that nobody has trusted."""

    mode: Annotated[
        Literal["off", "hide", "refuse"] | UnsetType,
        key(
            "`hide` them from the run, `refuse` to run, or `off`: show them. Unset: `off`, for agents `hide`.",
            "`off`, `hide` or `refuse`",
        ),
    ] = UNSET
    pin: Annotated[
        tuple[Annotated[str, Meta(pattern=DIGEST)], ...] | UnsetType,
        key("Digests that are trusted, wherever the checkout lies.", _DIGESTS, entry="64 hexadecimal digits"),
    ] = UNSET
    forbid: Annotated[
        tuple[Annotated[str, Meta(pattern=DIGEST)], ...] | UnsetType,
        key("Digests that are never trusted, whoever says so.", _DIGESTS, entry="64 hexadecimal digits"),
    ] = UNSET
    signers: Annotated[
        tuple[Annotated[str, Meta(pattern=SIGNER)], ...] | UnsetType,
        key(
            "Public keys whose holders may approve instruction files (`FILE.sig` beside `FILE`).",
            "a list of public keys",
            entry="a line `ssh-ed25519 KEY COMMENT`",
        ),
    ] = UNSET
    only_pinned: Annotated[
        bool | UnsetType,
        key("Trust nothing but what this file and those above it pin or let be signed.", "`true` or `false`"),
    ] = UNSET


class AuditTable(Table, frozen=True):
    """How the audit is kept."""

    fsync: Annotated[
        Literal["always", "exit", "never"] | UnsetType,
        key(
            "When records are forced to disk: after each, at the end of the run, or never.",
            "`always`, `exit` or `never`",
        ),
    ] = UNSET
    rotate_size: Annotated[Size | UnsetType, key("Size at which a new file is begun.", A_SIZE)] = UNSET


class Document(Table, frozen=True):
    """A ringfence policy file."""

    version: Annotated[Literal[1], key("The format of the file.", "the number `1`")]
    extends: Annotated[
        tuple[PresetName, ...] | UnsetType,
        key("Presets to include; see `ringfence policy presets`.", "a list of presets", entry="the name of a preset"),
    ] = UNSET
    isolation: Annotated[Isolation, key("How the boundary is built.", "a table")] = Isolation()
    filesystem: Annotated[Filesystem, key("What can be reached.", "a table")] = Filesystem()
    network: Annotated[Network, key("What can be connected to.", "a table")] = Network()
    env: Annotated[Env, key("The environment of the command.", "a table")] = Env()
    limits: Annotated[LimitsTable, key("Resource limits.", "a table")] = LimitsTable()
    workspace: Annotated[WorkspaceTable, key("How the workspace takes writes.", "a table")] = WorkspaceTable()
    permissions: Annotated[PermissionsTable, key("What an agent's tools may do.", "a table")] = PermissionsTable()
    trust: Annotated[TrustTable, key("What nobody has trusted yet.", "a table")] = TrustTable()
    audit: Annotated[AuditTable, key("How the audit is kept.", "a table")] = AuditTable()
    secrets: Annotated[
        dict[SecretName, SecretTable] | UnsetType,
        key("Secrets, by name.", "tables `[secrets.NAME]`", entry="`[secrets.NAME]` with NAME of `a-z`, `0-9`, `-`"),
    ] = UNSET
    secret_files: Annotated[
        tuple[SecretFileTable, ...] | UnsetType,
        key("Files inside with placeholders in them.", "tables `[[secret-files]]`", entry="a table"),
    ] = UNSET
    leaks: Annotated[LeaksTable | UnsetType, key("What may carry a secret out.", "a table")] = UNSET
    git: Annotated[GitTable, key("What git may do over the network, and sign.", "a table")] = GitTable()


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One document with the scope it speaks for and the line of each of its keys and list entries.

    `spelled` has what a person wrote instead of some of them: an option of the command line.
    """

    scope: str
    document: Document
    file: str = ""
    lines: dict[KeyPath, int] = {}
    spelled: dict[KeyPath, str] = {}

    def source(self, *path: str | int) -> Source:
        """Tell where `path` was written; an unknown place falls back to the table around it."""
        spelled = (self.spelled[path[:length]] for length in range(len(path), 0, -1) if path[:length] in self.spelled)
        if option := next(spelled, ""):
            return Source(scope=self.scope, file=option)
        while path and path not in self.lines:
            path = path[:-1]
        return Source(scope=self.scope, file=self.file, line=self.lines.get(path, 0))
