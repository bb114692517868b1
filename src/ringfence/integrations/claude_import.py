"""Settings of Claude Code to a policy file of ours: `ringfence init --from-claude-settings FILE`.

Its permission rules are ours in the same notation, its sandbox is that of sandbox-runtime. What is about neither stays
with Claude Code, which goes on reading its own file.
"""

import re
from typing import Annotated, Any

import msgspec

from ringfence.model.errors import UsageError

from . import srt_import
from .draft import Draft, plain, toml
from .srt_settings import Filesystem, Network, Path

OPTION = "--from-claude-settings"
_SECRET = re.compile(r"(?i)(?:key|token|secret|password|passwd|credentials?|headers)$")
# Programs that print credentials: here their output would lie within the agent's reach.
_HELPERS = frozenset(("apiKeyHelper", "awsAuthRefresh", "awsCredentialExport", "gcpAuthRefresh", "otelHeadersHelper"))

_Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_Table = dict[str, Any]


class _Permissions(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    additional_directories: tuple[str, ...] = ()
    default_mode: str = ""
    disable_bypass_permissions_mode: str = ""
    disable_auto_mode: str = ""


class _Sandbox(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    enabled: bool = False
    fail_if_unavailable: bool = False
    auto_allow_bash_if_sandboxed: bool = True
    allow_unsandboxed_commands: bool = True
    excluded_commands: tuple[str, ...] = ()
    enable_weaker_nested_sandbox: bool = False
    enable_weaker_network_isolation: bool = False
    ignore_violations: _Table = {}
    network: _Table = {}
    filesystem: _Table = {}


class _Settings(msgspec.Struct, rename="camel"):
    permissions: _Permissions = msgspec.field(default_factory=_Permissions)
    sandbox: _Sandbox = msgspec.field(default_factory=_Sandbox)
    env: dict[_Name, str] = {}


def policy_text(data: bytes, source: str, *, home: str, workspace: str) -> str:
    """Turn the settings `data`, read from `source`, into a policy; raise UsageError that names what cannot be kept."""
    try:
        found = msgspec.json.decode(data, type=_Settings)
        keys = msgspec.json.decode(data, type=_Table)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = str(error)
        raise UsageError(text[:1].lower() + text[1:], place=source) from None
    draft = Draft(source, OPTION)
    permissions(draft, found.permissions)
    sandbox(draft, found.sandbox, source)
    for name, value in found.env.items():
        if _SECRET.search(name):
            draft.refuse(f"env.{name}", "a credential belongs in `[secrets]`, not in a policy file")
        else:
            draft.value("env.set", name, toml(value), f"env.{name}")
    for key in sorted(set(keys) - {"permissions", "sandbox", "env", "$schema"}):
        if key in _HELPERS:
            draft.refuse(plain(key), "say in `[secrets]` which command prints the value")
        else:
            draft.remark(plain(key), "stays with Claude Code")
    return draft.text(home=home, workspace=workspace)


def permissions(draft: Draft, found: _Permissions) -> None:
    """Keep the rules, the directories and the mode as they are."""
    for name in ("deny", "ask", "allow"):
        for rule in getattr(found, name):
            draft.entry("permissions", name, toml(rule), f"permissions.{name}")
    for path in found.additional_directories:
        draft.entry("permissions", "directories", toml(path), "permissions.additionalDirectories")
        if path.startswith(("/", "~")):
            draft.entry("filesystem", "write", toml(path), "permissions.additionalDirectories")
    if found.default_mode:
        mode = "default" if found.default_mode == "manual" else found.default_mode
        draft.value("permissions", "mode", toml(mode), "permissions.defaultMode")
    if found.disable_bypass_permissions_mode:
        draft.remark("permissions.disableBypassPermissionsMode", "so it is, unless you choose that mode yourself")
    if found.disable_auto_mode:
        draft.remark("permissions.disableAutoMode", "so it is")


def sandbox(draft: Draft, found: _Sandbox, source: str) -> None:
    """Keep the sandbox's hosts and paths; nothing runs outside of the boundary."""
    if found.excluded_commands:
        draft.refuse("sandbox.excludedCommands", "no command of the agent runs outside of the boundary")
    if found.allow_unsandboxed_commands and found.enabled:
        draft.remark("sandbox.allowUnsandboxedCommands", "never so here: all of the agent runs inside")
    hosts: _Table = {"allowedDomains": [], "deniedDomains": []} | found.network
    files: _Table = {"denyRead": [], "denyWrite": [], "allowWrite": []} | found.filesystem
    for key, table in (("allowManagedDomainsOnly", hosts), ("allowManagedReadPathsOnly", files)):
        if table.pop(key, False):
            draft.remark(f"sandbox {key}", "managed policy has the last word anyway")
    try:
        srt_import.filesystem(draft, _files(msgspec.convert(files, Filesystem)), "sandbox.filesystem")
        srt_import.network(draft, msgspec.convert(hosts, Network), "sandbox.network")
    except msgspec.ValidationError as error:
        text = str(error)
        raise UsageError(f"sandbox: {text[:1].lower()}{text[1:]}", place=source) from None


def _files(found: Filesystem) -> Filesystem:
    """The lists with the workspace, which is writable there; two slashes begin an absolute path in rules there."""
    names = ("deny_read", "deny_write", "allow_read", "allow_write")
    lists = {name: tuple(_plain_path(entry) for entry in getattr(found, name)) for name in names}
    lists["allow_write"] = (".", *lists["allow_write"])
    return msgspec.structs.replace(found, **lists)


def _plain_path(entry: Path) -> Path:
    return re.sub("^//", "/", entry) if isinstance(entry, str) else entry
