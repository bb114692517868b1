"""The policy that is in force after presets and layers have been merged, each value with its origin."""

import msgspec

from ringfence.model.decision import Source
from ringfence.model.egress import Egress
from ringfence.model.git import Signing
from ringfence.model.paths import GuestPath, HostPath
from ringfence.model.plan import Limits
from ringfence.model.secrets import Secrets


class PathRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One path pattern of `filesystem`, absolute (with `~` expanded) or relative to the workspace.

    Gitignore semantics: no slash before the end matches at any depth below the workspace, `**` crosses
    directories, a match on a directory covers everything below. `literal` turns wildcards off.
    """

    pattern: str
    source: Source
    reason: str = ""
    literal: bool = False


class VariableRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A variable that passes (`value` None; `name` may end in `*`) or is set to `value`."""

    name: str
    source: Source
    value: str | None = None
    reason: str = ""


class ExtraMount(msgspec.Struct, frozen=True, kw_only=True):
    """`filesystem.mounts`: a host path that appears at another place."""

    host: HostPath
    guest: GuestPath
    writable: bool
    source: Source


class TrustRules(msgspec.Struct, frozen=True, kw_only=True):
    """`trust`: the mode (`off`, `hide`, `refuse`), digests whose standing is settled, and keys that approve text."""

    mode: str = "off"
    pinned: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()
    only_pinned: bool = False


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force. `origins` maps each dotted scalar key (`limits.memory`) to where its value was written.

    `network` is `off`, and `egress` None, or `allow-list`. Either way `network_values` has the single values of the
    `network` table, and no rule.
    """

    tier: str
    seccomp: str
    network: str
    read: tuple[PathRule, ...]
    write: tuple[PathRule, ...]
    deny_read: tuple[PathRule, ...]
    deny_write: tuple[PathRule, ...]
    mounts: tuple[ExtraMount, ...]
    environment: tuple[VariableRule, ...]
    limits: Limits
    workspace_mode: str
    workspace_apply: str
    audit_fsync: str
    audit_rotate_bytes: int
    presets: tuple[str, ...]
    origins: dict[str, Source]
    egress: Egress | None = None
    network_values: Egress = Egress()
    trust: TrustRules = TrustRules()
    secrets: Secrets = Secrets()
    signing: Signing = Signing()
